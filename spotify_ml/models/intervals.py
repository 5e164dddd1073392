"""Prediction intervals: split-conformal, wider for tracks that are harder to predict."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from xgboost import Booster, QuantileDMatrix, train

from spotify_ml.features.transformers.statistics import assign_folds
from spotify_ml.utils.errors import ConfigError, shown

LOWEST, HIGHEST = 0.0, 100.0
# The smallest expected error: popularity is a whole number.
_SMALLEST = 0.5
# Many rows need only two folds.
_FOLDS, _FOLDS_OF_MANY, _NO_FOLD = 3, 2, -1
# Few shallow trees without randomness, as there are few rows.
_ROUNDS = 40
_PARAMETERS = {"max_depth": 4, "learning_rate": 0.1, "min_child_weight": 20, "max_bin": 64, "nthread": 1}


def check_confidence(confidence: Any) -> None:
    """Raise ConfigError unless a confidence is between 0 and 1."""
    if not isinstance(confidence, int | float | np.number) or not 0 < confidence < 1:
        raise ConfigError(f"interval={shown(confidence)}: give a confidence above 0 and below 1, such as 0.9")


@dataclass(frozen=True)
class LargerFit:
    """Features and predictions of the first calibration rows by a fit on more rows, which did not see them either.

    `exponent` is log(rows of the final fit / rows of the smaller fit) / log(rows of this fit / rows of the smaller
    fit).
    """

    matrix: np.ndarray
    predicted: np.ndarray
    exponent: float


@dataclass(frozen=True)
class PredictionIntervals:
    """Split-conformal intervals of normalised errors (Lei et al. 2018, doi 10.1080/01621459.2017.1307116, section 5.2).

    Half the width of an interval is the track's expected error times a quantile over calibration tracks that the model
    never saw. Every row has the same weight: if every group had, large groups would not reach the confidence.

    If the errors are those of a smaller fit, they are scaled to the final one as a power of the number of rows, as
    learning curves are, estimated with a larger fit.

    Attributes
    ----------
    difficulty : xgboost.Booster
        Predicts the absolute error of a row from its features and its prediction.
    scores : ndarray of float, shape (n_calibration_rows,)
        Absolute errors divided by the expected ones, ascending.
    by_pattern : dict of int to ndarray of float
        The scores of the rows of each pattern of what is not known; empty where all is.
    """

    difficulty: Booster
    scores: np.ndarray
    by_pattern: Mapping[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def calibrate(
        cls,
        matrix: np.ndarray,
        predicted: np.ndarray,
        actual: np.ndarray,
        groups: np.ndarray,
        larger: LargerFit | None = None,
        patterns: np.ndarray | None = None,
    ) -> Self:
        """Learn from features, predictions and popularity of rows that the model never saw.

        The expected error of a row comes from rows of other groups. `larger` is given if `predicted` comes from a
        smaller fit than the final one; `patterns`, shape (n_rows,), if intervals are to hold within each of them.
        """
        inputs, errors = _inputs(matrix, predicted), np.abs(actual - predicted)
        versions = [inputs] if larger is None else [inputs, _inputs(larger.matrix, larger.predicted)]
        difficulty, expected = _learn(errors, groups, versions, _FOLDS if larger is None else _FOLDS_OF_MANY)
        scores = errors / expected[0]
        # Without any error there is nothing to scale.
        if larger is not None and scores[: len(larger.predicted)].any():
            n_first = len(larger.predicted)
            better = np.abs(actual[:n_first] - larger.predicted) / expected[1]
            scores *= (better.mean() / scores[:n_first].mean()) ** larger.exponent
        found = np.array([], dtype=int) if patterns is None else np.unique(patterns)
        return cls(difficulty, np.sort(scores), {int(each): np.sort(scores[patterns == each]) for each in found})

    def margins(
        self,
        matrix: np.ndarray,
        predicted: np.ndarray,
        confidences: Sequence[float],
        patterns: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return half the widths of intervals, shape (n_confidences, n_rows).

        An interval contains the popularity with probability `confidence`, which is above 0 and below 1. With too few
        calibration rows for it, it is infinite. Rows of a pattern that was calibrated get its own quantile.
        """
        quantiles = np.empty((len(confidences), len(predicted)))
        for own, confidence in zip(quantiles, confidences, strict=True):
            own[:] = quantile(self.scores, confidence)
            for pattern in () if patterns is None else np.unique(patterns):
                own[patterns == pattern] = quantile(self.by_pattern.get(int(pattern), self.scores), confidence)
        return quantiles * _expected(self.difficulty, _inputs(matrix, predicted))

    def write(self, path: Path) -> None:
        """Write the intervals as JSON."""
        difficulty = json.loads(self.difficulty.save_raw("json"))
        by_pattern = {str(pattern): np.round(scores, 6).tolist() for pattern, scores in self.by_pattern.items()}
        content = {"scores": np.round(self.scores, 6).tolist(), "by_pattern": by_pattern, "difficulty": difficulty}
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read intervals that `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        difficulty = Booster(model_file=bytearray(json.dumps(content["difficulty"]), "utf-8"))
        difficulty.set_param({"nthread": 1})
        by_pattern = {int(pattern): np.array(scores) for pattern, scores in content["by_pattern"].items()}
        return cls(difficulty, np.array(content["scores"]), by_pattern)


def within_range(predicted: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper ends of intervals of half a width, each of shape (n_rows,), within 0 to 100."""
    return np.maximum(predicted - margin, LOWEST), np.minimum(predicted + margin, HIGHEST)


def quantile(scores: np.ndarray, confidence: float) -> float:
    """Return the conformal quantile of ascending scores; infinite if they are too few for a confidence."""
    # The predicted row counts as well.
    rank = int(np.ceil(confidence * (len(scores) + 1)))
    return float(scores[rank - 1]) if rank <= len(scores) else np.inf


def _learn(
    errors: np.ndarray, groups: np.ndarray, versions: list[np.ndarray], n_folds: int
) -> tuple[Booster, list[np.ndarray]]:
    """Return a booster of all errors, and for each row the error expected by a booster of other groups.

    The boosters are fitted on the first of `versions`, shape (n_rows, n_inputs); the others are other inputs of the
    first rows, for which errors are expected as well.
    """
    folds = assign_folds(groups, n_folds, random_state=0)
    inputs, expected = versions[0], [np.empty(len(version)) for version in versions]

    def learn(fold: int) -> Booster:
        # With a single group, there are no other rows.
        seen = folds != fold if folds.any() else folds == 0
        difficulty = _fit(inputs[seen], errors[seen])
        for version, found in zip(versions, expected, strict=True):
            own = folds[: len(version)] == fold
            if own.any():
                found[own] = _expected(difficulty, version[own])
        return difficulty

    # The fits are independent, and one thread each is enough for few rows.
    with ThreadPoolExecutor(2) as pool:
        difficulty, *_ = pool.map(learn, range(_NO_FOLD, folds.max() + 1))
    return difficulty, expected


def _inputs(matrix: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return features and prediction side by side, rounded as XGBoost rounds them."""
    return np.column_stack([matrix, predicted.astype(np.float32)]).astype(np.float32, copy=False)


def _fit(inputs: np.ndarray, errors: np.ndarray) -> Booster:
    rows = QuantileDMatrix(inputs, errors, max_bin=_PARAMETERS["max_bin"], nthread=1)
    return train(_PARAMETERS, rows, num_boost_round=_ROUNDS)


def _expected(difficulty: Booster, inputs: np.ndarray) -> np.ndarray:
    return np.maximum(difficulty.inplace_predict(inputs, validate_features=False), _SMALLEST).astype(np.float64)
