"""Values that are those of another layout, found while rows are read."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from spotify_ml.config.layouts import ColumnConfig, known_layouts
from spotify_ml.data.layout_values import LIKE_A_LIST
from spotify_ml.data.schema import AUDIO, LISTS
from spotify_ml.utils.errors import DataError, shown

# A unit or notation is that of most values.
_MOST = 0.5
# Of fewer values nothing is told by their size.
_FEWEST = 10
_SECONDS = 3600
_SHARES = (
    *("danceability", "energy", "speechiness", "acousticness"),
    *("instrumentalness", "liveness", "valence"),
)


class _Columns(Protocol):
    """A layout, as far as its values are checked."""

    @property
    def name(self) -> str: ...
    @property
    def columns(self) -> Mapping[str, tuple[str, ColumnConfig]]: ...
    @property
    def is_raw(self) -> bool: ...


def check_looks(layout: _Columns, table: pa.Table, origin: str, first_row: int) -> None:
    """Raise a `DataError` if most values of a column are written as another layout has them; it names such layouts."""
    for raw, name, rule in _checked(layout, table):
        values = table.column(name)
        if raw in LISTS and rule != "python_list" and _is_text(values):
            _refuse(layout, raw, name, values, pc.match_substring_regex(values, LIKE_A_LIST), "python_list", origin)
        elif raw == "duration_ms" and rule is None and _is_number(values):
            # Some tracks are short, but not most of them.
            below = pc.and_(pc.less(values, _SECONDS), pc.greater(values, 0))
            _refuse(layout, raw, name, values, below, "seconds", origin)
        elif raw in _SHARES and _is_number(values):
            if rule is None:
                _refuse(layout, raw, name, values, pc.greater(values, 1), "percent", origin)
            elif rule == "percent":
                shares = pc.and_(pc.less(values, 1), pc.greater(values, 0))
                _refuse(layout, raw, name, values, shares, None, origin)


def _checked(layout: _Columns, table: pa.Table) -> Iterable[tuple[str, str, str | None]]:
    if layout.is_raw:
        # Numbers of raw columns have ranges.
        names = set(table.column_names)
        return [(name, name, None) for name in LISTS if name in names and table.column_names.count(name) == 1]
    return [
        (raw, name, rule.values)
        for raw, (name, rule) in layout.columns.items()
        if raw in (*LISTS, *AUDIO) and not rule.missing
    ]


def _is_text(values: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_string(values.type))


def _is_number(values: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_floating(values.type) or pa.types.is_integer(values.type))


_LOOKS = {
    "python_list": "a list of Python",
    "seconds": "seconds, not milliseconds",
    "percent": "percents, not shares from 0 to 1",
    None: "shares from 0 to 1, not percents",
}


def _refuse(
    layout: _Columns,
    raw: str,
    name: str,
    values: pa.ChunkedArray,
    where: pa.ChunkedArray,
    rule: str | None,
    origin: str,
) -> None:
    count = pc.sum(where).as_py() or 0
    if count <= _MOST * (len(values) - values.null_count) or (rule != "python_list" and count < _FEWEST):
        return
    row = pc.index(where, True).as_py()
    columns = {each.name: each.raw_columns().get(raw) for each in known_layouts()}
    fitting = [other for other, column in columns.items() if column is not None and column.values == rule]
    choices = f"layout={' or layout='.join(fitting)} if it is one of these, else " if fitting else ""
    own = f"{{from: {name}, values: {rule}}}" if rule else name
    raise DataError(
        f"{origin}: {name!r} holds {shown(repr(values[row].as_py()))} (row {row + 1:,} of those read) and looks like "
        f"{_LOOKS[rule]}, where layout={layout.name} has {'names' if rule == 'python_list' else 'the other'}; "
        f"set {choices}layout=custom '+layout.columns={{{raw}: {own}}}'"
    )
