"""Tests of scoring a run: which fit is judged on which part, and what its features were worth."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import log_loss, root_mean_squared_error
from threadpoolctl import threadpool_limits

from spotify_ml.config.run import RunConfig, SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.evaluation.baselines import quick_baselines
from spotify_ml.evaluation.evaluate import Evaluation, evaluate
from spotify_ml.evaluation.importance import feature_importance
from spotify_ml.evaluation.metrics import band_metrics, classification_metrics, regression_metrics
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.targets import class_names, task_target
from tests.support import configured

SEED = 7
BOOSTER = ["n_estimators=30", "early_stopping_rounds=5", "learning_rate=0.3", "max_depth=3", "n_jobs=1"]
SETTINGS = {
    "xgboost": [f"model.{setting}" for setting in BOOSTER],
    "linear": ["model.alpha=300"],
    "random_forest": ["model.n_estimators=10", "model.max_depth=6", "model.n_jobs=1"],
    "hist_gradient_boosting": [
        "model.max_iter=30",
        "model.n_iter_no_change=5",
        "model.learning_rate=0.3",
        "model.max_leaf_nodes=8",
    ],
    "two_part": [f"model.{part}.{setting}" for part in ("dead", "alive") for setting in BOOSTER],
}
TASKS = {
    "regression": ["task=regression"],
    "category": ["task=classification"],
    "popular": ["task=classification", "task.label=popular", "task.threshold=60"],
}
KINDS = [(model, task) for model in SETTINGS for task in TASKS if task == "regression" or model != "two_part"]
Evaluated = dict[tuple[str, str], tuple[FittedEstimators, Evaluation]]
PARTS = ["train", "val", "test", "baseline_mean", "baseline_genre"]
BANDS = ["test_zero", "test_low", "test_medium", "test_high"]
RANKING = {"roc_auc", "average_precision"}


@cache
def configuration(model: str, task: str) -> RunConfig:
    return configured(f"model={model}", *SETTINGS[model], *TASKS[task])


def keys(part: str, *metrics: str) -> set[str]:
    return {f"{part}/{metric}" for metric in metrics}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    # Threads that wait for each other on a busy machine take ten times as long.
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame.sample(2500, random_state=0), "tracks").frame


@pytest.fixture(scope="module")
def subsets(tracks: pd.DataFrame) -> Subsets:
    split = split_tracks(tracks, SplitConfig(name="recording", test_size=0.2, val_size=0.12), SEED)
    return build_subsets("reference", tracks, split, SEED)


@pytest.fixture(scope="module")
def evaluated(tracks: pd.DataFrame, subsets: Subsets) -> Evaluated:
    results = {}
    for model, task in KINDS:
        config = configuration(model, task)
        fitted = fit_estimators(config.model, config.task, subsets, SEED)
        results[model, task] = fitted, evaluate(fitted, subsets, tracks, config.task)
    return results


def constants(subsets: Subsets, task: str) -> tuple[Any, Any]:
    """Two estimators that nobody mistakes for each other: always 20, or Low; always 60, or High."""
    X = subsets.train.features[:3]
    if task == "regression":
        return tuple(DummyRegressor(strategy="constant", constant=value).fit(X, np.zeros(3)) for value in (20, 60))
    # Shares of the classes: 3/5 to one, 1/5 to each of the others.
    five = subsets.train.features[:5]
    return tuple(DummyClassifier(strategy="prior").fit(five, codes) for codes in ([0, 0, 0, 1, 2], [0, 1, 2, 2, 2]))


def test_validation_rows_are_scored_by_the_first_fit_and_the_others_by_the_final_one(
    tracks: pd.DataFrame, subsets: Subsets
):
    metrics = evaluate(
        FittedEstimators(*constants(subsets, "regression")),
        subsets,
        tracks,
        configuration("linear", "regression").task,
    ).metrics
    for name, part, constant in (
        ("train", subsets.trainval, 60),
        ("val", subsets.validation, 20),
        ("test", subsets.test, 60),
    ):
        assert metrics[f"{name}/mae"] == pytest.approx(np.abs(part.target - constant).mean())
        assert metrics[f"{name}/rmse"] == pytest.approx(np.sqrt(((part.target - constant) ** 2).mean()))
    zero = subsets.test.target == 0
    assert metrics["test_zero/bias"] == pytest.approx(60)
    assert metrics["test_zero/mae"] == pytest.approx(60)
    low = subsets.test.target[~zero & (subsets.test.target <= 33)]
    assert metrics["test_low/bias"] == pytest.approx(60 - low.mean())


def test_validation_rows_of_classes_are_scored_by_the_first_fit_too(tracks: pd.DataFrame, subsets: Subsets):
    task = configuration("linear", "category").task
    metrics = evaluate(FittedEstimators(*constants(subsets, "category")), subsets, tracks, task).metrics
    for name, part, likeliest in (
        ("train", subsets.trainval, 2),
        ("val", subsets.validation, 0),
        ("test", subsets.test, 2),
    ):
        right = task_target(task, part.target) == likeliest
        assert metrics[f"{name}/accuracy"] == pytest.approx(right.mean())
        expected = -np.log(0.6) * right.mean() - np.log(0.2) * (1 - right.mean())
        assert metrics[f"{name}/log_loss"] == pytest.approx(expected)


@pytest.mark.parametrize("model", SETTINGS)
def test_regression_has_its_figures_for_every_part_and_band(model: str, evaluated: Evaluated):
    _, evaluation = evaluated[model, "regression"]
    expected = set.union(*(keys(part, "rmse", "mae", "r2", "adj_r2", "spearman") for part in PARTS))
    expected |= set.union(*(keys(band, "rmse", "mae", "bias") for band in BANDS))
    # A constant has no ranks.
    assert set(evaluation.metrics) == expected - {"baseline_mean/spearman"}
    assert np.isfinite(list(evaluation.metrics.values())).all()


@pytest.mark.parametrize("task", ["category", "popular"])
@pytest.mark.parametrize("model", ["xgboost", "linear", "random_forest", "hist_gradient_boosting"])
def test_classification_has_its_figures_for_every_part_and_no_bands(model: str, task: str, evaluated: Evaluated):
    _, evaluation = evaluated[model, task]
    names = ("log_loss", "accuracy", "macro_f1", "calibration_error", *RANKING)
    assert set(evaluation.metrics) == set.union(*(keys(part, *names) for part in PARTS))
    assert np.isfinite(list(evaluation.metrics.values())).all()


@pytest.mark.parametrize("model", SETTINGS)
def test_figures_are_those_of_clipped_predictions(model: str, evaluated: Evaluated, subsets: Subsets):
    fitted, evaluation = evaluated[model, "regression"]
    predicted = fitted.refit.predict(subsets.test.matrix()).clip(0, 100)
    np.testing.assert_allclose(evaluation.predicted, predicted, rtol=1e-6)
    np.testing.assert_array_equal(evaluation.actual, subsets.test.target)
    n_features = subsets.test.features.shape[1]
    expected = {
        f"test/{name}": value
        for name, value in regression_metrics(evaluation.actual, evaluation.predicted, n_features).items()
    }
    expected |= {f"test_{name}": value for name, value in band_metrics(evaluation.actual, evaluation.predicted).items()}
    assert {name: evaluation.metrics[name] for name in expected} == pytest.approx(expected)
    validation = fitted.early_stopped.predict(subsets.validation.matrix()).clip(0, 100)
    assert evaluation.metrics["val/rmse"] == pytest.approx(
        root_mean_squared_error(subsets.validation.target, validation)
    )


@pytest.mark.parametrize("task", ["category", "popular"])
@pytest.mark.parametrize("model", ["xgboost", "linear", "random_forest", "hist_gradient_boosting"])
def test_probabilities_sum_to_one(
    model: str,
    task: str,
    evaluated: Evaluated,
    subsets: Subsets,
):
    fitted, evaluation = evaluated[model, task]
    config = configuration(model, task).task
    assert evaluation.predicted.dtype == np.float64
    assert evaluation.predicted.shape == (len(subsets.test.target), len(class_names(config)))
    assert (evaluation.predicted >= 0).all()
    np.testing.assert_allclose(evaluation.predicted.sum(axis=1), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(evaluation.predicted, fitted.refit.predict_proba(subsets.test.matrix()), atol=1e-6)
    codes = task_target(config, subsets.test.target)
    assert evaluation.metrics["test/log_loss"] == pytest.approx(log_loss(codes, evaluation.predicted))


@pytest.mark.parametrize("task", TASKS)
def test_baselines_are_scored_on_the_test_rows(
    task: str,
    evaluated: Evaluated,
    subsets: Subsets,
    tracks: pd.DataFrame,
):
    _, evaluation = evaluated["linear", task]
    config = configuration("linear", task).task
    trainval, test = (tracks.iloc[part.features.index] for part in (subsets.trainval, subsets.test))
    for name, predicted in quick_baselines(config, trainval, subsets.trainval.target, test).items():
        if task == "regression":
            width = {"baseline_mean": 0, "baseline_genre": 1}[name]
            expected = regression_metrics(subsets.test.target, predicted, width)
        else:
            codes = task_target(config, subsets.test.target)
            expected = classification_metrics(codes, predicted, len(class_names(config)))
        assert {key: evaluation.metrics[f"{name}/{key}"] for key in expected} == pytest.approx(expected)


def test_importance_is_a_share_of_every_feature(evaluated: Evaluated, subsets: Subsets):
    for (model, task), (fitted, _) in evaluated.items():
        table = feature_importance(fitted, subsets.validation, configuration(model, task).task)
        assert sorted(table["feature"]) == sorted(subsets.trainval.features.columns)
        assert table["importance"].sum() == pytest.approx(1, abs=1e-5)
        assert (table["importance"] >= 0).all()
        assert table["importance"].is_monotonic_decreasing
        extra = ["gain", "weight", "cover"] if model == "xgboost" else []
        assert sorted(table.columns.drop(["feature", "importance"])) == sorted(extra)


@pytest.mark.parametrize("task", TASKS)
def test_importance_is_what_the_estimator_says_of_itself(task: str, evaluated: Evaluated, subsets: Subsets):
    names = subsets.trainval.features.columns
    for model in ("xgboost", "random_forest", "linear"):
        fitted, _ = evaluated[model, task]
        if model == "linear":
            coefficients = np.abs(np.atleast_2d(fitted.refit[-1].coef_)).mean(axis=0)
            expected = coefficients / coefficients.sum()
        else:
            expected = fitted.refit.feature_importances_
        table = feature_importance(fitted, subsets.validation, configuration(model, task).task)
        found = table.set_index("feature")["importance"]
        np.testing.assert_allclose(found[names], expected, rtol=1e-5)


@pytest.mark.parametrize(("model", "task"), [kind for kind in KINDS if kind[1] != "popular"])
def test_the_feature_that_says_everything_is_the_most_important(model: str, task: str, subsets: Subsets):
    parts = {
        name: type(part)(part.features.iloc[:, :4].assign(tell=part.target.astype(np.float32)), part.target)
        for name, part in (
            ("train", subsets.train),
            ("validation", subsets.validation),
            ("trainval", subsets.trainval),
            ("test", subsets.test),
        )
    }
    telling = Subsets(**parts, transformer=subsets.transformer, builder=subsets.builder)
    config = configuration(model, task)
    fitted = fit_estimators(config.model, config.task, telling, SEED)
    table = feature_importance(fitted, telling.validation, config.task)
    assert table["feature"].iloc[0] == "tell"
    assert table["importance"].iloc[0] > 0.5


def test_permuted_importance_is_measured_with_the_first_fit(subsets: Subsets):
    """The final fit knows the validation rows; one that never looks at a feature finds none important."""
    config = configuration("hist_gradient_boosting", "regression")
    fitted = fit_estimators(config.model, config.task, subsets, SEED)
    blind, _ = constants(subsets, "regression")
    table = feature_importance(FittedEstimators(blind, fitted.refit), subsets.validation, config.task)
    assert (table["importance"] == 0).all()
    table = feature_importance(FittedEstimators(fitted.early_stopped, blind), subsets.validation, config.task)
    assert table["importance"].sum() == pytest.approx(1)
