"""XGBoost fitted by all workers together: histograms are summed, rows stay where they are."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from spotify_ml.backends.dask.cluster import with_lost_workers, workers_of
from spotify_ml.backends.dask.features import WEIGHT, FittedFeatures
from spotify_ml.backends.dask.partitions import as_dask_frame, mapped, ranks_of
from spotify_ml.config.models import XGBoostConfig
from spotify_ml.data.schema import TARGET
from spotify_ml.models.families.base import Curve
from spotify_ml.models.families.xgboost import give_booster, grow
from spotify_ml.models.fit import build_estimator, library_refusals
from spotify_ml.models.targets import Task, class_names, task_target


class ClusterFit(NamedTuple):
    """A plain estimator fitted by workers, its learning curve, and the threads of the workers by rank.

    Each worker samples its own rows and columns for a tree.
    """

    estimator: Any
    curve: Curve
    threads: tuple[int, ...]


def fit_on_workers(
    client: Any, config: XGBoostConfig, task: Task, features: FittedFeatures, seed: int, n_trees: int | None = None
) -> ClusterFit:
    """Fit on the seen rows, with early stopping on the unseen rows unless the number of trees is given.

    Raises `ConfigError` if the combination of parameters is refused. Raises `EngineError` if workers are lost again and
    again.
    """
    estimator = build_estimator(config, task, seed)
    if n_trees is not None:
        estimator.set_params(n_estimators=n_trees, early_stopping_rounds=None)
    with library_refusals(config.name):
        booster, history, threads = with_lost_workers(partial(_grow, client, estimator, task, features))
    give_booster(estimator, booster)
    return ClusterFit(estimator, {name: next(iter(errors.values())) for name, errors in history.items()}, threads)


def _grow(
    client: Any, estimator: Any, task: Task, features: FittedFeatures
) -> tuple[Any, dict[str, Any], tuple[int, ...]]:
    """Return the booster of an estimator's parameters, errors by tree, and threads of the workers."""
    from xgboost import dask as xgboost

    workers, threads = workers_of(client), client.nthreads()
    ranks = ranks_of(features.counts, len(workers))
    by_rank = partial(_by_rank, ranks=ranks, workers=workers)
    X, y, weights = _columns(client, task, features.seen)
    rows = by_rank(xgboost.DaskQuantileDMatrix(client, X, y, weight=weights, max_bin=estimator.max_bin))
    watched = []
    if estimator.early_stopping_rounds is not None:
        # As in one process: the curve is without weights, and validation rows are not binned.
        unweighted = rows if weights is None else by_rank(xgboost.DaskDMatrix(client, X, y))
        X_val, y_val, _ = _columns(client, task, features.unseen)
        watched = [(unweighted, "train"), (by_rank(xgboost.DaskDMatrix(client, X_val, y_val)), "val")]
    result = grow(
        estimator,
        len(class_names(task)),
        rows,
        estimator.n_estimators,
        train=partial(xgboost.train, client),
        evals=watched,
        early_stopping_rounds=estimator.early_stopping_rounds,
    )
    return result["booster"], result["history"], tuple(threads[workers[rank]] for rank in sorted(set(ranks)))


def _by_rank(matrix: Any, ranks: Sequence[int], workers: Sequence[str]) -> Any:
    """Give every worker the partitions of its rank, in their order, wherever Dask has put them.

    Rows are sampled by their place on a worker: left to Dask, two runs would differ, and a worker might get no row.
    """
    parts = {matrix.partition_order[part.key]: part for own in matrix.worker_map.values() for part in own}
    by_worker: dict[str, list[Any]] = defaultdict(list)
    for position, rank in enumerate(ranks):
        by_worker[workers[rank]].append(parts[position])
    matrix.worker_map = by_worker
    return matrix


def _columns(client: Any, task: Task, tables: list[Any]) -> tuple[Any, Any, Any]:
    """Return features, target and weights as Dask's DataFrame and Series."""
    table = as_dask_frame(client, mapped(partial(_with_target, task=task), tables))
    weights = table[WEIGHT] if WEIGHT in table.columns else None
    features = table.drop(columns=[name for name in (TARGET, WEIGHT) if name in table.columns])
    return features, table[TARGET], weights


def _with_target(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    return table.assign(**{TARGET: task_target(task, table[TARGET].to_numpy())})
