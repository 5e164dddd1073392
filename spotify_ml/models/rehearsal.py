"""A fit of every estimator on a few random rows, to find refused parameters before tracks are read."""

import warnings

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from spotify_ml.config.models import EnsembleConfig, ModelConfig, SingleConfig, TwoPartConfig
from spotify_ml.models.fit import build_estimator, library_refusals
from spotify_ml.models.targets import Task, class_names
from spotify_ml.utils.errors import ConfigError

_ROWS, _COLUMNS = 60, 4
# The families' parameters for the number of trees, threads and early stopping.
_TREES = ("n_estimators", "max_iter", "iterations")
_THREADS = ("n_jobs", "thread_count")
_STOPS = {"early_stopping_rounds": None, "early_stopping_round": None, "early_stopping": False}


def rehearse(config: ModelConfig, task: Task, seed: int) -> None:
    """Fit one tree of every estimator of a configuration.

    Raises `ConfigError` if a library refuses the parameters, or an estimator takes no weights, which every fit passes.
    """
    if isinstance(config, TwoPartConfig):
        _fit_one_tree(config.dead, task, seed)
        _fit_one_tree(config.alive, task, seed)
    else:
        for single in config.members.values() if isinstance(config, EnsembleConfig) else [config]:
            _fit_one_tree(single, task, seed)


def _fit_one_tree(config: SingleConfig, task: Task, seed: int) -> None:
    estimator = build_estimator(config, task, seed)
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not has_fit_parameter(last, "sample_weight"):
        raise ConfigError(
            f"config: model={config.name}: {type(last).__name__}.fit takes no sample_weight, which task.weights needs; "
            "use another estimator, or wrap it in one that does"
        )
    known = estimator.get_params()
    # Starting threads would take longer than the fit.
    ones = {name: 1 for name in (*_TREES, *_THREADS) if name in known}
    estimator.set_params(**ones, **{name: value for name, value in _STOPS.items() if name in known})
    rows = np.random.default_rng(0).normal(size=(_ROWS, _COLUMNS))
    target = np.arange(_ROWS) % max(len(class_names(task)), 2)
    with library_refusals(config.name), warnings.catch_warnings(action="ignore"):
        estimator.fit(rows, target)
