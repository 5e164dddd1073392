"""SHAP values of predictions, and the features that moved each prediction most."""

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from xgboost import Booster, XGBModel

from spotify_ml.features.display_names import label
from spotify_ml.models.tree_shap import TreeShap
from spotify_ml.utils.errors import ConfigError, shown

_LIBRARIES = ("xgboost", "lightgbm", "catboost")


def is_explainable(estimator: Any) -> bool:
    """Return whether `contributions` can explain an estimator: a single boosting model."""
    return type(estimator).__module__.partition(".")[0] in _LIBRARIES


def contributions(estimator: Any, matrix: np.ndarray) -> np.ndarray:
    """Return SHAP values in points of popularity, and last the base value, shape (n_rows, n_features + 1).

    They are computed by TreeSHAP (Lundberg et al. 2020, doi 10.1038/s42256-019-0138-9), of XGBoost by
    `spotify_ml.models.tree_shap`. The base value is the mean prediction of the rows of the fit; a row sums to the
    prediction before clipping.
    """
    if isinstance(estimator, XGBModel):
        booster = estimator.get_booster()
        # The first fit keeps the trees after the best one.
        estimator = booster[: estimator.best_iteration + 1] if estimator.early_stopping_rounds else booster
    if isinstance(estimator, Booster):
        return TreeShap(estimator).contributions(matrix)
    if type(estimator).__module__.startswith("lightgbm"):
        return np.asarray(estimator.predict(matrix, pred_contrib=True))
    pool = import_module("catboost").Pool(matrix)
    return np.asarray(estimator.get_feature_importance(pool, type="ShapValues"))


def check_reasons(estimator: Any, n_reasons: Any, n_features: int) -> None:
    """Raise ConfigError unless 1 to all features are asked for, and the estimator `is_explainable`."""
    is_whole = isinstance(n_reasons, int | np.integer) and not isinstance(n_reasons, bool)
    if not is_whole or not 1 <= n_reasons <= n_features:
        raise ConfigError(f"explain={shown(n_reasons)}: give how many of the {n_features} features to name, 1 or more")
    if not is_explainable(estimator):
        raise ConfigError(
            f"explain={n_reasons}: this model, {type(estimator).__name__}, does not know what each feature adds; "
            "a single xgboost, lightgbm or catboost does"
        )


def reasons(added: np.ndarray, matrix: np.ndarray, features: Sequence[str], n_reasons: int) -> dict[str, np.ndarray]:
    """Return the features that moved each prediction most, by display name, in points of popularity.

    Parameters
    ----------
    added : ndarray of float, shape (n_rows, n_features + 1)
        As `contributions` returns it.
    matrix : ndarray of float, shape (n_rows, n_features)
        The features, named by `features`.

    Returns
    -------
    dict of str to ndarray, each of shape (n_rows,)
        ``base``, the mean prediction; ``reasons``, a list of ``{"feature": …, "value": …, "points": …}``, largest
        first, where value is the model's input, None if missing; and ``others``, the sum of all other features. Base,
        points and others sum to the prediction before clipping.
    """
    base, points = added[:, -1].astype(np.float64), added[:, :-1].astype(np.float64)
    largest = np.argsort(-np.abs(points), axis=1, kind="stable")[:, :n_reasons]
    named = np.round(np.take_along_axis(points, largest, axis=1), 4)
    values = np.take_along_axis(matrix, largest, axis=1)
    labels = np.array([label(feature) for feature in features], dtype=object)[largest]
    listed = [
        [{"feature": text, "value": _readable(value), "points": point} for text, value, point in zip(*row, strict=True)]
        for row in zip(labels.tolist(), values.tolist(), named.tolist(), strict=True)
    ]
    # NumPy would make a matrix of the lists.
    column = pd.Series(listed, dtype=object).to_numpy()
    return {"base": base, "reasons": column, "others": points.sum(axis=1) - named.sum(axis=1)}


def _readable(value: float) -> float | None:
    """Return a float32 without the digits that float64 would add, and NaN, which JSON lacks, as None."""
    return None if math.isnan(value) else float(f"{value:.6g}")
