"""XGBoost fitted by all workers together: histograms are summed, rows stay where they are."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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


@dataclass(frozen=True)
class Fit:
    """What workers fitted together.

    Attributes
    ----------
    estimator : xgboost.XGBRegressor or XGBClassifier
        A plain one, without Dask.
    curve : dict of str to list of float
        Error after every tree on what was watched.
    threads : tuple of int
        Of each worker that took part, by rank: which rows and columns a tree may see is drawn by each.
    """

    estimator: Any
    curve: Curve
    threads: tuple[int, ...]


def fit_selected(client: Any, config: XGBoostConfig, task: Task, features: FittedFeatures, seed: int) -> Fit:
    """Fit on the seen rows while watching the others.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster.
    config : XGBoostConfig
        The estimator's parameters.
    task : RegressionConfig or ClassificationConfig
        What it predicts.
    features : FittedFeatures
        Of the train rows; the unseen ones are the validation rows.
    seed : int
        Drives what is random in a fit.

    Raises
    ------
    ConfigError
        If the combination of parameters is refused.
    EngineError
        If workers are lost again and again.
    """
    rounds, patience = config.n_estimators, config.early_stopping_rounds
    booster, history, threads = _train(client, config, task, features, seed, rounds, patience)
    curve = {part: next(iter(errors.values())) for part, errors in history.items()}
    return Fit(_estimator(config, task, seed, booster), curve, threads)


def fit_final(client: Any, config: XGBoostConfig, task: Task, features: FittedFeatures, n_trees: int, seed: int) -> Fit:
    """Fit the chosen number of trees on the seen rows; parameters and errors as for `fit_selected`."""
    booster, _, threads = _train(client, config, task, features, seed, n_trees, None)
    estimator = _estimator(config, task, seed, booster, n_estimators=n_trees, early_stopping_rounds=None)
    return Fit(estimator, {}, threads)


def _train(
    client: Any,
    config: XGBoostConfig,
    task: Task,
    features: FittedFeatures,
    seed: int,
    rounds: int,
    patience: int | None,
) -> tuple[Any, dict[str, Any], tuple[int, ...]]:
    """Fit on the seen rows, watching the unseen ones if there is patience; return booster, errors and threads."""
    from xgboost import dask as xgboost

    estimator, n_classes = build_estimator(config, task, seed), len(class_names(task))

    def fit() -> Any:
        workers, threads = workers_of(client), client.nthreads()
        ranks = ranks_of(features.counts, len(workers))
        by_rank = partial(_by_rank, ranks=ranks, workers=workers)
        X, y, weights = _columns(client, task, features.seen)
        rows = by_rank(xgboost.DaskQuantileDMatrix(client, X, y, weight=weights, max_bin=config.max_bin))
        sets = []
        if patience is not None:
            # As in one process: errors are those of the rows as they are, and validation rows are not binned.
            shown = rows if weights is None else by_rank(xgboost.DaskDMatrix(client, X, y))
            X_watched, y_watched, _ = _columns(client, task, features.unseen)
            sets = [(shown, "train"), (by_rank(xgboost.DaskDMatrix(client, X_watched, y_watched)), "val")]
        train = partial(xgboost.train, client)
        result = grow(estimator, n_classes, rows, rounds, train=train, evals=sets, early_stopping_rounds=patience)
        return result["booster"], result["history"], tuple(threads[workers[rank]] for rank in sorted(set(ranks)))

    with library_refusals(config.name):
        return with_lost_workers(fit)


def _by_rank(matrix: Any, ranks: Sequence[int], workers: Sequence[str]) -> Any:
    """Give every worker the partitions of its rank, in their order, wherever Dask has put them.

    Which rows a tree may see is drawn by their place on a worker: left to Dask, two runs would not be equal, and a
    worker might get no row.
    """
    parts = {matrix.partition_order[part.key]: part for own in matrix.worker_map.values() for part in own}
    by_worker: dict[str, list[Any]] = defaultdict(list)
    for position, rank in enumerate(ranks):
        by_worker[workers[rank]].append(parts[position])
    matrix.worker_map = by_worker
    return matrix


def _columns(client: Any, task: Task, parts: list[Any]) -> tuple[Any, Any, Any]:
    """Return features, what the task predicts, and weights, as Dask's DataFrame and Series."""
    table = as_dask_frame(client, mapped(partial(_with_target, task=task), parts))
    weights = table[WEIGHT] if WEIGHT in table.columns else None
    features = table.drop(columns=[name for name in (TARGET, WEIGHT) if name in table.columns])
    return features, table[TARGET], weights


def _with_target(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    return table.assign(**{TARGET: task_target(task, table[TARGET].to_numpy())})


def _estimator(config: XGBoostConfig, task: Task, seed: int, booster: Any, **parameters: Any) -> Any:
    """Return the estimator that a fit in one process would have given: a plain one, without Dask."""
    estimator = build_estimator(config, task, seed).set_params(**parameters)
    give_booster(estimator, booster)
    return estimator
