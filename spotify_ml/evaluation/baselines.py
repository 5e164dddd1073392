"""What can be had without a model, on the same rows."""

import numpy as np
import pandas as pd

from spotify_ml.features.genres import GenreSet


def predict_mean(popularity: np.ndarray, n_rows: int) -> np.ndarray:
    """Predict the mean popularity of the rows that the model was fitted on."""
    return np.full(n_rows, popularity.mean())


def predict_genre_mean(fitting: pd.DataFrame, popularity: np.ndarray, tracks: pd.DataFrame) -> np.ndarray:
    """Predict the mean popularity of a track's genres, each as found on the rows the model was fitted on.

    Parameters
    ----------
    fitting : DataFrame
        The tracks that the model was fitted on.
    popularity : ndarray of float, shape (n_fitting,)
        Their popularity.
    tracks : DataFrame
        The tracks to predict; one without a known genre gets the overall mean.
    """
    encoder = GenreSet().fit(fitting)
    known, wanted = (encoder.transform(part)[:, :-1].astype(np.float64) for part in (fitting, tracks))
    means = known.T @ popularity / known.sum(axis=0)
    n_genres = wanted.sum(axis=1)
    return np.where(n_genres > 0, wanted @ means / np.maximum(n_genres, 1), popularity.mean())
