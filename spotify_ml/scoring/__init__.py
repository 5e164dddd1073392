"""Batch scoring: files of raw rows are written again with the predictions of a registered model."""

import re
from pathlib import Path

# Suffixes by format, in small letters or capitals.
PARQUET_SUFFIXES = (".parquet", ".pq")
SUFFIXES = (*PARQUET_SUFFIXES, ".csv")
SUFFIXES_LISTED = ".parquet, .pq or .csv"
# What is said of versions without a model of incomplete rows.
KNOWS_NO_STRANGERS = "cannot judge tracks of unknown artists, albums and genres, and does not tell which those are"
# The inputs and settings of the files in a folder. Readers of the folder as one table ignore names with a dot.
RECORD = ".scored.json"


def is_table(path: Path) -> bool:
    """Return whether a path is named like a file that can be scored or written."""
    return path.suffix.lower() in SUFFIXES


def is_parquet(path: Path) -> bool:
    """Return whether a path is named like a Parquet file."""
    return path.suffix.lower() in PARQUET_SUFFIXES


def output_name(name: str) -> str:
    """Return the name of the file that one of many is scored into: packed files are written unpacked."""
    return re.sub(r"\.(gz|zst)$", "", name, flags=re.IGNORECASE).replace("/", "_")


def rejected_path(target: Path) -> Path:
    """Return the file for the rows that are set aside when a file is scored."""
    return target.with_name(f"{target.name}.rejected.csv")


def calibration_path(target: Path) -> Path:
    """Return the file for the calibration that an output was made with, beside it."""
    path = target if target.name else target.absolute()
    return path.with_name(f"{path.name}.calibration.json")
