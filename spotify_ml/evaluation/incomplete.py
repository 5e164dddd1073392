"""How good predictions are for rows of which something is not known: test rows from which it was taken."""

from pathlib import Path

import numpy as np
import pandas as pd

from spotify_ml.data.csv_text import write_csv
from spotify_ml.data.schema import AUDIO, OPTIONAL_AUDIO
from spotify_ml.evaluation.coverage import LEVELS
from spotify_ml.evaluation.metric_names import COLUMNS
from spotify_ml.evaluation.metrics import task_metrics
from spotify_ml.evaluation.patterns import PATTERNS
from spotify_ml.features.incomplete import IncompleteFeatures
from spotify_ml.features.subsets import Subset
from spotify_ml.models.intervals import within_range
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.targets import Task, class_names

FILE = "incomplete_rows.csv"
# More test rows tell nothing new.
_MOST_ROWS = 100_000


def score_patterns(model: PopularityModel, task: Task, part: Subset) -> pd.DataFrame:
    """Return figures of the rows of a part, as they are without what each of `PATTERNS` takes.

    The columns are ``pattern``, the task's metrics and, of a regression, ``bias`` (predicted less actual) and for each
    level of intervals ``coverage_<percent>`` and ``width_<percent>``. Without a model of incomplete rows there are no
    rows.
    """
    if model.incomplete is None:
        return pd.DataFrame()
    rows = np.unique(np.linspace(0, len(part.target) - 1, _MOST_ROWS).round().astype(np.intp))
    matrix, target = part.take(rows), part.target[rows]
    features = IncompleteFeatures(tuple(part.features.columns))
    everything = np.ones(len(rows), dtype=bool)
    found = []
    for name, pattern in PATTERNS.items():
        if not set(pattern.absent) <= set(features.keys):
            continue
        taken = [dict.fromkeys(keys, everything) for keys in (pattern.absent, pattern.unknown)]
        changed = features.without(matrix, *taken)
        if pattern.without_details:
            for column in OPTIONAL_AUDIO:
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


def by_label(patterns: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `score_patterns` by what people call the patterns."""
    if patterns.empty:
        return patterns
    return patterns.drop(columns="pattern").set_index(pd.Index([PATTERNS[name].label for name in patterns["pattern"]]))


def pattern_metrics(patterns: pd.DataFrame) -> dict[str, float]:
    """Return each figure of each pattern under its metric name, such as ``test_without_genre/r2``."""
    by_name = {} if patterns.empty else patterns.set_index("pattern").to_dict("index")
    return {f"{name}/{figure}": value for name, figures in by_name.items() for figure, value in figures.items()}


def write_patterns(folder: Path, patterns: pd.DataFrame) -> None:
    """Write the table as `FILE` into a folder."""
    write_csv(patterns, folder / FILE)
