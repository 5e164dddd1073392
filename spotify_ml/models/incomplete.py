"""The model of incomplete rows: a name or the genre is absent, or they come from another catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, product
from typing import Any, NamedTuple

import numpy as np
from xgboost import Booster

from spotify_ml.features.incomplete import ABSENT, KEYS, KNOWN, RELEASE, UNKNOWN, IncompleteFeatures
from spotify_ml.models.intervals import PredictionIntervals
from spotify_ml.models.predictions import BLOCK_ROWS, clip_popularity, raw_predictions, single_thread
from spotify_ml.models.tree_shap import TreeShap

# How much of a prediction for another catalogue comes from this one: the rest asks no statistics. By validation rows
# alone it would be all; it was chosen on tracks of 2020 that the dataset lacks, and keeps hidden ones near their best.
_OF_CATALOGUE = 0.7
# The bits of `IncompleteModel.patterns` of the keys that have statistics.
_ASKED = 0b0111


class Scores(NamedTuple):
    """Predictions, shape (n_rows,) or (n_rows, n_classes), and half the widths of intervals, (n_levels, n_rows)."""

    predicted: np.ndarray
    margins: np.ndarray


@dataclass(frozen=True)
class IncompleteModel:
    """An estimator of the features that `IncompleteFeatures` makes, and when it is asked.

    Attributes
    ----------
    features : IncompleteFeatures
        Of the final fit's features.
    estimator : xgboost.Booster or XGBModel
        Fitted on copies of the rows from which names and genres were taken.
    share : float
        How much it counts where the catalogue knows neither artist nor album of a row that has both.
    classes : tuple of str
        Those of a classification.
    intervals : PredictionIntervals or None
        Of a regression, by what is not known.
    keys : tuple of str
        Those that next to all rows of the fit have; the first model knows rows without the others.
    """

    features: IncompleteFeatures
    estimator: Any
    share: float
    classes: tuple[str, ...] = ()
    intervals: PredictionIntervals | None = None
    keys: tuple[str, ...] = KEYS

    def shares(self, matrix: np.ndarray, *, other: bool) -> np.ndarray:
        """Return how much this model counts in each row, 0 to 1, shape (n_rows,).

        `other` says whether all rows are from another catalogue.
        """
        states = self.features.states(matrix)
        unknown = [states["artist"] == UNKNOWN, states["album"] == UNKNOWN]
        share = np.where(unknown[0] & unknown[1], self.share, 0.0)
        for key in self.keys:
            share[states[key] == ABSENT] = 1
        return np.ones_like(share) if other else share

    def score(self, matrix: np.ndarray, other: np.ndarray, confidences: Sequence[float] = ()) -> Scores:
        """Return the raw predictions of rows by this model alone, and half the widths of their intervals.

        `matrix`, shape (n_rows, n_features), has the features of complete rows; `other` is a mask of those that are
        treated as from another catalogue, shape (n_rows,).
        """
        view, predicted = self.predict(matrix, other)
        margins = np.empty((0, len(matrix)))
        if confidences and self.intervals is not None:
            patterns, clipped = self.patterns(matrix, other), clip_popularity(predicted)
            margins = self.intervals.margins(view, clipped, confidences, patterns)
            if other.any():
                # Calibration rows are of this catalogue, whose statistics may mislead in another one.
                without, own = self.features.without_statistics(view[other]), clipped[other]
                wide = self.intervals.margins(without, own, confidences, patterns[other] | _ASKED)
                margins[:, other] = np.maximum(margins[:, other], wide)
        return Scores(predicted, margins)

    def known(self, matrix: np.ndarray) -> np.ndarray:
        """Return which of artist, album and genre of each row are known, such as ``artist;genre`` or ``none``."""
        states = self.features.states(matrix)
        named = ("artist", "album", "genre")
        texts = np.array([";".join(compress(named, bits)) or "none" for bits in product((0, 1), repeat=len(named))])
        codes = np.array([states[key] == KNOWN for key in named]).T @ [4, 2, 1]
        found: np.ndarray = texts.astype(object)[codes]
        return found

    def predict(self, matrix: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the features and the raw predictions of rows, by this model alone; `other` is a mask of rows."""
        view = self.features.view(matrix, other)
        few = len(view) <= BLOCK_ROWS and isinstance(self.estimator, Booster)
        estimator = self._single_thread if few else self.estimator
        predicted = raw_predictions(estimator, view, self.classes)
        if other.any():
            without = raw_predictions(estimator, self.features.without_statistics(view[other]), self.classes)
            predicted[other] = _OF_CATALOGUE * predicted[other] + (1 - _OF_CATALOGUE) * without
        return view, predicted

    def contributions(self, matrix: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return SHAP values of `predict`, at the features of complete rows, shape (n_rows, n_features + 1)."""
        view = self.features.view(matrix, other)
        added = self._tree_shap.contributions(view)
        if other.any():
            without = self._tree_shap.contributions(self.features.without_statistics(view[other]))
            added[other] = _OF_CATALOGUE * added[other] + (1 - _OF_CATALOGUE) * without
        placed = np.zeros((len(matrix), matrix.shape[1] + 1), dtype=added.dtype)
        placed[:, [*self.features.kept, -1]] = added
        return placed

    def patterns(self, matrix: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return what is not known of each row as a number, shape (n_rows,): a bit for each key, and for `other`."""
        states = self.features.states(matrix)
        lost = [(states[key] == ABSENT) | (other & (states[key] != KNOWN)) for key in KEYS]
        release = [states[RELEASE] == ABSENT] if RELEASE in states else []
        bits = np.array([*lost, other, *release])
        return bits.T @ (1 << np.arange(len(bits)))

    @cached_property
    def _single_thread(self) -> Booster:
        return single_thread(self.estimator)

    @cached_property
    def _tree_shap(self) -> TreeShap:
        return TreeShap(self.estimator if isinstance(self.estimator, Booster) else self.estimator.get_booster())


def mixed(own: np.ndarray, others: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return what two models say of the same rows as one, of which the second counts by a share."""
    return np.where(share == 1, others, (1 - share) * own + share * others)
