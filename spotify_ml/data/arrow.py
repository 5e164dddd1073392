"""Parquet files, and Arrow columns as a few plain types and as pandas tables."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from spotify_ml.utils.errors import DataError, shown

# Errors of times that Python cannot represent, such as the year 17036 or an unknown time zone.
_NO_TIME = (OverflowError, ValueError, pa.ArrowInvalid)
# Errors of reading a damaged Parquet file; pyarrow decodes damaged names without a check.
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
_SHOWN = 300


def open_parquet(source: Any) -> pq.ParquetFile:
    """Open a Parquet file whose pages are compared with their checksums, if it has any."""
    return pq.ParquetFile(source, page_checksum_verification=True)


def damaged(origin: object, error: Exception) -> DataError:
    """Return the error for a damaged Parquet file, named `origin`, on which reading raised one of `DAMAGE`."""
    return DataError(f"{origin} is a damaged Parquet file ({shown(error, _SHOWN)}); write it again")


def arrow_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a DataFrame; an index that pandas has recorded in it is ignored."""
    try:
        return pa.table([plain(column) for column in table.columns], names=table.column_names).to_pandas()
    except _NO_TIME as error:
        kinds = ", ".join(f"{field.name} ({shown(field.type)})" for field in table.schema if _counted(field.type))
        raise DataError(f"columns hold times that cannot be read: {kinds}; give numbers and text ({error})") from error


def listed(values: pa.ChunkedArray) -> list[Any]:
    """Return values as Python objects; times that Python cannot represent as integers."""
    try:
        return values.to_pylist()
    except _NO_TIME:
        return values.cast(_counted(values.type) or values.type).to_pylist()


def _counted(kind: pa.DataType) -> pa.DataType | None:
    """Return a type with integers in place of times, None if it has no times."""
    if pa.types.is_temporal(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    if pa.types.is_struct(kind):
        fields = {field.name: _counted(field.type) or field.type for field in kind}
        return pa.struct(fields) if any(_counted(field.type) for field in kind) else None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _counted(kind.value_type)
        return inner and (pa.list_(inner) if pa.types.is_list(kind) else pa.large_list(inner))
    return None


def plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values without types that few Arrow functions support: views, extension types, dictionaries of those."""
    wanted = _plain_type(values.type)
    if wanted == values.type:
        return values
    if pa.types.is_string_view(values.type) or pa.types.is_binary_view(values.type):
        return values.cast(wanted)
    # Arrow casts few other types, and casts views of lists wrongly.
    given = values.to_pylist()
    if values.type == pa.uuid():
        given = [None if value is None else str(value) for value in given]
    return pa.chunked_array([pa.array(given, wanted)])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind) or kind == pa.uuid():
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        inner = _plain_type(kind.value_type)
        return kind if inner == kind.value_type and not pa.types.is_nested(inner) else inner
    if pa.types.is_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(_plain_type(kind.value_type))
    return kind
