"""The fitting of estimators made of estimators: averages of several families, and a model in two parts."""

from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from spotify_ml.config.models import ClassificationConfig, EnsembleConfig, RegressionConfig, TwoPartConfig
from spotify_ml.features.subsets import Subsets
from spotify_ml.features.target_sums import DEAD
from spotify_ml.models.combined import AverageClassifier, AverageRegressor, TwoPartRegressor
from spotify_ml.models.fit import FittedEstimators, fit_single, refit
from spotify_ml.models.targets import Task, class_names, task_target
from spotify_ml.utils.errors import ConfigError, DataError


def fit_average(config: EnsembleConfig, task: Task, matrices: Subsets, seed: int) -> FittedEstimators:
    """Fit every member, and average them plainly (blend) or as their out-of-fold predictions ask for (stack).

    Parameters and errors are those of `spotify_ml.models.estimators.fit_estimators`.
    """
    parts = (matrices.train, matrices.validation, matrices.trainval)
    fitted = {name: fit_single(member, task, *parts, seed) for name, member in config.members.items()}
    weights = np.full(len(fitted), 1 / len(fitted))
    if config.name == "stack":
        weights = _stacked_weights(config, task, matrices, seed, fitted)
    average = AverageRegressor if isinstance(task, RegressionConfig) else AverageClassifier
    return FittedEstimators(
        average({name: each.early_stopped for name, each in fitted.items()}, weights),
        average({name: each.refit for name, each in fitted.items()}, weights),
    )


def _stacked_weights(
    config: EnsembleConfig, task: Task, matrices: Subsets, seed: int, fitted: dict[str, FittedEstimators]
) -> np.ndarray:
    """Return the weights that predict each fold of train best, its members fitted on the other folds.

    Features are built anew for every fold: those of the whole train part know the targets of the fold.
    """
    predicted: list[list[np.ndarray]] = []
    actual: list[np.ndarray] = []
    assert matrices.builder is not None  # noqa: S101 - only a run of XGBoost alone has none
    for seen, held_out in matrices.builder.train_folds(config.folds):
        predictions = []
        for name, member in config.members.items():
            estimator = refit(member, task, seen, fitted[name].n_trees, seed)
            features = held_out.matrix()
            predictions.append(
                estimator.predict(features)
                if isinstance(task, RegressionConfig)
                else estimator.predict_proba(features).ravel()
            )
        predicted.append(predictions)
        target = task_target(task, held_out.target)
        actual.append(target if isinstance(task, RegressionConfig) else np.eye(len(class_names(task)))[target].ravel())
    weights, _ = nnls(np.hstack(predicted).T, np.concatenate(actual))
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))


def fit_two_part(config: TwoPartConfig, task: Task, matrices: Subsets, seed: int) -> FittedEstimators:
    """Fit a classifier of dead tracks, and a regressor of the others.

    Parameters and errors are those of `spotify_ml.models.estimators.fit_estimators`.
    """
    if not isinstance(task, RegressionConfig):
        raise ConfigError("config: model=two_part predicts popularity itself; use it with task=regression")
    parts = (matrices.train, matrices.validation, matrices.trainval)
    living = [part.target > DEAD for part in parts]
    if not all(0 < alive.sum() < len(alive) for alive in living):
        raise DataError(f"model=two_part needs tracks above and up to popularity {DEAD:g} in every part of the split")
    is_dead = ClassificationConfig(
        name="classification", label="popular", threshold=50, weights=task.weights, registered_model="dead"
    )
    # The classes of a dead and a living track, on the scale that `is_dead` divides.
    marked = [replace(part, target=np.where(alive, 0.0, 100.0)) for part, alive in zip(parts, living, strict=True)]
    only_alive = [
        replace(part, features=part.features[alive], target=part.target[alive])
        for part, alive in zip(parts, living, strict=True)
    ]
    dead = fit_single(config.dead, is_dead, marked[0], marked[1], marked[2], seed)
    alive = fit_single(config.alive, task, only_alive[0], only_alive[1], only_alive[2], seed)
    means = [part.target[~there].mean() for part, there in ((parts[0], living[0]), (parts[2], living[2]))]
    return FittedEstimators(
        TwoPartRegressor(dead.early_stopped, alive.early_stopped, float(means[0])),
        TwoPartRegressor(dead.refit, alive.refit, float(means[1])),
    )
