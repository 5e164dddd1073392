"""Why a model predicts what it predicts: what each feature adds to a prediction, and the few that move it most."""

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
    """Tell whether an estimator's library knows what each feature adds: that of every single boosting model does."""
    return type(estimator).__module__.partition(".")[0] in _LIBRARIES


def contributions(estimator: Any, matrix: np.ndarray) -> np.ndarray:
    """Return what every feature adds to each prediction, and the base that they are added to.

    They are SHAP values by TreeSHAP (Lundberg et al. 2020, doi 10.1038/s42256-019-0138-9): of XGBoost by
    `spotify_ml.models.tree_shap`, of LightGBM and CatBoost as they tell them. A row sums to the prediction before it is
    clipped.

    Parameters
    ----------
    estimator : xgboost.Booster or regressor
        Fitted; one that `is_explainable`.
    matrix : ndarray of float, shape (n_rows, n_features)
        Features.

    Returns
    -------
    ndarray of float, shape (n_rows, n_features + 1)
        In points of popularity; the base, the mean prediction of the rows of the fit, stands last.
    """
    if isinstance(estimator, XGBModel):
        booster = estimator.get_booster()
        # The first fit keeps the trees that came after the best.
        estimator = booster[: estimator.best_iteration + 1] if estimator.early_stopping_rounds else booster
    if isinstance(estimator, Booster):
        return TreeShap(estimator).contributions(matrix)
    if type(estimator).__module__.startswith("lightgbm"):
        return np.asarray(estimator.predict(matrix, pred_contrib=True))
    pool = import_module("catboost").Pool(matrix)
    return np.asarray(estimator.get_feature_importance(pool, type="ShapValues"))


def check_reasons(estimator: Any, n_reasons: Any, n_features: int) -> None:
    """Refuse a number of reasons that cannot be given.

    Raises
    ------
    ConfigError
        If it is no number from 1 to that of the features, or the estimator is none that `is_explainable`.
    """
    is_whole = isinstance(n_reasons, int | np.integer) and not isinstance(n_reasons, bool)
    if not is_whole or not 1 <= n_reasons <= n_features:
        raise ConfigError(f"explain={shown(n_reasons)}: give how many of the {n_features} features to name, 1 or more")
    if not is_explainable(estimator):
        raise ConfigError(
            f"explain={n_reasons}: this model, {type(estimator).__name__}, does not know what each feature adds; "
            "a single xgboost, lightgbm or catboost does"
        )


def reasons(added: np.ndarray, matrix: np.ndarray, features: Sequence[str], n_reasons: int) -> dict[str, np.ndarray]:
    """Return the features that moved each prediction most, in plain words and points of popularity.

    Parameters
    ----------
    added : ndarray of float, shape (n_rows, n_features + 1)
        What each feature adds, as `contributions` returns it.
    matrix : ndarray of float, shape (n_rows, n_features)
        Features.
    features : sequence of str
        The names of the columns.
    n_reasons : int
        How many to give, from 1 to all.

    Returns
    -------
    dict of str to ndarray, each of shape (n_rows,)
        ``base``, the mean prediction; ``reasons``, a list of ``{"feature": …, "value": …, "points": …}``, the largest
        first, whose value is that of the column as the model sees it, or None where it is missing; and ``others``,
        what all other features add together. Base, points and others sum to the prediction before it is clipped.
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
    # NumPy would make a matrix of them, and pandas numbers of none.
    column = pd.Series(listed, dtype=object).to_numpy()
    return {"base": base, "reasons": column, "others": points.sum(axis=1) - named.sum(axis=1)}


def _readable(value: float) -> float | None:
    """Return a float32 without the digits that float64 would add, and NaN, which JSON does not know, as None."""
    return None if math.isnan(value) else float(f"{value:.6g}")
