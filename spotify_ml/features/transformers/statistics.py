"""Out-of-fold statistics of the target by key: no train row sees its own group."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import GroupKFold
from sklearn.utils.validation import check_is_fitted

from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.features.distinct_values import changed, chunks, distinct_values, hashed
from spotify_ml.features.target_sums import totals_of_rows

STATISTICS = ("mean", "count", "std", "dead_share", "max", "min")
# Expected popularity where no other group is known: the middle of its scale.
MIDDLE = 50.0
_SUMS = 4
# Rows at a time: the intermediate sums are wider than keys and statistics.
_CHUNK = 2**18


@dataclass(frozen=True)
class KeyColumn:
    """A column of keys; equal keys are stored, and hashed, once.

    `codes` holds the position of each row's key in `values`, -1 where it has none; `values` holds the distinct keys.
    """

    codes: np.ndarray
    values: Any

    @classmethod
    def of(cls, column: Any) -> Self:
        """Return the keys of a column; an empty value is no key."""
        codes, distinct = distinct_values(column)
        values = np.array(distinct, dtype=object) if isinstance(distinct, list) else distinct
        (empty,) = np.nonzero(np.asarray(values == ""))
        if len(empty):
            codes[np.isin(codes, empty)] = -1
        return cls(codes, values)

    def changed(self, change: Callable[[str], str]) -> Self:
        """Return the same rows with a function of their keys; an empty result is no key."""
        return type(self)(self.codes, changed(self.values, change)).distinct()

    def distinct(self) -> Self:
        """Return the same rows where `values` may repeat or be missing, so that they do not."""
        positions, values = distinct_values(self.values)
        return type(self)(np.append(positions, -1)[self.codes], values)

    @cached_property
    def hashes(self) -> np.ndarray:
        """The hash of every key, shape (n_keys,)."""
        return hashed(self.values)


def _columns(X: pd.DataFrame | Sequence[KeyColumn]) -> Sequence[KeyColumn]:
    return [KeyColumn.of(X[name]) for name in X.columns] if isinstance(X, pd.DataFrame) else X


class TargetStatistics(TransformerMixin, BaseEstimator):
    """Mean, count, spread and extremes of the target over the train rows that share a key.

    Train rows get the statistics of the other folds (`fit_transform`), later rows those of all of train
    (`transform`). Folds never divide a group. scikit-learn's ``TargetEncoder`` has only the mean, and falls back
    only to the overall mean.

    Parameters
    ----------
    pooled : bool
        Whether a key is a ``;``-joined list whose members are pooled.
    smoothing : float
        How many rows the prior counts for in the mean: (sum + smoothing · prior) / (count + smoothing).
    n_folds : int
        Number of folds; fewer where there are fewer groups.
    random_state : int
        Decides which group is in which fold.
    ordered : bool
        Whether groups are numbered by the time of their release. Folds follow each other then, and a train row gets the
        statistics of the folds before its own: what is known when a track comes out.

    Attributes
    ----------
    keys_ : ndarray of uint64, shape (n_keys,)
        Hashes of the train keys, ascending.
    totals_ : ndarray of float64, shape (n_keys, 6)
        As `spotify_ml.features.target_sums.KeyTotals.totals`.
    prior_ : float
        Mean of the target.

    Examples
    --------
    >>> import pandas as pd
    >>> artists = pd.DataFrame({"artists": ["Abba", "Abba", "Cher"]})
    >>> encoder = TargetStatistics().fit(artists, [60, 70, 20])
    >>> encoder.transform(pd.DataFrame({"artists": ["Abba", "Zaz"]})).round(1)
    array([[60.,  2.,  5.,  0., 70., 60.],
           [50.,  0., nan, nan, nan, nan]], dtype=float32)
    """

    def __init__(
        self,
        *,
        pooled: bool = False,
        smoothing: float = 1.0,
        n_folds: int = 10,
        random_state: int = 0,
        ordered: bool = False,
    ) -> None:
        self.pooled = pooled
        self.smoothing = smoothing
        self.n_folds = n_folds
        self.random_state = random_state
        self.ordered = ordered

    def fit(self, X: pd.DataFrame | Sequence[KeyColumn], y: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """Learn the statistics of all train rows; only `fit_transform` needs `groups`.

        Several columns of `X` make one key together; a row with an empty value has no key.
        """
        rows, hashes = key_hashes(_columns(X), pooled=self.pooled)
        target = np.asarray(y, dtype=np.float64)
        self._learn(hashes, target[rows], np.zeros(len(rows), dtype=np.intp), 1)
        self.prior_ = float(target.mean())
        return self

    def _learn(
        self, hashes: np.ndarray, y: np.ndarray, folds: np.ndarray, n_folds: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keep the totals of every key; return those without each fold, and the position of each row among them."""
        found, positions = totals_of_rows(hashes, y, folds, n_folds, earlier=self.ordered)
        self.keys_, self.totals_ = found.keys, found.totals
        return found.others, positions

    def fit_transform(
        self,
        X: pd.DataFrame | Sequence[KeyColumn],
        y: np.ndarray,
        groups: np.ndarray | None = None,
        prior: np.ndarray | None = None,
    ) -> np.ndarray:
        """Learn the statistics, and return for each train row those without its own group, shape (n_rows, 6).

        Without `groups`, every row is a group of its own. `prior`, shape (n_rows,), is the expected target of each row,
        made without its own group; by default the mean of the other folds.
        """
        target = np.asarray(y, dtype=np.float64)
        own_groups = np.arange(len(target)) if groups is None else groups
        if self.ordered:
            folds = ordered_folds(own_groups, self.n_folds)
        else:
            folds = assign_folds(own_groups, self.n_folds, self.random_state)
        n_folds = int(folds.max(initial=0)) + 1
        if prior is None:
            prior = mean_of_other_folds(target, folds, n_folds, earlier=self.ordered)[folds]
        rows, hashes = key_hashes(_columns(X), pooled=self.pooled)
        others, positions = self._learn(hashes, target[rows], folds[rows], n_folds)
        self.prior_ = float(target.mean())
        return self.finish(rows, others, positions, prior)

    def transform(self, X: pd.DataFrame | Sequence[KeyColumn], prior: np.ndarray | None = None) -> np.ndarray:
        """Return the statistics of rows that were not in train, shape (n_rows, 6).

        `prior`, shape (n_rows,), is the expected target of rows with an unknown key; by default the mean of train.
        """
        check_is_fitted(self)
        return self.look_up(_columns(X), prior)

    def look_up(self, columns: Sequence[KeyColumn], prior: np.ndarray | None) -> np.ndarray:
        """Do the same as `transform` without scikit-learn's checks, which take as long as the work for one row."""
        n_rows = len(columns[0].codes)
        rows, hashes = key_hashes(columns, pooled=self.pooled)
        positions = np.searchsorted(self.keys_, hashes)
        positions[positions == len(self.keys_)] = 0
        known = self.keys_[positions] == hashes if len(self.keys_) else np.zeros(len(rows), dtype=bool)
        given = np.full(n_rows, self.prior_) if prior is None else prior
        return self.finish(rows[known], self.totals_, positions[known], given)

    def finish(self, rows: np.ndarray, totals: np.ndarray, positions: np.ndarray, prior: np.ndarray) -> np.ndarray:
        """Pool the totals of each row's keys and turn them into statistics, shape (n_rows, 6).

        `rows` are those with a known key, ascending, and `positions` their positions in `totals`; a row occurs several
        times if its list is pooled. `prior`, shape (n_rows,), is the expected target of each row.
        """
        statistics = np.empty((len(prior), len(STATISTICS)), dtype=np.float32)
        for start in range(0, len(prior), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            own = slice(*np.searchsorted(rows, (start, start + _CHUNK)))
            self._finish(statistics[chunk], rows[own] - start, totals[positions[own]], prior[chunk])
        return statistics

    def _finish(self, statistics: np.ndarray, rows: np.ndarray, totals: np.ndarray, prior: np.ndarray) -> None:
        n_rows = len(prior)
        sums = np.zeros((n_rows, _SUMS))
        highest, lowest = np.full(n_rows, -np.inf), np.full(n_rows, np.inf)
        if self.pooled:
            for column in range(_SUMS):
                sums[:, column] = np.bincount(rows, weights=totals[:, column], minlength=n_rows)
            np.maximum.at(highest, rows, totals[:, _SUMS])
            np.minimum.at(lowest, rows, totals[:, _SUMS + 1])
        else:
            sums[rows] = totals[:, :_SUMS]
            highest[rows], lowest[rows] = totals[:, _SUMS:].T
        count, total, squares, dead = sums.T
        weight = count + self.smoothing
        with np.errstate(divide="ignore", invalid="ignore"):
            statistics[:, 0] = np.where(weight > 0, (total + self.smoothing * prior) / weight, prior)
            statistics[:, 1] = count
            # Where all values are equal, rounding would leave a variance near zero.
            variance = np.where(highest > lowest, squares / count - (total / count) ** 2, 0)
            statistics[:, 2] = np.sqrt(np.maximum(variance, 0))
            statistics[:, 3] = dead / count
        statistics[:, 4] = highest
        statistics[:, 5] = lowest
        statistics[count == 0, 2:] = np.nan

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the statistics."""
        return np.array(STATISTICS, dtype=object)


def assign_folds(groups: np.ndarray, n_folds: int, random_state: int) -> np.ndarray:
    """Return the fold of every row, shape (n_rows,): no group is in two folds, and no fold is empty.

    There are fewer than `n_folds` where there are fewer groups.
    """
    # Numbering the groups first is faster than searching each fold for them.
    codes, distinct = pd.factorize(np.asarray(groups), sort=True)
    folds = np.zeros(len(distinct), dtype=np.intp)
    n_splits = min(n_folds, len(distinct))
    if n_splits > 1:
        splitter = GroupKFold(n_splits, shuffle=True, random_state=random_state)
        for fold, (_, members) in enumerate(splitter.split(distinct, groups=distinct)):
            folds[members] = fold
    return folds[codes]


def ordered_folds(groups: np.ndarray, n_folds: int) -> np.ndarray:
    """Return the fold of every row, shape (n_rows,), with the groups of lower numbers in lower folds."""
    codes, distinct = pd.factorize(np.asarray(groups), sort=True)
    return codes * min(n_folds, len(distinct)) // max(len(distinct), 1)


def mean_of_other_folds(y: np.ndarray, folds: np.ndarray, n_folds: int, *, earlier: bool = False) -> np.ndarray:
    """Return the mean of the target without each fold, shape (n_folds,), or of the folds before it.

    It is `MIDDLE` if there is no such fold.
    """
    counts, sums = np.bincount(folds, minlength=n_folds), np.bincount(folds, weights=y, minlength=n_folds)
    n_others, of_others = len(y) - counts, sums.sum() - sums
    if earlier:
        n_others, of_others = np.cumsum(counts) - counts, np.cumsum(sums) - sums
    return np.where(n_others > 0, of_others / np.maximum(n_others, 1), MIDDLE)


def key_hashes(columns: Sequence[KeyColumn], *, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that have a key, and the hash of each key; a row with a pooled list occurs once per member."""
    rows = np.flatnonzero(np.all([column.codes >= 0 for column in columns], axis=0))
    if pooled:
        return _members(columns[0], rows)
    first, *others = columns
    joint = first.hashes[first.codes[rows]]
    for column in others:
        # An odd factor loses nothing, and the order of the columns matters.
        joint = joint * np.uint64(3) + column.hashes[column.codes[rows]]
    return rows, joint


def _members(column: KeyColumn, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes = column.codes[rows]
    counts, hashes = [np.empty(0, dtype=np.intp)], [np.empty(0, dtype=np.uint64)]
    for values in chunks(column.values):
        lists = [list(dict.fromkeys(filter(None, value.split(LIST_SEPARATOR)))) for value in values]
        counts.append(np.array([len(members) for members in lists], dtype=np.intp))
        hashes.append(hashed([name for members in lists for name in members]))
    lengths, of_members = np.concatenate(counts), np.concatenate(hashes)
    starts = np.cumsum(lengths) - lengths
    # The members of every row's list, one list after the other.
    repeated = lengths[codes]
    offsets = np.arange(repeated.sum()) - np.repeat(np.cumsum(repeated) - repeated, repeated)
    return np.repeat(rows, repeated), of_members[np.repeat(starts[codes], repeated) + offsets]
