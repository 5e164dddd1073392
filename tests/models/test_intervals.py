"""Tests of prediction intervals: they hold what they promise, are wide for hard rows, and survive their file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ml.models.intervals import LargerFit, PredictionIntervals, _learn, check_confidence, within_range
from spotify_ml.utils.errors import ConfigError

N_GROUPS, GROUP_ROWS = 1500, 2


class Rows:
    """Rows of which every other one is ten times as hard to predict as the others, and whose groups err alike."""

    def __init__(self, seed: int, n_groups: int = N_GROUPS, scale: float = 1) -> None:
        rng = np.random.default_rng(seed)
        self.groups = np.repeat(np.arange(n_groups), GROUP_ROWS)
        self.hard = np.tile([0, 1], n_groups)
        self.matrix = np.column_stack([self.hard, rng.normal(size=len(self.groups))]).astype(np.float32)
        self.predicted = rng.uniform(0, 100, size=len(self.groups))
        errors = rng.normal(size=n_groups)[self.groups] * np.where(self.hard, 20, 2) * scale
        self.actual = np.clip(self.predicted + errors, 0, 100)

    def calibrated(self) -> PredictionIntervals:
        return PredictionIntervals.calibrate(self.matrix, self.predicted, self.actual, self.groups)

    def bounds(self, intervals: PredictionIntervals, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        return within_range(self.predicted, intervals.margins(self.matrix, self.predicted, [confidence])[0])


@pytest.fixture(scope="module")
def intervals() -> PredictionIntervals:
    return Rows(0).calibrated()


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9, 0.95])
def test_new_rows_lie_within_as_often_as_promised(intervals: PredictionIntervals, confidence: float):
    rows = Rows(1)
    lower, upper = rows.bounds(intervals, confidence)
    held = (lower <= rows.actual) & (rows.actual <= upper)
    # Four standard deviations of a share of 1,500 groups, in which calibration and these rows differ.
    assert held.mean() == pytest.approx(confidence, abs=4 * np.sqrt(2 * confidence * (1 - confidence) / N_GROUPS))


def test_hard_rows_get_wide_intervals(intervals: PredictionIntervals):
    rows = Rows(1)
    lower, upper = rows.bounds(intervals, 0.8)
    inner = (lower > 0) & (upper < 100)
    hard = rows.hard == 1
    assert (upper - lower)[inner & hard].mean() > 5 * (upper - lower)[inner & ~hard].mean()


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_more_confidence_takes_a_wider_interval_around_the_prediction(
    intervals: PredictionIntervals, one: float, other: float
):
    rows = Rows(2, 50)
    lower, upper = rows.bounds(intervals, max(one, other))
    inner_lower, inner_upper = rows.bounds(intervals, min(one, other))
    ends = [0 * lower, lower, inner_lower, rows.predicted, inner_upper, upper, 0 * upper + 100]
    assert (np.diff(ends, axis=0) >= 0).all()


def test_errors_of_a_smaller_fit_shrink_by_what_the_same_rows_gain_with_a_larger_one():
    small, n_first = Rows(7, scale=1.25), 600
    # The larger fit errs 0.8 times as much, and the one that intervals are for as much again less: 0.8 times 0.8.
    better = small.actual[:n_first] - 0.8 * (small.actual - small.predicted)[:n_first]
    larger = LargerFit(small.matrix[:n_first], better, exponent=2)
    intervals = PredictionIntervals.calibrate(small.matrix, small.predicted, small.actual, small.groups, larger)
    rows = Rows(8, scale=1.25 * 0.8**2)
    for confidence in (0.8, 0.9, 0.95):
        lower, upper = rows.bounds(intervals, confidence)
        held = (lower <= rows.actual) & (rows.actual <= upper)
        assert held.mean() == pytest.approx(confidence, abs=4 * np.sqrt(2 * confidence * (1 - confidence) / N_GROUPS))


def test_the_errors_of_a_group_do_not_decide_what_is_expected_of_it():
    rows = Rows(9, 200)
    errors, own = np.abs(rows.actual - rows.predicted), rows.groups == 5
    versions = [rows.matrix, rows.matrix[:100] + 1]
    expected = _learn(errors, rows.groups, versions, 2)[1]
    changed = _learn(np.where(own, 90, errors), rows.groups, versions, 2)[1]
    for before, after in zip(expected, changed, strict=True):
        here = own[: len(before)]
        np.testing.assert_array_equal(after[here], before[here])
        assert (after != before)[~here].any()


def test_more_than_few_rows_can_promise_is_the_whole_range():
    rows = Rows(3, 20)
    few = rows.calibrated()
    for confidence, is_promised in ((0.97, True), (0.98, False)):
        lower, upper = rows.bounds(few, confidence)
        assert (upper - lower < 100).any() == is_promised


def test_a_single_group_is_calibrated_too():
    rows = Rows(4, 1)
    larger = LargerFit(rows.matrix[:1], rows.predicted[:1], exponent=1.2)
    again = PredictionIntervals.calibrate(rows.matrix, rows.predicted, rows.actual, rows.groups, larger)
    for intervals in (rows.calibrated(), again):
        lower, upper = rows.bounds(intervals, 0.5)
        assert (lower <= upper).all()


def test_a_row_alone_gets_the_interval_that_it_gets_among_others(intervals: PredictionIntervals):
    rows = Rows(5, 10)
    lower, upper = rows.bounds(intervals, 0.9)
    for row in range(3):
        own = rows.predicted[[row]]
        alone = within_range(own, intervals.margins(rows.matrix[[row]], own, [0.9])[0])
        assert (alone[0].item(), alone[1].item()) == (lower[row], upper[row])


def test_the_file_holds_them_for_every_confidence(intervals: PredictionIntervals, tmp_path: Path):
    intervals.write(tmp_path / "intervals.json")
    read, rows = PredictionIntervals.read(tmp_path / "intervals.json"), Rows(6)
    for confidence in (0.1, 0.683, 0.9, 0.99):
        np.testing.assert_allclose(rows.bounds(read, confidence), rows.bounds(intervals, confidence), atol=1e-3)


@pytest.mark.parametrize("confidence", [0, 1, 1.2, -0.5, True, float("nan"), "0.9", [0.9]])
def test_what_is_no_confidence_is_refused(confidence: object):
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        check_confidence(confidence)
