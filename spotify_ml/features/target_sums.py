"""Sums and extremes of the target by key, and the same without the rows of one fold, or of the folds before it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

# The columns of totals: sums, then two extremes.
TOTALS = ("count", "sum", "squares", "dead", "highest", "lowest")
# Popularity up to this is near-zero: nobody hears the track.
DEAD = 1.0


@dataclass(frozen=True)
class KeyTotals:
    """The totals of every key, and the same without each fold in which it has rows, or of the folds before each.

    A cell is a key within a fold; there are never more cells than rows.

    Attributes
    ----------
    keys : ndarray of uint64, shape (n_keys,)
        Hashes, ascending.
    totals : ndarray of float64, shape (n_keys, 6)
        The columns named by `TOTALS`: count, sum, sum of squares, rows up to `DEAD`, maximum and minimum.
    cells : ndarray of int, shape (n_cells,)
        The position of the key times the number of folds, plus the fold, ascending.
    others : ndarray of float64, shape (n_cells, 6)
        The totals of the key without the rows of the fold, or of those of the folds before it.
    n_folds : int
        Number of folds.
    """

    keys: np.ndarray
    totals: np.ndarray
    cells: np.ndarray
    others: np.ndarray
    n_folds: int

    @classmethod
    def of_cells(
        cls, hashes: np.ndarray, folds: np.ndarray, values: Iterable[np.ndarray], n_folds: int, *, earlier: bool = False
    ) -> Self:
        """Return the totals of keys from those of cells, which are sorted by `hashes` and `folds`, shape (n_cells,).

        `values` yields the totals of the cells a column at a time, to save memory. `earlier` says whether a fold's
        others are those before it alone.
        """
        without_own = before_each if earlier else without_each
        keys, first, codes = np.unique(hashes, return_index=True, return_inverse=True)
        totals, others = np.empty((len(keys), len(TOTALS))), np.empty((len(hashes), len(TOTALS)))
        for column, (name, own) in enumerate(zip(TOTALS, values, strict=True)):
            if name in ("highest", "lowest"):
                sign = 1 if name == "highest" else -1
                extreme, without = without_own(sign * own, first, codes)
                totals[:, column], others[:, column] = sign * extreme, sign * without
            else:
                totals[:, column] = np.bincount(codes, weights=own, minlength=len(keys))
                others[:, column] = _sum_before(own, first, codes) if earlier else totals[codes, column] - own
        return cls(keys, totals, codes * n_folds + folds, others, n_folds)

    def positions(self, hashes: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return the positions in `others` for rows with these keys and folds, shape (n_rows,)."""
        return np.searchsorted(self.cells, np.searchsorted(self.keys, hashes) * self.n_folds + folds)


def totals_of_rows(
    hashes: np.ndarray, y: np.ndarray, folds: np.ndarray, n_folds: int, *, earlier: bool = False
) -> tuple[KeyTotals, np.ndarray]:
    """Return the totals by key of rows with a hash, a target and a fold each, and the position of each row's cell."""
    keys, codes = np.unique(hashes, return_inverse=True)
    cells, positions = np.unique(codes * n_folds + folds, return_inverse=True)

    def columns() -> Iterator[np.ndarray]:
        for weights in (None, y, y * y, (y <= DEAD).astype(np.float64)):
            yield np.bincount(positions, weights=weights, minlength=len(cells)).astype(np.float64, copy=False)
        for reduce, least in ((np.maximum, -np.inf), (np.minimum, np.inf)):
            extremes = np.full(len(cells), least)
            reduce.at(extremes, positions, y)
            yield extremes

    of_key, fold = np.divmod(cells, n_folds)
    return KeyTotals.of_cells(keys[of_key], fold, columns(), n_folds, earlier=earlier), positions


def _sum_before(values: np.ndarray, first: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return for every value the sum of those before it in its run of equal codes."""
    before = np.cumsum(values) - values
    return before - before[first][codes] if len(values) else values


def before_each(values: np.ndarray, first: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Do the same as `without_each`, with the maximum of the values before each in its run."""
    highest = pd.Series(values).groupby(codes).cummax().to_numpy()
    before = np.concatenate([[-np.inf], highest[:-1]])[: len(values)]
    before[first] = -np.inf
    return np.maximum.reduceat(values, first) if len(values) else values, before


def without_each(values: np.ndarray, first: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum of every run of equal codes, and for every value the maximum of the others of its run.

    `codes`, shape (n_values,), numbers the runs, ascending, and `first`, shape (n_runs,), is where each begins. The
    maximum of no others is minus infinity.
    """
    if not len(values):
        return values, values
    highest = np.maximum.reduceat(values, first)
    leads = values == highest[codes]
    # One of several equal maxima.
    _, leaders = np.unique(codes[leads], return_index=True)
    leader = np.flatnonzero(leads)[leaders]
    rest = values.copy()
    rest[leader] = -np.inf
    without = highest[codes]
    without[leader] = np.maximum.reduceat(rest, first)
    return highest, without
