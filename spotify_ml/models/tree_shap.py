"""SHAP values of boosted trees, several times as fast as XGBoost's own."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

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
        self._leaves: list[np.ndarray] = []
        self._parents: list[np.ndarray] = []
        # Edge 0 is above all roots: every row follows it.
        features, shares, previous = [np.array([-1])], np.ones(1), [np.zeros(1, dtype=np.intp)]
        level, paths, reached = nodes.roots, np.zeros((len(nodes.roots), 1), dtype=np.intp), np.ones(len(nodes.roots))
        splits = []
        while True:
            self._leaves.append(nodes.leaves[level])
            self.base += float(reached @ self._leaves[-1])
            parents = np.repeat(np.flatnonzero(nodes.is_split[level]), 2)
            if len(parents) == 0:
                break
            self._parents.append(parents)
            split, children = level[parents], nodes.children[level[parents[::2]]].ravel()
            splits.append(split[::2])
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
        follows[1::2], follows[2::2] = goes_left, ~goes_left
        above = np.ones_like(follows)
        for first, last in pairwise(self._ends):
            above[first:last] = follows[self._previous[first:last]]
            follows[first:last] &= above[first:last]
        states: np.ndarray = len(_STATES) * np.arange(len(follows)) + follows + above
        return states

    def _points(self, ratios: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Return the SHAP value of every edge: the sum of the slopes of all leaves below it."""
        weights = [np.ones((len(self._leaves[0]), ratios.shape[1]), np.float32)]
        for parents, first, last in zip(self._parents, self._ends, self._ends[1:], strict=False):
            weights.append(weights[-1].take(parents, axis=0) * ratios[first:last])
        points = np.zeros(len(ratios), np.float32)
        below = np.empty((0, ratios.shape[1]), np.float32)
        for depth in range(len(self._parents), 0, -1):
            own = weights[depth] * self._leaves[depth][:, np.newaxis]
            if len(below):
                own[self._parents[depth][::2]] += below[::2] + below[1::2]
            edges = slice(self._ends[depth - 1], self._ends[depth])
            np.einsum("nt,nt->n", own, slopes[edges], out=points[edges])
            below = own
        return points


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
