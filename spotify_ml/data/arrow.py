"""Arrow's columns as few plain types, and as pandas' table."""

import pandas as pd
import pyarrow as pa


def arrow_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a DataFrame; what pandas once wrote into it about an index does not concern columns."""
    return pa.table([plain(column) for column in table.columns], names=table.column_names).to_pandas()


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
