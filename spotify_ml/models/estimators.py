"""Fitting the estimator that ``model=`` names: a single one, an average of several, or a model in two parts."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from spotify_ml.config.models import (
    ClassificationConfig,
    EnsembleConfig,
    ModelConfig,
    RegressionConfig,
    TwoPartConfig,
)
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.features.target_sums import DEAD
from spotify_ml.models.combined import AverageClassifier, AverageRegressor, TwoPartRegressor
from spotify_ml.models.fit import FittedEstimators, fit_single, refit
from spotify_ml.models.targets import Task, class_names, task_target
from spotify_ml.utils.errors import ConfigError, DataError


def fit_estimators(config: ModelConfig, task: Task, subsets: Subsets, seed: int) -> FittedEstimators:
    """Choose the number of trees on the validation rows, then fit that many on the trainval rows.

    Raises `ConfigError` if the combination of parameters is refused, or its library is not installed. Raises
    `DataError` if a class has no track to learn from.
    """
    if isinstance(config, EnsembleConfig):
        return _fit_average(config, task, subsets, seed)
    if isinstance(config, TwoPartConfig):
        return _fit_two_part(config, task, subsets, seed)
    return fit_single(config, task, subsets, seed)


def _fit_average(config: EnsembleConfig, task: Task, subsets: Subsets, seed: int) -> FittedEstimators:
    """Fit every member, and average them with equal weights (blend) or with weights fitted out of fold (stack)."""
    fitted = {name: fit_single(member, task, subsets, seed) for name, member in config.members.items()}
    weights = np.full(len(fitted), 1 / len(fitted))
    if config.name == "stack":
        weights = _stacked_weights(config, task, subsets, seed, fitted)
    average = AverageRegressor if isinstance(task, RegressionConfig) else AverageClassifier
    return FittedEstimators(
        average({name: each.early_stopped for name, each in fitted.items()}, weights),
        average({name: each.refit for name, each in fitted.items()}, weights),
    )


def _stacked_weights(
    config: EnsembleConfig, task: Task, subsets: Subsets, seed: int, fitted: dict[str, FittedEstimators]
) -> np.ndarray:
    """Return the weights that predict each fold of train best, with members fitted on the other folds.

    Features are built anew for every fold: those of all train rows contain the targets of the fold.
    """
    is_regression = isinstance(task, RegressionConfig)
    predicted: list[list[np.ndarray]] = []
    actual: list[np.ndarray] = []
    assert subsets.builder is not None  # noqa: S101 - only a run of XGBoost alone has none
    for others, fold in subsets.builder.train_folds(config.folds):
        features, predictions = fold.matrix(), []
        for name, member in config.members.items():
            estimator = refit(member, task, others, fitted[name].chosen_trees, seed)
            predictions.append(
                estimator.predict(features) if is_regression else estimator.predict_proba(features).ravel()
            )
        predicted.append(predictions)
        target = task_target(task, fold.target)
        actual.append(target if is_regression else np.eye(len(class_names(task)))[target].ravel())
    weights, _ = nnls(np.hstack(predicted).T, np.concatenate(actual))
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))


def _fit_two_part(config: TwoPartConfig, task: Task, subsets: Subsets, seed: int) -> FittedEstimators:
    """Fit a classifier of near-zero tracks, and a regressor of the others."""
    if not isinstance(task, RegressionConfig):
        raise ConfigError("config: model=two_part predicts popularity itself; use it with task=regression")
    rows = (subsets.train, subsets.validation, subsets.trainval)
    if not all(0 < (subset.target > DEAD).sum() < len(subset.target) for subset in rows):
        raise DataError(f"model=two_part needs tracks above and up to popularity {DEAD:g} in every part of the split")
    is_dead = ClassificationConfig(
        name="classification", label="popular", threshold=50, weights=task.weights, registered_model="dead"
    )
    dead = fit_single(config.dead, is_dead, _each(_marked, subsets), seed)
    alive = fit_single(config.alive, task, _each(_only_alive, subsets), seed)

    def joined(dead_fit: object, alive_fit: object, fitted_on: Subset) -> TwoPartRegressor:
        return TwoPartRegressor(dead_fit, alive_fit, float(fitted_on.target[fitted_on.target <= DEAD].mean()))

    return FittedEstimators(
        joined(dead.early_stopped, alive.early_stopped, subsets.train),
        joined(dead.refit, alive.refit, subsets.trainval),
    )


def _each(change: Callable[[Subset], Subset], subsets: Subsets) -> Subsets:
    """Return changed subsets to fit on."""
    train, validation, trainval = map(change, (subsets.train, subsets.validation, subsets.trainval))
    return replace(subsets, train=train, validation=validation, trainval=trainval)


def _marked(subset: Subset) -> Subset:
    """Return a subset with 100 for near-zero tracks and 0 for others, which a threshold of 50 divides."""
    return replace(subset, target=np.where(subset.target > DEAD, 0.0, 100.0))


def _only_alive(subset: Subset) -> Subset:
    alive = subset.target > DEAD
    return replace(subset, features=subset.features[alive], target=subset.target[alive])
