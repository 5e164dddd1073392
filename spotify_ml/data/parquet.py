"""Parquet files: opened so that damage is seen, and the error that says so."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spotify_ml.utils.errors import DataError, shown

# What reading a damaged file raises; where the damage is in a name, pyarrow decodes it unguarded.
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
_SHOWN = 300


def open_parquet(source: Any) -> pq.ParquetFile:
    """Open a file of which each page is compared with its checksum as it is read, where it has one."""
    return pq.ParquetFile(source, page_checksum_verification=True)


def damaged(origin: object, error: Exception) -> DataError:
    """Return the error that says that a file is damaged.

    Parameters
    ----------
    origin : object
        What to call it.
    error : Exception
        One of `DAMAGE`.
    """
    return DataError(f"{origin} is a damaged Parquet file ({shown(error, _SHOWN)}); write it again")
