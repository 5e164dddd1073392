"""A run, from raw tracks to everything it came to."""

from collections.abc import Callable
from pathlib import Path

from spotify_ml.backends import open_backend
from spotify_ml.config.run import RunConfig
from spotify_ml.evaluation.baselines import full_baselines
from spotify_ml.evaluation.bootstrap import bootstrap_metrics
from spotify_ml.evaluation.coverage import calibrate_intervals, interval_coverage
from spotify_ml.evaluation.cross_validation import cross_validate
from spotify_ml.evaluation.evaluate import as_served
from spotify_ml.evaluation.explain import explain
from spotify_ml.evaluation.incomplete import score_patterns
from spotify_ml.evaluation.result import Result
from spotify_ml.models.incomplete_fit import model_of
from spotify_ml.reports.figures.figure_process import FigureData
from spotify_ml.reports.figures.tables import error_data, explanation_data
from spotify_ml.utils.timing import Stopwatch


def run(
    config: RunConfig,
    clock: Stopwatch,
    draw: Callable[[FigureData], None],
    *,
    full_by_default: bool = False,
    shared: Path | None = None,
) -> Result:
    """Run a configuration: take the time of each stage, and have drawn what figures show as soon as it is known.

    The baselines that are models are fitted if the configuration asks for them, or where it leaves that open
    `full_by_default`; the jobs of a sweep leave them for each other in a shared folder. Raises `SpotifyMLError` if the
    data or the split cannot be used, or a cluster fails.
    """
    with open_backend(config, clock) as backend:
        source = backend.read()
        split = backend.split(source)
        subsets, fitted, evaluation, threads = backend.fit(source, split)
    tracks = source.tracks.frame
    # First, so that its figures are drawn beside what comes then.
    with clock.stage("explain"):
        explanation = explain(fitted, subsets, config.task, config.seed)
        draw(explanation_data(config.task, explanation, subsets.test))
    with clock.stage("intervals"):
        prediction_intervals = calibrate_intervals(config.task, fitted, subsets, split.groups)
    with clock.stage("incomplete"):
        model = model_of(config, fitted, subsets, tracks, split, prediction_intervals)
        evaluation = as_served(evaluation, model, subsets.test, config.task)
        patterns = score_patterns(model, config.task, subsets.test)
    with clock.stage("intervals"):
        scored = evaluation.actual, evaluation.predicted, split.groups[split.test]
        intervals = bootstrap_metrics(config.task, *scored, seed=config.seed)
        coverage = interval_coverage(model, subsets.test, tracks)
        draw(error_data(config.task, tracks, split, fitted, evaluation, coverage, patterns))
    folds, baselines = [], {}
    if config.cv is not None:
        with clock.stage("cv"):
            folds = cross_validate(config, config.cv, tracks, split)
    # Further models are fitted where there is the memory for them.
    in_memory = config.engine.name == "local" and subsets.test.storage.kind == "memory"
    if (config.baselines or ("full" if full_by_default and in_memory else "quick")) == "full":
        with clock.stage("baselines"):
            baselines = full_baselines(config, tracks, split, shared)
    return Result(
        *source,
        split,
        subsets,
        fitted,
        evaluation,
        folds,
        baselines,
        intervals,
        model,
        coverage,
        patterns,
        explanation,
        threads,
    )
