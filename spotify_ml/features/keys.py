"""Columns of keys, in which what is equal is held once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

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
