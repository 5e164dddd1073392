"""Arrow's columns as few plain types, and as pandas' table."""

from typing import Any

import pandas as pd
import pyarrow as pa

from spotify_ml.utils.errors import DataError, shown

# What is raised of a time that Python has no value for: one in the year 17036, or in a time zone that is not known.
_NO_TIME = (OverflowError, ValueError, pa.ArrowInvalid)


def arrow_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a DataFrame; what pandas once wrote into it about an index does not concern columns."""
    try:
        return pa.table([plain(column) for column in table.columns], names=table.column_names).to_pandas()
    except _NO_TIME as error:
        kinds = ", ".join(f"{field.name} ({shown(field.type)})" for field in table.schema if _counted(field.type))
        raise DataError(f"columns hold times that cannot be read: {kinds}; give numbers and text ({error})") from error


def listed(values: pa.ChunkedArray) -> list[Any]:
    """Return values as Python has them; times, where it has no such one, as whole numbers."""
    try:
        return values.to_pylist()
    except _NO_TIME:
        return values.cast(_counted(values.type) or values.type).to_pylist()


def _counted(kind: pa.DataType) -> pa.DataType | None:
    """Return a type with whole numbers in place of times, None where there are none."""
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
    """Return values without what few of Arrow's functions know: views, extension types, dictionaries of such."""
    wanted = _plain_type(values.type)
    if wanted == values.type:
        return values
    if pa.types.is_string_view(values.type) or pa.types.is_binary_view(values.type):
        return values.cast(wanted)
    # Arrow casts few others, and a view of lists to lists that are broken.
    given = values.to_pylist()
    if values.type == pa.uuid():
        given = [None if value is None else str(value) for value in given]
    return pa.chunked_array([pa.array(given, wanted)])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if kind == pa.uuid():
        return pa.string()
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        inner = _plain_type(kind.value_type)
        return kind if inner == kind.value_type and not pa.types.is_nested(inner) else inner
    for is_list, make in (
        (pa.types.is_list, pa.list_),
        (pa.types.is_large_list, pa.large_list),
        (pa.types.is_list_view, pa.list_),
        (pa.types.is_large_list_view, pa.large_list),
    ):
        if is_list(kind):
            return make(_plain_type(kind.value_type))
    return kind
