"""XGBoost fitted by all workers together: histograms are summed, rows stay where they are."""

from functools import partial
from typing import Any

import pandas as pd

from spotify_ml.config import XGBoostConfig
from spotify_ml.data.schema import TARGET
from spotify_ml.engine.cluster import with_lost_workers
from spotify_ml.engine.features import WEIGHT, FittedFeatures
from spotify_ml.engine.partitions import as_dask_frame, mapped
from spotify_ml.models.estimators import Curve, build_estimator, give_booster, library_refusals
from spotify_ml.models.targets import Task, class_names, task_target


def fit_selected(
    client: Any, config: XGBoostConfig, task: Task, features: FittedFeatures, seed: int
) -> tuple[Any, int, Curve]:
    """Fit on the seen rows while watching the others; return the estimator, its number of trees and learning curve.

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
    booster, history = _train(client, config, task, features.seen, features.unseen, seed, rounds, patience)
    curve = {part: next(iter(errors.values())) for part, errors in history.items()}
    estimator = _estimator(config, task, seed, booster)
    return estimator, estimator.best_iteration + 1, curve


def fit_final(client: Any, config: XGBoostConfig, task: Task, features: FittedFeatures, n_trees: int, seed: int) -> Any:
    """Fit the chosen number of trees on the seen rows; parameters and errors as for `fit_selected`."""
    booster, _ = _train(client, config, task, features.seen, None, seed, n_trees, None)
    return _estimator(config, task, seed, booster, n_estimators=n_trees, early_stopping_rounds=None)


def _train(
    client: Any,
    config: XGBoostConfig,
    task: Task,
    train: list[Any],
    watched: list[Any] | None,
    seed: int,
    rounds: int,
    patience: int | None,
) -> tuple[Any, dict[str, Any]]:
    from distributed import futures_of
    from xgboost import dask as xgboost

    parameters = build_estimator(config, task, seed).get_xgb_params()
    if len(class_names(task)) > 2:
        parameters["num_class"] = len(class_names(task))

    def fit() -> Any:
        # What lies on one worker alone would leave the others nothing to do.
        client.rebalance(futures_of([*train, *(watched or [])]))
        X, y, weights = _columns(client, task, train)
        rows = xgboost.DaskQuantileDMatrix(client, X, y, weight=weights, max_bin=config.max_bin)
        sets = []
        if watched is not None:
            # As in one process: errors are those of the rows as they are, and validation rows are not binned.
            shown = rows if weights is None else xgboost.DaskDMatrix(client, X, y)
            X_watched, y_watched, _ = _columns(client, task, watched)
            sets = [(shown, "train"), (xgboost.DaskDMatrix(client, X_watched, y_watched), "val")]
        return xgboost.train(
            client,
            parameters,
            rows,
            rounds,
            evals=sets,
            early_stopping_rounds=patience,
            verbose_eval=False,
        )

    with library_refusals(config.name):
        result = with_lost_workers(fit)
    return result["booster"], result["history"]


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
