"""Tests of the gate: what each condition lets through, and what it stops."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spotify_ml.comparison.gate import Condition, Verdict, judge
from spotify_ml.comparison.paired import Comparison, Contender, compare_pair
from spotify_ml.config.commands import ClassificationGateConfig, RegressionGateConfig
from spotify_ml.config.models import ClassificationConfig, RegressionConfig
from spotify_ml.evaluation.metric_names import better_of
from spotify_ml.reports.page import render

REGRESSION = RegressionConfig(name="regression", weights="none", registered_model="popularity")
CLASSIFICATION = ClassificationConfig(
    name="classification", label="popular", threshold=50, weights="none", registered_model="category"
)
GATE = RegressionGateConfig(
    name="regression",
    registered_model="popularity",
    metric="r2",
    margin=0.001,
    confidence=0.95,
    fewest_tracks=2,
    genre_tracks=50,
    genre_margin=1.0,
    incomplete_margin=1.0,
    format_difference=1e-5,
)
CATEGORY_GATE = ClassificationGateConfig(**{**GATE.model_dump(), "name": "classification", "metric": "log_loss"})
N = 400
NOISE = np.random.default_rng(0).normal(0, 10, N)
# Half of the tracks are rock, half jazz; every tenth is folk as well, too few to count.
TRACKS = pd.DataFrame(
    {
        "popularity": np.random.default_rng(1).uniform(45, 55, N),
        "track_genre": [("rock", "jazz")[row % 2] + ";folk" * (row % 10 == 0) for row in range(N)],
    }
)
ROCK = TRACKS["track_genre"].str.startswith("rock").to_numpy()


def compare(error: np.ndarray, rival_error: np.ndarray) -> Comparison:
    popularity = TRACKS["popularity"].to_numpy()
    contenders = [Contender("version 2", popularity + error), Contender("version 1", popularity + rival_error)]
    return compare_pair(
        REGRESSION, TRACKS, np.arange(N), *contenders, seed=0, confidence=0.95, genre_tracks=GATE.genre_tracks
    )


def failed(comparison: Comparison, gate: RegressionGateConfig = GATE, formats: float | None = 0.0) -> set[str]:
    return {each.name for each in judge(gate, comparison, formats, []) if not each.passed}


@pytest.mark.parametrize(("own", "rival", "fails"), [(21.0, 20.0, False), (21.1, 20.0, True), (None, 20.0, False)])
def test_a_version_may_not_be_worse_for_tracks_without_names(own: float | None, rival: float | None, fails: bool):
    comparison = compare(0.8 * NOISE, NOISE)
    sides = {
        side: replace(getattr(comparison, side), incomplete_error=error)
        for side, error in (("model", own), ("rival", rival))
    }
    assert failed(replace(comparison, **sides)) == ({"incomplete"} if fails else set())


def test_a_better_model_passes():
    assert failed(compare(0.8 * NOISE, NOISE)) == set()


@pytest.mark.parametrize("metric", ["r2", "rmse", "mae"])
def test_less_error_is_better_by_whatever_metric(metric: str):
    gate = GATE.model_copy(update={"metric": metric})
    assert failed(compare(0.8 * NOISE, NOISE), gate) == set()
    assert "better" in failed(compare(NOISE, 0.8 * NOISE), gate)


def test_the_same_model_is_not_better():
    assert failed(compare(NOISE, NOISE)) == {"better"}


def test_the_whole_interval_has_to_be_above_the_margin():
    comparison = compare(0.8 * NOISE, NOISE)
    least = comparison.figures["r2"]["difference"].lower
    assert 0 < least < comparison.figures["r2"]["difference"].value
    assert failed(comparison, GATE.model_copy(update={"margin": least - 1e-6})) == set()
    assert failed(comparison, GATE.model_copy(update={"margin": least})) == {"better"}


def test_luck_is_not_enough():
    other = np.random.default_rng(7).permutation(NOISE)
    other[np.abs(other).argmax()] = 0
    comparison = compare(other, NOISE)
    assert comparison.figures["r2"]["difference"].value > GATE.margin
    assert failed(comparison) == {"better"}


def test_no_genre_may_pay_for_the_others():
    error = np.where(ROCK, 0.1, 1.15) * NOISE
    comparison = compare(error, NOISE)
    growth = comparison.genres["difference"]
    assert list(growth.index) == ["jazz", "rock"]
    assert growth["jazz"] > 1 > growth["rock"]
    assert failed(comparison) == {"genres"}
    (said,) = (each.said for each in judge(GATE, comparison, 0.0, []) if not each.passed)
    assert "jazz" in said
    assert "rock" not in said
    assert failed(comparison, GATE.model_copy(update={"genre_margin": float(growth["jazz"])})) == set()


def test_genres_with_few_tracks_are_left_out():
    folk = TRACKS["track_genre"].str.endswith("folk").to_numpy()
    assert 0 < folk.sum() < GATE.genre_tracks
    assert failed(compare(np.where(folk, 1.5, 0.5) * NOISE, NOISE)) == set()


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 100.5])
def test_one_prediction_that_cannot_be_is_enough(value: float):
    comparison = compare(0.8 * NOISE, NOISE)
    comparison.model.predicted[3] = value
    assert failed(comparison) == {"predictions"}


@pytest.mark.filterwarnings("ignore:invalid value")
def test_predictions_that_are_no_numbers_can_still_be_told():
    comparison = compare(np.full(N, np.nan), NOISE)
    assert failed(comparison) == {"better", "predictions"}
    assert Verdict(comparison, "rows", judge(GATE, comparison, 0.0, [])).as_text()


@pytest.mark.parametrize(("difference", "passes"), [(0.0, True), (1e-5, True), (1.1e-5, False), (None, False)])
def test_formats_have_to_agree(difference: float | None, passes: bool):
    assert ("formats" not in failed(compare(0.8 * NOISE, NOISE), formats=difference)) is passes


def test_a_changed_schema_is_named():
    conditions = judge(GATE, compare(0.8 * NOISE, NOISE), 0.0, ["inputs lack tempo"])
    assert [(each.name, each.said) for each in conditions if not each.passed] == [("schema", "inputs lack tempo")]


def test_probabilities_are_judged_by_log_loss():
    positive = (TRACKS["popularity"] >= 50).to_numpy()
    good, bad = (np.where(positive, share, 1 - share) for share in (0.9, 0.6))
    contenders = [Contender(name, np.column_stack([1 - p, p])) for name, p in (("2", good), ("1", bad))]

    def judged(first: Contender, second: Contender) -> set[str]:
        comparison = compare_pair(
            CLASSIFICATION, TRACKS, np.arange(N), first, second, seed=0, confidence=0.95, genre_tracks=50
        )
        assert comparison.genre_metric == "log_loss"
        return {each.name for each in judge(CATEGORY_GATE, comparison, 0.0, []) if not each.passed}

    assert judged(*contenders) == set()
    assert judged(*contenders[::-1]) == {"better"}
    contenders[0].predicted[5] *= 1.01
    assert judged(*contenders) == {"predictions"}


def test_the_better_baseline_is_found_whatever_the_metric():
    assert better_of("r2", {"a": 0.1, "b": 0.2}) == "b"
    assert better_of("rmse", {"a": 0.1, "b": 0.2}) == "a"


def test_a_verdict_says_the_same_in_every_form():
    comparison = compare(1.05 * NOISE, NOISE)
    verdict = Verdict(comparison, "some tracks", judge(GATE, comparison, 0.0, []))
    assert {each.name for each in verdict.failed} == {"better"}
    assert (
        verdict.as_text().count("FAIL") == render("promotion.md.j2", verdict=verdict, decision="").count("**no**") == 1
    )
    metrics, content = verdict.metrics(), verdict.as_dict()
    assert (metrics["gate/passed"], metrics["gate/better"], metrics["gate/genres"]) == (0, 0, 1)
    difference = content["figures"]["r2"]["difference"]
    assert metrics["difference/r2"] == difference["value"] == metrics["model/r2"] - metrics["rival/r2"]
    assert metrics["difference/r2_lower"] == difference["lower"]
    assert [row["genre"] for row in content["genres"]["table"]] == list(comparison.genres.index)
    assert content["passed"] is False
    assert str(Condition("better", True, "so")).split() == ["pass", "better", "so"]
