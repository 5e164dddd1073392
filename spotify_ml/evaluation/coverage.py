"""How often prediction intervals hold the truth, and how wide they are for it."""

from pathlib import Path

import numpy as np
import pandas as pd

from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.evaluation.genres import FEWEST_TRACKS
from spotify_ml.features.parts import Matrices, Part
from spotify_ml.models.estimators import FittedEstimators
from spotify_ml.models.intervals import PredictionIntervals
from spotify_ml.models.popularity import predict_matrix
from spotify_ml.models.targets import Task, class_names

FILE = "interval_coverage.csv"
LEVELS = (0.8, 0.9, 0.95)
ALL = "all"
_COLUMNS = ["level", "genre", "n_rows", "coverage", "width"]


def calibrate_intervals(
    task: Task, fitted: FittedEstimators, matrices: Matrices, groups: np.ndarray
) -> PredictionIntervals | None:
    """Return how far the predictions of a regression may be off, as its first fit is on the validation rows.

    Parameters
    ----------
    task : RegressionConfig or ClassificationConfig
        What is predicted; of a classification there are no intervals.
    fitted : FittedEstimators
        The two fits; the first never saw the validation rows.
    matrices : Matrices
        Features and popularity of each part.
    groups : ndarray of int, shape (n_tracks,)
        The group of every clean track.
    """
    if class_names(task):
        return None
    rows = matrices.validation
    predicted = predict_matrix(fitted.selected, rows.matrix())
    # The final features, by which rows are asked for, also know the genres that stand in validation rows alone.
    final = rows.features.reindex(columns=matrices.test.features.columns, fill_value=np.float32(0))
    matrix = final.to_numpy(dtype=np.float32, copy=True)
    return PredictionIntervals.calibrate(matrix, predicted, rows.target, groups[rows.features.index])


def interval_coverage(
    intervals: PredictionIntervals | None, part: Part, predicted: np.ndarray, tracks: pd.DataFrame
) -> pd.DataFrame:
    """Return the share of rows within their interval, and the mean width, of all rows and by genre.

    Parameters
    ----------
    intervals : PredictionIntervals or None
        None gives a table without rows.
    part : Part
        Features and popularity of the rows.
    predicted : ndarray of float, shape (n_rows,)
        Their predicted popularity.
    tracks : DataFrame
        The clean tracks that the part is indexed by. One of several genres counts for each of them; genres of few rows
        are left out.

    Returns
    -------
    DataFrame
        ``level``, ``genre`` (``all`` for all rows, which stand first), ``n_rows``, ``coverage``, ``width`` in points.
    """
    if intervals is None:
        return pd.DataFrame(columns=_COLUMNS)
    matrix, popularity = part.matrix(), part.target
    genres = tracks["track_genre"].iloc[part.features.index].str.split(LIST_SEPARATOR).to_numpy()
    tables = []
    for level in LEVELS:
        lower, upper = intervals.bounds(matrix, predicted, level)
        rows = pd.DataFrame({"coverage": (lower <= popularity) & (popularity <= upper), "width": upper - lower})
        own_genres = rows.assign(genre=genres).explode("genre")
        by_genre = pd.concat([rows.assign(genre=ALL), own_genres]).groupby("genre", sort=False)
        table = by_genre[["coverage", "width"]].mean().assign(n_rows=by_genre.size(), level=level)
        tables.append(table[(table["n_rows"] >= FEWEST_TRACKS) | (table.index == ALL)].reset_index())
    return pd.concat(tables, ignore_index=True)[_COLUMNS]


def coverage_metrics(coverage: pd.DataFrame) -> dict[str, float]:
    """Return ``interval/coverage_<percent>`` and ``interval/width_<percent>`` of all rows."""
    return {
        f"interval/{name}_{100 * row['level']:.0f}": float(row[name])
        for row in coverage[coverage["genre"] == ALL].to_dict("records")
        for name in ("coverage", "width")
    }


def write_coverage(folder: Path, coverage: pd.DataFrame) -> None:
    """Write the table as `FILE` into a folder."""
    coverage.to_csv(folder / FILE, index=False)
