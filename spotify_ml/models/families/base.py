"""The interface of a family of estimators: building, fitting and early stopping."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from spotify_ml.config.models import SingleConfig
from spotify_ml.models.targets import Task
from spotify_ml.utils.errors import ConfigError

Curve = dict[str, list[float]]


@dataclass(frozen=True)
class Rows:
    """Features, target and weights as estimators take them; `X` is the whole subset if its features are in files."""

    X: Any
    y: np.ndarray
    weights: np.ndarray | None


def fit_rows(estimator: Any, rows: Rows, **watching: Any) -> None:
    """Fit an estimator on rows by its own ``fit``."""
    # In a pipeline the weights go to its last step.
    name = "estimator__sample_weight" if isinstance(estimator, Pipeline) else "sample_weight"
    estimator.fit(rows.X, rows.y, **{name: rows.weights}, **watching)


@dataclass(frozen=True)
class Family:
    """How one library's estimators are built, and how they stop early.

    Attributes
    ----------
    build : callable
        Returns an unfitted estimator from configuration, task and seed.
    watch : callable or None
        Fits with early stopping on other rows; returns the number of trees and the learning curve.
    refit_parameters : callable or None
        Returns the parameters of a fit of exactly so many trees.
    fit : callable
        Fits an estimator on rows.
    """

    build: Callable[[Any, Task, int], Any]
    watch: Callable[[Any, Rows, Rows], tuple[int, Curve]] | None = None
    refit_parameters: Callable[[int], dict[str, Any]] | None = None
    fit: Callable[[Any, Rows], None] = fit_rows


def import_extra(library: str) -> Any:
    """Import a library that only some models need."""
    try:
        return import_module(library)
    except ImportError as error:
        raise ConfigError(
            f"model={library} needs a library that is not installed; add it with `pip install -e '.[{library}]'`"
        ) from error


def parameters_of(config: SingleConfig) -> dict[str, Any]:
    """Return the estimator's parameters in a configuration."""
    return config.model_dump(exclude={"name", "probe_rate"})
