"""Columns of keys in which equal values are stored once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

# Values that are Python strings at a time; these take three times the memory of Arrow's.
_CHUNK = 2**16
# Up to this number of rows a dictionary is faster than pandas.
_FEW_ROWS = 64


def distinct_values(column: Any) -> tuple[np.ndarray, Sequence[str]]:
    """Return the code of every value, -1 for a missing one, and the distinct values in order of first appearance."""
    if len(column) > _FEW_ROWS:
        codes, distinct = pd.factorize(column)
        return codes, distinct
    positions: dict[str, int] = {}
    codes = [positions.setdefault(value, len(positions)) if isinstance(value, str) else -1 for value in column]
    return np.array(codes, dtype=np.intp), list(positions)


def chunks(values: Any) -> Iterator[Any]:
    """Yield a sequence of strings as Python's, in chunks."""
    if len(values) <= _FEW_ROWS:
        yield values
        return
    for start in range(0, len(values), _CHUNK):
        yield np.asarray(values[start : start + _CHUNK], dtype=object)


def changed(values: Any, change: Callable[[str], str]) -> Any:
    """Return a function of every value, None where the result is empty; many values are stored by Arrow."""
    pieces = ([change(value) or None for value in chunk] for chunk in chunks(values))
    if len(values) <= _CHUNK:
        return np.array([value for piece in pieces for value in piece], dtype=object)
    return pd.array(pa.chunked_array([pa.array(piece, pa.large_string()) for piece in pieces]), dtype="str")


def hashed(values: Any) -> np.ndarray:
    """Return the hash of every value, shape (n_values,)."""
    pieces = [pd.util.hash_array(np.asarray(chunk, dtype=object), categorize=False) for chunk in chunks(values)]
    hashes: np.ndarray = np.concatenate(pieces) if pieces else np.empty(0, dtype=np.uint64)
    return hashes
