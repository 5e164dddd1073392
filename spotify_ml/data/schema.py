"""The columns of a raw track: names, types, ranges and nulls, and the check of a table against them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from spotify_ml.data.arrow import listed, plain
from spotify_ml.data.header import column_hint, repeated_names, separator_hint
from spotify_ml.data.texts import read_texts
from spotify_ml.utils.errors import DataError, shown

EXAMPLES = 3
# How a problem begins that is a number outside of the range of its column.
OUTSIDE = "outside "


class Kind(Enum):
    """What a column holds, and the Arrow type it is kept in."""

    TEXT = pa.string()
    INTEGER = pa.int64()
    NUMBER = pa.float64()
    FLAG = pa.bool_()


@dataclass(frozen=True)
class Column:
    """One raw column.

    Attributes
    ----------
    name : str
        Its name in the dataset.
    kind : Kind
        What it holds.
    minimum, maximum : float
        The closed range of a numeric column.
    nullable : bool
        Whether a row may leave it empty.
    """

    name: str
    kind: Kind
    minimum: float = -np.inf
    maximum: float = np.inf
    nullable: bool = False


@dataclass(frozen=True)
class Violation:
    """One way in which a table breaks the schema.

    Attributes
    ----------
    column : str
        The column, or ``row`` where whole rows are broken.
    problem : str
        What is wrong, and what was expected.
    count : int
        How many rows it concerns; 0 where it concerns the column as a whole.
    examples : tuple of str
        The first rows it concerns, counted from 1 without the header, with their values.
    rows : ndarray of int
        The positions in the table of all of them.
    """

    column: str
    problem: str
    count: int = 0
    examples: tuple[str, ...] = ()
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int), compare=False, repr=False)

    def __str__(self) -> str:
        """Return the violation as one line."""
        rows = f" in {self.count:,} row{'s' * (self.count > 1)} ({', '.join(self.examples)})" if self.count else ""
        return f"{self.column}: {self.problem}{rows}"


def _unit(name: str) -> Column:
    return Column(name, Kind.NUMBER, 0, 1)


# Ranges follow the Web API's definitions (key -1: none detected; time_signature 0: none detected),
# with loudness as wide as mastered audio gets and a day as the longest track.
COLUMNS = (
    Column("track_id", Kind.TEXT),
    Column("artists", Kind.TEXT, nullable=True),
    Column("album_name", Kind.TEXT, nullable=True),
    Column("track_name", Kind.TEXT, nullable=True),
    Column("popularity", Kind.NUMBER, 0, 100),
    Column("duration_ms", Kind.INTEGER, 0, 86_400_000),
    Column("explicit", Kind.FLAG),
    _unit("danceability"),
    _unit("energy"),
    Column("key", Kind.INTEGER, -1, 11),
    Column("loudness", Kind.NUMBER, -100, 20),
    Column("mode", Kind.INTEGER, 0, 1),
    _unit("speechiness"),
    _unit("acousticness"),
    _unit("instrumentalness"),
    _unit("liveness"),
    _unit("valence"),
    Column("tempo", Kind.NUMBER, 0, 300),
    Column("time_signature", Kind.INTEGER, 0, 7),
    Column("track_genre", Kind.TEXT),
)
NAMES = tuple(column.name for column in COLUMNS)
TARGET = "popularity"
TEXT = tuple(column.name for column in COLUMNS if column.kind is Kind.TEXT)
NUMERIC = tuple(column.name for column in COLUMNS if column.kind is not Kind.TEXT)
AUDIO = tuple(name for name in NUMERIC if name != TARGET)
# Artists and, after cleaning, genres are lists in one string.
LIST_SEPARATOR = ";"
LISTS = ("artists", "track_genre")
# Of a header of thousands of names.
_SHOWN = 30


def check_names(names: Sequence[str], origin: str) -> None:
    """Check that a table's header has every raw column, once.

    Parameters
    ----------
    names : sequence of str
        The header, in file order.
    origin : str
        What to call the table in the error.

    Raises
    ------
    DataError
        Naming every missing and every repeated column; a missing one with the nearest name that is there.
    """
    there = set(names)
    spare = [name for name in names if name not in NAMES]
    missing = [name + column_hint(name, spare) for name in NAMES if name not in there]
    repeated = [name for name in repeated_names(names) if name in NAMES]
    if missing or repeated:
        hint = separator_hint(names, NAMES)
        if hint:
            raise DataError(f"{origin} does not have the columns of raw tracks: {hint}")
        problems = ["missing: " + ", ".join(missing)] * bool(missing)
        problems += ["more than once: " + ", ".join(repeated)] * bool(repeated)
        listing = "\n  ".join(problems)
        raise DataError(
            f"{origin} does not have the columns of raw tracks:\n  {listing}\n"
            f"Its header is: {shown_names(names)}; rename, add or remove columns"
        )


def shown_names(names: Sequence[str]) -> str:
    """Return the names of a header for a message, shortened where there are many."""
    shown = ", ".join(f"{name[:60]!r}" for name in names[:_SHOWN])
    return shown + f" and {len(names) - _SHOWN:,} more" * (len(names) > _SHOWN)


def check_values(table: pa.Table, rows: np.ndarray | None = None) -> tuple[pd.DataFrame, list[Violation]]:
    """Check every value of a table with the raw columns and give it the schema's types.

    Parameters
    ----------
    table : pyarrow.Table
        The raw columns, typed or as text.
    rows : ndarray of int, optional
        The row number in the file of each row, where broken rows were left out before.

    Returns
    -------
    tracks : DataFrame
        The raw columns in schema order; meaningless where there are violations.
    violations : list of Violation
        Everything that breaks the schema.
    """
    numbers = range(1, table.num_rows + 1) if rows is None else rows
    violations: list[Violation] = []
    for column in COLUMNS:
        typed, found = _typed(table.column(column.name), column, numbers)
        # In place of the given one, and last: this leaves the order of the schema.
        table = table.drop_columns(column.name).append_column(column.name, typed)
        violations += found
    # What pandas once wrote into a file about its index does not concern the columns.
    table = table.select(NAMES).replace_schema_metadata()
    # Each column is let go of when it is converted, where nobody else holds the table.
    return table.to_pandas(split_blocks=True, self_destruct=True), violations


def _typed(
    values: pa.ChunkedArray, column: Column, numbers: Sequence[int] | np.ndarray
) -> tuple[pa.ChunkedArray, list[Violation]]:
    """Cast one column to its kind, and say which values are missing, unreadable or out of range."""
    given = _decoded(values)
    if column.kind is Kind.TEXT:
        typed, unreadable = _text(given, LIST_SEPARATOR if column.name in LISTS else None)
        missing = _null(typed) & ~unreadable
        problems = {f"not {expected_text(column.name)}": unreadable}
    else:
        floats, missing = _floats(given, column.kind)
        fits = ~missing & _FITS[column.kind](floats)
        whole = given.type == column.kind.value and not given.null_count
        typed = given if whole else _cast(floats if fits.all() else np.where(fits, floats, 0), column.kind)
        problems = {
            f"{OUTSIDE}{column.minimum:g} to {column.maximum:g}": fits
            & ((floats < column.minimum) | (floats > column.maximum)),
            f"not {_EXPECTED[column.kind]}": ~missing & ~fits,
        }
    if not column.nullable:
        problems["empty or NaN"] = missing
    found = [_violation(column.name, text, where, given, numbers) for text, where in problems.items() if where.any()]
    return typed, found


_EXPECTED = {Kind.INTEGER: "a whole number", Kind.NUMBER: "a number", Kind.FLAG: "true or false"}
# Only a flag is written in words.
FLAG_WORDS = {"true": "1", "false": "0"}
_FITS: dict[Kind, Callable[[np.ndarray], np.ndarray]] = {
    Kind.INTEGER: lambda floats: np.isfinite(floats) & (floats == np.rint(floats)),
    Kind.NUMBER: np.isfinite,
    Kind.FLAG: lambda floats: np.isin(floats, (0, 1)),
}


def expected_text(name: str) -> str:
    """Return what a text column takes."""
    return "text or a list of names" if name in LISTS else "text"


def _decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decode dictionary, large and viewed strings, so that text has one type."""
    values = plain(values)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string()) if pa.types.is_large_string(values.type) else values


def _text(values: pa.ChunkedArray, separator: str | None) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Return values as text, null where there is none, and which of them are something else."""
    wrong = np.zeros(len(values), dtype=bool)
    if pa.types.is_temporal(values.type):
        return pa.chunked_array([pa.nulls(len(values), pa.string())]), ~_null(values)
    if pa.types.is_string(values.type) or pa.types.is_integer(values.type) or pa.types.is_null(values.type):
        text = values.cast(pa.string())
    else:
        texts, wrong = read_texts(values.to_pylist(), separator)
        text = pa.chunked_array([pa.array(texts, pa.string())])
    empty = pc.equal(text, "")
    if pc.any(empty).as_py():
        text = pc.if_else(empty, None, text)
    return text, wrong


def _null(values: pa.ChunkedArray) -> np.ndarray:
    return values.is_null().to_numpy() if values.null_count else np.zeros(len(values), dtype=bool)


def _floats(values: pa.ChunkedArray, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Return values as float64, NaN where they are no numbers, and which of them are missing."""
    missing = _null(values)
    if pa.types.is_string(values.type):
        text = values.to_pandas().str.strip().str.lower()
        missing |= text.isin(["", "nan"]).to_numpy()
        if kind is Kind.FLAG:
            text = text.replace(FLAG_WORDS)
        return pd.to_numeric(text, errors="coerce").to_numpy(float, na_value=np.nan), missing
    if pa.types.is_boolean(values.type):
        if kind is not Kind.FLAG:
            return np.full(len(values), np.nan), missing
        values = values.cast(pa.int8())
    try:
        floats = values.cast(pa.float64(), safe=False).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.full(len(values), np.nan), missing
    # A NaN is a missing value in a column of floats, but would be an unreadable one in any other.
    return floats, missing | np.isnan(floats)


def _cast(floats: np.ndarray, kind: Kind) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(floats).cast(kind.value, safe=False)])


def _violation(
    name: str, problem: str, where: np.ndarray, values: pa.ChunkedArray, numbers: Sequence[int] | np.ndarray
) -> Violation:
    rows = np.flatnonzero(where)
    examples = tuple(
        f"row {numbers[row]}: {shown(repr(listed(values[int(row) : int(row) + 1])[0]))}" for row in rows[:EXAMPLES]
    )
    return Violation(name, problem, len(rows), examples, rows)
