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
    # A row per distinct set of genres, of which there are few, says as much as a row per track.
    totals = pd.Series(popularity).groupby(fitting["track_genre"].to_numpy()).agg(["sum", "size"])
    encoder = GenreSet().fit(fitting)
    sums, sizes = totals.to_numpy(dtype=np.float64).T @ _flags(encoder, totals.index)
    wanted_sets, wanted = pd.factorize(tracks["track_genre"])
    flags = _flags(encoder, wanted)
    n_known = flags.sum(axis=1)
    predicted = np.where(n_known > 0, flags @ (sums / sizes) / np.maximum(n_known, 1), popularity.mean())
    # Code -1, no genre at all, takes the last.
    return np.append(predicted, popularity.mean())[wanted_sets]


def _flags(encoder: GenreSet, genre_sets: pd.Index) -> np.ndarray:
    return encoder.transform(pd.DataFrame({"track_genre": genre_sets}))[:, :-1].astype(np.float64)
