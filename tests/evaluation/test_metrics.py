"""Tests of the metrics against values worked out by hand."""

import math

import numpy as np
import pytest

from spotify_ml.evaluation.metrics import regression_metrics

ACTUAL = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
# Errors 2, -2, 4, -4, 0: squares sum to 40, absolutes to 12; the actual values vary by 1000 about their mean.
PREDICTED = np.array([12.0, 18.0, 34.0, 36.0, 50.0])


def test_values_worked_out_by_hand():
    metrics = regression_metrics(ACTUAL, PREDICTED, n_features=2)
    assert metrics == pytest.approx(
        {
            "rmse": math.sqrt(40 / 5),
            "mae": 12 / 5,
            "r2": 1 - 40 / 1000,
            "adj_r2": 1 - (40 / 1000) * 4 / 2,
            "spearman": 1.0,
        }
    )


@pytest.mark.parametrize(("n_features", "adjusted"), [(0, 0.96), (1, 1 - 0.04 * 4 / 3), (3, 1 - 0.04 * 4)])
def test_adjusted_r2_pays_for_every_feature(n_features: int, adjusted: float):
    assert regression_metrics(ACTUAL, PREDICTED, n_features)["adj_r2"] == pytest.approx(adjusted)


@pytest.mark.parametrize("n_features", [4, 5, 100])
def test_adjusted_r2_is_left_out_where_there_are_too_few_rows(n_features: int):
    assert set(regression_metrics(ACTUAL, PREDICTED, n_features)) == {"rmse", "mae", "r2", "spearman"}


def test_perfect_predictions():
    metrics = regression_metrics(ACTUAL, ACTUAL, 1)
    assert metrics == pytest.approx({"rmse": 0, "mae": 0, "r2": 1, "adj_r2": 1, "spearman": 1})


def test_reversed_predictions_have_a_negative_rank_correlation():
    metrics = regression_metrics(ACTUAL, ACTUAL[::-1], 1)
    assert metrics["spearman"] == pytest.approx(-1)
    assert metrics["r2"] == pytest.approx(1 - 4000 / 1000)


def test_ties_share_their_rank():
    # Ranks 1.5 1.5 3.5 3.5 against 1 2 3 4: covariance 4, variances 4 and 5.
    metrics = regression_metrics(np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0, 5.0, 9.0, 9.0]), 0)
    assert metrics["spearman"] == pytest.approx(4 / math.sqrt(4 * 5))


def test_constant_target_has_no_r2():
    metrics = regression_metrics(np.full(5, 3.0), PREDICTED, 1)
    assert set(metrics) == {"rmse", "mae"}
    assert metrics["mae"] == pytest.approx(np.mean(PREDICTED - 3))


def test_constant_predictions_have_no_rank_correlation():
    metrics = regression_metrics(ACTUAL, np.full(5, ACTUAL.mean()), 0)
    assert metrics == pytest.approx({"rmse": math.sqrt(200), "mae": 12, "r2": 0, "adj_r2": 0})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_rows", [1, 2, 3, 10])
@pytest.mark.parametrize("constant", ["actual", "predicted", "both", "neither"])
def test_nothing_is_ever_nan_and_nothing_warns(n_rows: int, constant: str):
    values = np.random.default_rng(n_rows).uniform(0, 100, (2, n_rows))
    if constant in ("actual", "both"):
        values[0] = 7
    if constant in ("predicted", "both"):
        values[1] = 9
    metrics = regression_metrics(*values, n_features=1)
    assert {"rmse", "mae"} <= set(metrics)
    assert np.isfinite(list(metrics.values())).all()
    assert all(type(value) is float for value in metrics.values())
