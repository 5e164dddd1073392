"""The model that leaves the project: raw rows in, popularity or the probabilities of its classes out."""

from functools import cached_property
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from xgboost import Booster

from spotify_ml.data.contract import CheckedRows, OutOfRange, scoring_rows
from spotify_ml.data.etl import add_derived_columns
from spotify_ml.data.schema import AUDIO, TEXT
from spotify_ml.data.tables import as_frame
from spotify_ml.features.subsets import Subset
from spotify_ml.features.transformers.columns import transform_columns
from spotify_ml.models.explanation import check_reasons, contributions, reasons
from spotify_ml.models.intervals import HIGHEST, LOWEST, PredictionIntervals, check_confidence
from spotify_ml.models.tree_shap import TreeShap
from spotify_ml.utils.errors import ConfigError, ModelError, shown

# XGBoost gives every thread so many rows at a time.
_BLOCK_ROWS = 64
# What a saved model may consist of, beside what skops itself trusts: what those of this project do.
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
        Fitted on what the features give.
    classes : sequence of str
        The classes of a classification, in the order of their codes; none for a regression.
    intervals : PredictionIntervals, optional
        How far a regression may be off.
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
        # For one row they take a third of the time, and only the reference pipeline's features ask for them.
        self._derives = not set(features.feature_names_in_) <= {*AUDIO, *TEXT}

    @classmethod
    def load(
        cls,
        features_path: Path,
        estimator_path: Path,
        classes: tuple[str, ...] = (),
        intervals_path: Path | None = None,
    ) -> Self:
        """Load a model from its files, without unpickling anything.

        Parameters
        ----------
        features_path : Path
            The transformers, as skops.
        estimator_path : Path
            The estimator, as XGBoost JSON or as skops.
        classes : sequence of str
            The classes of a classification.
        intervals_path : Path, optional
            How far a regression may be off, as JSON.
        """
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
            Raw rows, or what `spotify_ml.data.tables.as_frame` takes for them: every audio column, NaN where a value is
            unknown; text columns as far as known; any others are ignored.
        out_of_range : {"refuse", "clip"}
            Whether a number outside the range of its column is refused, or moved to the nearest bound.
        interval : float, optional
            With what confidence, between 0 and 1, popularity is to lie within an interval that is given as well.
        explain : int, optional
            How many of the features that moved each prediction most to give as well.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            From 0 to 100, of a regression.
        DataFrame of float64, shape (n_rows, n_classes)
            One column per class, of a classification.
        DataFrame, shape (n_rows, n_columns)
            Of a regression that is asked for more: ``popularity``, with `interval` ``lower`` and ``upper``, and with
            `explain` what `spotify_ml.models.explanation.reasons` returns.

        Raises
        ------
        DataError
            If an audio column is absent, or a column holds what is not numeric, out of range, or no text.
        ConfigError
            If a keyword has no such value, or asks for what this model cannot give.
        """
        if out_of_range not in get_args(OutOfRange):
            raise ConfigError(f"out_of_range={shown(repr(out_of_range))}: there are {', '.join(get_args(OutOfRange))}")
        self._check_asked(interval, explain)
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
            columns |= reasons(self._contributions(matrix), matrix, self._feature_names, explain)
        return pd.DataFrame(columns, index=rows.index)

    def _predict(self, rows: pd.DataFrame, out_of_range: OutOfRange) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of raw rows, and what the estimator says of them."""
        if len(rows) == 0:
            return np.empty((0, len(self._feature_names))), np.empty((0, len(self.classes)) if self.classes else 0)
        few = len(rows) <= _BLOCK_ROWS and isinstance(self.estimator, Booster)
        matrix = self._matrix(scoring_rows(rows, out_of_range))
        return matrix, predict_matrix(self._single_thread if few else self.estimator, matrix, self.classes)

    def _check_asked(self, interval: float | None, explain: int | None) -> None:
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
        """The same booster without threads, which have nothing to do for a few rows but to wait for each other."""
        booster = self.estimator.copy()
        booster.set_param({"nthread": 1})
        return booster

    def _contributions(self, matrix: np.ndarray) -> np.ndarray:
        is_booster = isinstance(self.estimator, Booster)
        return self._tree_shap.contributions(matrix) if is_booster else contributions(self.estimator, matrix)

    @cached_property
    def _tree_shap(self) -> TreeShap:
        return TreeShap(self.estimator)

    def _matrix(self, rows: CheckedRows) -> np.ndarray:
        # A table of columns costs more than the features do of a few rows.
        return transform_columns(self.features, add_derived_columns(rows.frame()) if self._derives else rows.columns())


def predict_matrix(estimator: Any, matrix: np.ndarray, classes: tuple[str, ...] = ()) -> np.ndarray:
    """Return popularity within its range, shape (n_rows,), or the probabilities of classes, (n_rows, n_classes).

    Parameters
    ----------
    estimator : xgboost.Booster, regressor or classifier
        Fitted.
    matrix : ndarray of float, shape (n_rows, n_features)
        Features.
    classes : sequence of str
        The classes of a classification; none for a regression.
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


def predict_part(estimator: Any, part: Subset, classes: tuple[str, ...] = ()) -> np.ndarray:
    """Return what `predict_matrix` does, of the rows of a part, a batch at a time."""
    return np.concatenate([predict_matrix(estimator, batch, classes) for batch in part.batches()])


def clip_popularity(predictions: np.ndarray) -> np.ndarray:
    """Return predictions within the range that popularity has."""
    return np.clip(predictions.astype(np.float64), LOWEST, HIGHEST)


def load_estimator(path: Path) -> Any:
    """Load an estimator from XGBoost JSON or from skops, without unpickling anything."""
    return Booster(model_file=path) if path.suffix == ".json" else _load_skops(path)


def _load_skops(path: Path) -> Any:
    unknown = sorted(set(skops.io.get_untrusted_types(file=path)) - _TRUSTED_TYPES)
    if unknown:
        raise ModelError(f"{path.name} holds what no model of this project consists of: {', '.join(unknown)}")
    return skops.io.load(path, trusted=sorted(_TRUSTED_TYPES))
