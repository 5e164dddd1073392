"""The target of a fit, popularity or its classes, and the weights of tracks."""

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from spotify_ml.config.models import ClassificationConfig, RegressionConfig
from spotify_ml.data.etl import POPULARITY_EDGES, POPULARITY_LEVELS

# Popularity 0 is a band of its own: a seventh of all rows, mostly second ids of songs.
BAND_EDGES = (0.0, *POPULARITY_EDGES)
BANDS = ("zero", "low", "medium", "high")
Task = RegressionConfig | ClassificationConfig


def class_names(task: Task) -> tuple[str, ...]:
    """Return the classes in the order of their codes; none for a regression."""
    if isinstance(task, RegressionConfig):
        return ()
    return POPULARITY_LEVELS if task.label == "category" else ("not popular", "popular")


def task_target(task: Task, popularity: np.ndarray) -> np.ndarray:
    """Return what the task predicts, shape (n_tracks,): popularity, or the code of its class."""
    if isinstance(task, RegressionConfig):
        return popularity
    if task.label == "popular":
        return (popularity >= task.threshold).astype(np.int64)
    return np.searchsorted(POPULARITY_EDGES, popularity, side="left")


def band_codes(popularity: np.ndarray) -> np.ndarray:
    """Return the position in `BANDS` of each popularity, shape (n_tracks,)."""
    return np.searchsorted(BAND_EDGES, popularity, side="left")


def sample_weights(task: Task, popularity: np.ndarray) -> np.ndarray | None:
    """Return the weight of each track in fitting, shape (n_tracks,), with mean 1; None if all are equal.

    ``balanced`` gives every class, or every popularity band, the same sum.
    """
    if task.weights == "none":
        return None
    kinds = band_codes(popularity) if isinstance(task, RegressionConfig) else task_target(task, popularity)
    weights: np.ndarray = compute_sample_weight("balanced", kinds)
    return weights
