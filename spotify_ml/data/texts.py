"""Values of any type read as text or numbers."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

# Only flags are written in words.
_FLAG_WORDS = {"true": "1", "false": "0"}


def parse_numbers(text: pd.Series, *, is_flag: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return text as float64, NaN where it is no number, and which values are missing."""
    text = text.str.strip().str.lower()
    missing = text.isna() | text.isin(["", "nan"])
    numbers = pd.to_numeric((text.replace(_FLAG_WORDS) if is_flag else text).mask(missing), errors="coerce")
    return numbers.to_numpy(np.float64, na_value=np.nan), missing.to_numpy()


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
