"""XGBoost: one training loop for features in memory, in files or on a cluster."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xgboost
from xgboost import XGBClassifier, XGBRegressor

from spotify_ml.config.models import RegressionConfig, XGBoostConfig
from spotify_ml.features.subsets import Subset
from spotify_ml.models.families.base import Curve, Family, Rows, fit_rows, parameters_of
from spotify_ml.models.families.xgboost_matrices import xgboost_matrices
from spotify_ml.models.targets import Task, class_names

# The tree methods for which XGBoost bins values once, before the first tree.
_BINNING = ("auto", "hist")


def _build_xgboost(config: XGBoostConfig, task: Task, seed: int) -> Any:
    parameters = parameters_of(config) | {"random_state": seed}
    if isinstance(task, RegressionConfig):
        return XGBRegressor(objective="reg:squarederror", eval_metric="rmse", **parameters)
    binary = len(class_names(task)) == 2
    objective, metric = ("binary:logistic", "logloss") if binary else ("multi:softprob", "mlogloss")
    return XGBClassifier(objective=objective, eval_metric=metric, **parameters)


def _watch_xgboost(estimator: Any, train: Rows, validation: Rows) -> tuple[int, Curve]:
    """Fit the same trees and curve as ``XGBModel.fit``, without binning the validation rows.

    If they are binned, every new tree looks up their values one by one, which takes half as long as growing it.
    """
    errors: dict[str, dict[str, list[float]]] = {}
    booster = _grow(
        estimator,
        train,
        estimator.n_estimators,
        validation,
        early_stopping_rounds=estimator.early_stopping_rounds,
        evals_result=errors,
    )
    return booster.best_iteration + 1, {name: next(iter(curve.values())) for name, curve in errors.items()}


def _grow(
    estimator: Any, train: Rows, n_trees: int, validation: Rows | None = None, **watching: Any
) -> xgboost.Booster:
    """Fit by XGBoost's own interface, which takes features in files as well."""
    with xgboost_matrices(estimator.n_jobs) as make:
        booster: xgboost.Booster = _grown(make, estimator, train, n_trees, validation, watching)
    give_booster(estimator, booster)
    return booster


def give_booster(estimator: Any, booster: xgboost.Booster) -> None:
    """Make a booster the fitted part of an XGBoost estimator, and keep the estimator's parameters.

    Loading turns fitted values (base score, column types …) into parameters, so that a clone fitted on other rows would
    start from the mean of these.
    """
    parameters = estimator.get_params()
    estimator.load_model(booster.save_raw("ubj"))
    for name, value in parameters.items():
        # Not by set_params, which would change the booster as well.
        setattr(estimator, name, value)


def _grown(
    make: Callable[..., xgboost.DMatrix],
    estimator: Any,
    train: Rows,
    n_trees: int,
    validation: Rows | None,
    watching: dict[str, Any],
) -> Any:
    binning = {"max_bin": estimator.max_bin} if estimator.tree_method in _BINNING else {}
    fitted = make(train.X, train.y, train.weights, **binning)
    evals = []
    if validation is not None:
        # The learning curve is without weights.
        unweighted = fitted if train.weights is None else make(train.X, train.y, None)
        evals = [(unweighted, "train"), (make(validation.X, validation.y, None), "val")]
    return grow(estimator, len(np.unique(train.y)), fitted, n_trees, evals=evals, **watching)


def grow(
    estimator: Any,
    n_classes: int,
    rows: Any,
    n_trees: int,
    *,
    train: Callable[..., Any] = xgboost.train,
    **watching: Any,
) -> Any:
    """Fit at most `n_trees` trees by XGBoost's own interface, and return its result.

    The estimator's parameters are used, but it is not fitted itself; `n_classes` is ignored for a regression. `train`
    is ``xgboost.train`` or that of a cluster; `watching` are its other arguments.
    """
    parameters = estimator.get_xgb_params()
    if estimator.objective == "multi:softprob":
        parameters["num_class"] = n_classes
    return train(parameters, rows, n_trees, verbose_eval=False, **watching)


def _fit(estimator: Any, rows: Rows) -> None:
    if isinstance(rows.X, Subset):
        _grow(estimator, rows, estimator.n_estimators)
    else:
        fit_rows(estimator, rows)


XGBOOST = Family(
    _build_xgboost,
    _watch_xgboost,
    lambda n_trees: {"n_estimators": n_trees, "early_stopping_rounds": None},
    _fit,
)
