"""Batch scoring: files of raw rows in, the same rows with what a registered model says of them out."""

from pathlib import Path

# The formats, which the name of a file tells apart, in small letters or capitals.
PARQUET_SUFFIXES = (".parquet", ".pq")
SUFFIXES = (*PARQUET_SUFFIXES, ".csv")
SUFFIXES_TOLD = ".parquet, .pq or .csv"
# What a folder of scored files was made from. A dot: whoever reads the folder as one table passes over it.
RECORD = ".scored.json"


def is_table(path: Path) -> bool:
    """Tell whether a name is that of a file that can be scored, or be an output."""
    return path.suffix.lower() in SUFFIXES


def is_parquet(path: Path) -> bool:
    """Tell whether a name is that of a Parquet file."""
    return path.suffix.lower() in PARQUET_SUFFIXES


def rejected_path(target: Path) -> Path:
    """Return where the rows stand that are set aside when a file is scored."""
    return target.with_name(f"{target.name}.rejected.csv")
