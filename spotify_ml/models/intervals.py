"""How far a prediction may be off: intervals that hold the truth as often as one asks."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from spotify_ml.errors import ConfigError

LOWEST, HIGHEST = 0.0, 100.0


def check_confidence(confidence: Any) -> None:
    """Refuse what is no confidence between 0 and 1.

    Raises
    ------
    ConfigError
        Saying what would be.
    """
    if not isinstance(confidence, int | float | np.number) or not 0 < confidence < 1:
        raise ConfigError(f"interval={confidence}: give a confidence above 0 and below 1, such as 0.9")


@dataclass(frozen=True)
class PredictionIntervals:
    """Split-conformal intervals, calibrated apart for predictions of every height.

    A prediction is as far off as the calibration rows that were predicted about as high: the interval reaches to
    the quantile of their absolute errors (Mondrian split conformal prediction: Lei et al. 2018, doi
    10.1080/01621459.2017.1307116; Boström and Johansson 2020, PMLR 128).

    Attributes
    ----------
    edges : ndarray of float, shape (n_bins - 1,)
        Predictions that part one bin from the next, ascending.
    errors : tuple of ndarray of float
        Of every bin, the absolute errors of its calibration rows, ascending.
    """

    edges: np.ndarray
    errors: tuple[np.ndarray, ...]

    @classmethod
    def calibrate(cls, actual: np.ndarray, predicted: np.ndarray, n_bins: int = 10) -> Self:
        """Learn from rows that the predictions never saw.

        Parameters
        ----------
        actual, predicted : ndarray of float, shape (n_rows,)
            Popularity.
        n_bins : int
            How many bins of about equally many rows.
        """
        edges = np.unique(np.quantile(predicted, np.linspace(0, 1, n_bins + 1)[1:-1]))
        errors, bins = np.abs(actual - predicted), np.digitize(predicted, edges)
        return cls(edges, tuple(np.sort(errors[bins == each]) for each in range(len(edges) + 1)))

    def bounds(self, predicted: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper ends of intervals, each of shape (n_rows,), within 0 to 100.

        Parameters
        ----------
        predicted : ndarray of float, shape (n_rows,)
            Popularity.
        confidence : float
            The share of tracks whose popularity is to lie within, between 0 and 1. Where there are too few calibration
            rows to promise that much, the interval is all of 0 to 100.

        Raises
        ------
        ConfigError
            If it is not between 0 and 1.
        """
        check_confidence(confidence)
        reach = np.array([_quantile(errors, confidence) for errors in self.errors])
        reach = reach[np.digitize(predicted, self.edges)]
        return np.maximum(predicted - reach, LOWEST), np.minimum(predicted + reach, HIGHEST)

    def write(self, path: Path) -> None:
        """Write what was learned as JSON."""
        content = {"edges": self.edges.tolist(), "errors": [np.round(errors, 4).tolist() for errors in self.errors]}
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(np.array(content["edges"]), tuple(np.array(errors) for errors in content["errors"]))


def _quantile(errors: np.ndarray, confidence: float) -> float:
    # One more row than there are: the one that is predicted.
    rank = int(np.ceil(confidence * (len(errors) + 1)))
    return float(errors[rank - 1]) if rank <= len(errors) else np.inf
