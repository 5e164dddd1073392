"""Estimators made of fitted estimators, as scoring needs them: they know nothing of how their members are fitted."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin


class _Average(BaseEstimator):
    """Weighted average of fitted estimators.

    Parameters
    ----------
    estimators : dict of str to estimator
        Fitted.
    weights : ndarray of float, shape (n_estimators,)
        Not negative, summing to 1.
    """

    def __init__(self, estimators: dict[str, Any], weights: np.ndarray) -> None:
        self.estimators = estimators
        self.weights = weights

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Do nothing: the estimators are fitted already."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Say that there is nothing left to fit."""
        return True


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


class TwoPartRegressor(RegressorMixin, BaseEstimator):
    """Popularity as that of a dead track or of a living one, by the probability of each.

    Parameters
    ----------
    dead : classifier
        Fitted; its second class is a dead track.
    alive : regressor
        Fitted on living tracks.
    dead_mean : float
        Mean popularity of dead tracks.
    """

    def __init__(self, dead: Any, alive: Any, dead_mean: float) -> None:
        self.dead = dead
        self.alive = alive
        self.dead_mean = dead_mean

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Do nothing: both parts are fitted already."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Say that there is nothing left to fit."""
        return True

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the expected popularity, shape (n_rows,)."""
        probability = self.dead.predict_proba(X)[:, 1]
        expected: np.ndarray = probability * self.dead_mean + (1 - probability) * self.alive.predict(X)
        return expected
