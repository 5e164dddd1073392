"""Estimators made of fitted estimators, for scoring only."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin


class _Fitted(BaseEstimator):
    """An estimator whose members are fitted already."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Do nothing."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return True."""
        return True


class _Average(_Fitted):
    """Weighted average of fitted estimators by name; the weights, in the same order, sum to 1."""

    def __init__(self, estimators: dict[str, Any], weights: np.ndarray) -> None:
        self.estimators = estimators
        self.weights = weights


class AverageRegressor(RegressorMixin, _Average):
    """Weighted average of regressors' predictions."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the average, shape (n_rows,)."""
        return np.tensordot(self.weights, [each.predict(X) for each in self.estimators.values()], axes=1)


class AverageClassifier(ClassifierMixin, _Average):
    """Weighted average of classifiers' probabilities."""

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the average, shape (n_rows, n_classes)."""
        return np.tensordot(self.weights, [each.predict_proba(X) for each in self.estimators.values()], axes=1)


class TwoPartRegressor(RegressorMixin, _Fitted):
    """Expected popularity from the probability that a track is near-zero.

    `dead` is a classifier whose second class is near-zero tracks, with the mean popularity `dead_mean`; `alive` is a
    regressor of the other tracks.
    """

    def __init__(self, dead: Any, alive: Any, dead_mean: float) -> None:
        self.dead = dead
        self.alive = alive
        self.dead_mean = dead_mean

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the expected popularity, shape (n_rows,)."""
        probability = self.dead.predict_proba(X)[:, 1]
        expected: np.ndarray = probability * self.dead_mean + (1 - probability) * self.alive.predict(X)
        return expected
