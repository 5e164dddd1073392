"""How far a prediction may be off: intervals that hold the truth as often as one asks, wide for hard rows."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from xgboost import Booster, QuantileDMatrix, train

from spotify_ml.features.transformers.statistics import assign_folds
from spotify_ml.utils.errors import ConfigError, shown

LOWEST, HIGHEST = 0.0, 100.0
# Popularity comes in whole points: no track is told more exactly than by half of one.
_SMALLEST = 0.5
# Half of many rows tell enough of the others; of few, it takes two thirds.
_FOLDS, _FOLDS_OF_MANY, _NO_FOLD = 3, 2, -1
# Few shallow trees, without chance in them: they are to tell hard tracks from easy ones, and learn from few rows.
_ROUNDS = 40
_PARAMETERS = {"max_depth": 4, "learning_rate": 0.1, "min_child_weight": 20, "max_bin": 64, "nthread": 1}


def check_confidence(confidence: Any) -> None:
    """Refuse what is no confidence between 0 and 1.

    Raises
    ------
    ConfigError
        Saying what would be.
    """
    if not isinstance(confidence, int | float | np.number) or not 0 < confidence < 1:
        raise ConfigError(f"interval={shown(confidence)}: give a confidence above 0 and below 1, such as 0.9")


@dataclass(frozen=True)
class LargerFit:
    """What a fit on more rows says of the first calibration rows, which it did not see either.

    Attributes
    ----------
    matrix : ndarray of float, shape (n_first_rows, n_features)
        Features, as that fit knows them.
    predicted : ndarray of float, shape (n_first_rows,)
        Popularity.
    exponent : float
        How far the predictor is beyond the smaller fit, as a multiple of how far the larger one is, both in logarithms
        of the number of rows.
    """

    matrix: np.ndarray
    predicted: np.ndarray
    exponent: float


@dataclass(frozen=True)
class PredictionIntervals:
    """Split-conformal intervals of normalised errors.

    An interval reaches as many times the expected error of its row to both sides as the calibration rows ask for
    (Lei et al. 2018, doi 10.1080/01621459.2017.1307116, section 5.2). Every row counts once: rows of a group err
    alike, and to let each group count once instead would promise what large groups do not keep.

    Where the errors are those of a smaller fit, they shrink as a power of the number of rows, as learning curves do:
    by what the same rows gain with a larger fit, carried on to the predictor.

    Attributes
    ----------
    difficulty : xgboost.Booster
        Features and prediction of a row to its expected absolute error.
    scores : ndarray of float, shape (n_calibration_rows,)
        Absolute errors as multiples of the expected ones, ascending.
    """

    difficulty: Booster
    scores: np.ndarray

    @classmethod
    def calibrate(
        cls,
        matrix: np.ndarray,
        predicted: np.ndarray,
        actual: np.ndarray,
        groups: np.ndarray,
        larger: LargerFit | None = None,
    ) -> Self:
        """Learn from rows that the predictor of their popularity never saw.

        The expected error of a row comes from rows of other groups, as that of a new row will.

        Parameters
        ----------
        matrix : ndarray of float, shape (n_rows, n_features)
            Features.
        predicted, actual : ndarray of float, shape (n_rows,)
            Popularity.
        groups : ndarray of int, shape (n_rows,)
            Whose rows err alike.
        larger : LargerFit, optional
            Where `predicted` is of a smaller fit than the one that intervals are for.
        """
        inputs, errors = _inputs(matrix, predicted), np.abs(actual - predicted)
        versions = [inputs] if larger is None else [inputs, _inputs(larger.matrix, larger.predicted)]
        difficulty, expected = _learn(errors, groups, versions, _FOLDS if larger is None else _FOLDS_OF_MANY)
        scores = errors / expected[0]
        # Without any error there is nothing to shrink.
        if larger is not None and scores[: len(larger.predicted)].any():
            n_first = len(larger.predicted)
            better = np.abs(actual[:n_first] - larger.predicted) / expected[1]
            scores *= (better.mean() / scores[:n_first].mean()) ** larger.exponent
        return cls(difficulty, np.sort(scores))

    def bounds(self, matrix: np.ndarray, predicted: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper ends of intervals, each of shape (n_rows,), within 0 to 100.

        Parameters
        ----------
        matrix : ndarray of float, shape (n_rows, n_features)
            Features.
        predicted : ndarray of float, shape (n_rows,)
            Popularity.
        confidence : float
            The share of tracks whose popularity is to lie within, above 0 and below 1. Where there are too few
            calibration rows to promise that much, the interval is all of 0 to 100.
        """
        # One more row than there are: the one that is predicted.
        rank = int(np.ceil(confidence * (len(self.scores) + 1)))
        multiple = self.scores[rank - 1] if rank <= len(self.scores) else np.inf
        reach = multiple * _expected(self.difficulty, _inputs(matrix, predicted))
        return np.maximum(predicted - reach, LOWEST), np.minimum(predicted + reach, HIGHEST)

    def write(self, path: Path) -> None:
        """Write what was learned as JSON."""
        difficulty = json.loads(self.difficulty.save_raw("json"))
        content = {"scores": np.round(self.scores, 6).tolist(), "difficulty": difficulty}
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        difficulty = Booster(model_file=bytearray(json.dumps(content["difficulty"]), "utf-8"))
        difficulty.set_param({"nthread": 1})
        return cls(difficulty, np.array(content["scores"]))


def _learn(
    errors: np.ndarray, groups: np.ndarray, versions: list[np.ndarray], n_folds: int
) -> tuple[Booster, list[np.ndarray]]:
    """Return a booster of all errors, and what boosters of other groups' errors expect of each row.

    Parameters
    ----------
    errors : ndarray of float, shape (n_rows,)
        Absolute errors.
    groups : ndarray of int, shape (n_rows,)
        Whose rows err alike.
    versions : list of ndarray of float, shape (up to n_rows, n_inputs)
        What is known of the rows, which the boosters are fitted on; then what else may be of the first of them.
    n_folds : int
        Number of folds of groups; fewer where there are fewer groups.
    """
    folds = assign_folds(groups, n_folds, random_state=0)
    inputs, expected = versions[0], [np.empty(len(version)) for version in versions]

    def learn(fold: int) -> Booster:
        # A single group has no others.
        seen = folds != fold if folds.any() else folds == 0
        difficulty = _fit(inputs[seen], errors[seen])
        for version, found in zip(versions, expected, strict=True):
            own = folds[: len(version)] == fold
            if own.any():
                found[own] = _expected(difficulty, version[own])
        return difficulty

    # The fits share nothing, and a thread each suffices for so few rows.
    with ThreadPoolExecutor(2) as pool:
        difficulty, *_ = pool.map(learn, range(_NO_FOLD, folds.max() + 1))
    return difficulty, expected


def _inputs(matrix: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return features and prediction side by side, as XGBoost would round them."""
    return np.column_stack([matrix, predicted.astype(np.float32)]).astype(np.float32, copy=False)


def _fit(inputs: np.ndarray, errors: np.ndarray) -> Booster:
    rows = QuantileDMatrix(inputs, errors, max_bin=_PARAMETERS["max_bin"], nthread=1)
    return train(_PARAMETERS, rows, num_boost_round=_ROUNDS)


def _expected(difficulty: Booster, inputs: np.ndarray) -> np.ndarray:
    return np.maximum(difficulty.inplace_predict(inputs, validate_features=False), _SMALLEST).astype(np.float64)
