"""How often prediction intervals hold the truth, and how wide they are for it."""

from pathlib import Path

import numpy as np
import pandas as pd
from xgboost import XGBRegressor

from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.evaluation.genres import FEWEST_TRACKS
from spotify_ml.features.parts import Matrices, Part
from spotify_ml.models.estimators import FittedEstimators
from spotify_ml.models.intervals import LargerFit, PredictionIntervals
from spotify_ml.models.popularity import predict_matrix
from spotify_ml.models.targets import Task, class_names, sample_weights

FILE = "interval_coverage.csv"
LEVELS = (0.8, 0.9, 0.95)
ALL = "all"
_COLUMNS = ["level", "genre", "n_rows", "coverage", "width"]
# Of more fitting rows, the validation rows tell enough, and features are not built in memory once more.
_MOST_ROWS = 500_000
# A fit in a fraction of the time of the default one, whose errors are alike but for their size.
_SMALL_FIT = {
    "n_estimators": 60,
    "learning_rate": 0.3,
    "max_depth": 6,
    "min_child_weight": 5,
    "max_bin": 64,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "random_state": 0,
}


def calibrate_intervals(
    task: Task, fitted: FittedEstimators, matrices: Matrices, groups: np.ndarray
) -> PredictionIntervals | None:
    """Return how far the predictions of a regression may be off.

    The validation rows alone would tell it badly: they are few groups, and the final model, fitted on them as well, is
    better than the first. So a small fit on half of the train rows tells the errors of all other fitting rows, and the
    validation rows by how much the first fit's are smaller; the final fit's are taken to be so by as much more as it
    has more rows. Of models that are not one XGBoost, and of more than 500,000 rows, it is the first fit's errors of
    the validation rows.

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
    rows, final = matrices.validation, matrices.test.features.columns
    matrix, predicted = _as_final(rows, final), predict_matrix(fitted.selected, rows.matrix())
    few = len(matrices.fitting.target) <= _MOST_ROWS
    if matrices.train_half is None or not few or not isinstance(fitted.selected, XGBRegressor):
        return PredictionIntervals.calibrate(matrix, predicted, rows.target, groups[rows.features.index])
    half, others = matrices.train_half()
    small = XGBRegressor(**_SMALL_FIT, n_jobs=fitted.selected.n_jobs)
    small.fit(half.features, half.target, sample_weight=sample_weights(task, half.target))
    n_half, n_first, n_final = (len(part.target) for part in (half, matrices.train, matrices.fitting))
    # The train rows of a single group have no half.
    exponent = np.log(n_final / n_half) / np.log(n_first / n_half) if n_half < n_first else 1.0
    return PredictionIntervals.calibrate(
        _as_final(others, final),
        predict_matrix(small, others.matrix()),
        others.target,
        groups[others.features.index],
        LargerFit(matrix, predicted, exponent),
    )


def _as_final(part: Part, columns: pd.Index) -> np.ndarray:
    """Return the features of a part as columns of the final ones, by which intervals are asked for.

    The final ones also know the genres of rows that were not fitted on here.
    """
    aligned = part.features.reindex(columns=columns, fill_value=np.float32(0))
    return aligned.to_numpy(dtype=np.float32, copy=True)


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
