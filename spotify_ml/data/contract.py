"""The raw rows that a model accepts, and the problems of other rows."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from spotify_ml.data.dates import EXPECTED, read_dates
from spotify_ml.data.header import column_hint, is_written_otherwise, separator_hint
from spotify_ml.data.joined_columns import fill_flags, flags_of
from spotify_ml.data.schema import (
    AUDIO,
    COLUMNS,
    EXAMPLES,
    FURTHER_NAMES,
    LIST_SEPARATOR,
    LISTS,
    NAMES,
    OPTIONAL_AUDIO,
    REQUIRED_AUDIO,
    TEXT,
    Column,
    Kind,
    Scales,
    expected_text,
    in_rows,
)
from spotify_ml.data.tables import as_frame
from spotify_ml.data.texts import STRING, is_text, read_numbers, read_texts
from spotify_ml.utils.errors import DataError, shown

OutOfRange = Literal["refuse", "clip"]

_NAMES = tuple(column.name for column in COLUMNS if column.name in AUDIO or column.kind is Kind.TEXT)
_AUDIO = tuple(column for column in COLUMNS if column.name in AUDIO)
_IS_FLAG = np.array([column.kind is Kind.FLAG for column in _AUDIO])
_IS_WHOLE = _IS_FLAG | np.array([column.kind is Kind.INTEGER for column in _AUDIO])
# The schema has no range for flags.
_LOWEST = np.where(_IS_FLAG, 0, [column.minimum for column in _AUDIO])[:, np.newaxis]
_HIGHEST = np.where(_IS_FLAG, 1, [column.maximum for column in _AUDIO])[:, np.newaxis]


@dataclass(frozen=True)
class Problem:
    """A problem in a column, such as ``is not numeric``, and in which rows it is, shape (n_rows,)."""

    column: str
    text: str
    where: np.ndarray


@dataclass(frozen=True)
class CheckedRows:
    """Raw rows as a model takes them, and their problems.

    Attributes
    ----------
    audio : ndarray of float64, shape (n_columns, n_rows)
        The columns `spotify_ml.data.schema.AUDIO`; NaN where a value is missing or not numeric.
    text : dict of str to array of str
        The text columns, if given.
    further : dict of str to array
        The columns that the model takes beside those: text, or float64.
    problems : list of Problem
        All violations of the contract.
    clipped : dict of str to int
        The number of values moved into the range of their column.
    scales : Scales
        The number of values out of range.
    """

    audio: np.ndarray
    text: dict[str, ExtensionArray]
    further: dict[str, Any]
    problems: list[Problem]
    clipped: dict[str, int]
    scales: Scales

    def refused(self) -> np.ndarray:
        """Return which rows have a problem, shape (n_rows,)."""
        none = np.zeros(self.audio.shape[1], dtype=bool)
        return np.logical_or.reduce([none, *(problem.where for problem in self.problems)])

    def columns(self) -> dict[str, Any]:
        """Return the audio and text columns in schema order, and then further ones; absent text is empty."""
        columns = dict(zip(AUDIO, self.audio, strict=True))
        empty = pd.array([None] * self.audio.shape[1], dtype=STRING) if len(self.text) < len(TEXT) else None
        known = {name: columns[name] if name in columns else self.text.get(name, empty) for name in _NAMES}
        return known | self.further

    def frame(self) -> pd.DataFrame:
        """Return the columns as a table."""
        return pd.DataFrame(self.columns(), copy=False)


def check_columns(
    names: Sequence[str], origin: str = "rows to score", required: Sequence[str] = REQUIRED_AUDIO
) -> None:
    """Check that all required columns exist; a `DataError` names every absent one, with the nearest existing name."""
    there = set(names)
    given = [str(name) for name in names]
    spare = [name for name in given if name not in NAMES]
    # A column of a similar name is rather meant than absent.
    renamed = [name for name in OPTIONAL_AUDIO if name not in there and is_written_otherwise(name, spare)]
    absent = [name for name in AUDIO if name not in there and (name in required or name in renamed)]
    if not absent:
        return
    if hint := separator_hint(given, NAMES):
        raise DataError(f"{origin} lack the columns of raw tracks: {hint}")
    listing = ", ".join(name + column_hint(name, spare) for name in absent)
    advice = f"give {', '.join(required)}" if set(absent) - set(renamed) else "rename what is meant by them"
    raise DataError(f"{origin} lack the columns {listing}; {advice}")


def check_rows(
    rows: pd.DataFrame, out_of_range: OutOfRange = "refuse", further: Mapping[str, Kind] = MappingProxyType({})
) -> CheckedRows:
    """Check raw rows against the contract; text and some audio columns are optional, other columns are ignored.

    Numbers may be integers, floats or text; flags 0, 1, true or false; text strings, numbers, objects or categories,
    and artists and genres also a list of names. Missing values are allowed. A number out of range is a problem
    (``"refuse"``) or is moved to the nearest bound (``"clip"``). `further` are the columns that a model takes beside
    these, all of which may be absent. A `DataError` names every absent column of
    `spotify_ml.data.schema.REQUIRED_AUDIO`.
    """
    rows = as_frame(rows)
    check_columns(list(rows.columns))
    audio = np.empty((len(_AUDIO), len(rows)))
    problems: list[Problem] = []
    for position, column in enumerate(_AUDIO):
        if column.name not in rows.columns:
            audio[position] = np.nan
            continue
        audio[position], unreadable = read_numbers(rows[column.name], is_flag=column.kind is Kind.FLAG)
        if unreadable is not None:
            problems.append(Problem(column.name, "is not numeric", unreadable))
    # NaN is neither below nor above.
    outside = (audio < _LOWEST) | (audio > _HIGHEST)
    outside[_IS_WHOLE] |= np.rint(audio[_IS_WHOLE]) != audio[_IS_WHOLE]
    scales = Scales(len(rows))
    if outside.any():
        outside &= ~np.isnan(audio)
        for column, values, beyond in zip(_AUDIO, audio, outside, strict=True):
            if beyond.any():
                problems += _outside(column, values, beyond, out_of_range, scales)
    text: dict[str, ExtensionArray] = {}
    for name in TEXT:
        if name in rows.columns:
            text[name], wrong = _read_text(rows[name], LIST_SEPARATOR if name in LISTS else None)
            if wrong is not None:
                problems.append(Problem(name, f"is not {expected_text(name)}", wrong))
    beside = {name: _read_further(rows, name, kind, problems) for name, kind in further.items()}
    beside = fill_flags(beside)
    return CheckedRows(audio, text, beside, problems, dict(scales.outside) if out_of_range == "clip" else {}, scales)


def _read_further(rows: pd.DataFrame, name: str, kind: Kind, problems: list[Problem]) -> Any:
    """Return a further column, empty where it is absent, and add what is wrong with it."""
    if name not in rows.columns:
        return pd.array([None] * len(rows), dtype=STRING) if kind is Kind.TEXT else np.full(len(rows), np.nan)
    values: Any
    wrong: np.ndarray | None
    if name == "release_date":
        dates, wrong = read_dates(rows[name])
        values, text = dates.to_pandas().array, f"is not {EXPECTED}"
    elif kind is Kind.TEXT:
        (values, wrong), text = _read_text(rows[name], None if name in FURTHER_NAMES else LIST_SEPARATOR), "is not text"
    else:
        (values, wrong), text = read_numbers(rows[name], is_flag=True), "is not numeric"
        # A flag of a joined table is 0 or 1; other numbers of joined tables have no range.
        is_flag = bool(flags_of([name]))
        beyond = ~np.isnan(values) & (~np.isin(values, (0, 1)) if is_flag else ~np.isfinite(values.astype(np.float32)))
        if beyond.any():
            problems.append(Problem(name, "is not true or false" if is_flag else "is infinite", beyond))
    if wrong is not None and wrong.any():
        problems.append(Problem(name, text, wrong))
    return values


def _read_text(values: pd.Series, separator: str | None) -> tuple[ExtensionArray, np.ndarray | None]:
    """Return a column as text, empty where missing, and which values are something else, if any."""
    if is_text(values.dtype) or (values.dtype == object and pd.api.types.infer_dtype(values) in ("string", "empty")):
        with suppress(UnicodeEncodeError):
            return values.astype(STRING).array, None
    texts, wrong = read_texts(values.tolist(), separator)
    return pd.array(texts, dtype=STRING), wrong if wrong.any() else None


def scoring_rows(
    rows: pd.DataFrame, out_of_range: OutOfRange = "refuse", further: Mapping[str, Kind] = MappingProxyType({})
) -> CheckedRows:
    """Return raw rows as a model takes them, with the parameters of `check_rows`.

    Raises
    ------
    DataError
        Naming every absent column that is needed, or every column with values that cannot be scored, their number and
        the first of them.
    """
    rows = as_frame(rows)
    checked = check_rows(rows, out_of_range, further)
    if checked.problems:
        described = ", ".join(_describe(problem, rows) for problem in checked.problems)
        raise DataError("; ".join([f"rows to score: {described}", *checked.scales.advice().values()]))
    return checked


def _describe(problem: Problem, rows: pd.DataFrame) -> str:
    values = rows[problem.column]
    examples = [f"row {row + 1}: {shown(values.iloc[row])}" for row in np.flatnonzero(problem.where)[:EXAMPLES]]
    return f"{problem.column} {problem.text}{in_rows(int(problem.where.sum()), examples)}"


def _outside(
    column: Column, values: np.ndarray, outside: np.ndarray, out_of_range: OutOfRange, scales: Scales
) -> list[Problem]:
    """Return the problems of a column with values out of range; count those values, and clip them if asked."""
    if column.kind is Kind.FLAG:
        return [Problem(column.name, "is not true or false", outside)]
    unbounded = np.isinf(values)
    fraction = outside & ~unbounded & (np.rint(values) != values) & (column.kind is Kind.INTEGER)
    beyond = outside & ~unbounded & ~fraction
    found = {"is infinite": unbounded, "is not a whole number": fraction}
    if beyond.any():
        width = column.maximum - column.minimum
        is_far = beyond & ((values < column.minimum - width) | (values > column.maximum + width))
        scales.outside[column.name], scales.far[column.name] = int(beyond.sum()), int(is_far.sum())
    if out_of_range == "clip":
        values[beyond] = values[beyond].clip(column.minimum, column.maximum)
    else:
        found[f"is outside {column.minimum:g} to {column.maximum:g}"] = beyond
    return [Problem(column.name, text, where) for text, where in found.items() if where.any()]
