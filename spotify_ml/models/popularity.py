"""The saved model: raw rows in, popularity or class probabilities out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from xgboost import Booster

from spotify_ml.data.contract import OutOfRange, scoring_rows
from spotify_ml.data.dates import COLLECTED_COLUMN
from spotify_ml.data.etl import add_derived_columns
from spotify_ml.data.schema import AUDIO, TEXT, Kind
from spotify_ml.data.tables import as_frame
from spotify_ml.features.transformers.columns import transform_columns
from spotify_ml.models.explanation import check_reasons, contributions, reasons
from spotify_ml.models.incomplete import IncompleteModel, Scores, mixed
from spotify_ml.models.intervals import PredictionIntervals, check_confidence, within_range
from spotify_ml.models.predictions import BLOCK_ROWS, clip_popularity, raw_predictions, single_thread
from spotify_ml.models.tree_shap import TreeShap
from spotify_ml.utils.errors import ConfigError, shown

Catalogue = Literal["own", "other"]


class PopularityModel:
    """Score raw rows with fitted features and a fitted estimator.

    Parameters
    ----------
    features : ColumnTransformer
        Fitted features.
    estimator : xgboost.Booster, regressor or classifier
        Fitted on these features.
    classes : sequence of str
        The classes of a classification, in the order of their codes; empty for a regression.
    intervals : PredictionIntervals, optional
        Of a regression.
    incomplete : IncompleteModel, optional
        Of rows of which a name or the genre is not known.
    medians : mapping of str to float, optional
        What the audio columns are taken to be where they are missing.
    further : mapping of str to Kind, optional
        The columns beside audio and text that the features are made of.
    """

    def __init__(
        self,
        features: ColumnTransformer,
        estimator: Any,
        classes: tuple[str, ...] = (),
        intervals: PredictionIntervals | None = None,
        incomplete: IncompleteModel | None = None,
        medians: Mapping[str, float] | None = None,
        further: Mapping[str, Kind] | None = None,
    ) -> None:
        self.features = features
        self.estimator = estimator
        self.classes = tuple(classes)
        self.intervals = intervals
        self.incomplete = incomplete
        self.further = dict(further or {})
        self.medians = np.array([(medians or {}).get(name, np.nan) for name in AUDIO])
        # Derived columns are slow for one row, and only the reference pipeline's features need them.
        self._derives = not set(features.feature_names_in_) <= {*AUDIO, *TEXT, *self.further, COLLECTED_COLUMN}

    def predict(
        self,
        rows: pd.DataFrame,
        *,
        out_of_range: OutOfRange = "refuse",
        interval: float | None = None,
        explain: int | None = None,
        known: bool | None = None,
        catalogue: Catalogue = "own",
    ) -> np.ndarray | pd.DataFrame:
        """Predict popularity, or the probability of each class.

        Parameters
        ----------
        rows : DataFrame
            Raw rows, or another table that `spotify_ml.data.tables.as_frame` reads. Audio columns are NaN where
            unknown; `spotify_ml.data.schema.OPTIONAL_AUDIO` and text may be absent; other columns are ignored.
        out_of_range : {"refuse", "clip"}
            Whether a number outside the range of its column is refused, or moved to the nearest bound.
        interval : float, optional
            Also return intervals that contain the popularity with this probability, between 0 and 1.
        explain : int, optional
            Also return this number of features that moved each prediction most.
        known : bool, optional
            Also return which of artist, album and genre the catalogue knows; by default with `explain`.
        catalogue : {"own", "other"}
            Whether rows are like those of the fit, where unknown artists and albums are rare ones, or from elsewhere.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            Popularity from 0 to 100, of a regression.
        DataFrame of float64, shape (n_rows, n_classes)
            One column per class, of a classification.
        DataFrame, shape (n_rows, n_columns)
            With what was asked for: ``popularity``, or the classes; ``lower`` and ``upper``; the columns of
            `spotify_ml.models.explanation.reasons`; ``known``, such as ``artist;genre`` or ``none``.

        Raises
        ------
        DataError
            If an audio column is missing, or a value is not numeric, out of range, or not text.
        ConfigError
            If the value of a keyword is invalid, or this model does not support it.
        """
        self._check_options(out_of_range, interval, explain, known, catalogue)
        rows = as_frame(rows)
        matrix, is_filled = self._matrix(rows, out_of_range)
        scores = self.score(matrix, other=catalogue == "other", confidences=[] if interval is None else [interval])
        columns: dict[str, Any] = {"popularity": scores.predicted}
        if self.classes:
            columns = dict(zip(self.classes, scores.predicted.T, strict=True))
        if interval is not None:
            columns["lower"], columns["upper"] = within_range(scores.predicted, scores.margins[0])
        if explain is not None:
            added = self._contributions(matrix, other=catalogue == "other")
            columns |= reasons(added, self._as_given(matrix, is_filled), self._feature_names, explain)
        if self.incomplete is not None and (explain is not None if known is None else known):
            columns["known"] = self.incomplete.known(matrix)
        return scores.predicted if list(columns) == ["popularity"] else pd.DataFrame(columns, index=rows.index)

    def score(self, matrix: np.ndarray, *, other: bool = False, confidences: Sequence[float] = ()) -> Scores:
        """Return predictions of features, and half the widths of their intervals by confidence.

        `other` says whether the rows are from another catalogue.
        """
        if self.incomplete is None:
            return self._clipped(*self._own_scores(matrix, confidences))
        share = self.incomplete.shares(matrix, other=other)
        (own_rows,), (rows,) = np.nonzero(share < 1), np.nonzero(share)
        # Most often these are all, whose copy would be large.
        own = self._own_scores(matrix if len(own_rows) == len(matrix) else matrix[own_rows], confidences)
        if not len(rows):
            return self._clipped(*own)
        share = share[rows]
        # Where both models count, the second stands for the possibility that the row is from elsewhere.
        others = self.incomplete.score(matrix[rows], other | (share < 1), confidences)
        predicted = np.empty((len(matrix), *own.predicted.shape[1:]))
        margins = np.empty((len(confidences), len(matrix)))
        predicted[own_rows], margins[:, own_rows] = own
        by_class = share[:, np.newaxis] if self.classes else share
        predicted[rows] = mixed(predicted[rows], others.predicted, by_class)
        margins[:, rows] = mixed(margins[:, rows], others.margins, share)
        return self._clipped(predicted, margins)

    def _own_scores(self, matrix: np.ndarray, confidences: Sequence[float]) -> Scores:
        """Return the raw predictions of complete rows."""
        few = len(matrix) <= BLOCK_ROWS and isinstance(self.estimator, Booster)
        predicted = raw_predictions(self._single_thread if few else self.estimator, matrix, self.classes)
        if not confidences or self.intervals is None:
            return Scores(predicted, np.empty((0, len(matrix))))
        return Scores(predicted, self.intervals.margins(matrix, clip_popularity(predicted), confidences))

    def _clipped(self, predicted: np.ndarray, margins: np.ndarray) -> Scores:
        return Scores(predicted if self.classes else clip_popularity(predicted), margins)

    def _contributions(self, matrix: np.ndarray, *, other: bool) -> np.ndarray:
        """Return the SHAP values of what `score` predicts, shape (n_rows, n_features + 1)."""
        if self.incomplete is None:
            return self._own_contributions(matrix)
        share = self.incomplete.shares(matrix, other=other)
        (own_rows,), (rows,) = np.nonzero(share < 1), np.nonzero(share)
        added = np.empty((len(matrix), matrix.shape[1] + 1))
        added[own_rows], share = self._own_contributions(matrix[own_rows]), share[rows]
        others = self.incomplete.contributions(matrix[rows], other | (share < 1))
        added[rows] = mixed(added[rows], others, share[:, np.newaxis])
        return added

    def _own_contributions(self, matrix: np.ndarray) -> np.ndarray:
        if isinstance(self.estimator, Booster):
            return self._tree_shap.contributions(matrix)
        # LightGBM refuses a matrix without rows.
        return contributions(self.estimator, matrix) if len(matrix) else np.empty((0, matrix.shape[1] + 1))

    def _matrix(self, rows: pd.DataFrame, out_of_range: OutOfRange) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of raw rows, and which audio values were missing, shape (n_audio, n_rows)."""
        if len(rows) == 0:
            return np.empty((0, len(self._feature_names)), dtype=np.float32), np.empty((len(AUDIO), 0), dtype=bool)
        checked = scoring_rows(rows, out_of_range, self.further)
        is_filled = np.isnan(checked.audio)
        if is_filled.any():
            checked = replace(checked, audio=np.where(is_filled, self.medians[:, np.newaxis], checked.audio))
        # For a few rows, making a DataFrame takes longer than the features.
        inputs = add_derived_columns(checked.frame()) if self._derives else checked.columns()
        return transform_columns(self.features, inputs), is_filled

    def _as_given(self, matrix: np.ndarray, is_filled: np.ndarray) -> np.ndarray:
        """Return features with NaN for the audio values that were missing."""
        if not is_filled.any():
            return matrix
        matrix = matrix.copy()
        for name, missing in zip(AUDIO, is_filled, strict=True):
            if name in self._feature_names:
                matrix[missing, self._feature_names.index(name)] = np.nan
        return matrix

    def _check_options(
        self,
        out_of_range: OutOfRange,
        interval: float | None,
        explain: int | None,
        known: bool | None,
        catalogue: Catalogue,
    ) -> None:
        for name, given, choices in (("out_of_range", out_of_range, OutOfRange), ("catalogue", catalogue, Catalogue)):
            if given not in get_args(choices):
                raise ConfigError(f"{name}={shown(repr(given))}: there are {', '.join(get_args(choices))}")
        asked = {name: value for name, value in (("interval", interval), ("explain", explain)) if value is not None}
        if asked and self.classes:
            names = " and ".join(f"{name}={value}" for name, value in asked.items())
            raise ConfigError(f"{names}: of a regression alone; this model gives the probabilities of classes")
        if interval is not None:
            check_confidence(interval)
            if self.intervals is None:
                raise ConfigError(f"interval={interval}: this model was saved without prediction intervals")
        if explain is not None:
            check_reasons(self.estimator, explain, len(self._feature_names))
        if self.incomplete is None and (known or catalogue == "other"):
            name = f"catalogue={catalogue}" if catalogue == "other" else "known=true"
            raise ConfigError(f"{name}: this model has none of incomplete rows beside it; train with incomplete=true")

    @cached_property
    def _feature_names(self) -> list[str]:
        return list(self.features.get_feature_names_out())

    @cached_property
    def _single_thread(self) -> Booster:
        """The same booster with one thread: for a few rows, threads only wait for each other."""
        return single_thread(self.estimator)

    @cached_property
    def _tree_shap(self) -> TreeShap:
        return TreeShap(self.estimator)
