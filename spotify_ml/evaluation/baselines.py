"""What can be had with less than the model, on the same rows."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from spotify_ml.config.models import model_config
from spotify_ml.config.run import FeatureSet, RunConfig
from spotify_ml.data.joined_columns import flags_of
from spotify_ml.data.splits import Split
from spotify_ml.evaluation.cross_validation import fit_and_score
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.transformers.genres import GenreSet
from spotify_ml.models.targets import Task, class_names, task_target
from spotify_ml.utils.files import staged

# Name to features and model: a line, what can be heard, and the reference pipeline.
_FITTED: dict[str, tuple[FeatureSet, Literal["linear", "xgboost", "xgboost_reference"]]] = {
    "baseline_ridge": ("reference", "linear"),
    "baseline_audio": ("audio", "xgboost"),
    "baseline_reference": ("reference", "xgboost_reference"),
}


def quick_baselines(
    task: Task, tracks: pd.DataFrame, popularity: np.ndarray, test: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Predict test rows by the mean of the rows that the model was fitted on, and by that of their genres.

    Where tables were joined, ``baseline_matched`` predicts them by that of rows in the same of these tables alone:
    being in a table tells of popularity by itself.

    Those rows are `tracks`, whose popularity has the shape (n_tracks,). Of a classification, the mean is the share of
    each class.
    """
    target = task_target(task, popularity)
    classes = class_names(task)
    columns = [target == code for code in range(len(classes))] if classes else [target]
    predictions = {
        "baseline_mean": [predict_mean(column, len(test)) for column in columns],
        "baseline_genre": [predict_genre_mean(tracks, column, test) for column in columns],
    }
    if flags := flags_of(map(str, tracks)):
        predictions["baseline_matched"] = [predict_flag_mean(tracks[flags], column, test[flags]) for column in columns]
    return {name: np.column_stack(parts) if classes else parts[0] for name, parts in predictions.items()}


def full_baselines(
    config: RunConfig, tracks: pd.DataFrame, split: Split, folder: Path | None = None
) -> dict[str, float]:
    """Fit and score the baselines that are models: ridge, audio only, and the reference pipeline.

    They see the same split of the clean tracks as the model. In a folder the jobs of a sweep leave figures for each
    other.
    """
    if folder is None:
        return _fit_baselines(config, tracks, split)
    kept = folder / f"baselines-{config.digest('seed', 'data', 'cleaning', 'split', 'task')}.json"
    if kept.is_file():
        known: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return known
    figures = _fit_baselines(config, tracks, split)
    with staged(kept) as file:
        file.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def _fit_baselines(config: RunConfig, tracks: pd.DataFrame, split: Split) -> dict[str, float]:
    subsets = {
        features: build_subsets(features, tracks, split, config.seed)
        for features in dict.fromkeys(features for features, _ in _FITTED.values())
    }
    task = config.task.model_copy(update={"weights": "none"})
    return {
        f"{name}/{metric}": value
        for name, (features, model) in _FITTED.items()
        for metric, value in fit_and_score(model_config(model), task, subsets[features], config.seed).items()
    }


def predict_mean(target: np.ndarray, n_rows: int) -> np.ndarray:
    """Predict the mean of the rows that the model was fitted on."""
    return np.full(n_rows, target.mean())


def predict_genre_mean(trainval: pd.DataFrame, target: np.ndarray, tracks: pd.DataFrame) -> np.ndarray:
    """Predict the mean target of a track's genres, each as found on the rows that the model was fitted on.

    The target of these, shape (n_trainval,), is their popularity, or whether they are of a class. A track without a
    known genre gets the overall mean.
    """
    # A row per distinct set of genres, of which there are few, says as much as a row per track.
    totals = pd.Series(target, dtype=np.float64).groupby(trainval["track_genre"].to_numpy()).agg(["sum", "size"])
    encoder = GenreSet().fit(trainval)
    sums, sizes = totals.to_numpy(dtype=np.float64).T @ _flags(encoder, totals.index)
    wanted_sets, wanted = pd.factorize(tracks["track_genre"])
    flags = _flags(encoder, wanted)
    n_known = flags.sum(axis=1)
    predicted = np.where(n_known > 0, flags @ (sums / sizes) / np.maximum(n_known, 1), target.mean())
    # Code -1, no genre at all, takes the last.
    return np.append(predicted, target.mean())[wanted_sets]


def predict_flag_mean(trainval: pd.DataFrame, target: np.ndarray, tracks: pd.DataFrame) -> np.ndarray:
    """Predict the mean target of rows with the same flags; rows with others get the overall mean."""
    places = 2.0 ** np.arange(trainval.shape[1])
    means = pd.Series(target, dtype=np.float64).groupby(trainval.to_numpy() @ places).mean()
    found = means.reindex(tracks.to_numpy() @ places).to_numpy()
    return np.where(np.isnan(found), target.mean(), found)


def _flags(encoder: GenreSet, genre_sets: pd.Index) -> np.ndarray:
    return encoder.transform(pd.DataFrame({"track_genre": genre_sets}))[:, :-1].astype(np.float64)
