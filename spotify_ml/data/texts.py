"""Text of whatever type it comes in: names, numbers and lists of names as text, and what is none of them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd


def read_texts(values: Sequence[Any], separator: str | None) -> tuple[list[str | None], np.ndarray]:
    """Return values as text, None where there is none, and which of them are something else.

    Numbers are text as they are written, bytes if they are UTF-8, and one list of names is joined. True and false,
    objects, lists of lists, lists with an empty name, and half a character (a surrogate) are no text.

    Parameters
    ----------
    values : sequence
        Of one column.
    separator : str, optional
        What joins the names of a list; None where a list is no text.

    Examples
    --------
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
        # A whole number that stood beside empty values became a float.
        return None if np.isnan(value) else str(int(value)) if float(value).is_integer() else str(value)
    if isinstance(value, int | np.integer | Decimal):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    if separator is not None and _is_list(value):
        return _sound(separator.join(value)) if _are_names(value) and len(value) else None
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _sound(text: str) -> str | None:
    """Return a string if it is text: JSON may hold half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text


def _are_names(values: Any) -> bool:
    return all(isinstance(value, str) and value.strip() for value in values)


def _is_missing(value: Any) -> bool:
    """Tell whether there is no value: None, NaN, pandas' own kinds of it, and a list without a name."""
    if _is_list(value):
        return len(value) == 0
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))
