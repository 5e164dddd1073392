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
        Indexed by kind, ascending: ``tracks``; ``error`` (RMSE in points, or log loss) and the ends of its interval,
        ``lower`` and ``upper``, NaN for a kind of a single group; of a regression ``bias``.
    """
    found = np.flatnonzero(kinds != -1)
    names, codes = np.unique(kinds[found], return_inverse=True)
    first, values = next(iter(errors.items()))
    counts, means, margins = grouped_means(values[found], codes, groups[found])
    table = pd.DataFrame(
        {"tracks": counts, "error": means, "lower": np.maximum(means - margins, 0), "upper": means + margins},
        index=pd.Index(names, name="kind"),
    )
    if first == "rmse":
        table[["error", "lower", "upper"]] = np.sqrt(table[["error", "lower", "upper"]])
        table["bias"] = grouped_means(errors["bias"][found], codes, groups[found])[1]
    return table


def errors_by_genre(
    genres: pd.Series, errors: dict[str, np.ndarray], groups: np.ndarray, fewest_tracks: int
) -> pd.DataFrame:
    """Return `errors_by` of every genre with enough tracks, worst first.

    Parameters
    ----------
    genres : Series of str, shape (n_rows,)
        The ``;``-joined genres of every row, which counts for each of them.
    errors, groups
        As of `errors_by`.
    fewest_tracks : int
        Genres with fewer are left out.
    """
    apart = pd.Series(genres.str.split(LIST_SEPARATOR).to_numpy()).explode().dropna()
    rows = apart.index.to_numpy()
    repeated = {name: values[rows] for name, values in errors.items()}
    table = errors_by(apart.to_numpy(dtype=object), repeated, groups[rows])
    return table[table["tracks"] >= fewest_tracks].sort_values("error", ascending=False, kind="stable")


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
    pairs, clusters = np.unique(np.column_stack([codes, groups]), axis=0, return_inverse=True)
    sums = np.bincount(clusters, weights=values - means[codes])
    n_groups = np.bincount(pairs[:, 0])
    squares = np.bincount(pairs[:, 0], weights=sums**2)
    several = n_groups > 1
    correction = np.divide(n_groups, n_groups - 1, out=np.full(len(counts), np.nan), where=several)
    return counts, means, _STANDARD_ERRORS * np.sqrt(correction * squares) / counts
