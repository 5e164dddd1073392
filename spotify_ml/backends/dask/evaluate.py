"""Predictions of partitions, and rows collected for the record of the run."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.backends.dask.features import WEIGHT
from spotify_ml.backends.dask.partitions import gathered, mapped
from spotify_ml.data.schema import TARGET
from spotify_ml.evaluation.evaluate import Predicted
from spotify_ml.features.subsets import Subset
from spotify_ml.models.predictions import predict_matrix
from spotify_ml.models.targets import Task, class_names


def predict_partitions(client: Any, estimator: Any, tables: list[Any], task: Task) -> Predicted:
    """Predict the rows of partitions on the workers, and return the predictions by position of the row."""
    from dask import delayed

    # One task, shared by all others.
    shared = delayed(estimator)
    found = gathered(client, mapped(partial(_predict, classes=class_names(task)), [shared] * len(tables), tables))
    rows, values = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.argsort(rows)
    return Predicted(rows[order], values[order])


def _predict(estimator: Any, table: pd.DataFrame, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    features = _features(table)
    if features.empty:
        return features.index.to_numpy(), np.empty((0, len(classes)) if classes else 0)
    return features.index.to_numpy(), predict_matrix(estimator, features.to_numpy(copy=True), classes)


def collect_subset(client: Any, tables: list[Any], rows: np.ndarray | None = None) -> Subset:
    """Return rows of partitions in this process; by default all, else those at some positions."""
    table = pd.concat(gathered(client, mapped(partial(_chosen, rows=rows), tables))).sort_index()
    return Subset(_features(table), table[TARGET].to_numpy(np.float64))


def _chosen(table: pd.DataFrame, rows: np.ndarray | None) -> pd.DataFrame:
    return table if rows is None else table[table.index.isin(rows)]


def _features(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=[name for name in (TARGET, WEIGHT) if name in table.columns])
