"""Tests of the metrics against values worked out by hand."""

import math

import numpy as np
import pytest

from spotify_ml.config.models import ClassificationConfig, RegressionConfig
from spotify_ml.evaluation.metrics import band_metrics, classification_metrics, regression_metrics, task_metrics

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


def test_bands_worked_out_by_hand():
    actual = np.array([0.0, 0.0, 1.0, 33.0, 66.0, 67.0])
    predicted = np.array([3.0, 5.0, 4.0, 30.0, 60.0, 47.0])
    assert band_metrics(actual, predicted) == pytest.approx(
        {
            # Errors 3 and 5; 3 and -3; -6; -20.
            "zero/rmse": math.sqrt(17),
            "zero/mae": 4,
            "zero/bias": 4,
            "low/rmse": 3,
            "low/mae": 3,
            "low/bias": 0,
            "medium/rmse": 6,
            "medium/mae": 6,
            "medium/bias": -6,
            "high/rmse": 20,
            "high/mae": 20,
            "high/bias": -20,
        }
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("actual", "bands"),
    [
        ([], set()),
        ([0.0], {"zero"}),
        ([0.5, 33.0], {"low"}),
        ([33.5, 66.0], {"medium"}),
        ([66.5, 100.0], {"high"}),
        ([0.0, 80.0], {"zero", "high"}),
    ],
)
def test_bands_without_a_row_are_left_out(actual: list[float], bands: set[str]):
    metrics = band_metrics(np.array(actual), np.full(len(actual), 40.0))
    assert set(metrics) == {f"{band}/{metric}" for band in bands for metric in ("rmse", "mae", "bias")}
    assert np.isfinite(list(metrics.values())).all()
    assert all(type(value) is float for value in metrics.values())


# The likeliest classes are 0, 1, 2, 0: three of four right.
CODES = np.array([0, 1, 2, 2])
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.6, 0.1, 0.3]])


def test_classification_worked_out_by_hand():
    metrics = classification_metrics(CODES, PROBABILITIES, 3)
    assert metrics == pytest.approx(
        {
            "log_loss": -np.log([0.7, 0.5, 0.8, 0.3]).mean(),
            "accuracy": 3 / 4,
            # Precision and recall: 1/2 and 1; 1 and 1; 1 and 1/2.
            "macro_f1": (2 / 3 + 1 + 2 / 3) / 3,
            # Confidences 0.7, 0.5, 0.8 and a wrong 0.6, each alone in its bin.
            "calibration_error": (0.3 + 0.5 + 0.2 + 0.6) / 4,
            # Every class stands above all of the rest; class 2 ties with a row of class 1.
            "roc_auc": (1 + 1 + 3.5 / 4) / 3,
            "average_precision": (1 + 1 + (1 / 2 * 1 + 1 / 2 * 2 / 3)) / 3,
        }
    )


def test_two_classes_are_ranked_by_the_second():
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    metrics = classification_metrics(np.array([0, 0, 1, 1]), np.column_stack([1 - scores, scores]), 2)
    assert metrics == pytest.approx(
        {
            "log_loss": -np.log([0.9, 0.6, 0.35, 0.8]).mean(),
            "accuracy": 3 / 4,
            # Two right and one wrong of class 0, one right of class 1.
            "macro_f1": (4 / 5 + 2 / 3) / 2,
            # Confidences 0.9 (right), 0.6 (right), 0.65 (wrong), 0.8 (right); the second and third share a bin.
            "calibration_error": (0.1 + abs(0.4 - 0.65) + 0.2) / 4,
            # Three of four pairs stand in order.
            "roc_auc": 3 / 4,
            # Right are the first and the third from above.
            "average_precision": 1 / 2 * 1 + 1 / 2 * 2 / 3,
        }
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("codes", [[0, 0, 0, 0], [2, 2, 2, 2], [0, 1, 1, 0], [1, 2, 2, 2]])
def test_without_every_class_there_is_no_ranking(codes: list[int]):
    metrics = classification_metrics(np.array(codes), PROBABILITIES, 3)
    assert set(metrics) == {"log_loss", "accuracy", "macro_f1", "calibration_error"}
    assert metrics["log_loss"] == pytest.approx(-np.log(PROBABILITIES[range(4), codes]).mean())
    assert metrics["accuracy"] == pytest.approx(np.mean(np.array(codes) == [0, 1, 2, 0]))


def test_a_class_that_neither_occurs_nor_is_predicted_counts_nothing_in_macro_f1():
    sure = np.eye(3)[[0, 1, 1]]
    assert classification_metrics(np.array([0, 1, 1]), sure, 3)["macro_f1"] == pytest.approx(2 / 3)


def test_perfect_classification():
    metrics = classification_metrics(CODES, np.eye(3)[CODES], 3)
    perfect = {"accuracy": 1, "macro_f1": 1, "roc_auc": 1, "average_precision": 1}
    assert metrics == pytest.approx({"log_loss": 0, "calibration_error": 0, **perfect})


def test_constant_probabilities_rank_at_random():
    codes = np.array([0, 1, 1, 2, 2, 2])
    metrics = classification_metrics(codes, np.tile([1 / 6, 1 / 3, 1 / 2], (6, 1)), 3)
    assert metrics["roc_auc"] == pytest.approx(1 / 2)
    assert metrics["average_precision"] == pytest.approx((1 / 6 + 1 / 3 + 1 / 2) / 3)
    assert metrics["calibration_error"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("confidences", "right", "expected"),
    [
        # All in the bin from 0.7 to 0.8: 3 of 4 right at 0.75.
        ([0.72, 0.74, 0.76, 0.78], [True, True, True, False], 0.0),
        # Over- and underconfidence of different bins do not make up for each other.
        ([0.65, 0.65, 0.85, 0.85], [True, True, True, False], (0.7 + 0.7) / 4),
        # An upper edge begins the next bin, and 1 belongs to the last.
        ([0.6, 0.6, 0.95, 1.0], [True, False, True, True], (0.2 + 0.05) / 4),
    ],
)
def test_calibration_error_worked_out_by_hand(confidences: list[float], right: list[bool], expected: float):
    second = np.array(confidences)
    codes = np.array(right, dtype=int)
    metrics = classification_metrics(codes, np.column_stack([1 - second, second]), 2)
    assert metrics["calibration_error"] == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_rows", [1, 2, 5, 50])
@pytest.mark.parametrize("kind", ["uniform", "sure", "constant"])
def test_no_figure_of_classes_is_ever_nan_and_nothing_warns(n_classes: int, n_rows: int, kind: str):
    random = np.random.default_rng(n_rows)
    codes = random.integers(n_classes, size=n_rows)
    probabilities = {
        "uniform": random.dirichlet(np.ones(n_classes), n_rows),
        "sure": np.eye(n_classes)[random.integers(n_classes, size=n_rows)],
        "constant": np.full((n_rows, n_classes), 1 / n_classes),
    }[kind]
    metrics = classification_metrics(codes, probabilities, n_classes)
    assert {"log_loss", "accuracy", "macro_f1", "calibration_error"} <= set(metrics)
    assert ("roc_auc" in metrics) == ("average_precision" in metrics) == (len(set(codes)) == n_classes)
    assert np.isfinite(list(metrics.values())).all()
    assert all(type(value) is float for value in metrics.values())
    assert all(0 <= value <= 1 for name, value in metrics.items() if name != "log_loss")


def test_figures_are_those_of_the_task():
    regression = RegressionConfig(name="regression", weights="none", registered_model="m")
    assert task_metrics(regression, ACTUAL, PREDICTED, 2) == regression_metrics(ACTUAL, PREDICTED, 2)
    category = ClassificationConfig(
        name="classification", label="category", threshold=67, weights="none", registered_model="m"
    )
    popularity = np.array([33.0, 66.0, 67.0, 100.0])
    expected = classification_metrics(CODES, PROBABILITIES, 3)
    assert task_metrics(category, popularity, PROBABILITIES, 2) == expected
    popular = category.model_copy(update={"label": "popular"})
    pairs = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])
    expected = classification_metrics(np.array([0, 0, 1, 1]), pairs, 2)
    assert task_metrics(popular, popularity, pairs, 2) == expected
