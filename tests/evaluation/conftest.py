"""What small runs on real tracks come to, for the tests of what is said and drawn of them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from spotify_ml.config.run import RunConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.quality import quality_report
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.evaluation.bootstrap import bootstrap_metrics
from spotify_ml.evaluation.coverage import calibrate_intervals, interval_coverage
from spotify_ml.evaluation.evaluate import as_served, evaluate
from spotify_ml.evaluation.explain import explain
from spotify_ml.evaluation.incomplete import score_patterns
from spotify_ml.evaluation.result import Result
from spotify_ml.features.builder import build_subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.incomplete_fit import model_of
from spotify_ml.reports.figures.figure_process import ErrorData, ExplanationData
from spotify_ml.reports.figures.tables import error_data, explanation_data
from tests.support import configured

FAST = ["model.n_estimators=20", "model.learning_rate=0.3", "model.n_jobs=1"]
ResultOf = Callable[..., tuple[RunConfig, Result]]


def figure_data(config: RunConfig, result: Result) -> tuple[ErrorData, ExplanationData]:
    """What the figures of a run show."""
    parts = result.split, result.fitted, result.evaluation, result.coverage, result.patterns
    errors = error_data(config.task, result.tracks.frame, *parts)
    return errors, explanation_data(config.task, result.explanation, result.subsets.test)


@pytest.fixture(scope="session")
def result_of(sample: RawTracks) -> ResultOf:
    """Overrides to a configuration and what it comes to on 2,500 of the tracks."""

    @cache
    def run(*overrides: str) -> tuple[RunConfig, Result]:
        fast = [] if any(each.startswith("model=") for each in overrides) else FAST
        config = configured(*fast, *overrides)
        raw = replace(sample, frame=sample.frame.sample(2500, random_state=0))
        tracks = clean(raw.frame, config.cleaning.name)
        split = split_tracks(tracks.frame, config.split, config.seed)
        subsets = build_subsets(config.features.name, tracks.frame, split, config.seed)
        fitted = fit_estimators(config.model, config.task, subsets, config.seed)
        evaluation = evaluate(fitted, subsets, tracks.frame, config.task)
        prediction_intervals = calibrate_intervals(config.task, fitted, subsets, split.groups)
        model = model_of(config, fitted, subsets, tracks.frame, split, prediction_intervals)
        evaluation = as_served(evaluation, model, subsets.test, config.task)
        scored = evaluation.actual, evaluation.predicted, split.groups[split.test]
        intervals = bootstrap_metrics(config.task, *scored, seed=config.seed)
        return config, Result(
            raw,
            tracks,
            quality_report(raw, tracks),
            split,
            subsets,
            fitted,
            evaluation,
            [],
            {},
            intervals,
            model,
            interval_coverage(model, subsets.test, tracks.frame),
            score_patterns(model, config.task, subsets.test),
            explain(fitted, subsets, config.task, config.seed),
        )

    return run
