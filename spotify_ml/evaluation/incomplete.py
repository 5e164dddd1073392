"""How good predictions are for rows of which something is not known: test rows from which it was taken."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from spotify_ml.config.run import RunConfig
from spotify_ml.data.csv_text import write_csv
from spotify_ml.data.schema import AUDIO, OPTIONAL
from spotify_ml.data.splits import Split
from spotify_ml.evaluation.coverage import LEVELS
from spotify_ml.evaluation.metric_names import COLUMNS
from spotify_ml.evaluation.metrics import task_metrics
from spotify_ml.features.incomplete import IncompleteFeatures
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.incomplete import IncompleteModel, fit_incomplete
from spotify_ml.models.intervals import PredictionIntervals, within_range
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.targets import Task, class_names

FILE = "incomplete_rows.csv"
# More test rows tell nothing new.
_MOST_ROWS = 100_000


@dataclass(frozen=True)
class Pattern:
    """What is taken from complete rows.

    Keys become `absent`, or `unknown` to the catalogue, where the caller may say that rows come from an `other` one;
    `without_details`: the audio columns that a file may lack are missing.
    """

    label: str
    absent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    other: bool = False
    without_details: bool = False


# By the prefix of their metrics.
PATTERNS = {
    "test_without_album": Pattern("no album", ("album",)),
    "test_without_genre": Pattern("no genre", ("genre",)),
    "test_without_album_genre": Pattern("no album, no genre", ("album", "genre")),
    "test_without_artist_album": Pattern("no artist, no album", ("artist", "album")),
    "test_without_names": Pattern("no artist, album or title", ("artist", "album", "title")),
    "test_without_artist_album_genre": Pattern("sound and title alone", ("artist", "album", "genre")),
    "test_without_names_genre": Pattern("sound alone", ("artist", "album", "genre", "title")),
    "test_without_details": Pattern(f"no {', '.join(OPTIONAL)}", without_details=True),
    "test_unknown_artist_album": Pattern("unknown artist and album", unknown=("artist", "album")),
    "test_other_album": Pattern("unknown album, `catalogue=other`", unknown=("album",), other=True),
    "test_other_artist_album": Pattern(
        "unknown artist and album, `catalogue=other`", unknown=("artist", "album"), other=True
    ),
}


@dataclass(frozen=True)
class IncompleteRows:
    """What a run knows of incomplete rows.

    ``medians`` are what missing audio columns are taken to be. ``model`` is None if it was not fitted, then
    ``n_trees`` is 0 and ``patterns``, the table of `score_patterns`, empty.
    """

    medians: dict[str, float]
    model: IncompleteModel | None = None
    n_trees: int = 0
    patterns: pd.DataFrame = field(default_factory=pd.DataFrame)


def judge_incomplete_rows(
    config: RunConfig,
    fitted: FittedEstimators,
    subsets: Subsets,
    tracks: pd.DataFrame,
    split: Split,
    intervals: PredictionIntervals | None,
) -> IncompleteRows:
    """Fit the model of incomplete rows, if the configuration asks for it and features have names, and score it."""
    values = tracks.iloc[split.trainval][list(AUDIO)].astype(float).median()
    medians = dict(zip(AUDIO, values.tolist(), strict=True))
    if not config.incomplete or config.features.name != "full":
        return IncompleteRows(medians)
    n_jobs = getattr(config.model, "n_jobs", None)
    incomplete, n_trees = fit_incomplete(config.task, fitted, subsets, split.groups, config.seed, n_jobs)
    classes = class_names(config.task)
    model = PopularityModel(subsets.transformer, fitted.refit, classes, intervals, incomplete, medians)
    return IncompleteRows(medians, incomplete, n_trees, score_patterns(model, config.task, subsets.test))


def score_patterns(model: PopularityModel, task: Task, part: Subset) -> pd.DataFrame:
    """Return figures of the rows of a part, as they are without what each of `PATTERNS` takes.

    The columns are ``pattern``, the task's metrics and, of a regression, ``bias`` (predicted less actual) and for each
    level of intervals ``coverage_<percent>`` and ``width_<percent>``.
    """
    rows = np.unique(np.linspace(0, len(part.target) - 1, _MOST_ROWS).round().astype(np.intp))
    matrix, target = part.take(rows), part.target[rows]
    features = IncompleteFeatures(tuple(part.features.columns))
    everything = np.ones(len(rows), dtype=bool)
    found = []
    for name, pattern in PATTERNS.items():
        taken = [dict.fromkeys(keys, everything) for keys in (pattern.absent, pattern.unknown)]
        changed = features.without(matrix, *taken)
        if pattern.without_details:
            for column in OPTIONAL:
                changed[:, features.names.index(column)] = model.medians[AUDIO.index(column)]
        found.append({"pattern": name, **_figures(model, task, changed, target, other=pattern.other)})
    return pd.DataFrame(found)


def _figures(
    model: PopularityModel, task: Task, matrix: np.ndarray, target: np.ndarray, *, other: bool
) -> dict[str, float]:
    scores = model.score(matrix, other=other, confidences=() if class_names(task) else LEVELS)
    metrics = task_metrics(task, target, scores.predicted, 0)
    figures = {name: metrics[name] for name in COLUMNS[task.name] if name in metrics}
    if not class_names(task):
        figures["bias"] = float(np.mean(scores.predicted - target))
    for level, margin in zip(LEVELS, scores.margins, strict=False):
        lower, upper = within_range(scores.predicted, margin)
        figures[f"coverage_{100 * level:.0f}"] = float(np.mean((lower <= target) & (target <= upper)))
        figures[f"width_{100 * level:.0f}"] = float(np.mean(upper - lower))
    return figures


def pattern_metrics(patterns: pd.DataFrame) -> dict[str, float]:
    """Return each figure of each pattern under its metric name, such as ``test_without_genre/r2``."""
    by_name = {} if patterns.empty else patterns.set_index("pattern").to_dict("index")
    return {f"{name}/{figure}": value for name, figures in by_name.items() for figure, value in figures.items()}


def write_patterns(folder: Path, patterns: pd.DataFrame) -> None:
    """Write the table as `FILE` into a folder."""
    write_csv(patterns, folder / FILE)
