"""Arrow's columns as few plain types, and as pandas' table."""

import pandas as pd
import pyarrow as pa


def arrow_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a DataFrame; what pandas once wrote into it about an index does not concern columns."""
    return pa.table([plain(column) for column in table.columns], names=table.column_names).to_pandas()


def plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values without what few functions of Arrow know: views of text, and dictionaries and lists of such."""
    wanted = _plain_type(values.type)
    if wanted == values.type:
        return values
    try:
        return values.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.chunked_array([pa.array(values.to_pylist(), wanted)])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_dictionary(kind):
        inner = _plain_type(kind.value_type)
        return kind if inner == kind.value_type else inner
    for is_list, make in (
        (pa.types.is_list, pa.list_),
        (pa.types.is_large_list, pa.large_list),
        (pa.types.is_list_view, pa.list_),
        (pa.types.is_large_list_view, pa.large_list),
    ):
        if is_list(kind):
            return make(_plain_type(kind.value_type))
    return kind
