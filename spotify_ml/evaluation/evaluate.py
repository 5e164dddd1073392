"""Score the parts of a run, each by the fit that may be judged on it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.evaluation.baselines import quick_baselines
from spotify_ml.evaluation.metrics import band_metrics, task_metrics
from spotify_ml.features.factory import Matrices, Part
from spotify_ml.models.estimators import FittedEstimators
from spotify_ml.models.popularity import predict_matrix
from spotify_ml.models.targets import Task, class_names


@dataclass(frozen=True)
class Evaluation:
    """The figures of a run.

    Attributes
    ----------
    metrics : dict of str to float
        ``<part>/<metric>`` for train, val and test, for the popularity bands of test and for the baselines on test.
    actual : ndarray of float, shape (n_test,)
        Popularity of the test rows.
    predicted : ndarray of float, shape (n_test,) or (n_test, n_classes)
        Their predicted popularity, or the probability of each class.
    """

    metrics: dict[str, float]
    actual: np.ndarray
    predicted: np.ndarray


def evaluate(fitted: FittedEstimators, matrices: Matrices, tracks: pd.DataFrame, task: Task) -> Evaluation:
    """Score every part of a run.

    ``val`` is scored by the fit that never saw the validation rows; ``train`` (train and validation rows) and
    ``test`` by the final one.

    Parameters
    ----------
    fitted : FittedEstimators
        The two fits.
    matrices : Matrices
        Features and popularity of each part.
    tracks : DataFrame
        The clean tracks that the parts are indexed by.
    task : RegressionConfig or ClassificationConfig
        What is predicted.
    """
    fitting, validation, test = matrices.fitting, matrices.validation, matrices.test
    n_features = fitting.features.shape[1]
    predicted = _predict(fitted.final, test, task)
    fitting_tracks, test_tracks = (tracks.iloc[part.features.index] for part in (fitting, test))
    baselines = quick_baselines(task, fitting_tracks, fitting.target, test_tracks)
    scored = {
        "train": (fitting, _predict(fitted.final, fitting, task), n_features),
        "val": (validation, _predict(fitted.selected, validation, task), n_features),
        "test": (test, predicted, n_features),
        "baseline_mean": (test, baselines["baseline_mean"], 0),
        "baseline_genre": (test, baselines["baseline_genre"], 1),
    }
    metrics = {
        f"{name}/{metric}": value
        for name, (part, predictions, width) in scored.items()
        for metric, value in task_metrics(task, part.target, predictions, width).items()
    }
    if not class_names(task):
        metrics |= {f"test_{name}": value for name, value in band_metrics(test.target, predicted).items()}
    return Evaluation(metrics, test.target, predicted)


def _predict(estimator: Any, part: Part, task: Task) -> np.ndarray:
    return predict_matrix(estimator, part.matrix(), class_names(task))
