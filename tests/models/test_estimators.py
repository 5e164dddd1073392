"""Tests of trainval: what chooses the number of trees, what the final model sees, and what can never influence it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import root_mean_squared_error
from xgboost import XGBRegressor

from spotify_ml.config.models import RegressionConfig, XGBoostConfig
from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, split_tracks
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.subsets import Storage, Subset, Subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.fit import (
    FittedEstimators,
    build_estimator,
    estimator_rows,
    fit_early_stopped,
    fit_single,
    refit,
)
from tests.support import configured

# A high rate stops early within a second.
SETTINGS = ["model.learning_rate=0.5", "model.max_depth=4", "model.early_stopping_rounds=5", "model.n_jobs=1"]
SEED = 7
TASK = RegressionConfig(name="regression", weights="none", registered_model="m")


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame


@pytest.fixture(scope="module")
def split(tracks: pd.DataFrame) -> Split:
    return split_tracks(tracks, SplitConfig(name="recording", test_size=0.2, val_size=0.12), SEED)


@pytest.fixture(scope="module")
def subsets(tracks: pd.DataFrame, split: Split) -> Subsets:
    return build_subsets("audio", tracks, split, SEED)


@pytest.fixture(scope="module")
def model() -> XGBoostConfig:
    return configured(*SETTINGS).model


@pytest.fixture(scope="module")
def fitted(model: XGBoostConfig, subsets: Subsets) -> FittedEstimators:
    return fit_estimators(model, TASK, subsets, SEED)


def as_json(estimator: XGBRegressor) -> bytes:
    return bytes(estimator.get_booster().save_raw("json"))


def shuffled(part: Subset) -> Subset:
    return replace(part, target=np.random.default_rng(0).permutation(part.target))


def test_estimator_has_every_parameter_of_the_configuration(fitted: FittedEstimators, model: XGBoostConfig):
    parameters = fitted.early_stopped.get_params()
    given = model.probe().model_dump(exclude={"name", "probe_rate"})
    assert {name: parameters[name] for name in given} == given
    assert (parameters["random_state"], parameters["objective"]) == (SEED, "reg:squarederror")


def test_number_of_trees_is_where_validation_error_is_lowest(fitted: FittedEstimators, model: XGBoostConfig):
    curve = fitted.learning_curve
    assert fitted.chosen_trees == int(np.argmin(curve["val"])) + 1
    assert len(curve["val"]) == len(curve["train"]) == fitted.chosen_trees + model.early_stopping_rounds


def test_learning_curve_is_the_error_after_every_tree(fitted: FittedEstimators, subsets: Subsets):
    for part, name in ((subsets.train, "train"), (subsets.validation, "val")):
        for n_trees in (1, fitted.n_trees):
            predicted = fitted.early_stopped.predict(part.features, iteration_range=(0, n_trees))
            expected = root_mean_squared_error(part.target, predicted)
            assert fitted.learning_curve[name][n_trees - 1] == pytest.approx(expected, abs=1e-4)


def test_selected_fit_predicts_with_the_chosen_number_of_trees(fitted: FittedEstimators, subsets: Subsets):
    features = subsets.validation.features
    chosen = fitted.early_stopped.predict(features, iteration_range=(0, fitted.n_trees))
    np.testing.assert_array_equal(fitted.early_stopped.predict(features), chosen)


def test_final_fit_is_that_many_trees_on_train_and_validation(
    fitted: FittedEstimators, subsets: Subsets, model: XGBoostConfig
):
    parameters = model.model_dump(exclude={"name", "early_stopping_rounds"}) | {"n_estimators": fitted.n_trees}
    expected = XGBRegressor(objective="reg:squarederror", random_state=SEED, **parameters)
    expected.fit(subsets.trainval.features, subsets.trainval.target)
    assert fitted.refit.get_booster().num_boosted_rounds() == fitted.n_trees
    np.testing.assert_array_equal(fitted.refit.predict(subsets.test.features), expected.predict(subsets.test.features))


def test_parts_are_the_rows_of_the_split(subsets: Subsets, split: Split, tracks: pd.DataFrame):
    popularity = tracks["popularity"].to_numpy()
    trainval = np.union1d(split.train, split.validation)
    for part, rows in (
        (subsets.train, split.train),
        (subsets.validation, split.validation),
        (subsets.trainval, trainval),
        (subsets.test, split.test),
    ):
        np.testing.assert_array_equal(part.features.index, rows)
        np.testing.assert_array_equal(part.target, popularity[rows])


def test_validation_rows_choose_the_number_of_trees_and_nothing_else_of_the_first_fit(
    fitted: FittedEstimators, subsets: Subsets, model: XGBoostConfig
):
    other = fit_estimators(model, TASK, replace(subsets, validation=shuffled(subsets.validation)), SEED)
    assert other.n_trees != fitted.n_trees
    common = min(len(other.learning_curve["train"]), len(fitted.learning_curve["train"]))
    assert other.learning_curve["train"][:common] == fitted.learning_curve["train"][:common]


def test_test_rows_have_no_influence_on_the_fits(fitted: FittedEstimators, subsets: Subsets, model: XGBoostConfig):
    other = fit_estimators(model, TASK, replace(subsets, test=shuffled(subsets.test)), SEED)
    assert as_json(other.refit) == as_json(fitted.refit)
    assert as_json(other.early_stopped) == as_json(fitted.early_stopped)


@pytest.mark.parametrize("features", ["full", "audio", "reference"])
def test_nothing_of_the_test_rows_reaches_the_model(
    features: str, tracks: pd.DataFrame, split: Split, model: XGBoostConfig
):
    """Neither their popularity nor their columns: encoders and scalers are fitted without them."""
    changed = tracks.copy()
    for column in ("tempo", "loudness", "duration_ms", "duration_min", "popularity"):
        values = changed[column].to_numpy(copy=True)
        values[split.test] = values.max()
        changed[column] = values
    genres = changed["track_genre"].to_numpy(dtype=object, copy=True)
    genres[split.test] = "aaa-unheard-of"
    changed["track_genre"] = pd.array(genres, dtype="str")
    finals = [
        fit_estimators(model, TASK, build_subsets(features, table, split, SEED), SEED).refit
        for table in (tracks, changed)
    ]
    assert as_json(finals[0]) == as_json(finals[1])


def test_same_seed_gives_the_same_model_and_another_seed_another(
    fitted: FittedEstimators, subsets: Subsets, model: XGBoostConfig
):
    again = fit_estimators(model, TASK, subsets, SEED)
    other = fit_estimators(model, TASK, subsets, SEED + 1)
    assert as_json(again.refit) == as_json(fitted.refit)
    assert as_json(other.refit) != as_json(fitted.refit)


def test_without_an_early_stop_every_tree_allowed_may_be_chosen(model: XGBoostConfig, subsets: Subsets):
    few = model.model_copy(update={"n_estimators": 5, "learning_rate": 0.01, "probe_rate": None})
    fitted = fit_estimators(few, TASK, subsets, SEED)
    assert fitted.n_trees == 5
    assert len(fitted.learning_curve["val"]) == 5


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["task.weights=balanced"],
        ["task=classification"],
        ["task=classification", "task.label=popular", "task.threshold=50", "task.weights=balanced"],
        ["model.tree_method=approx", "model.max_bin=16"],
        ["model.tree_method=exact", "model.colsample_bynode=1", "model.max_depth=6", "model.n_estimators=20"],
    ],
)
def test_watching_validation_rows_gives_what_xgboosts_own_fit_gives(overrides: list[str], subsets: Subsets):
    config = configured(*SETTINGS, *overrides)
    watched, n_trees, curve = fit_early_stopped(config.model, config.task, subsets, SEED)
    own = build_estimator(config.model, config.task, SEED)
    train, validation = (
        estimator_rows(config.model, config.task, part) for part in (subsets.train, subsets.validation)
    )
    sides = [(rows.X, rows.y) for rows in (train, validation)]
    own.fit(train.X, train.y, sample_weight=train.weights, eval_set=sides, verbose=False)
    assert as_json(watched) == as_json(own)
    assert n_trees == own.best_iteration + 1
    assert list(curve.values()) == [next(iter(errors.values())) for errors in own.evals_result().values()]
    np.testing.assert_array_equal(watched.predict(validation.X), own.predict(validation.X))


@pytest.mark.parametrize("overrides", [[], ["task=classification"], ["task=classification", "task.label=popular"]])
@pytest.mark.parametrize("kind", ["memory", "disk", "external"])
def test_a_fit_leaves_the_parameters_as_they_were_built(
    overrides: list[str], kind: str, subsets: Subsets, tmp_path: Path
):
    """A clone starts afresh: it knows neither the mean nor the columns of the rows that the first was fitted on."""
    config = configured(*SETTINGS, *overrides)
    parts = {
        name: replace(getattr(subsets, name), storage=Storage(kind, tmp_path))
        for name in ("train", "validation", "trainval")
    }
    fitted = fit_single(config.model, config.task, replace(subsets, **parts), SEED)
    built = build_estimator(config.model, config.task, SEED).get_params()
    refit = {"n_estimators": fitted.n_trees, "early_stopping_rounds": None}
    np.testing.assert_equal(fitted.early_stopped.get_params(), built)
    np.testing.assert_equal(fitted.refit.get_params(), built | refit)


@pytest.mark.parametrize("kind", ["memory", "disk", "external"])
def test_a_clone_learns_other_rows_from_their_own_mean(
    kind: str, model: XGBoostConfig, subsets: Subsets, tmp_path: Path
):
    part = replace(subsets.trainval, storage=Storage(kind, tmp_path))
    rows = estimator_rows(model, TASK, subsets.trainval)
    again = clone(refit(model, TASK, part, 3, SEED)).fit(rows.X, np.full(len(rows.y), 500.0))
    np.testing.assert_allclose(again.predict(rows.X), 500, atol=1)


def test_the_refit_has_as_many_more_trees_as_its_rate_is_lower(subsets: Subsets, model: XGBoostConfig):
    slow = model.model_copy(update={"learning_rate": 0.05, "probe_rate": 0.2, "n_estimators": 400})
    fitted = fit_estimators(slow, TASK, subsets, SEED)
    assert fitted.early_stopped.get_params()["learning_rate"] == 0.2
    assert fitted.refit.get_params()["learning_rate"] == 0.05
    assert fitted.n_trees == 4 * fitted.chosen_trees == fitted.refit.get_booster().num_boosted_rounds()
    alone = fit_estimators(slow.model_copy(update={"probe_rate": None}), TASK, subsets, SEED)
    assert alone.n_trees == alone.chosen_trees
    assert slow.model_copy(update={"learning_rate": 0.3}).probe().learning_rate == 0.3


def test_no_refit_has_more_trees_than_are_allowed(model: XGBoostConfig):
    few = model.model_copy(update={"learning_rate": 0.01, "probe_rate": 0.1, "n_estimators": 3})
    assert few.probe().n_estimators == 1
    assert few.trees_of_refit(1) == 3
