"""Which of two runs is better, and whether the difference is real."""

from dataclasses import dataclass

import numpy as np

from spotify_ml.comparison.paired import Comparison, Contender, compare_pair
from spotify_ml.comparison.recorded_run import RecordedRun
from spotify_ml.comparison.shared_rows import shared_rows
from spotify_ml.evaluation.bootstrap import CONFIDENCE
from spotify_ml.evaluation.by_group import FEWEST_TRACKS
from spotify_ml.evaluation.metric_names import ERRORS, title
from spotify_ml.utils.errors import DataError


@dataclass(frozen=True)
class PairVerdict:
    """Which of two runs is better, by how much, and whether that is real; or why that cannot be said.

    Where they could be compared, ``rows`` says on which rows, with the second run as ``model`` and the first as its
    ``rival``.
    """

    sentence: str
    rows: str = ""
    comparison: Comparison | None = None


def judge_pair(first: RecordedRun, second: RecordedRun, names: tuple[str, str]) -> PairVerdict:
    """Compare a run with another on the test rows that they share, by short names for both."""
    told = [f"{name} ({run.title})" for name, run in zip(names, (first, second), strict=True)]
    if first.run_id == second.run_id:
        return PairVerdict(f"{told[0]} and {told[1]} are the same run.")
    try:
        rows = shared_rows(first, second)
    except DataError as error:
        return PairVerdict(f"{told[0]} and {told[1]} cannot be compared on the same rows: {error}.")
    comparison = compare_pair(
        rows.task,
        rows.tracks,
        rows.groups,
        Contender(names[1], rows.second),
        Contender(names[0], rows.first),
        seed=rows.seed,
        confidence=CONFIDENCE,
        genre_tracks=FEWEST_TRACKS,
    )
    return PairVerdict(_sentence(comparison, *told), rows.said, comparison)


def _sentence(comparison: Comparison, first: str, second: str) -> str:
    if np.array_equal(comparison.rival.predicted, comparison.model.predicted):
        return f"{first} and {second} are the same: they predict all {comparison.n_tracks:,} tracks alike."
    # R², or log loss; where popularity does not vary, RMSE.
    metric, figures = next(iter(comparison.figures.items()))
    difference = figures["difference"]
    sign = -1 if metric in ERRORS else 1
    gain, *ends = (sign * value for value in (difference.value, difference.lower, difference.upper))
    better, worse = second, first
    if gain < 0:
        better, worse = worse, better
        gain, *ends = (-value for value in (gain, *ends))
    lower, upper = sorted(ends)
    unit = metric.replace("_", " ") if metric == "log_loss" else title(metric)
    amount = f"{better} is better than {worse} by {gain:.4f} {unit} ({lower:.4f} to {upper:.4f})"
    return f"{amount}; the difference is real." if lower > 0 else f"{amount}, which may be chance."
