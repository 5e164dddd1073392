"""The fitting of one estimator: as many trees as the validation rows ask for, then once more on everything."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spotify_ml.config.models import ClassificationConfig, HistGradientBoostingConfig, SingleConfig, XGBoostConfig
from spotify_ml.features.subsets import Subset
from spotify_ml.models.families import FAMILIES
from spotify_ml.models.families.base import Curve, Rows
from spotify_ml.models.targets import Task, class_names, sample_weights, task_target
from spotify_ml.utils.errors import ConfigError, DataError, says_no_memory


@dataclass(frozen=True)
class FittedEstimators:
    """The two fits of a run.

    Attributes
    ----------
    early_stopped : estimator
        Fitted on the train rows, with the number of trees that the validation rows chose.
    refit : estimator
        Fitted on train and validation rows with that number of trees.
    n_trees : int or None
        The chosen number of trees, for boosting.
    learning_curve : dict of str to list of float
        Error after every tree of the first fit, for ``train`` and ``val``; empty where there is none.
    """

    early_stopped: Any
    refit: Any
    n_trees: int | None = None
    learning_curve: Curve = field(default_factory=dict)


def fit_single(
    config: SingleConfig, task: Task, train: Subset, validation: Subset, trainval: Subset, seed: int
) -> FittedEstimators:
    """Fit one estimator twice; parameters and errors as of `spotify_ml.models.estimators.fit_estimators`."""
    selected, n_trees, curve = fit_selected(config, task, train, validation, seed)
    with library_refusals(config.name):
        final = refit(config, task, trainval, n_trees, seed)
    return FittedEstimators(selected, final, n_trees, curve)


def fit_selected(
    config: SingleConfig, task: Task, train: Subset, validation: Subset, seed: int
) -> tuple[Any, int | None, Curve]:
    """Fit one estimator on the train rows; return it, its number of trees, and its learning curve.

    Parameters and errors are those of `spotify_ml.models.estimators.fit_estimators`.
    """
    family = FAMILIES[type(config)]
    train_rows = _rows_to_fit(config, task, train)
    estimator = build_estimator(config, task, seed)
    with library_refusals(config.name):
        if family.watch is None:
            family.fit(estimator, train_rows)
            return estimator, None, {}
        return estimator, *family.watch(estimator, train_rows, estimator_rows(config, task, validation))


def build_estimator(config: SingleConfig, task: Task, seed: int) -> Any:
    """Return an unfitted estimator."""
    return FAMILIES[type(config)].build(config, task, seed)


def refit(config: SingleConfig, task: Task, part: Subset, n_trees: int | None, seed: int) -> Any:
    """Fit one estimator on other rows, with a number of trees chosen before."""
    family = FAMILIES[type(config)]
    estimator = build_estimator(config, task, seed)
    if family.refit_parameters is not None and n_trees is not None:
        estimator.set_params(**family.refit_parameters(n_trees))
    family.fit(estimator, _rows_to_fit(config, task, part))
    return estimator


def estimator_rows(config: SingleConfig, task: Task, part: Subset) -> Rows:
    """Return a part as an estimator takes it."""
    features: Any
    if part.storage.kind != "memory":
        features = part
    elif isinstance(config, XGBoostConfig):
        # It keeps the names in its file; the others would only warn about them.
        features = part.features
    else:
        features = part.matrix()
    if isinstance(config, HistGradientBoostingConfig):
        # It cannot bin a column without any value; a constant one it leaves alone, whatever is scored later.
        features[:, np.isnan(features).all(axis=0)] = 0
    return Rows(features, task_target(task, part.target), sample_weights(task, part.target))


def _rows_to_fit(config: SingleConfig, task: Task, part: Subset) -> Rows:
    rows = estimator_rows(config, task, part)
    check_classes(task, rows.y)
    return rows


def check_classes(task: Task, target: np.ndarray) -> None:
    """Refuse rows to fit on that lack a class.

    Parameters
    ----------
    task : RegressionConfig or ClassificationConfig
        What is predicted; a regression has no classes to lack.
    target : ndarray, shape (n_rows,)
        As of `spotify_ml.models.targets.task_target`.

    Raises
    ------
    DataError
        Naming every class without a row.
    """
    missing = sorted(set(range(len(class_names(task)))) - set(np.unique(target).tolist()))
    if missing:
        names = ", ".join(class_names(task)[code] for code in missing)
        threshold = (
            " or mend task.threshold=…" if isinstance(task, ClassificationConfig) and task.label == "popular" else ""
        )
        raise DataError(f"task=classification: no train row is {names}; give more tracks{threshold}")


@contextmanager
def library_refusals(name: str) -> Iterator[None]:
    """Turn what a boosting library says of a combination of parameters into a `ConfigError`."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"xgboost", "lightgbm", "catboost", "_catboost"}:
            raise
        if says_no_memory(str(error)):
            raise MemoryError(str(error).strip().splitlines()[0]) from error
        reason = str(error).partition("Check failed: ")[2] or str(error)
        raise ConfigError(f"config: {name} refuses these values of model.…: {reason.splitlines()[0]}") from error
