"""Figures, settings and tags of a run, logged within what one call and one value of a store may hold."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.time import get_current_time_millis

from spotify_ml.tracking.versions import TAG_LENGTH

_METRICS_PER_CALL, _PARAMS_PER_CALL = 1000, 100
PARAM_LENGTH = 6000
DESCRIPTION_LENGTH = 5000
# A curve of thousands of trees looks the same with fewer points, and every point is a row in the store.
_CURVE_POINTS = 250


def log_entries(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: Sequence[Metric] = (),
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log figures, settings and tags of a run in as few calls as the store takes, each value cut to its length."""
    settings = [Param(name, str(value)[:PARAM_LENGTH]) for name, value in (params or {}).items()]
    said = [RunTag(name, value[:TAG_LENGTH]) for name, value in (tags or {}).items()]
    n_calls = max(bool(said), -(-len(metrics) // _METRICS_PER_CALL), -(-len(settings) // _PARAMS_PER_CALL))
    for call in range(n_calls):
        client.log_batch(
            run_id,
            metrics[call * _METRICS_PER_CALL :][:_METRICS_PER_CALL],
            settings[call * _PARAMS_PER_CALL :][:_PARAMS_PER_CALL],
            () if call else said,
        )


def points(metrics: Mapping[str, float], model_id: str | None = None) -> list[Metric]:
    """Return figures as of now, of a run and, where one is named, of its model."""
    now = get_current_time_millis()
    return [Metric(name, value, now, 0, model_id) for name, value in metrics.items()]


def curve_points(name: str, curve: Sequence[float]) -> list[Metric]:
    """Return the error after every tree, at evenly spaced numbers of trees, as the history of a metric."""
    now = get_current_time_millis()
    kept = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), _CURVE_POINTS), dtype=int)).tolist()
    return [Metric(name, curve[tree], now, tree + 1) for tree in kept]


def shortened(text: str, rest: str) -> str:
    """Return a text as a description may have it: whole, or cut at a line and ended by where the rest is."""
    if len(text) <= DESCRIPTION_LENGTH:
        return text
    ending = f"\n\nThe rest is in {rest}."
    return text[: DESCRIPTION_LENGTH - len(ending)].rpartition("\n")[0].rstrip() + ending
