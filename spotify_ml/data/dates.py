"""Release dates, which are known to the day, the month or the year."""

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

# The day on which popularity was counted, in days since 1970, shape (n_rows,).
COLLECTED_COLUMN = "collected"
# What catalogues write where a date is not known.
PLACEHOLDERS = ("0000", "0000-00", "0000-00-00", "1900-01-01")
DAYS_PER_YEAR = 365.25
# The first recording of sound.
_FIRST_YEAR = 1860
EXPECTED = f"a date such as 2019-07-05, 2019-07 or 2019, from {_FIRST_YEAR} to the next year"
_DATE = re.compile(r"(\d{4})(?:\.0)?(?:-(\d{1,2})(?:-(\d{1,2}))?)?(?:[T ][\d:.]*(?:Z|[+-]\d\d:?\d\d)?)?")
# Characters of a date of each precision: year, month, day.
_LENGTHS = {4: 1, 7: 2, 10: 3}


class Dates(NamedTuple):
    """Dates as days since 1970, each of shape (n_rows,): the first and the last that is meant, NaN where unknown.

    `precision` is 3 for a day, 2 for a month, 1 for a year, and 0 where a date is not known.
    """

    first: np.ndarray
    last: np.ndarray
    precision: np.ndarray


def read_dates(values: Any) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Return dates as text such as ``2019-07``, null where there is none, and which values are no date.

    `values` is a column of text, numbers of years, or times. A year before 1860, or after the next one, is no date.
    """
    texts = _texts(values)
    encoded = pc.dictionary_encode(texts).combine_chunks()
    words = encoded.dictionary.to_pylist()
    found = [_normal(word.strip()) for word in words]
    wrong = np.array([form is None and bool(word.strip()) for form, word in zip(found, words, strict=True)] + [False])
    codes = encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    return pa.chunked_array([pa.array(found, pa.string()).take(encoded.indices)]), wrong[codes]


def _texts(values: Any) -> pa.ChunkedArray:
    if isinstance(values, pd.Series):
        try:
            values = pa.chunked_array([pa.Array.from_pandas(values)])
        except pa.ArrowException:
            values = pa.chunked_array([[None if pd.isna(each) else str(each) for each in values.astype(object)]])
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_nested(values.type) or pa.types.is_boolean(values.type) or pa.types.is_binary(values.type):
        return pa.chunked_array([pa.array([None if each is None else repr(each) for each in values.to_pylist()])])
    return values.cast(pa.string())


@lru_cache(2**16)
def _normal(text: str) -> str | None:
    """Return a date in its normal form, None if it is none."""
    if text in PLACEHOLDERS:
        return text
    found = _DATE.fullmatch(text)
    if found is None or not _FIRST_YEAR <= int(found[1]) <= _next_year():
        return None
    year, *others = (part for part in found.groups() if part is not None)
    try:
        date(int(year), *(int(part) for part in [*others, "1", "1"][:2]))
    except ValueError:
        return None
    return "-".join([year, *(part.zfill(2) for part in others)])


def _next_year() -> int:
    return datetime.now(UTC).year + 1


def parse_dates(texts: Any) -> Dates:
    """Return dates from text in the form of `read_dates`; placeholders are not known."""
    codes, words = pd.factorize(texts if isinstance(texts, pd.Series) else pd.Series(texts, dtype="str"))
    precision = np.array(
        [0 if word in PLACEHOLDERS else _LENGTHS[len(word)] for word in map(str, words)] + [0], dtype=np.int8
    )
    first, last = np.full(len(precision), np.nan), np.full(len(precision), np.nan)
    known = np.flatnonzero(precision)
    if len(known):
        days = np.array([str(words[int(code)]) for code in known], dtype="datetime64[D]")
        months, years = days.astype("datetime64[M]"), days.astype("datetime64[Y]")
        ends = np.select(
            [precision[known] == 3, precision[known] == 2],
            [days, (months + 1).astype("datetime64[D]") - 1],
            (years + 1).astype("datetime64[D]") - 1,
        )
        first[known], last[known] = days.astype(np.int64), ends.astype(np.int64)
    return Dates(first[codes], last[codes], precision[codes])


def day_of(text: str) -> int:
    """Return a day such as 2020-01-21 as days since 1970."""
    return int(np.datetime64(date.fromisoformat(text), "D").astype(np.int64))


def day_text(day: float) -> str:
    """Return days since 1970 as text.

    >>> day_text(18282)
    '2020-01-21'
    """
    return str(np.datetime64(int(day), "D"))


def collected_days(dates: Dates, given: np.ndarray | None) -> np.ndarray:
    """Return the day on which the popularity of each row was counted: as given, else the newest release, if any."""
    newest = np.nanmax(dates.first) if np.isfinite(dates.first).any() else np.nan
    days = np.full(len(dates.first), np.nan) if given is None else given
    return np.where(np.isnan(days), newest, days)
