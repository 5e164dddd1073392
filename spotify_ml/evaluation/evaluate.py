"""Score the parts of a run, each by the fit that may be judged on it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.data.joined_columns import flags_of
from spotify_ml.data.schema import TARGET
from spotify_ml.evaluation.baselines import quick_baselines
from spotify_ml.evaluation.metrics import band_metrics, task_metrics
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.predictions import predict_subset
from spotify_ml.models.targets import Task, class_names


@dataclass(frozen=True)
class Evaluation:
    """The figures of a run, and what they are of.

    ``metrics`` has ``<part>/<metric>`` for train, val and test, for the popularity bands of test and for the baselines
    on test. ``actual`` is the popularity of the test rows, and ``predicted`` that which is predicted, or the
    probability of each class, shape (n_test, n_classes).
    """

    metrics: dict[str, float]
    actual: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Predicted:
    """What an estimator says of rows, by their positions in the clean tracks: popularity, or (n_rows, n_classes)."""

    rows: np.ndarray
    values: np.ndarray


def evaluate(fitted: FittedEstimators, subsets: Subsets, tracks: pd.DataFrame, task: Task) -> Evaluation:
    """Score every part of a run.

    ``val`` is scored by the fit that never saw the validation rows; ``train`` (train and validation rows) and
    ``test`` by the final one. The parts are indexed by the clean tracks.
    """
    scored = (
        _predicted(fitted.refit, subsets.trainval, task),
        _predicted(fitted.early_stopped, subsets.validation, task),
        _predicted(fitted.refit, subsets.test, task),
    )
    return evaluate_predictions(*scored, subsets.trainval.features.shape[1], tracks, task)


def evaluate_predictions(
    train: Predicted, validation: Predicted, test: Predicted, n_features: int, tracks: pd.DataFrame, task: Task
) -> Evaluation:
    """Score predictions of every part of a run, made as `evaluate` does, and the baselines on its test rows."""
    popularity = tracks[TARGET].to_numpy(dtype=np.float64)
    baselines = quick_baselines(task, tracks.iloc[train.rows], popularity[train.rows], tracks.iloc[test.rows])
    widths = {"baseline_mean": 0, "baseline_matched": len(flags_of(map(str, tracks)))}
    scored = {
        "train": (train.rows, train.values, n_features),
        "val": (validation.rows, validation.values, n_features),
        **{name: (test.rows, predicted, widths.get(name, 1)) for name, predicted in baselines.items()},
    }
    metrics = {
        f"{name}/{metric}": value
        for name, (rows, predicted, width) in scored.items()
        for metric, value in task_metrics(task, popularity[rows], predicted, width).items()
    }
    actual = popularity[test.rows]
    return Evaluation(metrics | _test_metrics(task, actual, test.values, n_features), actual, test.values)


def as_served(evaluation: Evaluation, model: PopularityModel, test: Subset, task: Task) -> Evaluation:
    """Return the evaluation with the test rows as the registered model predicts them.

    Where the catalogue knows neither artist nor album, its model of incomplete rows counts as well.
    """
    if model.incomplete is None:
        return evaluation
    predicted, start = evaluation.predicted.copy(), 0
    for batch in test.batches():
        (rows,) = np.nonzero(model.incomplete.shares(batch, other=False))
        predicted[start + rows] = model.score(batch[rows]).predicted
        start += len(batch)
    metrics = _test_metrics(task, evaluation.actual, predicted, test.features.shape[1])
    return Evaluation(evaluation.metrics | metrics, evaluation.actual, predicted)


def _test_metrics(task: Task, actual: np.ndarray, predicted: np.ndarray, n_features: int) -> dict[str, float]:
    metrics = {f"test/{name}": value for name, value in task_metrics(task, actual, predicted, n_features).items()}
    if class_names(task):
        return metrics
    return metrics | {f"test_{name}": value for name, value in band_metrics(actual, predicted).items()}


def _predicted(estimator: Any, part: Subset, task: Task) -> Predicted:
    return Predicted(part.features.index.to_numpy(), predict_subset(estimator, part, class_names(task)))
