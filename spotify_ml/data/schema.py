"""The columns of a raw track: names, types, ranges and nulls, and the check of a table against them."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from spotify_ml.data.arrow import listed, plain
from spotify_ml.data.dates import EXPECTED, read_dates
from spotify_ml.data.header import column_hint, repeated_names, separator_hint
from spotify_ml.data.texts import read_numbers, read_texts
from spotify_ml.utils.errors import DataError, shown

EXAMPLES = 3
# The first word of the problem of numbers out of range.
OUTSIDE = "outside "


class Kind(Enum):
    """The type of a column, as the Arrow type it is stored in."""

    TEXT = pa.string()
    INTEGER = pa.int64()
    NUMBER = pa.float64()
    FLAG = pa.bool_()


@dataclass(frozen=True)
class Column:
    """A raw column, with the closed range of a numeric one."""

    name: str
    kind: Kind
    minimum: float = -np.inf
    maximum: float = np.inf
    nullable: bool = False


@dataclass(frozen=True)
class Violation:
    """A problem of some rows of a table: their positions, and the first as examples; or of a whole column."""

    column: str
    problem: str
    count: int = 0
    examples: tuple[str, ...] = ()
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int), compare=False, repr=False)

    def __str__(self) -> str:
        """Return the violation as one line."""
        return f"{self.column}: {self.problem}{in_rows(self.count, self.examples) if self.count else ''}"


def in_rows(count: int, examples: Sequence[str]) -> str:
    """Return the number of rows with a problem, and the first of them, for a message."""
    return f" in {count:,} row{'s' * (count > 1)} ({', '.join(examples)})"


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
# What some files have beside them; a column like any other where it is there.
FURTHER = (Column("release_date", Kind.TEXT, nullable=True), Column("label", Kind.TEXT, nullable=True))
FURTHER_NAMES = tuple(column.name for column in FURTHER)
# What cleaning adds to them.
DERIVED = ("duration_min", "mood_energy", "energy_category", "tempo_category", "popularity_category")
TARGET = "popularity"
TEXT = tuple(column.name for column in COLUMNS if column.kind is Kind.TEXT)
NUMERIC = tuple(column.name for column in COLUMNS if column.kind is not Kind.TEXT)
AUDIO = tuple(name for name in NUMERIC if name != TARGET)
NULLABLE = tuple(column.name for column in COLUMNS if column.nullable)
# What a file to be trained on may lack.
OPTIONAL = (
    *("track_id", "artists", "album_name", "track_name", "track_genre"),
    *("explicit", "key", "mode", "time_signature"),
)
# The audio features that every file has, unless its layout says that it lacks them.
NEEDED = tuple(name for name in AUDIO if name not in OPTIONAL)
# What is measured of a track's sound: local files and episodes have a duration alone.
MEASURED = tuple(name for name in NEEDED if name != "duration_ms")
# The audio columns that a row to be scored may lack.
OPTIONAL_AUDIO = ("duration_ms", "explicit", "key", "loudness", "mode", "time_signature")
REQUIRED_AUDIO = tuple(name for name in AUDIO if name not in OPTIONAL_AUDIO)
# Artists and, after cleaning, genres are lists in one text.
LIST_SEPARATOR = ";"
LISTS = ("artists", "track_genre")
# A header may have thousands of names.
_SHOWN = 30
# Few values out of range are errors; half of many, or a tenth far out of range, suggest another unit.
_MANY = 10
_SHARE, _SHARE_FAR = 0.5, 0.1
_RANGES = {column.name: (column.minimum, column.maximum) for column in COLUMNS}


@dataclass
class Scales:
    """Counts of values out of range, and further out than the range is wide, to find columns in another unit."""

    n_rows: int = 0
    outside: Counter[str] = field(default_factory=Counter)
    far: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Scales") -> None:
        """Add the counts of further rows."""
        self.n_rows += other.n_rows
        self.outside.update(other.outside)
        self.far.update(other.far)

    def advice(self) -> dict[str, str]:
        """Return the advice for every column that seems to be in another unit, such as percent instead of shares."""
        return {
            name: f"{name} looks like another unit; convert the column to {low:g} to {high:g}"
            for name, (low, high) in ((name, _RANGES[name]) for name in self.outside)
            if self._is_other(name)
        }

    def _is_other(self, name: str) -> bool:
        count = self.outside[name]
        is_most = count >= max(_MANY, _SHARE * self.n_rows)
        return is_most or (count >= _SHARE_FAR * self.n_rows and self.far[name] >= count / 2)


def check_names(names: Sequence[str], origin: str) -> None:
    """Check that a header, of the file named `origin`, has every raw column once; a `DataError` names the others."""
    there = set(names)
    spare = [name for name in names if name not in NAMES]
    missing = [name + column_hint(name, spare) for name in NAMES if name not in there]
    repeated = [name for name in repeated_names(names) if name in NAMES]
    if missing or repeated:
        hint = separator_hint(names, NAMES)
        if hint:
            raise DataError(f"{origin} does not have the columns of raw tracks: {hint}")
        found = {"missing": missing, "more than once": repeated}
        listing = "\n  ".join(f"{problem}: {', '.join(columns)}" for problem, columns in found.items() if columns)
        raise DataError(
            f"{origin} does not have the columns of raw tracks:\n  {listing}\n"
            f"Its header is: {shown_names(names)}; rename, add or remove columns"
        )


def shown_names(names: Sequence[str]) -> str:
    """Return the names of a header for a message, shortened if there are many."""
    shown = ", ".join(f"{name[:60]!r}" for name in names[:_SHOWN])
    return shown + f" and {len(names) - _SHOWN:,} more" * (len(names) > _SHOWN)


class Gaps(NamedTuple):
    """What may be empty beside the nullable columns: cells of columns, and all that is measured of a row."""

    columns: tuple[str, ...] = ()
    rows: bool = False


NO_GAPS = Gaps()


def _unmeasured(table: pa.Table) -> np.ndarray:
    """Return which rows have no audio feature, shape (n_rows,)."""
    return np.logical_and.reduce([table.column(name).is_null().to_numpy() for name in MEASURED])


def check_values(
    table: pa.Table, rows: np.ndarray | None = None, gaps: Gaps = NO_GAPS
) -> tuple[pd.DataFrame, list[Violation]]:
    """Check every value of a table with the raw columns, typed or as text, and convert them to the schema's types.

    Of `FURTHER` columns those are kept that the table has.

    `rows` has the number of each row in the file, if broken rows were left out; `gaps` is what may be empty. Returns
    the raw columns in schema order, not valid in rows with violations, and all violations. Whole numbers and flags are
    floats where some are missing.
    """
    numbers = range(1, table.num_rows + 1) if rows is None else rows
    violations: list[Violation] = []
    unmeasured = _unmeasured(table) if gaps.rows else np.zeros(table.num_rows, dtype=bool)
    further = [column for column in FURTHER if column.name in table.column_names]
    for column in (*COLUMNS, *further):
        may_be_empty = unmeasured if column.name in NEEDED else np.zeros(table.num_rows, dtype=bool)
        if column.nullable or column.name in gaps.columns:
            may_be_empty = ~np.zeros(table.num_rows, dtype=bool)
        typed, found = _typed(table.column(column.name), column, numbers, may_be_empty)
        # Each column moves to the end: after all, they are in schema order.
        table = table.drop_columns(column.name).append_column(column.name, typed)
        violations += found
    # Ignore an index that pandas has recorded in the file.
    table = table.select([*NAMES, *(column.name for column in further)]).replace_schema_metadata()
    # Each column is freed once it is converted, if nothing else refers to the table.
    return table.to_pandas(split_blocks=True, self_destruct=True), violations


def empty_columns(tables: Sequence[pa.Table], filled: Collection[str] = ()) -> list[str]:
    """Return the columns that a file may lack and of which all cells are empty, but for those that are `filled`."""
    # A single empty cell may be where a file was cut off.
    several = sum(each.num_rows for each in tables) > 1
    return [
        name
        for name in OPTIONAL
        if several and name not in filled and all(each.column(name).null_count == each.num_rows for each in tables)
    ]


def joined_rows(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join tables of raw columns; where a value is missing in one of them, the column has floats in all."""
    mixed = [name for name in NUMERIC if len({frame[name].dtype for frame in frames}) > 1]
    return pd.concat([frame.astype(dict.fromkeys(mixed, np.float64)) for frame in frames], ignore_index=True)


def absent_columns(tracks: pd.DataFrame) -> list[str]:
    """Return the raw columns of tracks of which no value is known."""
    return [name for name in NAMES if tracks[name].isna().all()]


def _typed(
    values: pa.ChunkedArray, column: Column, numbers: Sequence[int] | np.ndarray, may_be_empty: np.ndarray
) -> tuple[pa.ChunkedArray, list[Violation]]:
    """Convert one column, and find values that are missing, unreadable or out of range."""
    given = _decoded(values)
    if column.name == "release_date":
        typed, unreadable = read_dates(given)
        missing = _null(typed) & ~unreadable
        problems = {f"not {EXPECTED}": unreadable}
    elif column.kind is Kind.TEXT:
        typed, unreadable = _text(given, LIST_SEPARATOR if column.name in LISTS else None)
        missing = _null(typed) & ~unreadable
        problems = {f"not {expected_text(column.name)}": unreadable}
    else:
        floats, missing = _floats(given, column.kind)
        fits = ~missing & _FITS[column.kind](floats)
        whole = given.type == column.kind.value and not given.null_count
        fitting = floats if fits.all() else np.where(fits, floats, 0)
        if (missing & may_be_empty).any():
            typed = pa.chunked_array([pa.array(np.where(fits, floats, np.nan))])
        else:
            typed = given if whole else pa.chunked_array([pa.array(fitting).cast(column.kind.value, safe=False)])
        problems = {
            f"{OUTSIDE}{column.minimum:g} to {column.maximum:g}": fits
            & ((floats < column.minimum) | (floats > column.maximum)),
            f"not {_EXPECTED[column.kind]}": ~missing & ~fits,
        }
    problems["empty or NaN"] = missing & ~may_be_empty
    found = [_violation(column.name, text, where, given, numbers) for text, where in problems.items() if where.any()]
    return typed, found


_EXPECTED = {Kind.INTEGER: "a whole number", Kind.NUMBER: "a number", Kind.FLAG: "true or false"}
_FITS: dict[Kind, Callable[[np.ndarray], np.ndarray]] = {
    Kind.INTEGER: lambda floats: np.isfinite(floats) & (floats == np.rint(floats)),
    Kind.NUMBER: np.isfinite,
    Kind.FLAG: lambda floats: np.isin(floats, (0, 1)),
}


def expected_text(name: str) -> str:
    """Return a description of the values of a text column."""
    return "text or a list of names" if name in LISTS else "text"


def _decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decode dictionaries, large strings and views, so that text has one type."""
    values = plain(values)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string()) if pa.types.is_large_string(values.type) else values


def _text(values: pa.ChunkedArray, separator: str | None) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Return values as text, null where missing, and which of them are something else."""
    wrong = np.zeros(len(values), dtype=bool)
    if pa.types.is_temporal(values.type):
        return pa.chunked_array([pa.nulls(len(values), pa.string())]), ~_null(values)
    if pa.types.is_string(values.type) or pa.types.is_integer(values.type) or pa.types.is_null(values.type):
        text = values.cast(pa.string())
    else:
        texts, wrong = read_texts(values.to_pylist(), separator)
        text = pa.chunked_array([pa.array(texts, pa.string())])
    empty = pc.equal(text, "")
    return pc.if_else(empty, None, text) if pc.any(empty).as_py() else text, wrong


def _null(values: pa.ChunkedArray) -> np.ndarray:
    return values.is_null().to_numpy() if values.null_count else np.zeros(len(values), dtype=bool)


def _floats(values: pa.ChunkedArray, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Return values as float64, NaN where they are no numbers, and which of them are missing."""
    if pa.types.is_nested(values.type) or pa.types.is_temporal(values.type):
        return np.full(len(values), np.nan), _null(values)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64(), safe=False)
    floats, unreadable = read_numbers(values.to_pandas(), is_flag=kind is Kind.FLAG)
    is_nan = np.isnan(floats)
    return floats, is_nan if unreadable is None else is_nan & ~unreadable


def _violation(
    name: str, problem: str, where: np.ndarray, values: pa.ChunkedArray, numbers: Sequence[int] | np.ndarray
) -> Violation:
    rows = np.flatnonzero(where)
    first = map(int, rows[:EXAMPLES])
    examples = tuple(f"row {numbers[row]}: {shown(repr(listed(values[row : row + 1])[0]))}" for row in first)
    return Violation(name, problem, len(rows), examples, rows)
