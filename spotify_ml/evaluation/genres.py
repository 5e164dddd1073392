"""For which genres a model is how far off."""

import numpy as np
import pandas as pd

from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.evaluation.errors import row_errors
from spotify_ml.models.targets import Task

# Below this a genre's error says more about its few tracks than about the genre.
FEWEST_TRACKS = 30


def genre_errors(
    task: Task,
    genres: pd.Series,
    popularity: np.ndarray,
    predicted: np.ndarray,
    fewest_tracks: int = FEWEST_TRACKS,
) -> pd.DataFrame:
    """Return the errors of every genre with enough tracks, worst first.

    Parameters
    ----------
    task : RegressionConfig or ClassificationConfig
        What was predicted.
    genres : Series of str, shape (n_rows,)
        The ``;``-joined genres of every row, which counts for each of them.
    popularity : ndarray of float, shape (n_rows,)
        Popularity, 0 to 100.
    predicted : ndarray of float, shape (n_rows,) or (n_rows, n_classes)
        Popularity, or the probability of each class.
    fewest_tracks : int
        Genres with fewer are left out.

    Returns
    -------
    DataFrame
        Indexed by ``genre``: ``tracks``, and ``rmse``, ``mae`` and ``bias`` (predicted less actual) of a regression,
        worst by ``rmse``; ``log_loss`` and ``accuracy`` of a classification, worst by ``log_loss``.
    """
    rows = row_errors(task, popularity, predicted)
    table = pd.DataFrame({"genre": genres.str.split(LIST_SEPARATOR).to_numpy(), **rows}).explode("genre")
    groups = table.groupby("genre")
    errors = groups[list(rows)].mean().astype(np.float64)
    if "rmse" in errors:
        errors["rmse"] = np.sqrt(errors["rmse"])
    errors.insert(0, "tracks", groups.size())
    worst = next(iter(rows))
    return errors[errors["tracks"] >= fewest_tracks].sort_values(worst, ascending=False, kind="stable")
