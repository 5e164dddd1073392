"""Columns of keys, in which what is equal is held once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

# So many values are Python's strings at a time; in Arrow's arrays they take a third of that.
_CHUNK = 2**16
# Up to so many rows a dictionary is faster than what pandas does before it begins.
_FEW_ROWS = 64


def distinct_values(column: Any) -> tuple[np.ndarray, Sequence[str]]:
    """Return the position of every value among the distinct ones, and those in the order of their first appearance.

    Parameters
    ----------
    column : Series, Categorical or array of str, shape (n_rows,)
        The values; a missing one has position -1.
    """
    if len(column) > _FEW_ROWS:
        codes, distinct = pd.factorize(column)
        return codes, distinct
    positions: dict[str, int] = {}
    codes = [positions.setdefault(value, len(positions)) if isinstance(value, str) else -1 for value in column]
    return np.array(codes, dtype=np.intp), list(positions)


def chunks(values: Any) -> Iterator[Any]:
    """Yield a sequence of strings as Python's, some at a time."""
    if len(values) <= _FEW_ROWS:
        yield values
        return
    for start in range(0, len(values), _CHUNK):
        yield np.asarray(values[start : start + _CHUNK], dtype=object)


def changed(values: Any, change: Callable[[str], str]) -> Any:
    """Return what a function makes of every value, None where it is empty; of many, as Arrow holds them."""
    parts = ([change(value) or None for value in chunk] for chunk in chunks(values))
    if len(values) <= _CHUNK:
        return np.array([value for part in parts for value in part], dtype=object)
    return pd.array(pa.chunked_array([pa.array(part, pa.large_string()) for part in parts]), dtype="str")


def hashed(values: Any) -> np.ndarray:
    """Return the hash of every value, shape (n_values,)."""
    parts = [pd.util.hash_array(np.asarray(chunk, dtype=object), categorize=False) for chunk in chunks(values)]
    hashes: np.ndarray = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)
    return hashes
