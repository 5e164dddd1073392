"""How good predictions for another catalogue are before and after a calibration, by rows that no fit saw."""

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass
from sklearn.metrics import r2_score

from spotify_ml.models.catalogue_calibration import STRICT, CatalogueCalibration, Outputs, folds
from spotify_ml.models.intervals import within_range

CONFIDENCE = 0.9


@dataclass(frozen=True, config=STRICT)
class Figures:
    """R², the mean error in points, and the share of rows within their 90 % intervals."""

    r2: float
    bias: float
    coverage_90: float

    @classmethod
    def of(cls, popularity: np.ndarray, predicted: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> "Figures":
        """Return the figures of predictions and intervals, each of shape (n_rows,)."""
        inside = (lower <= popularity) & (popularity <= upper)
        figures = r2_score(popularity, predicted), np.mean(predicted - popularity), inside.mean()
        return cls(*(round(float(figure), 4) for figure in figures))


def cross_validated(
    outputs: Outputs, rows: pd.DataFrame, popularity: np.ndarray, groups: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the predictions of rows and the ends of their intervals by calibrations that were fitted on other folds.

    Parameters are those of `CatalogueCalibration.fit`, which these fits call as the final one does.
    """
    predicted, margins = np.empty(len(rows)), np.empty(len(rows))
    for others, own in folds(groups):
        fitted = CatalogueCalibration.fit(outputs.take(others), rows[others], popularity[others], groups[others])
        predicted[own] = fitted.predict(outputs.take(own), rows[own])
        margins[own] = fitted.margins(outputs.known[own], confidence)
    return predicted, *within_range(predicted, margins)
