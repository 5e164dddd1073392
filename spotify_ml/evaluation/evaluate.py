"""Score the parts of a run, each by the fit that may be judged on it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from xgboost import XGBRegressor

from spotify_ml.evaluation.baselines import predict_genre_mean, predict_mean
from spotify_ml.evaluation.metrics import regression_metrics
from spotify_ml.features.factory import Matrices, Part
from spotify_ml.models.estimators import FittedEstimators
from spotify_ml.models.popularity import clip_popularity


@dataclass(frozen=True)
class Evaluation:
    """The figures of a run.

    Attributes
    ----------
    metrics : dict of str to float
        ``<part>/<metric>`` for train, val and test and for the baselines on the test rows.
    actual, predicted : ndarray of float, shape (n_test,)
        Popularity of the test rows.
    importance : DataFrame
        One row per feature, most important first: ``feature``, ``importance`` (share of all gain), ``gain``, ``weight``
        and ``cover``.
    """

    metrics: dict[str, float]
    actual: np.ndarray
    predicted: np.ndarray
    importance: pd.DataFrame


def evaluate(fitted: FittedEstimators, matrices: Matrices, tracks: pd.DataFrame) -> Evaluation:
    """Score every part of a run.

    ``val`` is scored by the fit that never saw the validation rows; ``train`` (train and validation rows) and
    ``test`` by the final one.

    Parameters
    ----------
    fitted : FittedEstimators
        The two fits.
    matrices : Matrices
        Features and target of each part.
    tracks : DataFrame
        The clean tracks that the parts are indexed by.
    """
    fitting, test = matrices.fitting, matrices.test
    n_features = fitting.features.shape[1]
    predicted = _predict(fitted.final, test)
    genre_means = predict_genre_mean(
        tracks.iloc[fitting.features.index], fitting.target, tracks.iloc[test.features.index]
    )
    scored = {
        "train": (fitting, _predict(fitted.final, fitting), n_features),
        "val": (matrices.validation, _predict(fitted.selected, matrices.validation), n_features),
        "test": (test, predicted, n_features),
        "baseline_mean": (test, predict_mean(fitting.target, len(test.target)), 0),
        "baseline_genre": (test, genre_means, 1),
    }
    metrics = {
        f"{name}/{metric}": value
        for name, (part, predictions, width) in scored.items()
        for metric, value in regression_metrics(part.target, predictions, width).items()
    }
    return Evaluation(metrics, test.target, predicted, _importance(fitted))


def _predict(estimator: XGBRegressor, part: Part) -> np.ndarray:
    return clip_popularity(estimator.predict(part.features))


def _importance(fitted: FittedEstimators) -> pd.DataFrame:
    booster = fitted.final.get_booster()
    scores = {kind: booster.get_score(importance_type=kind) for kind in ("gain", "weight", "cover")}
    table = pd.DataFrame(scores, index=booster.feature_names).fillna(0.0)
    table.insert(0, "importance", fitted.final.feature_importances_)
    return table.sort_values("importance", ascending=False, kind="stable").rename_axis("feature").reset_index()
