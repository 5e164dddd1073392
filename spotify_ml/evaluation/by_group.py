"""For which tracks a model is how far off, and how sure that is."""

import numpy as np
import pandas as pd

from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.models.targets import Task, class_names, task_target

BAND_LABELS = ("popularity 0", "above 0 to 33", "above 33 to 66", "above 66")
# Below this a genre's error says more about its few tracks than about the genre.
FEWEST_TRACKS = 30
# Half the width of a 95 % interval, in standard errors.
_STANDARD_ERRORS = 1.96
# The first artist's number of tracks among the rows that the model was fitted on, by their upper ends.
_KNOWN_EDGES = (0, 1, 5, 20, 50)
KNOWN_LABELS = ("0", "1", "2–5", "6–20", "21–50", "over 50")


def row_errors(task: Task, popularity: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Return the errors of every row by name, each of shape (n_rows,), the one that tracks are ranked by first.

    They are ``rmse`` (squared; the root is for means), ``mae`` and ``bias`` (predicted less actual) of popularity, 0 to
    100; ``log_loss`` and ``accuracy`` of probabilities, shape (n_rows, n_classes).
    """
    target = task_target(task, popularity)
    if class_names(task):
        own = np.clip(predicted[np.arange(len(target)), target], np.finfo(predicted.dtype).eps, 1)
        return {"log_loss": -np.log(own), "accuracy": predicted.argmax(axis=1) == target}
    error = predicted - target
    return {"rmse": error**2, "mae": np.abs(error), "bias": error}


def errors_by(kinds: np.ndarray, errors: dict[str, np.ndarray], groups: np.ndarray) -> pd.DataFrame:
    """Return the error of every kind of rows with its 95 % interval.

    Kinds, errors (as of `row_errors`) and groups have the shape (n_rows,). A row of kind -1 is of none; rows of a group
    err alike. The table is indexed by kind, ascending: ``tracks``; every error by its name, ``rmse`` in points; and
    ``lower`` and ``upper``, the ends of the interval of the first, NaN for a kind of a single group.
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


def errors_by_genre(
    genres: pd.Series, errors: dict[str, np.ndarray], groups: np.ndarray, fewest_tracks: int = FEWEST_TRACKS
) -> pd.DataFrame:
    """Return the `errors_by` of every genre with enough tracks, worst first.

    A row counts for each of its genres, which `genres` has joined by ``;``.
    """
    apart = pd.Series(genres.str.split(LIST_SEPARATOR).to_numpy()).explode().dropna()
    rows = apart.index.to_numpy()
    repeated = {name: values[rows] for name, values in errors.items()}
    table = errors_by(apart.to_numpy(dtype=object), repeated, groups[rows]).rename_axis("genre")
    worst = next(iter(errors))
    return table[table["tracks"] >= fewest_tracks].sort_values(worst, ascending=False, kind="stable")


def known_tracks(tracks: pd.DataFrame, known: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return how many known tracks the first artist of each row has, shape (n_rows,); none of an empty name.

    `known` are the positions in the clean tracks of what the model was fitted on, `rows` of those to ask for.
    """
    artists, _ = pd.factorize(tracks["artists"].str.partition(LIST_SEPARATOR)[0])
    # As raw rows come, a track stands once a genre.
    ids = tracks["track_id"].iloc[known]
    distinct = ~(ids.duplicated() & ids.notna()).to_numpy()
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
    2015, section II). NaN where a code has a single group. All arguments have the shape (n_rows,); codes are from 0,
    and each occurs.
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
