"""Tests of the table of coverage: who counts where, and what of it becomes a metric."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spotify_ml.data.schema import TARGET
from spotify_ml.evaluation import coverage as module
from spotify_ml.evaluation.coverage import LEVELS, calibrate_intervals, coverage_metrics, interval_coverage
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.subsets import Subset
from spotify_ml.models.incomplete import Scores
from tests.evaluation.conftest import ResultOf

TRACKS = pd.DataFrame({"track_genre": ["rock;soul", "rock", "soul", "rare"]})
PREDICTED = np.array([40.0, 50.0, 80.0, 30.0])


class Model:
    """Predicts what its one feature says, with intervals of ten points to both sides at 80 %, of more for more."""

    intervals = "some"

    def score(self, matrix: np.ndarray, *, confidences: Sequence[float]) -> Scores:
        predicted = matrix[:, 0].astype(float)
        return Scores(predicted, np.array([np.full(len(predicted), 10 * each / 0.8) for each in confidences]))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setattr(module, "FEWEST_TRACKS", 2)
    # Rows are found by their position in the tracks.
    rows = np.array([3, 1, 2, 0])
    actual = PREDICTED + np.array([10.0, -11.0, 30.0, 11.5])
    part = Subset(pd.DataFrame({"energy": PREDICTED[rows]}, index=rows), actual[rows])
    return interval_coverage(Model(), part, TRACKS)


def test_a_track_counts_for_each_of_its_genres_and_all_rows_come_first(table: pd.DataFrame):
    first = table[table["level"] == LEVELS[0]].set_index("genre")
    assert first.index[0] == "all"
    assert set(first.index) == {"all", "rock", "soul"}
    assert first["n_rows"].to_dict() == {"all": 4, "rock": 2, "soul": 2}
    assert first["coverage"].to_dict() == pytest.approx({"all": 0.25, "rock": 0.5, "soul": 0.5})
    assert first["width"].tolist() == pytest.approx([20, 20, 20])


def test_the_ends_belong_to_the_interval_and_all_rows_are_metrics(table: pd.DataFrame):
    metrics = coverage_metrics(table)
    assert metrics["interval/coverage_80"] == 0.25
    assert metrics["interval/coverage_90"] == 0.5
    assert metrics["interval/coverage_95"] == 0.75
    assert metrics["interval/width_95"] == pytest.approx(23.75)
    assert len(metrics) == 2 * len(LEVELS)


def test_classes_have_no_intervals():
    model = Model()
    model.intervals = None
    none = interval_coverage(model, Subset(pd.DataFrame(), np.empty(0)), TRACKS)
    assert none.empty
    assert list(none) == ["level", "genre", "n_rows", "coverage", "width"]
    assert coverage_metrics(none) == {}


def test_intervals_are_of_the_final_features_also_where_these_know_more_genres(result_of: ResultOf):
    config, result = result_of()
    subsets, groups = result.subsets, result.split.groups
    wider = subsets.test.features.copy()
    wider.insert(0, "genre_met_in_validation_rows_alone", np.float32(0))
    test = Subset(wider, subsets.test.target)
    known, more = (
        calibrate_intervals(config.task, result.fitted, each, groups) for each in (subsets, replace(subsets, test=test))
    )
    predicted = result.evaluation.predicted
    expected = known.margins(subsets.test.matrix(), predicted, [0.9])
    np.testing.assert_allclose(more.margins(test.matrix(), predicted, [0.9]), expected, atol=1e-6)


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEWEST_ROWS", 0)


@pytest.mark.usefixtures("few_are_enough")
def test_all_fitting_rows_calibrate_but_those_of_the_small_fit(result_of: ResultOf):
    config, result = result_of()
    subsets, split = result.subsets, result.split
    intervals = calibrate_intervals(config.task, result.fitted, subsets, split.groups)
    half, others = subsets.builder.train_half()
    assert set(half.features.index) | set(others.features.index) == set(split.trainval)
    assert not set(split.groups[half.features.index]) & set(split.groups[others.features.index])
    assert list(others.features.index[: len(split.validation)]) == list(split.validation)
    assert len(half.target) == pytest.approx(len(split.train) / 2, rel=0.1)
    assert len(intervals.scores) == len(others.target)


def test_of_few_and_of_very_many_rows_the_validation_rows_calibrate(
    result_of: ResultOf, monkeypatch: pytest.MonkeyPatch
):
    config, result = result_of()
    split = result.split
    n_fitting, n_validation = len(split.trainval), len(split.validation)
    assert len(result.model.intervals.scores) == n_validation
    for fewest, most, few in ((0, n_fitting, False), (0, n_fitting - 1, True), (n_fitting + 1, 10**9, True)):
        monkeypatch.setattr(module, "_FEWEST_ROWS", fewest)
        monkeypatch.setattr(module, "_MOST_ROWS", most)
        intervals = calibrate_intervals(config.task, result.fitted, result.subsets, split.groups)
        assert (len(intervals.scores) == n_validation) == few
    monkeypatch.setattr(module, "_CALIBRATING_ROWS", 100)
    drawn = calibrate_intervals(config.task, result.fitted, result.subsets, split.groups)
    assert len(drawn.scores) == 100


def test_rows_that_calibrate_have_no_part_in_the_features_they_are_judged_by(result_of: ResultOf):
    config, result = result_of()
    half, others = result.subsets.builder.train_half()
    tracks = result.tracks.frame.copy()
    tracks.iloc[others.features.index, tracks.columns.get_loc(TARGET)] = 100 - others.target
    changed = build_subsets(config.features.name, tracks, result.split, config.seed).builder.train_half()
    for before, after in zip((half, others), changed, strict=True):
        pd.testing.assert_frame_equal(after.features, before.features)


@pytest.mark.parametrize("fewest", [0, 20_000])
def test_the_popularity_of_test_rows_does_not_matter(fewest: int, result_of: ResultOf, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_FEWEST_ROWS", fewest)
    config, result = result_of()
    subsets = result.subsets
    expected = calibrate_intervals(config.task, result.fitted, subsets, result.split.groups)
    test = Subset(subsets.test.features, 100 - subsets.test.target)
    again = calibrate_intervals(config.task, result.fitted, replace(subsets, test=test), result.split.groups)
    np.testing.assert_array_equal(again.scores, expected.scores)
