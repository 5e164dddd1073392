"""Tables of raw rows of any kind as a DataFrame."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow.interchange import from_dataframe

from spotify_ml.data.arrow import arrow_frame
from spotify_ml.data.header import repeated_names
from spotify_ml.data.schema import AUDIO, NAMES
from spotify_ml.utils.errors import DataError, did_you_mean, shown

_GIVE = "give a DataFrame, an Arrow or Polars table, a list of rows, or a mapping of columns"


def as_frame(rows: Any) -> pd.DataFrame:
    """Return raw rows as a DataFrame; index levels with the name of a raw column become columns.

    Parameters
    ----------
    rows : DataFrame, table, iterable of mappings, or mapping of columns
        A table is any object with ``__arrow_c_stream__``, ``__arrow_c_array__`` or ``__dataframe__``.

    Raises
    ------
    DataError
        If they are something else, or have a raw column more than once.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else _converted(rows)
    twice = [] if frame.columns.is_unique else repeated_names(list(frame.columns))
    repeated = [name for name in twice if name in NAMES]
    if repeated:
        raise DataError(f"rows have columns of one name: {', '.join(map(repr, repeated))}; rename or remove them")
    levels = [name for name in frame.index.names if name in NAMES and name not in frame.columns]
    return frame.assign(**{name: frame.index.get_level_values(name) for name in levels}) if levels else frame


def _converted(rows: Any) -> pd.DataFrame:
    if isinstance(rows, pd.Series):
        raise DataError(f"rows are a Series, which is a single column or row; {_GIVE}")
    if isinstance(rows, Mapping):
        return _of_columns(rows)
    if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
        try:
            return arrow_frame(pa.table(rows))
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise DataError(f"rows are a {type(rows).__name__}, not a table ({shown(error, 300)}); {_GIVE}") from error
    if hasattr(rows, "__dataframe__"):
        return arrow_frame(from_dataframe(rows))
    # File names and tables that are not computed yet have no rows, although some are iterable.
    if isinstance(rows, str | bytes) or hasattr(rows, "collect") or not isinstance(rows, Iterable):
        computed = ", computed before" if hasattr(rows, "collect") or hasattr(rows, "compute") else ""
        raise DataError(f"rows are a {type(rows).__name__}, not a table; {_GIVE}{computed}")
    listed = list(rows)
    for number, row in enumerate(listed, 1):
        if not isinstance(row, Mapping):
            raise DataError(f"row {number} is a {type(row).__name__}, not a mapping of names to values; {_GIVE}")
    check_keys(listed)
    return _made(listed)


def check_keys(rows: Sequence[Mapping[Any, Any]]) -> None:
    """Refuse a row without an audio column that others have, as it may be mistyped; the `DataError` suggests a name."""
    needed = [name for name in AUDIO if any(name in row for row in rows)]
    for number, row in enumerate(rows, 1):
        absent = next((name for name in needed if name not in row), None)
        if absent is not None:
            hint = did_you_mean(absent, [str(name) for name in row if name not in NAMES])
            raise DataError(f"row {number} lacks {absent}{hint}; give null, or None, where it is not known")


def _of_columns(columns: Mapping[Any, Any]) -> pd.DataFrame:
    single = [
        str(name) for name, values in columns.items() if isinstance(values, str) or not isinstance(values, Iterable)
    ]
    if single:
        raise DataError(f"rows are a mapping whose {shown(single[0])} is a single value; give one row in a list: [row]")
    return _made(dict(columns))


def _made(rows: list[Any] | dict[Any, Any]) -> pd.DataFrame:
    """Return rows or columns as a table; a column with half of a character (a surrogate) has objects."""
    try:
        try:
            return pd.DataFrame(rows)
        except UnicodeEncodeError:
            return pd.DataFrame(rows, dtype=object)
    except (ValueError, TypeError) as error:
        kind = "a mapping of columns" if isinstance(rows, dict) else "a list of rows"
        raise DataError(f"rows are {kind} that make no table ({shown(error, 300)}); {_GIVE}") from error
