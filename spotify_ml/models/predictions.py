"""Predictions of fitted estimators from features, and estimators from their files."""

from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from xgboost import Booster

from spotify_ml.features.subsets import Subset
from spotify_ml.models.intervals import HIGHEST, LOWEST
from spotify_ml.utils.errors import ModelError

# XGBoost gives every thread this number of rows at a time.
BLOCK_ROWS = 64
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
        "spotify_ml.features.transformers.dates.ReleaseDates",
        "spotify_ml.features.transformers.genres.FirstGenreCode",
        "spotify_ml.features.transformers.genres.GenreComponents",
        "spotify_ml.features.transformers.genres.GenreSet",
        "spotify_ml.features.transformers.key.KeyStatistics",
        "spotify_ml.features.transformers.names.NameFeatures",
        "spotify_ml.features.transformers.statistics.TargetStatistics",
        "spotify_ml.features.transformers.words.WordRegression",
        "spotify_ml.models.combined.AverageClassifier",
        "spotify_ml.models.combined.AverageRegressor",
        "spotify_ml.models.combined.TwoPartRegressor",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
    }
)


def predict_matrix(estimator: Any, matrix: np.ndarray, classes: tuple[str, ...] = ()) -> np.ndarray:
    """Return popularity from 0 to 100, shape (n_rows,), or the probabilities of classes, shape (n_rows, n_classes).

    `classes` are the classes of a classification; empty for a regression.
    """
    predicted = raw_predictions(estimator, matrix, classes)
    return predicted if classes else clip_popularity(predicted)


def raw_predictions(estimator: Any, matrix: np.ndarray, classes: tuple[str, ...] = ()) -> np.ndarray:
    """Return the same as `predict_matrix`, but popularity as the estimator says it, also below 0 or above 100."""
    if not len(matrix):
        return np.empty((0, len(classes)) if classes else 0)
    if isinstance(estimator, Booster):
        predicted = estimator.inplace_predict(matrix, validate_features=False)
        if classes and predicted.ndim == 1:
            predicted = np.column_stack([1 - predicted, predicted])
    else:
        predicted = estimator.predict_proba(matrix) if classes else estimator.predict(matrix)
    # In float32 probabilities sum to almost 1.
    predicted = predicted.astype(np.float64)
    return predicted / predicted.sum(axis=1, keepdims=True) if classes else predicted


def single_thread(booster: Booster) -> Booster:
    """Return the same booster with one thread: for up to `BLOCK_ROWS` rows, others would only wait for it."""
    alone = booster.copy()
    alone.set_param({"nthread": 1})
    return alone


def predict_subset(estimator: Any, subset: Subset, classes: tuple[str, ...] = ()) -> np.ndarray:
    """Return the predictions of `predict_matrix` for the rows of a subset, batch by batch."""
    return np.concatenate([predict_matrix(estimator, batch, classes) for batch in subset.batches()])


def clip_popularity(predictions: np.ndarray) -> np.ndarray:
    """Return predictions clipped to the range of popularity."""
    return np.clip(predictions.astype(np.float64), LOWEST, HIGHEST)


def load_estimator(path: Path) -> Any:
    """Load an estimator from XGBoost JSON or from skops, without unpickling anything."""
    return Booster(model_file=path) if path.suffix == ".json" else load_skops(path)


def load_skops(path: Path) -> Any:
    """Load an object from skops; a `ModelError` names what no model of this project consists of."""
    unknown = sorted(set(skops.io.get_untrusted_types(file=path)) - _TRUSTED_TYPES)
    if unknown:
        raise ModelError(f"{path.name} holds what no model of this project consists of: {', '.join(unknown)}")
    return skops.io.load(path, trusted=sorted(_TRUSTED_TYPES))
