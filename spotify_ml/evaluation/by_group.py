"""For which tracks a model is how far off, and how sure that is."""

import numpy as np
import pandas as pd

from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.models.targets import Task, class_names, task_target

BAND_LABELS = ("popularity 0", "above 0 to 33", "above 33 to 66", "above 66")
# Half the width of a 95 % interval, in standard errors.
_STANDARD_ERRORS = 1.96
# The first artist's number of tracks among the rows that the model was fitted on, by their upper ends.
_KNOWN_EDGES = (0, 1, 5, 20, 50)
KNOWN_LABELS = ("0", "1", "2–5", "6–20", "21–50", "over 50")


def row_errors(task: Task, popularity: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Return the errors of every row, the one that tracks are ranked by first.

    Parameters
    ----------
    task : RegressionConfig or ClassificationConfig
        What was predicted.
    popularity : ndarray of float, shape (n_rows,)
        Popularity, 0 to 100.
    predicted : ndarray of float, shape (n_rows,) or (n_rows, n_classes)
        Popularity, or the probability of each class.

    Returns
    -------
    dict of str to ndarray, shape (n_rows,)
        ``rmse`` (squared; the root is for means), ``mae`` and ``bias`` (predicted less actual) of a regression;
        ``log_loss`` and ``accuracy`` of a classification.
    """
    target = task_target(task, popularity)
    if class_names(task):
        own = np.clip(predicted[np.arange(len(target)), target], np.finfo(predicted.dtype).eps, 1)
        return {"log_loss": -np.log(own), "accuracy": predicted.argmax(axis=1) == target}
    error = predicted - target
    return {"rmse": error**2, "mae": np.abs(error), "bias": error}


def errors_by(kinds: np.ndarray, errors: dict[str, np.ndarray], groups: np.ndarray) -> pd.DataFrame:
    """Return the error of every kind of rows with its 95 % interval.

    Parameters
    ----------
    kinds : ndarray, shape (n_rows,)
        The kind of every row; a row with the code -1 is of none.
    errors : dict of str to ndarray, shape (n_rows,)
        As of `row_errors`.
    groups : ndarray of int, shape (n_rows,)
        The group of every row; rows of a group err alike.

    Returns
    -------
    DataFrame
        Indexed by kind, ascending: ``tracks``; every error by its name, ``rmse`` in points; and ``lower`` and
        ``upper``, the ends of the interval of the first, NaN for a kind of a single group.
    """
    found = np.flatnonzero(kinds != -1)
    names, codes = np.unique(kinds[found], return_inverse=True)
    first = next(iter(errors))
    counts, means, margins = grouped_means(errors[first][found], codes, groups[found])
    table = pd.DataFrame(
        {
            "tracks": counts,
            **{name: np.bincount(codes, weights=values[found]) / counts for name, values in errors.items()},
            "lower": np.maximum(means - margins, 0),
            "upper": means + margins,
        },
        index=pd.Index(names, name="kind"),
    )
    if first == "rmse":
        table[["rmse", "lower", "upper"]] = np.sqrt(table[["rmse", "lower", "upper"]])
    return table


def known_tracks(tracks: pd.DataFrame, known: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return how many known tracks the first artist of each row has, shape (n_rows,); none of an empty name.

    Parameters
    ----------
    tracks : DataFrame
        Clean tracks.
    known : ndarray of int
        Positions of the rows that the model was fitted on.
    rows : ndarray of int, shape (n_rows,)
        Positions of the rows to ask for.
    """
    artists, _ = pd.factorize(tracks["artists"].str.partition(LIST_SEPARATOR)[0])
    # As raw rows come, a track stands once a genre.
    distinct = ~tracks["track_id"].iloc[known].duplicated().to_numpy()
    named = artists[known[distinct]]
    counts = np.bincount(named[named >= 0], minlength=artists.max(initial=-1) + 1)
    return np.where(artists[rows] < 0, 0, np.append(counts, 0)[artists[rows]])


def known_tracks_codes(counts: np.ndarray) -> np.ndarray:
    """Return the position in `KNOWN_LABELS` of each number of known tracks."""
    return np.searchsorted(_KNOWN_EDGES, counts, side="left")


def grouped_means(
    values: np.ndarray, codes: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the number of rows, the mean and half of its 95 % interval's width, of every code.

    Rows of a group are alike, so the standard error is of sums over groups: the cluster-robust one (Cameron and Miller
    2015, section II). NaN where a code has a single group.

    Parameters
    ----------
    values : ndarray of float, shape (n_rows,)
    codes : ndarray of int, shape (n_rows,)
        From 0, each of which occurs.
    groups : ndarray of int, shape (n_rows,)
    """
    counts = np.bincount(codes)
    means = np.bincount(codes, weights=values) / counts
    n_codes = len(counts)
    pairs, clusters = np.unique(groups * n_codes + codes, return_inverse=True)
    sums = np.bincount(clusters, weights=values - means[codes])
    n_groups = np.bincount(pairs % n_codes)
    squares = np.bincount(pairs % n_codes, weights=sums**2)
    several = n_groups > 1
    correction = np.divide(n_groups, n_groups - 1, out=np.full(n_codes, np.nan), where=several)
    return counts, means, _STANDARD_ERRORS * np.sqrt(correction * squares) / counts
