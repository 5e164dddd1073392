"""What the columns of a layout hold, made into values of raw columns: units, lists, keys and words."""

import ast
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spotify_ml.config.layouts import ColumnConfig
from spotify_ml.data.arrow import plain
from spotify_ml.data.schema import LIST_SEPARATOR, Kind
from spotify_ml.data.texts import read_numbers
from spotify_ml.utils.errors import DataError, shown

_SCALES = {"percent": 1 / 100, "seconds": 1000, "minutes": 60_000}
_SHARP = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_FLAT = {"Db": 1, "Eb": 3, "Gb": 6, "Ab": 8, "Bb": 10}
_KEYS = {name: number for number, name in enumerate(_SHARP)} | _FLAT
_MODES = {"major": 1, "minor": 0}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul")
_BEATS = re.compile(r"(\d)/4")
# Excel makes dates of beats: 3/4 becomes 4-Mar, or 3-Apr where the day comes first.
_EXCEL_BEATS = re.compile(r"0?(\d)-([A-Z][a-z]{2})")
_URI_START = "spotify:track:"
_URI = r"^(?:spotify:track:|https?://open\.spotify\.com/(?:intl-[a-z-]+/)?track/)([0-9A-Za-z]+)(?:\?.*)?$"
# What Python writes for names without quotes, backslashes and separators.
_SIMPLE_LIST = r"""^\['[^'"\\;]*'(, '[^'"\\;]*')*\]$"""
LIKE_A_LIST = r"""^\[\s*['"].*['"]\s*\]$"""


def kind_of(rule: ColumnConfig, raw: Kind) -> Kind | None:
    """Return the kind of value that a column of a file holds, None if only its text can be converted."""
    if rule.missing:
        return None
    if rule.values in _SCALES:
        return Kind.NUMBER
    return raw if rule.values is None else None


def converted(values: pa.ChunkedArray, rule: ColumnConfig) -> pa.ChunkedArray:
    """Return values of a file as those of a raw column; what does not fit the rule is text that no number is read from.

    Raises
    ------
    DataError
        If text is no list of Python where the layout has such lists; the message begins with the position of the row.
    """
    values = _decoded(values)
    if rule.missing and _is_text(values):
        values = pc.if_else(pc.is_in(pc.utf8_trim_whitespace(values), pa.array(rule.missing)), None, values)
    if rule.values is None:
        return values
    if rule.values in _SCALES:
        return _scaled(values, _SCALES[rule.values])
    if not _is_text(values):
        # Lists of a Parquet file are lists already.
        return values if pa.types.is_nested(values.type) else _converters[rule.values](values.cast(pa.string()), rule)
    return _converters[rule.values](values, rule)


def _decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    values = plain(values)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string()) if pa.types.is_large_string(values.type) else values


def _is_text(values: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_string(values.type))


def _scaled(values: pa.ChunkedArray, factor: float) -> pa.ChunkedArray:
    if not (_is_text(values) or pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return values
    floats, wrong = read_numbers(values.to_pandas(), is_flag=False)
    # Dividing by 100 rounds once, as reading 0.57 does.
    scaled = floats / round(1 / factor) if factor < 1 else np.rint(floats * factor)
    return _with_wrong(scaled, wrong, values)


def _with_wrong(numbers: np.ndarray, wrong: np.ndarray | None, given: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers; if some of them could not be read, as text, with these as they are given."""
    array = pa.array(numbers, mask=np.isnan(numbers))
    if wrong is None or not wrong.any():
        return pa.chunked_array([array])
    return pc.if_else(pa.array(wrong), _no_number(given), pa.chunked_array([array.cast(pa.string())]))


def _no_number(given: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text in quotes, so that a number which is none in this layout stays none."""
    return pc.binary_join_element_wise("'", given.cast(pa.string()), "'", "")


def _by_word(find: Callable[[str], float | None]) -> Callable[[pa.ChunkedArray, ColumnConfig], pa.ChunkedArray]:
    def convert(values: pa.ChunkedArray, rule: ColumnConfig) -> pa.ChunkedArray:
        encoded = pc.dictionary_encode(values.combine_chunks())
        words = encoded.dictionary.to_pylist()
        found = np.array([_found(find, word) for word in words] + [np.nan])
        codes = encoded.indices.fill_null(len(words)).to_numpy()
        numbers = found[codes]
        wrong = np.isinf(numbers)
        return _with_wrong(np.where(wrong, np.nan, numbers), wrong, values)

    return convert


def _found(find: Callable[[str], float | None], word: str) -> float:
    """Return the number of a word, NaN for an empty one, infinity if it has none."""
    word = word.strip()
    if not word:
        return np.nan
    number = find(word)
    return np.inf if number is None else number


def _beats(word: str) -> float | None:
    if found := _BEATS.fullmatch(word):
        return int(found[1])
    if (found := _EXCEL_BEATS.fullmatch(word)) and found[2] in _MONTHS:
        day, month = int(found[1]), _MONTHS.index(found[2]) + 1
        return day if month == 4 else month if day == 4 else None
    return None


def _uris(values: pa.ChunkedArray, rule: ColumnConfig) -> pa.ChunkedArray:
    if pc.all(pc.starts_with(values, _URI_START)).as_py():
        return pc.utf8_slice_codeunits(values, len(_URI_START))
    return pc.replace_substring_regex(values, _URI, r"\1")


def _lists(values: pa.ChunkedArray, rule: ColumnConfig) -> pa.ChunkedArray:
    separator = rule.separator or LIST_SEPARATOR
    if separator == LIST_SEPARATOR and rule.escape is None:
        return values
    is_simple = pc.invert(pc.match_substring(values, LIST_SEPARATOR))
    if rule.escape is not None:
        is_simple = pc.and_not(is_simple, pc.match_substring(values, rule.escape))
    quick = pc.replace_substring(values, separator, LIST_SEPARATOR)
    # A separator with blanks is exact; without them, those around it do not count.
    blanks = r"\s*" if separator == separator.strip() else ""
    if blanks:
        quick = pc.replace_substring(quick, f"{LIST_SEPARATOR} ", LIST_SEPARATOR)
        is_simple = pc.and_not(is_simple, pc.match_substring_regex(quick, rf"\s{LIST_SEPARATOR}|{LIST_SEPARATOR}\s"))
    pattern = f"{blanks}{re.escape(separator)}{blanks}"
    return _mixed(values, is_simple, quick, lambda text: _names(text, pattern, rule.escape))


def _names(text: str, pattern: str, escape: str | None) -> list[str]:
    if escape is None:
        return re.split(pattern, text)
    divided = re.split(rf"(?<!{re.escape(escape)}){pattern}", text)
    return [re.sub(rf"{re.escape(escape)}(.)", r"\1", name) for name in divided]


def _python_lists(values: pa.ChunkedArray, rule: ColumnConfig) -> pa.ChunkedArray:
    is_simple = pc.match_substring_regex(values, _SIMPLE_LIST)
    quick = pc.replace_substring(pc.utf8_slice_codeunits(values, 2, -2), "', '", LIST_SEPARATOR)
    return _mixed(values, is_simple, quick, _evaluated)


def _evaluated(text: str) -> list[str]:
    try:
        names = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(text)
    return names


def _mixed(
    values: pa.ChunkedArray, is_simple: pa.ChunkedArray, quick: pa.ChunkedArray, divide: Callable[[str], list[str]]
) -> pa.ChunkedArray:
    """Return `quick` for simple lists, and the others taken apart one distinct text at a time."""
    if pc.all(is_simple).as_py() is not False:
        return quick
    rest = pc.invert(is_simple).fill_null(False)
    encoded = pc.dictionary_encode(values.filter(rest).combine_chunks())
    joined: list[str | None] = []
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            names = [name.replace(LIST_SEPARATOR, "").strip() for name in divide(text)]
        except ValueError as error:
            first = int(np.flatnonzero(encoded.indices.to_numpy(zero_copy_only=False) == code)[0])
            row = int(np.flatnonzero(rest.to_numpy())[first])
            raise WrongValueError(row, text) from error
        joined.append(LIST_SEPARATOR.join(filter(None, names)) or None)
    return pc.replace_with_mask(
        quick.combine_chunks(), rest.combine_chunks(), pa.array(joined, pa.string()).take(encoded.indices)
    )


class WrongValueError(DataError):
    """A value that no rule of its layout can read, in a row of a batch."""

    def __init__(self, row: int, text: str) -> None:
        super().__init__(f"row {row + 1} holds {shown(text)!r}")
        self.row, self.text = row, text


_converters: dict[str, Any] = {
    "key_letters": _by_word(lambda word: _KEYS.get(word.replace("♯", "#").replace("♭", "b"))),
    "mode_words": _by_word(lambda word: _MODES.get(word.lower())),
    "beats": _by_word(_beats),
    "spotify_uri": _uris,
    "list": _lists,
    "python_list": _python_lists,
}
