"""LightGBM and CatBoost, which are extras."""

from typing import Any

import numpy as np

from spotify_ml.config.models import CatBoostConfig, LightGBMConfig, RegressionConfig
from spotify_ml.models.families.base import Curve, Family, Rows, fit_rows, import_extra, parameters_of
from spotify_ml.models.targets import Task


def _build_lightgbm(config: LightGBMConfig, task: Task, seed: int) -> Any:
    lightgbm = import_extra("lightgbm")
    parameters = {"random_state": seed, "deterministic": True, "verbosity": -1, **parameters_of(config)}
    if isinstance(task, RegressionConfig):
        return lightgbm.LGBMRegressor(metric="rmse", **parameters)
    return lightgbm.LGBMClassifier(**parameters)


def _watch_lightgbm(estimator: Any, train: Rows, validation: Rows) -> tuple[int, Curve]:
    features, targets = (train.X, validation.X), (train.y, validation.y)
    fit_rows(estimator, train, eval_X=features, eval_y=targets, eval_names=["train", "val"])
    curve = {name: np.asarray(next(iter(errors.values()))).tolist() for name, errors in estimator.evals_result_.items()}
    return int(estimator.best_iteration_), curve


def _build_catboost(config: CatBoostConfig, task: Task, seed: int) -> Any:
    catboost = import_extra("catboost")
    boosting = catboost.CatBoostRegressor if isinstance(task, RegressionConfig) else catboost.CatBoostClassifier
    # Log files would be written to the current folder.
    return boosting(random_seed=seed, verbose=False, allow_writing_files=False, **parameters_of(config))


def _watch_catboost(estimator: Any, train: Rows, validation: Rows) -> tuple[int, Curve]:
    fit_rows(estimator, train, eval_set=[(validation.X, validation.y)])
    errors = estimator.get_evals_result()
    curve = {name: next(iter(errors[key].values())) for name, key in (("train", "learn"), ("val", "validation"))}
    return int(estimator.tree_count_), curve


LIGHTGBM = Family(
    _build_lightgbm, _watch_lightgbm, lambda n_trees: {"n_estimators": n_trees, "early_stopping_round": None}
)
CATBOOST = Family(
    _build_catboost, _watch_catboost, lambda n_trees: {"iterations": n_trees, "early_stopping_rounds": None}
)
