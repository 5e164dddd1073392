"""Fitting one estimator: early stopping on the validation rows, then a refit on all trainval rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spotify_ml.config.models import ClassificationConfig, HistGradientBoostingConfig, SingleConfig, XGBoostConfig
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.models.families import FAMILIES
from spotify_ml.models.families.base import Curve, Rows
from spotify_ml.models.targets import Task, class_names, sample_weights, task_target
from spotify_ml.utils.errors import ConfigError, DataError, says_no_memory


@dataclass(frozen=True)
class FittedEstimators:
    """The two fits of a run: on the train rows with early stopping, and again on the trainval rows.

    `chosen_trees` is the number of trees at which the first fit was best on the validation rows, for boosting, and
    `n_trees` that of the refit, which has more of them where its rate is lower. `learning_curve` is the error of the
    first fit after every tree, for ``train`` and ``val``; empty without trees.
    """

    early_stopped: Any
    refit: Any
    chosen_trees: int | None = None
    n_trees: int | None = None
    learning_curve: Curve = field(default_factory=dict)


def fit_single(config: SingleConfig, task: Task, subsets: Subsets, seed: int) -> FittedEstimators:
    """Fit one estimator twice; errors as of `spotify_ml.models.estimators.fit_estimators`."""
    early_stopped, chosen, curve = fit_early_stopped(probe_of(config), task, subsets, seed)
    with library_refusals(config.name):
        final = refit(config, task, subsets.trainval, chosen, seed)
    return FittedEstimators(early_stopped, final, chosen, refit_trees(config, chosen), curve)


def probe_of(config: SingleConfig) -> SingleConfig:
    """Return the parameters of the early-stopped fit: those of the refit, of XGBoost at the rate of its probe."""
    return config.probe() if isinstance(config, XGBoostConfig) else config


def refit_trees(config: SingleConfig, chosen: int | None) -> int | None:
    """Return the number of trees of the refit, from the number chosen by the early-stopped fit."""
    return config.trees_of_refit(chosen) if isinstance(config, XGBoostConfig) and chosen is not None else chosen


def fit_early_stopped(config: SingleConfig, task: Task, subsets: Subsets, seed: int) -> tuple[Any, int | None, Curve]:
    """Fit one estimator with early stopping; return it, its number of trees, and its learning curve."""
    family = FAMILIES[type(config)]
    train_rows = _rows_to_fit(config, task, subsets.train)
    estimator = build_estimator(config, task, seed)
    with library_refusals(config.name):
        if family.watch is None:
            family.fit(estimator, train_rows)
            return estimator, None, {}
        return estimator, *family.watch(estimator, train_rows, estimator_rows(config, task, subsets.validation))


def build_estimator(config: SingleConfig, task: Task, seed: int) -> Any:
    """Return an unfitted estimator."""
    return FAMILIES[type(config)].build(config, task, seed)


def refit(config: SingleConfig, task: Task, subset: Subset, chosen: int | None, seed: int) -> Any:
    """Fit one estimator with the number of trees that the early-stopped fit has chosen."""
    family = FAMILIES[type(config)]
    estimator, n_trees = build_estimator(config, task, seed), refit_trees(config, chosen)
    if family.refit_parameters is not None and n_trees is not None:
        estimator.set_params(**family.refit_parameters(n_trees))
    family.fit(estimator, _rows_to_fit(config, task, subset))
    return estimator


def estimator_rows(config: SingleConfig, task: Task, subset: Subset) -> Rows:
    """Return a subset in the form that an estimator takes."""
    features: Any
    if subset.storage.kind != "memory":
        features = subset
    elif isinstance(config, XGBoostConfig):
        # XGBoost saves the names; other libraries would only warn about them.
        features = subset.features
    else:
        features = subset.matrix()
    if isinstance(config, HistGradientBoostingConfig):
        # It cannot bin a column without any value, and ignores a constant one.
        features[:, np.isnan(features).all(axis=0)] = 0
    return Rows(features, task_target(task, subset.target), sample_weights(task, subset.target))


def _rows_to_fit(config: SingleConfig, task: Task, subset: Subset) -> Rows:
    rows = estimator_rows(config, task, subset)
    check_classes(task, rows.y)
    return rows


def check_classes(task: Task, target: np.ndarray) -> None:
    """Raise DataError, naming the classes without a row, if the target of a classification lacks any."""
    missing = sorted(set(range(len(class_names(task)))) - set(np.unique(target).tolist()))
    if missing:
        names = ", ".join(class_names(task)[code] for code in missing)
        threshold = (
            " or mend task.threshold=…" if isinstance(task, ClassificationConfig) and task.label == "popular" else ""
        )
        raise DataError(f"task=classification: no train row is {names}; give more tracks{threshold}")


@contextmanager
def library_refusals(name: str) -> Iterator[None]:
    """Turn a boosting library's error about its parameters into a `ConfigError`."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"xgboost", "lightgbm", "catboost", "_catboost"}:
            raise
        if says_no_memory(str(error)):
            raise MemoryError(str(error).strip().splitlines()[0]) from error
        reason = str(error).partition("Check failed: ")[2] or str(error)
        raise ConfigError(f"config: {name} refuses these values of model.…: {reason.splitlines()[0]}") from error
