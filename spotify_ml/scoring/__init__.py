"""Batch scoring: files of raw rows in, the same rows with what a registered model says of them out."""

# The formats, which the name of a file tells apart.
SUFFIXES = (".parquet", ".csv")
