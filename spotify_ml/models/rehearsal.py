"""A fit of every estimator on a few made-up rows: what it refuses, it refuses before tracks are read."""

import warnings
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from spotify_ml.config.models import EnsembleConfig, ModelConfig, SingleConfig, TwoPartConfig
from spotify_ml.models.fit import build_estimator, library_refusals
from spotify_ml.models.targets import Task, class_names
from spotify_ml.utils.errors import ConfigError

_ROWS, _COLUMNS = 60, 4
# What each family calls the number of its trees, and what stops it early.
_TREES = ("n_estimators", "max_iter", "iterations")
_THREADS = ("n_jobs", "thread_count")
_STOPS = {"early_stopping_rounds": None, "early_stopping_round": None, "early_stopping": False}


def rehearse(config: ModelConfig, task: Task, seed: int) -> None:
    """Fit one tree of every estimator of a configuration.

    Parameters
    ----------
    config : ModelConfig
        The estimator and its parameters.
    task : RegressionConfig or ClassificationConfig
        What it predicts.
    seed : int
        As of the run.

    Raises
    ------
    ConfigError
        If a library refuses the parameters, or an estimator takes no weights, which every fit gives it.
    """
    if isinstance(config, TwoPartConfig):
        singles: list[SingleConfig] = [config.dead, config.alive]
    else:
        singles = list(config.members.values()) if isinstance(config, EnsembleConfig) else [config]
    for single in singles:
        _fit_one_tree(single, task, seed)


def _fit_one_tree(config: SingleConfig, task: Task, seed: int) -> None:
    estimator = build_estimator(config, task, seed)
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not has_fit_parameter(last, "sample_weight"):
        raise ConfigError(
            f"config: model={config.name}: {type(last).__name__}.fit takes no sample_weight, which task.weights needs; "
            "use another estimator, or wrap it in one that does"
        )
    _set_one_tree(estimator)
    rows = np.random.default_rng(0).normal(size=(_ROWS, _COLUMNS))
    target = np.arange(_ROWS) % max(len(class_names(task)), 2)
    with library_refusals(config.name), warnings.catch_warnings(action="ignore"):
        estimator.fit(rows, target)


def _set_one_tree(estimator: Any) -> None:
    known = estimator.get_params()
    # Starting threads for it would take longer than the fit.
    ones = {name: 1 for name in (*_TREES, *_THREADS) if name in known}
    estimator.set_params(**ones, **{name: value for name, value in _STOPS.items() if name in known})
