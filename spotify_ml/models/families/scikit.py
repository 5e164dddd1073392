"""Estimators of scikit-learn: linear ones, forests, and boosting of histograms."""

from typing import Any

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from spotify_ml.config.models import ForestConfig, HistGradientBoostingConfig, LinearConfig, RegressionConfig
from spotify_ml.models.families.base import Curve, Family, Rows, fit_rows, parameters_of
from spotify_ml.models.targets import Task


def _build_linear(config: LinearConfig, task: Task, seed: int) -> Any:
    # C is the inverse of the penalty; both sum the errors of rows.
    last = (
        Ridge(alpha=config.alpha, random_state=seed)
        if isinstance(task, RegressionConfig)
        else LogisticRegression(C=1 / config.alpha, max_iter=1000, random_state=seed)
    )
    steps = [("imputer", SimpleImputer(keep_empty_features=True)), ("scaler", StandardScaler()), ("estimator", last)]
    return Pipeline(steps)


def _build_forest(config: ForestConfig, task: Task, seed: int) -> Any:
    regression = isinstance(task, RegressionConfig)
    if config.name == "random_forest":
        forest = RandomForestRegressor if regression else RandomForestClassifier
    else:
        forest = ExtraTreesRegressor if regression else ExtraTreesClassifier
    # For scikit-learn, None means one thread.
    return forest(random_state=seed, **(parameters_of(config) | {"n_jobs": config.n_jobs or -1}))


def _build_hist(config: HistGradientBoostingConfig, task: Task, seed: int) -> Any:
    regression = isinstance(task, RegressionConfig)
    boosting = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    return boosting(random_state=seed, early_stopping=True, tol=0, **parameters_of(config))


def _watch_hist(estimator: Any, train: Rows, validation: Rows) -> tuple[int, Curve]:
    fit_rows(estimator, train, X_val=validation.X, y_val=validation.y)
    # The scores are negative losses, the first one before any tree; squared losses are halved.
    scores = {"train": estimator.train_score_[1:], "val": estimator.validation_score_[1:]}
    squared = isinstance(estimator, HistGradientBoostingRegressor)
    losses = {name: np.sqrt(-2 * values) if squared else -values for name, values in scores.items()}
    n_trees = int(np.argmin(losses["val"])) + 1
    # The estimator keeps the trees after the best one.
    del estimator._predictors[n_trees:]
    return n_trees, {name: values.tolist() for name, values in losses.items()}


LINEAR = Family(_build_linear)
FOREST = Family(_build_forest)
HIST = Family(_build_hist, _watch_hist, lambda n_trees: {"max_iter": n_trees, "early_stopping": False})
