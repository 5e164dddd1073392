"""How often prediction intervals hold the truth, and how wide they are for it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from xgboost import XGBRegressor

from spotify_ml.data.csv_text import write_csv
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.evaluation.by_group import FEWEST_TRACKS
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.intervals import LargerFit, PredictionIntervals, within_range
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.predictions import predict_matrix
from spotify_ml.models.targets import Task, class_names, sample_weights

FILE = "interval_coverage.csv"
LEVELS = (0.8, 0.9, 0.95)
ALL = "all"
_COLUMNS = ["level", "genre", "n_rows", "coverage", "width"]
# Of fewer trainval rows, half are too few: the errors of a fit on these have another shape. Of more, the validation
# rows tell enough, and features are not built in memory once more.
_FEWEST_ROWS, _MOST_ROWS = 20_000, 500_000
# So many rows know the quantiles of errors to a tenth of a point.
_CALIBRATING_ROWS = 200_000
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
    task: Task, fitted: FittedEstimators, subsets: Subsets, groups: np.ndarray
) -> PredictionIntervals | None:
    """Return how far the predictions of a regression may be off.

    The validation rows alone would tell it badly: they are few groups, and the final model, fitted on them as well, is
    better than the first. So a small fit on half of the train rows tells the errors of all other trainval rows, and the
    validation rows by how much the first fit's are smaller; the final fit's are taken to be so by as much more as it
    has more rows. Of models that are not one XGBoost, and of fewer than 20,000 or more than 500,000 rows, it is the
    first fit's errors of the validation rows, of which 200,000 are drawn where there are more.

    `groups` are those of all clean tracks. A classification has no intervals.
    """
    if class_names(task):
        return None
    rows, final = _some(subsets.validation), subsets.test.features.columns
    matrix, predicted = _as_final(rows, final), predict_matrix(fitted.early_stopped, rows.matrix())
    is_asked = _FEWEST_ROWS <= len(subsets.trainval.target) <= _MOST_ROWS
    if not is_asked or subsets.builder is None or not isinstance(fitted.early_stopped, XGBRegressor):
        return PredictionIntervals.calibrate(matrix, predicted, rows.target, groups[rows.features.index])
    half, others = subsets.builder.train_half()
    small = XGBRegressor(**_SMALL_FIT, n_jobs=fitted.early_stopped.n_jobs)
    small.fit(half.features, half.target, sample_weight=sample_weights(task, half.target))
    n_half, n_first, n_final = (len(part.target) for part in (half, subsets.train, subsets.trainval))
    # The train rows of a single group have no half.
    exponent = np.log(n_final / n_half) / np.log(n_first / n_half) if n_half < n_first else 1.0
    return PredictionIntervals.calibrate(
        _as_final(others, final),
        predict_matrix(small, others.matrix()),
        others.target,
        groups[others.features.index],
        LargerFit(matrix, predicted, exponent),
    )


def _some(part: Subset) -> Subset:
    """Return a part, or rows of it that are drawn where there are very many."""
    n_rows = len(part.target)
    if n_rows <= _CALIBRATING_ROWS:
        return part
    rows = np.sort(np.random.default_rng(0).permutation(n_rows)[:_CALIBRATING_ROWS])
    features = pd.DataFrame(part.take(rows), index=part.features.index[rows], columns=part.features.columns, copy=False)
    return Subset(features, part.target[rows])


def _as_final(part: Subset, columns: pd.Index) -> np.ndarray:
    """Return the features of a part as columns of the final ones, by which intervals are asked for.

    The final ones also know the genres of rows that were not fitted on here.
    """
    aligned = part.features.reindex(columns=columns, fill_value=np.float32(0))
    return aligned.to_numpy(dtype=np.float32, copy=True)


def interval_coverage(model: PopularityModel, part: Subset, tracks: pd.DataFrame) -> pd.DataFrame:
    """Return the share of rows of a part within their interval, and the mean width, of all rows and by genre.

    A track of several genres counts for each of them; genres of few rows are left out. The columns are ``level``,
    ``genre`` (``all`` for all rows, which stand first), ``n_rows``, ``coverage`` and ``width`` in points. Without
    intervals there are no rows.
    """
    if model.intervals is None:
        return pd.DataFrame(columns=_COLUMNS)
    genre_sets, sets = pd.factorize(tracks["track_genre"].iloc[part.features.index], use_na_sentinel=False)
    # A row per genre of every distinct set of genres, of which there are few.
    genres = pd.Series(sets).str.split(LIST_SEPARATOR).explode()
    tables = []
    for level, (lower, upper) in zip(LEVELS, part_bounds(model, part, LEVELS), strict=True):
        columns = {
            "n_rows": np.ones(len(lower)),
            "coverage": (lower <= part.target) & (part.target <= upper),
            "width": upper - lower,
        }
        sums = pd.DataFrame(
            {name: np.bincount(genre_sets, weights=values, minlength=len(sets)) for name, values in columns.items()}
        )
        by_genre = sums.loc[genres.index].groupby(genres.to_numpy(), sort=False).sum()
        by_genre = pd.concat([sums.sum().to_frame(ALL).T, by_genre[by_genre["n_rows"] >= FEWEST_TRACKS]])
        for name in ("coverage", "width"):
            by_genre[name] /= by_genre["n_rows"]
        tables.append(by_genre.astype({"n_rows": int}).rename_axis("genre").reset_index().assign(level=level))
    return pd.concat(tables, ignore_index=True)[_COLUMNS]


def part_bounds(
    model: PopularityModel, part: Subset, confidences: Sequence[float]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each confidence the bounds of the intervals of all rows, each of shape (n_rows,), batch by batch."""
    batches = [model.score(batch, confidences=confidences) for batch in part.batches()]
    predicted = np.concatenate([scores.predicted for scores in batches])
    margins = np.concatenate([scores.margins for scores in batches], axis=1)
    return [within_range(predicted, margin) for margin in margins]


def coverage_metrics(coverage: pd.DataFrame) -> dict[str, float]:
    """Return ``interval/coverage_<percent>`` and ``interval/width_<percent>`` of all rows."""
    return {
        f"interval/{name}_{100 * row['level']:.0f}": float(row[name])
        for row in coverage[coverage["genre"] == ALL].to_dict("records")
        for name in ("coverage", "width")
    }


def write_coverage(folder: Path, coverage: pd.DataFrame) -> None:
    """Write the table as `FILE` into a folder."""
    write_csv(coverage, folder / FILE)
