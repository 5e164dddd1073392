"""Values of any type read as text or numbers."""

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

# pandas finds a dtype by name more slowly than it casts a few values.
STRING = pd.StringDtype(na_value=np.nan)
# Columns whose text is read as numbers, by NumPy's letter or pandas' inferred type.
_NUMBER_TYPES = (*"biuf", "string", "integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty")
# Only flags are written in words.
_FLAG_WORDS = {"true": "1", "false": "0"}


def read_numbers(values: pd.Series, *, is_flag: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a column as float64, NaN where there is no number, and which values are something else, if any."""
    if values.dtype.kind in ("biuf" if is_flag else "iuf"):
        if isinstance(values.dtype, np.dtype):
            return np.asarray(values.array, dtype=np.float64), None
        return values.array.to_numpy(np.float64, na_value=np.nan), None
    text, is_other = _number_texts(values)
    text = text.str.strip().str.lower()
    missing = text.isna() | text.isin(["", "nan"])
    numbers = pd.to_numeric((text.replace(_FLAG_WORDS) if is_flag else text).mask(missing), errors="coerce")
    floats = numbers.to_numpy(np.float64, na_value=np.nan)
    unreadable = (np.isnan(floats) & ~missing.to_numpy()) | is_other
    return floats, unreadable if unreadable.any() else None


def _number_texts(values: pd.Series) -> tuple[pd.Series, np.ndarray | bool]:
    """Return the text of values to be read as numbers, and which values are no numbers of any kind."""
    kind = pd.api.types.infer_dtype(values) if values.dtype == object else values.dtype.kind
    if kind in _NUMBER_TYPES or is_text(values.dtype):
        with suppress(UnicodeEncodeError):
            return values.astype(STRING), False
    # Other objects, such as years, may have the text of a number.
    given = [str(value) if isinstance(value, bool | np.bool_) else value for value in values.tolist()]
    texts, wrong = read_texts(given, None)
    return pd.Series(texts, values.index, dtype=STRING), wrong


def is_text(dtype: Any) -> bool:
    """Return whether a dtype is pandas' text, or categories of text."""
    return isinstance(dtype.categories.dtype if isinstance(dtype, pd.CategoricalDtype) else dtype, pd.StringDtype)


def read_texts(values: Sequence[Any], separator: str | None) -> tuple[list[str | None], np.ndarray]:
    """Return values as text, None where missing, and which of them are something else.

    Numbers become their text, UTF-8 bytes are decoded, and with a `separator`, one list of names is joined. Booleans,
    objects, nested lists, lists with an empty name, and half of a character (a surrogate) are no text.

    >>> read_texts([["A", "B"], 25, None, {"name": "A"}], ";")
    (['A;B', '25', None, None], array([False, False, False,  True]))
    """
    texts = [_sound(value) if isinstance(value, str) else _text(value, separator) for value in values]
    pairs = zip(texts, values, strict=True)
    return texts, np.array([text is None and not _is_missing(value) for text, value in pairs], dtype=bool)


def _text(value: Any, separator: str | None) -> str | None:
    """Return a value that is no string as text, None where it is none."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, float | np.floating):
        # Integers beside missing values have become floats.
        return None if np.isnan(value) else str(int(value)) if float(value).is_integer() else str(value)
    if isinstance(value, int | np.integer | Decimal):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    if separator is not None and _is_list(value):
        are_names = all(isinstance(name, str) and name.strip() for name in value)
        return _sound(separator.join(value)) if are_names and len(value) else None
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _sound(text: str) -> str | None:
    """Return a string if it is valid text: JSON may contain half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text


def _is_missing(value: Any) -> bool:
    """Return whether a value is missing: None, NaN, pandas' NA and NaT, or an empty list."""
    if _is_list(value):
        return len(value) == 0
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))
