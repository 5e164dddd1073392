"""SHAP values of boosted trees, several times as fast as XGBoost's own."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from joblib import cpu_count
from xgboost import Booster

# Fewer rows are not worth a thread.
_PART_ROWS = 16
# Whether a row follows an edge, and the edge above that asks for the same feature; it cannot follow the first alone.
_STATES = ((0, 0), (0, 1), (1, 1))


class TreeShap:
    """SHAP values of regression trees, equal to XGBoost's ``pred_contribs``, computed for all nodes of a depth at once.

    A feature's Shapley value is the mean slope of the prediction by that feature, on the path from a row without any
    known feature to the row itself (Owen 1972, doi 10.1287/mnsc.18.5.64). Where a feature is unknown, both sides of a
    split count, by their share of the rows of the fit (Lundberg et al. 2020, doi 10.1038/s42256-019-0138-9). At time t
    of the path, an edge with share z has weight z (1 - t) + t if the row follows it, else z (1 - t). If several edges
    above a leaf ask for the same feature, the last counts, with the product of their z. The product of the weights
    above a leaf is a polynomial of t, whose mean Gauss-Legendre quadrature computes exactly.

    `base` is the prediction of a row without any known feature.
    """

    def __init__(self, booster: Booster) -> None:
        learner = json.loads(booster.save_raw("json"))["learner"]
        nodes = _Nodes(learner["gradient_booster"]["model"]["trees"])
        self._n_features = booster.num_features()
        (intercept,) = np.atleast_1d(json.loads(learner["learner_model_param"]["base_score"]))
        self.base = float(intercept)
        # Edge 0 is above all roots: every row follows it.
        features, shares, previous = [np.array([-1])], np.ones(1), [np.zeros(1, dtype=np.intp)]
        level, paths, reached = nodes.roots, np.zeros((len(nodes.roots), 1), dtype=np.intp), np.ones(len(nodes.roots))
        levels, splits = [], []
        while True:
            levels.append((nodes.is_split[level], nodes.leaves[level]))
            self.base += float(reached @ nodes.leaves[level])
            own_splits = np.flatnonzero(nodes.is_split[level])
            if len(own_splits) == 0:
                break
            # All left children, then all right ones.
            parents, children = np.tile(own_splits, 2), nodes.children[level[own_splits]].T.ravel()
            split = level[parents]
            splits.append(level[own_splits])
            features.append(nodes.features[split])
            above = paths[parents]
            same = np.concatenate(features[:-1])[above] == features[-1][:, np.newaxis]
            # Edges are numbered downwards: the last edge of a path has the largest number.
            previous.append(np.where(same, above, 0).max(axis=1))
            share = nodes.covers[children] / nodes.covers[split]
            paths = np.column_stack([above, len(shares) + np.arange(len(children))])
            shares = np.append(shares, share * shares[previous[-1]])
            level, reached = children, reached[parents] * share
        self._ends = np.cumsum([len(each) for each in features]).tolist()
        self._features, self._previous = np.concatenate(features), np.concatenate(previous)
        split_nodes = np.concatenate([np.empty(0, dtype=np.intp), *splits])
        self._asked = nodes.features[split_nodes]
        self._thresholds, self._default_left = nodes.thresholds[split_nodes], nodes.default_left[split_nodes]
        self._ratios, self._slopes = _tables(shares, self._previous, depth=len(splits))
        self._levels = [_Level.of(*each, n_times=self._ratios.shape[1]) for each in levels]

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """Return the SHAP values of every feature, and last the base, shape (n_rows, n_features + 1)."""
        n_parts = min(cpu_count(), len(matrix) // _PART_ROWS)
        if n_parts <= 1:
            return self._contributions(matrix)
        with ThreadPoolExecutor(n_parts) as pool:
            return np.concatenate(list(pool.map(self._contributions, np.array_split(matrix, n_parts))))

    def _contributions(self, matrix: np.ndarray) -> np.ndarray:
        added = np.full((len(matrix), self._n_features + 1), self.base)
        # Allocating memory takes longer than filling it.
        ratios, slopes = (np.empty((len(self._features), self._ratios.shape[1]), np.float32) for _ in range(2))
        for row, values in enumerate(matrix):
            states = self._states(values)
            # Another mode would fill a buffer of NumPy's own.
            np.take(self._ratios, states, axis=0, out=ratios, mode="clip")
            np.take(self._slopes, states, axis=0, out=slopes, mode="clip")
            points = self._points(ratios, slopes)
            added[row, :-1] = np.bincount(self._features[1:], points[1:], self._n_features)
        return added

    def _states(self, values: np.ndarray) -> np.ndarray:
        """Return the row of the tables for the state of every edge, for one row of features."""
        asked = values[self._asked]
        goes_left = np.where(np.isnan(asked), self._default_left, asked < self._thresholds)
        follows = np.ones(len(self._features), dtype=np.int8)
        above = np.ones_like(follows)
        for first, last in pairwise(self._ends):
            # Two edges for each split.
            left, middle = goes_left[first // 2 : last // 2], (first + last) // 2
            above[first:last] = follows[self._previous[first:last]]
            follows[first:middle], follows[middle:last] = left, ~left
            follows[first:last] &= above[first:last]
        states: np.ndarray = len(_STATES) * np.arange(len(follows)) + follows + above
        return states

    def _points(self, ratios: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Return the SHAP value of every edge: the sum of the slopes of all leaves below it."""
        weights = [np.ones((len(self._levels[0].order), ratios.shape[1]), np.float32)]
        for level, first, last in zip(self._levels, self._ends, self._ends[1:], strict=False):
            weights.append(weights[-1].take(level.parents, axis=0) * ratios[first:last])
        points, below = np.zeros(len(ratios), np.float32), ratios[:0]
        for depth in range(len(self._levels) - 1, 0, -1):
            level, edges = self._levels[depth], slice(self._ends[depth - 1], self._ends[depth])
            own = weights[depth].take(level.leaves, axis=0) * level.values
            left, right = np.split(below, 2)
            # Adding to rows by their numbers would take longer than all the rest.
            below = np.concatenate([left + right, own]).take(level.order, axis=0)
            # Of so few columns, `sum` and `einsum` take several times as long.
            for column in (below * slopes[edges]).T:
                points[edges] += column
        return points


@dataclass(frozen=True)
class _Level:
    """The nodes of one depth: which are leaves, with their values at every time, and the parent of every node below.

    `order` says where each node is in the list of all that are split, followed by all leaves.
    """

    leaves: np.ndarray
    values: np.ndarray
    parents: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, is_split: np.ndarray, values: np.ndarray, n_times: int) -> Self:
        """Return a level of nodes that are split or not, with the values of the leaves."""
        split, leaves = np.flatnonzero(is_split), np.flatnonzero(~is_split)
        order = np.argsort(np.concatenate([split, leaves]))
        return cls(leaves, np.tile(values[leaves][:, np.newaxis], n_times), np.tile(split, 2), order)


class _Nodes:
    """The nodes of all trees, joined into arrays; the features and children of a leaf are not used."""

    def __init__(self, trees: list[dict[str, Any]]) -> None:
        sizes = [len(tree["left_children"]) for tree in trees]
        self.roots = np.cumsum([0, *sizes[:-1]])

        def joined(name: str, kind: type) -> np.ndarray:
            return np.concatenate([np.asarray(tree[name], dtype=kind) for tree in trees])

        children = np.column_stack([joined("left_children", np.intp), joined("right_children", np.intp)])
        self.is_split = children[:, 0] >= 0
        self.children = children + np.repeat(self.roots, sizes)[:, np.newaxis]
        self.features = joined("split_indices", np.intp)
        self.thresholds = joined("split_conditions", np.float32)
        self.default_left = joined("default_left", np.bool_)
        self.covers = joined("sum_hessian", np.float64)
        # XGBoost stores the prediction of a leaf as its threshold.
        self.leaves = np.where(self.is_split, np.float32(0), self.thresholds)


def _tables(shares: np.ndarray, previous: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors by which an edge multiplies weights, and its slope per weight of a leaf below it.

    Both are float32 of shape (n_edges * n_states, n_times), at the points of the quadrature; half as many as the depth
    are exact. The slopes are multiplied by the weights of the quadrature.
    """
    points, weights = np.polynomial.legendre.leggauss(max(1, (depth + 1) // 2))
    times = (points + 1) / 2
    ratios, slopes = np.empty((2, len(shares), len(_STATES), len(times)), dtype=np.float32)
    for state, (follows, above) in enumerate(_STATES):
        own, before = shares[:, np.newaxis], shares[previous][:, np.newaxis]
        weight, weight_before = own * (1 - times) + follows * times, before * (1 - times) + above * times
        ratios[:, state] = weight / weight_before
        slopes[:, state] = weights / 2 * ((follows - own) / weight - (above - before) / weight_before)
    return ratios.reshape(-1, len(times)), slopes.reshape(-1, len(times))
