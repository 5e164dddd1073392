"""Properties of the bootstrap by groups: what it estimates, and that groups count and rows do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ml.config.models import ClassificationConfig, RegressionConfig
from spotify_ml.evaluation import bootstrap
from spotify_ml.evaluation.bootstrap import Interval, bootstrap_differences, bootstrap_metrics
from spotify_ml.evaluation.metrics import regression_metrics, task_metrics

REGRESSION = RegressionConfig(name="regression", weights="none", registered_model="popularity")
CLASSIFICATION = ClassificationConfig(
    name="classification", label="category", threshold=67, weights="none", registered_model="category"
)
SEED = 5


def made_up(n_rows: int, n_groups: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Popularity, predictions and groups."""
    rng = np.random.default_rng(seed)
    actual = rng.uniform(0, 100, n_rows)
    return actual, actual + rng.normal(0, 10, n_rows), rng.integers(n_groups, size=n_rows)


def drawn_rows(actual: np.ndarray, predicted: np.ndarray, groups: np.ndarray, n_resamples: int) -> dict[str, Interval]:
    """The same, the long way: lay the rows of the drawn groups side by side and score them."""
    rng, names = np.random.default_rng(SEED), np.unique(groups)
    rows = [np.flatnonzero(groups == name) for name in names]
    scores = []
    for _ in range(n_resamples):
        drawn = np.concatenate([rows[group] for group in rng.integers(len(names), size=len(names))])
        scores.append(regression_metrics(actual[drawn], predicted[drawn], 0))
    value = regression_metrics(actual, predicted, 0)
    return {
        name: Interval(value[name], *np.quantile([score[name] for score in scores], [0.025, 0.975]))
        for name in ("r2", "rmse", "mae")
    }


def ends(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.lower, interval.upper


@pytest.mark.parametrize("n_groups", [5, 60])
def test_sums_by_group_give_what_drawn_rows_give(n_groups: int):
    actual, predicted, groups = made_up(120, n_groups)
    found = bootstrap_metrics(REGRESSION, actual, predicted, groups, seed=SEED, n_resamples=100)
    for name, interval in drawn_rows(actual, predicted, groups, 100).items():
        assert ends(found[name]) == pytest.approx(ends(interval), rel=1e-9)


def test_groups_of_one_row_are_the_ordinary_bootstrap():
    actual, predicted, _ = made_up(80, 1)
    found = bootstrap_metrics(REGRESSION, actual, predicted, np.arange(80), seed=SEED, n_resamples=200)
    rng = np.random.default_rng(SEED)
    errors = np.abs(predicted - actual)
    means = [errors[rng.integers(80, size=80)].mean() for _ in range(200)]
    assert ends(found["mae"])[1:] == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.integers(0, 2**32 - 1), st.sampled_from([REGRESSION, CLASSIFICATION]))
def test_values_are_those_of_the_rows_and_stand_within_finite_ends(n_rows: int, seed: int, task):
    rng = np.random.default_rng(seed)
    popularity = rng.integers(0, 101, n_rows).astype(float)
    predicted = rng.uniform(0, 100, n_rows) if task is REGRESSION else rng.dirichlet(np.ones(3), n_rows)
    found = bootstrap_metrics(task, popularity, predicted, np.arange(n_rows), seed=seed, n_resamples=50)
    metrics = task_metrics(task, popularity, predicted, 0)
    assert set(found) == set(metrics) & {"r2", "rmse", "mae", "log_loss", "accuracy"}
    for name, interval in found.items():
        assert interval.value == pytest.approx(metrics[name], rel=1e-9, abs=1e-9)
        assert np.isfinite(ends(interval)).all()
        assert interval.lower <= interval.upper


@settings(max_examples=25, deadline=None)
@given(st.floats(-5, 5), st.integers(0, 2**32 - 1))
def test_a_constant_difference_has_no_width(shift: float, seed: int):
    actual, predicted, groups = made_up(50, 20, seed)
    above, baseline = np.maximum(predicted, actual) + 10 + shift, np.maximum(predicted, actual) + 10
    found = bootstrap_differences(REGRESSION, actual, above, baseline, groups, seed=seed, n_resamples=50)
    assert ends(found["mae"]) == pytest.approx((shift,) * 3, abs=1e-9)


def test_a_model_does_not_differ_from_itself():
    actual, predicted, groups = made_up(50, 20)
    found = bootstrap_differences(REGRESSION, actual, predicted, predicted, groups, seed=SEED)
    assert set(found) == {"r2", "rmse", "mae"}
    for interval in found.values():
        assert ends(interval) == pytest.approx((0, 0, 0), abs=1e-12)


def test_the_sign_says_which_is_better_and_pairing_what_is_known():
    actual, predicted, groups = made_up(300, 200)
    better = actual + 0.9 * (predicted - actual)
    found = bootstrap_differences(REGRESSION, actual, better, predicted, groups, seed=SEED)
    assert found["r2"].lower > 0 > found["rmse"].upper
    # One by one, their intervals overlap by far.
    one, other = (bootstrap_metrics(REGRESSION, actual, each, groups, seed=SEED) for each in (better, predicted))
    assert one["rmse"].upper > other["rmse"].lower


def test_bundles_of_very_many_groups_tell_as_much(monkeypatch):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4000), 3)
    # Groups stand in the order of their errors: bundles of neighbours would say something else.
    errors = np.sort(rng.exponential(10, 4000))[groups]
    data = np.arange(12_000.0) % 100, np.arange(12_000) % 100 + errors, groups
    one_by_one = bootstrap_metrics(REGRESSION, *data, seed=SEED)
    monkeypatch.setattr(bootstrap, "_MOST_DRAWN", 500)
    bundled = bootstrap_metrics(REGRESSION, *data, seed=SEED)
    for name, interval in one_by_one.items():
        assert bundled[name].value == pytest.approx(interval.value)
        width = interval.upper - interval.lower
        assert bundled[name].upper - bundled[name].lower == pytest.approx(width, rel=0.15)
        assert bundled[name].upper == pytest.approx(interval.upper, abs=0.1 * width)


def test_repeated_rows_tell_nothing_new():
    actual, predicted, _ = made_up(100, 1)
    rows = np.arange(100)
    once = bootstrap_metrics(REGRESSION, actual, predicted, rows, seed=SEED)
    copied = [np.repeat(each, 9) for each in (actual, predicted, rows)]
    grouped = bootstrap_metrics(REGRESSION, *copied, seed=SEED)
    row_by_row = bootstrap_metrics(REGRESSION, *copied[:2], np.arange(900), seed=SEED)
    for name, interval in once.items():
        assert ends(grouped[name]) == pytest.approx(ends(interval))
        assert (interval.upper - interval.lower) / (row_by_row[name].upper - row_by_row[name].lower) > 2


def test_as_many_intervals_hold_the_truth_as_they_say():
    rng, holds = np.random.default_rng(0), []
    groups = np.repeat(np.arange(60), 3)
    for seed in range(200):
        # Rows of a group share most of their error; on average it is 10.
        errors = rng.exponential(10, 60)[groups] * rng.choice([-1, 1], 180)
        actual, predicted = np.arange(180.0), np.arange(180) + errors
        mae = bootstrap_metrics(REGRESSION, actual, predicted, groups, seed=seed, n_resamples=300)["mae"]
        holds.append(mae.lower <= 10 <= mae.upper)
    assert 0.9 <= np.mean(holds) <= 0.98


def test_more_confidence_is_wider_and_seeds_repeat():
    data = made_up(100, 50)
    narrow, wide, again = (
        bootstrap_metrics(REGRESSION, *data, seed=SEED, confidence=confidence)["rmse"]
        for confidence in (0.5, 0.99, 0.99)
    )
    assert wide.lower < narrow.lower < narrow.value < narrow.upper < wide.upper
    assert wide == again


def test_groups_may_have_any_name():
    actual, predicted, groups = made_up(40, 12)
    names = np.array([f"group {code:02}" for code in groups])
    assert bootstrap_metrics(REGRESSION, actual, predicted, names, seed=SEED) == bootstrap_metrics(
        REGRESSION, actual, predicted, groups, seed=SEED
    )


@pytest.mark.filterwarnings("error")
def test_what_is_undefined_is_left_out():
    _, predicted, groups = made_up(30, 10)
    assert set(bootstrap_metrics(REGRESSION, np.full(30, 33.3), predicted, groups, seed=SEED)) == {"rmse", "mae"}
    assert bootstrap_metrics(REGRESSION, predicted, predicted, np.zeros(30), seed=SEED) == {}
    # Most resamples of these have a single value, and no R².
    r2 = bootstrap_metrics(REGRESSION, np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.arange(2), seed=SEED)["r2"]
    assert ends(r2) == pytest.approx((-1, -1, -1))
