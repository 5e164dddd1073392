"""Score the parts of a run, each by the fit that may be judged on it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss, r2_score
from sklearn.pipeline import Pipeline
from xgboost import XGBModel

from spotify_ml.evaluation.baselines import quick_baselines
from spotify_ml.evaluation.metrics import band_metrics, task_metrics
from spotify_ml.features.factory import Matrices, Part
from spotify_ml.models.estimators import FittedEstimators
from spotify_ml.models.popularity import predict_matrix
from spotify_ml.models.targets import Task, class_names, task_target

_PERMUTED_ROWS = 1000


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
    importance : DataFrame
        One row per feature, most important first: ``feature`` and ``importance`` (a share of the whole); of XGBoost
        also ``gain``, ``weight`` and ``cover``.
    """

    metrics: dict[str, float]
    actual: np.ndarray
    predicted: np.ndarray
    importance: pd.DataFrame


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
    return Evaluation(metrics, test.target, predicted, _importance(fitted.selected, fitted.final, validation, task))


def _predict(estimator: Any, part: Part, task: Task) -> np.ndarray:
    return predict_matrix(estimator, part.matrix(), class_names(task))


def _importance(selected: Any, final: Any, validation: Part, task: Task) -> pd.DataFrame:
    if isinstance(final, XGBModel):
        booster = final.get_booster()
        scores = {kind: booster.get_score(importance_type=kind) for kind in ("gain", "weight", "cover")}
        table = pd.DataFrame(scores, index=booster.feature_names).fillna(0.0)
        table.insert(0, "importance", final.feature_importances_)
    else:
        raw = _raw_importance(selected, final, validation, task)
        table = pd.DataFrame({"importance": raw / (raw.sum() or 1.0)}, index=validation.features.columns)
    return table.sort_values("importance", ascending=False, kind="stable").rename_axis("feature").reset_index()


def _raw_importance(selected: Any, final: Any, validation: Part, task: Task) -> np.ndarray:
    """Return what an estimator knows of its features' importance, or how much worse it gets without each of them."""
    known = getattr(final, "feature_importances_", None)
    if known is not None:
        return np.asarray(known, dtype=np.float64)
    if isinstance(final, Pipeline):
        # Of scaled features, the size of a coefficient says how much it moves.
        return np.abs(np.atleast_2d(final[-1].coef_)).mean(axis=0)
    classes = class_names(task)

    def score(estimator: Any, X: np.ndarray, y: np.ndarray) -> float:
        predicted = predict_matrix(estimator, X, classes)
        return -log_loss(y, predicted, labels=range(len(classes))) if classes else r2_score(y, predicted)

    # The validation rows are new to the first fit alone.
    X, y = validation.matrix()[:_PERMUTED_ROWS], task_target(task, validation.target)[:_PERMUTED_ROWS]
    drop = permutation_importance(selected, X, y, scoring=score, n_repeats=1, random_state=0).importances_mean
    return np.maximum(drop, 0)
