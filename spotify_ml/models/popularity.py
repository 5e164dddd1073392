"""The saved model: raw rows in, popularity or class probabilities out."""

from functools import cached_property
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from xgboost import Booster

from spotify_ml.data.contract import OutOfRange, scoring_rows
from spotify_ml.data.etl import add_derived_columns
from spotify_ml.data.schema import AUDIO, TEXT
from spotify_ml.data.tables import as_frame
from spotify_ml.features.subsets import Subset
from spotify_ml.features.transformers.columns import transform_columns
from spotify_ml.models.explanation import check_reasons, contributions, reasons
from spotify_ml.models.intervals import HIGHEST, LOWEST, PredictionIntervals, check_confidence
from spotify_ml.models.tree_shap import TreeShap
from spotify_ml.utils.errors import ConfigError, ModelError, shown

# XGBoost gives every thread this number of rows at a time.
_BLOCK_ROWS = 64
# Types in the models of this project, in addition to those that skops trusts by itself.
_TRUSTED_TYPES = frozenset(
    {
        "catboost.core.CatBoostClassifier",
        "catboost.core.CatBoostRegressor",
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        "numpy.dtype",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
        "spotify_ml.features.transformers.catalogue.CatalogueStatistics",
        "spotify_ml.features.transformers.columns.Interactions",
        "spotify_ml.features.transformers.columns.NumericColumns",
        "spotify_ml.features.transformers.columns.OneHotLevels",
        "spotify_ml.features.transformers.genres.FirstGenreCode",
        "spotify_ml.features.transformers.genres.GenreSet",
        "spotify_ml.features.transformers.names.NameFeatures",
        "spotify_ml.features.transformers.statistics.TargetStatistics",
        "spotify_ml.models.combined.AverageClassifier",
        "spotify_ml.models.combined.AverageRegressor",
        "spotify_ml.models.combined.TwoPartRegressor",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
    }
)


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
    """

    def __init__(
        self,
        features: ColumnTransformer,
        estimator: Any,
        classes: tuple[str, ...] = (),
        intervals: PredictionIntervals | None = None,
    ) -> None:
        self.features = features
        self.estimator = estimator
        self.classes = tuple(classes)
        self.intervals = intervals
        # Derived columns are slow for one row, and only the reference pipeline's features need them.
        self._derives = not set(features.feature_names_in_) <= {*AUDIO, *TEXT}

    @classmethod
    def load(
        cls,
        features_path: Path,
        estimator_path: Path,
        classes: tuple[str, ...] = (),
        intervals_path: Path | None = None,
    ) -> Self:
        """Load a model from its files (skops, XGBoost JSON, JSON), without unpickling anything."""
        intervals = None if intervals_path is None else PredictionIntervals.read(intervals_path)
        return cls(_load_skops(features_path), load_estimator(estimator_path), classes, intervals)

    def predict(
        self,
        rows: pd.DataFrame,
        *,
        out_of_range: OutOfRange = "refuse",
        interval: float | None = None,
        explain: int | None = None,
    ) -> np.ndarray | pd.DataFrame:
        """Predict popularity, or the probability of each class.

        Parameters
        ----------
        rows : DataFrame
            Raw rows, or another table that `spotify_ml.data.tables.as_frame` reads: every audio column, NaN where
            unknown; text columns if known; other columns are ignored.
        out_of_range : {"refuse", "clip"}
            Whether a number outside the range of its column is refused, or moved to the nearest bound.
        interval : float, optional
            Also return intervals that contain the popularity with this probability, between 0 and 1.
        explain : int, optional
            Also return this number of features that moved each prediction most.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            Popularity from 0 to 100, of a regression.
        DataFrame of float64, shape (n_rows, n_classes)
            One column per class, of a classification.
        DataFrame, shape (n_rows, n_columns)
            Of a regression with `interval` or `explain`: ``popularity``; ``lower`` and ``upper``; and the columns of
            `spotify_ml.models.explanation.reasons`.

        Raises
        ------
        DataError
            If an audio column is missing, or a value is not numeric, out of range, or not text.
        ConfigError
            If the value of a keyword is invalid, or this model does not support it.
        """
        if out_of_range not in get_args(OutOfRange):
            raise ConfigError(f"out_of_range={shown(repr(out_of_range))}: there are {', '.join(get_args(OutOfRange))}")
        self._check_options(interval, explain)
        rows = as_frame(rows)
        matrix, predicted = self._predict(rows, out_of_range)
        if self.classes:
            return pd.DataFrame(predicted, index=rows.index, columns=list(self.classes))
        if interval is None and explain is None:
            return predicted
        columns: dict[str, Any] = {"popularity": predicted}
        if interval is not None and self.intervals is not None:
            columns["lower"], columns["upper"] = self.intervals.bounds(matrix, predicted, interval)
        if explain is not None:
            is_booster = isinstance(self.estimator, Booster)
            added = self._tree_shap.contributions(matrix) if is_booster else contributions(self.estimator, matrix)
            columns |= reasons(added, matrix, self._feature_names, explain)
        return pd.DataFrame(columns, index=rows.index)

    def _predict(self, rows: pd.DataFrame, out_of_range: OutOfRange) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of raw rows, and the predictions."""
        if len(rows) == 0:
            return np.empty((0, len(self._feature_names))), np.empty((0, len(self.classes)) if self.classes else 0)
        checked = scoring_rows(rows, out_of_range)
        # For a few rows, making a DataFrame takes longer than the features.
        inputs = add_derived_columns(checked.frame()) if self._derives else checked.columns()
        matrix = transform_columns(self.features, inputs)
        few = len(rows) <= _BLOCK_ROWS and isinstance(self.estimator, Booster)
        return matrix, predict_matrix(self._single_thread if few else self.estimator, matrix, self.classes)

    def _check_options(self, interval: float | None, explain: int | None) -> None:
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

    @cached_property
    def _feature_names(self) -> list[str]:
        return list(self.features.get_feature_names_out())

    @cached_property
    def _single_thread(self) -> Booster:
        """The same booster with one thread: for a few rows, threads only wait for each other."""
        booster = self.estimator.copy()
        booster.set_param({"nthread": 1})
        return booster

    @cached_property
    def _tree_shap(self) -> TreeShap:
        return TreeShap(self.estimator)


def predict_matrix(estimator: Any, matrix: np.ndarray, classes: tuple[str, ...] = ()) -> np.ndarray:
    """Return popularity from 0 to 100, shape (n_rows,), or the probabilities of classes, shape (n_rows, n_classes).

    `classes` are the classes of a classification; empty for a regression.
    """
    if isinstance(estimator, Booster):
        predicted = estimator.inplace_predict(matrix, validate_features=False)
        if classes and predicted.ndim == 1:
            predicted = np.column_stack([1 - predicted, predicted])
    else:
        predicted = estimator.predict_proba(matrix) if classes else estimator.predict(matrix)
    if not classes:
        return clip_popularity(predicted)
    # In float32 they sum to almost 1.
    probabilities = predicted.astype(np.float64)
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def predict_subset(estimator: Any, subset: Subset, classes: tuple[str, ...] = ()) -> np.ndarray:
    """Return the predictions of `predict_matrix` for the rows of a subset, batch by batch."""
    return np.concatenate([predict_matrix(estimator, batch, classes) for batch in subset.batches()])


def clip_popularity(predictions: np.ndarray) -> np.ndarray:
    """Return predictions clipped to the range of popularity."""
    return np.clip(predictions.astype(np.float64), LOWEST, HIGHEST)


def load_estimator(path: Path) -> Any:
    """Load an estimator from XGBoost JSON or from skops, without unpickling anything."""
    return Booster(model_file=path) if path.suffix == ".json" else _load_skops(path)


def _load_skops(path: Path) -> Any:
    unknown = sorted(set(skops.io.get_untrusted_types(file=path)) - _TRUSTED_TYPES)
    if unknown:
        raise ModelError(f"{path.name} holds what no model of this project consists of: {', '.join(unknown)}")
    return skops.io.load(path, trusted=sorted(_TRUSTED_TYPES))
