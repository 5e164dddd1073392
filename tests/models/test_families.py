"""Tests of every single family, against direct fits of its library: rows, trees, weights, files and refusals."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from xgboost import XGBRFRegressor

from spotify_ml.config.run import RunConfig, SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, split_tracks
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.files import AGREEMENT, check_agreement, load_model_files, model_files, write_model
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.predictions import load_estimator
from spotify_ml.models.targets import class_names, sample_weights, task_target
from spotify_ml.utils.errors import ConfigError, DataError, ModelError
from tests.support import configured

SEED = 7
BOUND, PATIENCE = 60, 5
EXTRAS = ("lightgbm", "catboost")


@dataclass(frozen=True)
class Library:
    """What a family is made of, and how its own interface calls it."""

    module: str
    regressor: str
    classifier: str
    settings: dict[str, Any]
    # Names of the bound on the number of trees, and of the patience.
    bound: str | None = None
    patience: str | None = None
    fixed: dict[str, Any] | None = None


def xgboost(depth: int) -> Library:
    settings = {"max_depth": depth, "learning_rate": 0.5, "n_jobs": 1}
    return Library("xgboost", "XGBRegressor", "XGBClassifier", settings, "n_estimators", "early_stopping_rounds")


def forest(name: str) -> Library:
    settings = {"n_estimators": 8, "max_depth": 6, "n_jobs": 1}
    return Library("sklearn.ensemble", f"{name}Regressor", f"{name}Classifier", settings)


# High rates and small trees stop early within a fraction of a second.
LIBRARIES = {
    "xgboost": xgboost(4),
    "xgboost_reference": xgboost(3),
    "linear": Library("sklearn.linear_model", "Ridge", "LogisticRegression", {"alpha": 300.0}),
    "random_forest": forest("RandomForest"),
    "extra_trees": forest("ExtraTrees"),
    "hist_gradient_boosting": Library(
        "sklearn.ensemble",
        "HistGradientBoostingRegressor",
        "HistGradientBoostingClassifier",
        {"max_leaf_nodes": 8, "learning_rate": 0.5, "max_bins": 32},
        "max_iter",
        "n_iter_no_change",
        {"early_stopping": False},
    ),
    "lightgbm": Library(
        "lightgbm",
        "LGBMRegressor",
        "LGBMClassifier",
        {"num_leaves": 8, "learning_rate": 0.5, "n_jobs": 1},
        "n_estimators",
        "early_stopping_round",
        {"deterministic": True, "verbosity": -1},
    ),
    "catboost": Library(
        "catboost",
        "CatBoostRegressor",
        "CatBoostClassifier",
        {"depth": 3, "learning_rate": 0.5, "thread_count": 1},
        "iterations",
        "early_stopping_rounds",
        {"verbose": False, "allow_writing_files": False},
    ),
}
BOOSTING = [name for name, library in LIBRARIES.items() if library.bound]
TASKS = {
    "regression": ["task=regression"],
    "category": ["task=classification"],
    "popular": ["task=classification", "task.label=popular", "task.threshold=60"],
}


@cache
def configuration(family: str, task: str, *overrides: str, **settings: Any) -> RunConfig:
    library = LIBRARIES[family]
    given = library.settings | ({library.bound: BOUND, library.patience: PATIENCE} if library.bound else {}) | settings
    own = [f"model.{key}={value}" for key, value in given.items()]
    return configured(f"model={family}", *own, *TASKS[task], *overrides)


def fit(config: RunConfig, subsets: Subsets, seed: int = SEED) -> FittedEstimators:
    return fit_estimators(config.model, config.task, subsets, seed)


def predict(estimator: Any, part: Subset) -> np.ndarray:
    known = getattr(estimator, "predict_proba", estimator.predict)
    return known(part.matrix())


def fit_directly(config: RunConfig, part: Subset, n_trees: int | None) -> Any:
    """Fit what the library itself makes of the parameters, with so many trees."""
    library = LIBRARIES[config.model.name]
    parameters = config.model.model_dump(exclude={"name", library.patience}) | (library.fixed or {})
    if library.bound:
        parameters[library.bound] = n_trees
    parameters["random_seed" if library.module == "catboost" else "random_state"] = SEED
    regression = config.task.name == "regression"
    if config.model.name == "linear" and not regression:
        parameters = {"C": 1 / parameters["alpha"], "max_iter": 1000}
    estimator = getattr(import_module(library.module), library.regressor if regression else library.classifier)(
        **parameters
    )
    if config.model.name == "linear":
        estimator = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), estimator)
    weighed = f"{estimator.steps[-1][0]}__sample_weight" if isinstance(estimator, Pipeline) else "sample_weight"
    weights = sample_weights(config.task, part.target)
    return estimator.fit(part.matrix(), task_target(config.task, part.target), **{weighed: weights})


def count_trees(estimator: Any) -> int:
    module = type(estimator).__module__.partition(".")[0]
    if module == "xgboost":
        return estimator.get_booster().num_boosted_rounds()
    if module == "lightgbm":
        return estimator.booster_.current_iteration()
    return estimator.tree_count_ if module == "catboost" else estimator.n_iter_


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    # Threads that wait for each other on a busy machine take ten times as long.
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame.sample(1800, random_state=0), "tracks").frame


@pytest.fixture(scope="module")
def split(tracks: pd.DataFrame) -> Split:
    return split_tracks(tracks, SplitConfig(name="recording", test_size=0.2, val_size=0.12), SEED)


@pytest.fixture(scope="module")
def subsets(tracks: pd.DataFrame, split: Split) -> Subsets:
    return build_subsets("reference", tracks, split, SEED)


@pytest.fixture(scope="module")
def disturbed(tracks: pd.DataFrame, split: Split) -> Subsets:
    """The matrices of tracks whose test rows are something else."""
    columns = {}
    for name in ("popularity", "tempo", "loudness", "energy", "duration_ms", "track_genre"):
        values = tracks[name].to_numpy(copy=True)
        values[split.test] = values.max() if name != "track_genre" else "aaa-unheard-of"
        columns[name] = values
    return build_subsets("reference", tracks.assign(**columns), split, SEED)


@dataclass(frozen=True)
class Case:
    """A family that was fitted for a task."""

    family: str
    task: str
    config: RunConfig
    fitted: FittedEstimators


@pytest.fixture(scope="module", params=[(family, task) for family in LIBRARIES for task in TASKS], ids="-".join)
def case(request: pytest.FixtureRequest, subsets: Subsets) -> Case:
    family, task = request.param
    if family in EXTRAS:
        pytest.importorskip(family)
    config = configuration(family, task)
    return Case(family, task, config, fit(config, subsets))


def test_estimators_answer_the_task(case: Case, subsets: Subsets):
    for estimator in (case.fitted.early_stopped, case.fitted.refit):
        predicted = predict(estimator, subsets.test)
        if case.task == "regression":
            assert predicted.shape == (len(subsets.test.target),)
            assert np.corrcoef(predicted, subsets.test.target)[0, 1] > 0.15
        else:
            n_classes = len(class_names(case.config.task))
            assert predicted.shape == (len(subsets.test.target), n_classes)
            np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)
            highest = task_target(case.config.task, subsets.test.target) == n_classes - 1
            assert roc_auc_score(highest, predicted[:, -1]) > 0.55


def test_first_fit_is_a_direct_one_on_the_train_rows(case: Case, subsets: Subsets):
    direct = fit_directly(case.config, subsets.train, case.fitted.n_trees)
    np.testing.assert_allclose(
        predict(case.fitted.early_stopped, subsets.validation),
        predict(direct, subsets.validation),
        rtol=1e-6,
        atol=1e-9,
    )


def test_final_fit_is_a_direct_one_on_train_and_validation_rows(case: Case, subsets: Subsets):
    direct = fit_directly(case.config, subsets.trainval, case.fitted.n_trees)
    np.testing.assert_allclose(
        predict(case.fitted.refit, subsets.test), predict(direct, subsets.test), rtol=1e-6, atol=1e-9
    )


def test_number_of_trees_is_where_validation_error_is_lowest(case: Case):
    n_trees, curve = case.fitted.n_trees, case.fitted.learning_curve
    if case.family not in BOOSTING:
        assert (n_trees, curve) == (None, {})
        return
    assert set(curve) == {"train", "val"}
    assert n_trees == int(np.argmin(curve["val"])) + 1
    assert len(curve["val"]) == len(curve["train"]) == min(n_trees + PATIENCE, BOUND)
    assert count_trees(case.fitted.refit) == n_trees <= BOUND


@pytest.mark.parametrize("case", [(family, task) for family in BOOSTING for task in TASKS], ids="-".join, indirect=True)
def test_learning_curve_is_the_error_of_the_first_fit(case: Case, subsets: Subsets):
    for name, part in (("train", subsets.train), ("val", subsets.validation)):
        predicted = predict(case.fitted.early_stopped, part)
        if case.task == "regression":
            error = root_mean_squared_error(part.target, predicted)
        else:
            error = log_loss(task_target(case.config.task, part.target), predicted)
        assert case.fitted.learning_curve[name][case.fitted.n_trees - 1] == pytest.approx(error, rel=1e-3)


def test_same_seed_gives_the_same_predictions(case: Case, subsets: Subsets):
    again = fit(case.config, subsets)
    np.testing.assert_array_equal(predict(again.refit, subsets.test), predict(case.fitted.refit, subsets.test))
    assert (again.n_trees, again.learning_curve) == (case.fitted.n_trees, case.fitted.learning_curve)


def test_nothing_of_the_test_rows_reaches_the_fits(case: Case, subsets: Subsets, disturbed: Subsets):
    assert (disturbed.test.features != subsets.test.features).any(axis=None)
    assert (disturbed.test.target != subsets.test.target).any()
    other = fit(case.config, disturbed)
    for one, two in ((other.early_stopped, case.fitted.early_stopped), (other.refit, case.fitted.refit)):
        np.testing.assert_array_equal(predict(one, subsets.test), predict(two, subsets.test))


def test_validation_rows_do_nothing_but_choose_the_number_of_trees_of_the_first_fit(case: Case, subsets: Subsets):
    shuffled = np.random.default_rng(0).permutation(subsets.validation.target)
    other = fit(case.config, replace(subsets, validation=replace(subsets.validation, target=shuffled)))
    direct = fit_directly(case.config, subsets.train, other.n_trees)
    np.testing.assert_allclose(
        predict(other.early_stopped, subsets.test), predict(direct, subsets.test), rtol=1e-6, atol=1e-9
    )


def test_balanced_weights_are_those_of_the_fit(case: Case, subsets: Subsets):
    config = case.config.model_copy(update={"task": case.config.task.model_copy(update={"weights": "balanced"})})
    balanced = fit(config, subsets)
    direct = fit_directly(config, subsets.trainval, balanced.n_trees)
    predicted = predict(balanced.refit, subsets.test)
    np.testing.assert_allclose(predicted, predict(direct, subsets.test), rtol=1e-6, atol=1e-9)
    unweighted = predict(case.fitted.refit, subsets.test)
    if case.task == "regression":
        assert np.abs(predicted - unweighted).max() > 1
    else:
        rarest = np.bincount(task_target(config.task, subsets.trainval.target)).argmin()
        assert predicted[:, rarest].mean() > unweighted[:, rarest].mean() + 0.05


def test_files_score_raw_rows_as_the_estimator_scores_features(
    case: Case, subsets: Subsets, tracks: pd.DataFrame, split: Split, tmp_path: Path
):
    classes = class_names(case.config.task)
    model = PopularityModel(subsets.transformer, case.fitted.refit, class_names(case.config.task))
    write_model(tmp_path, case.family, model, pd.DataFrame({"feature": []}), {})
    files = model_files(tmp_path)
    assert files.estimator.name == f"{case.family}_popularity_model.{'json' if 'xgboost' in case.family else 'skops'}"
    model = load_model_files(files)
    scored = model.predict(tracks.iloc[split.test].drop(columns="popularity"))
    assert 0 <= check_agreement(tmp_path, subsets.test.matrix(), scored, classes) <= AGREEMENT
    expected = predict(case.fitted.refit, subsets.test)
    if classes:
        assert scored.columns.tolist() == list(classes)
    else:
        expected = expected.clip(0, 100)
    np.testing.assert_allclose(scored, expected, atol=1e-5)


def test_xgboost_before_3_1_reads_the_base_score_or_is_named_as_too_old(case: Case, subsets: Subsets, tmp_path: Path):
    """It reads a list as 0.5, and says nothing."""
    model = PopularityModel(subsets.transformer, case.fitted.refit, class_names(case.config.task))
    write_model(tmp_path, case.family, model, pd.DataFrame({"feature": []}), {})
    files = model_files(tmp_path)
    readers = json.loads(files.metadata.read_text())["formats"]
    assert readers.pop(files.joblib.name) == "the versions that wrote it"
    if files.estimator.suffix != ".json":
        assert not readers
        return
    score = json.loads(files.estimator.read_text())["learner"]["learner_model_param"]["base_score"]
    several = len(class_names(case.config.task)) > 2
    assert len(json.loads(score)) == 3 if several else np.isfinite(float(score))
    assert readers == {files.estimator.name: "xgboost>=3.1" if several else "xgboost>=1.7"}


def test_a_file_that_holds_anything_else_is_refused(tmp_path: Path):
    """The type is of a library that models come from; it is in none of them."""
    skops.io.dump(XGBRFRegressor(), tmp_path / "model.skops")
    with pytest.raises(
        ModelError, match=r"model\.skops holds what no model .* consists of: xgboost.*\.XGBRFRegressor$"
    ):
        load_estimator(tmp_path / "model.skops")


@pytest.mark.parametrize("family", [name for name in LIBRARIES if name != "linear"])
def test_another_seed_gives_another_model(family: str, subsets: Subsets):
    if family in EXTRAS:
        pytest.importorskip(family)
    config = configuration(family, "regression")
    one, two = (predict(fit(config, subsets, seed).refit, subsets.test) for seed in (SEED, SEED + 1))
    assert (one != two).any()


@pytest.mark.parametrize("family", BOOSTING)
def test_without_an_early_stop_every_tree_allowed_is_chosen(family: str, subsets: Subsets):
    if family in EXTRAS:
        pytest.importorskip(family)
    probe = {"probe_rate": "null"} if family == "xgboost" else {}
    config = configuration(family, "regression", learning_rate=0.01, **{LIBRARIES[family].bound: 3}, **probe)
    fitted = fit(config, subsets)
    assert fitted.n_trees == count_trees(fitted.early_stopped) == count_trees(fitted.refit) == 3
    assert len(fitted.learning_curve["val"]) == len(fitted.learning_curve["train"]) == 3


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", EXTRAS)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    family: str, task: str, subsets: Subsets, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, family, None)
    with pytest.raises(ConfigError, match=rf"model={family} .*pip install -e '\.\[{family}\]'"):
        fit(configuration(family, task), subsets)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("family", "refused"),
    [("xgboost", {"tree_method": "exact", "max_depth": 0}), ("lightgbm", {"num_leaves": 200_000})],
)
def test_refused_parameters_are_one_clear_error(family: str, task: str, refused: dict[str, Any], subsets: Subsets):
    if family in EXTRAS:
        pytest.importorskip(family)
    with pytest.raises(ConfigError, match=rf"^config: {family} refuses these values of model\.…: .+") as caught:
        fit(configuration(family, task, **refused), subsets)
    assert "\n" not in str(caught.value)


def test_what_catboost_refuses_is_one_clear_error(subsets: Subsets):
    pytest.importorskip("catboost")
    config = configuration("catboost", "regression")
    # The schema would refuse it first.
    with pytest.raises(ConfigError, match=r"config: catboost refuses .*depth"):
        fit(config.model_copy(update={"model": config.model.model_copy(update={"depth": 17})}), subsets)


@pytest.mark.parametrize("family", LIBRARIES)
def test_a_class_without_train_rows_is_named(family: str, subsets: Subsets):
    with pytest.raises(DataError, match=r"no train row is popular; .*task\.threshold"):
        fit(configuration(family, "popular", "task.threshold=99.5"), subsets)
    unpopular = replace(subsets, train=replace(subsets.train, target=np.minimum(subsets.train.target, 33)))
    with pytest.raises(DataError, match="no train row is Medium Popularity, High Popularity;"):
        fit(configuration(family, "category"), unpopular)


@pytest.mark.parametrize("family", LIBRARIES)
def test_a_class_without_validation_rows_is_no_obstacle(family: str, subsets: Subsets):
    if family in EXTRAS:
        pytest.importorskip(family)
    few = subsets.validation.target <= 66
    validation = Subset(subsets.validation.features[few], subsets.validation.target[few])
    fitted = fit(configuration(family, "category"), replace(subsets, validation=validation))
    assert predict(fitted.early_stopped, subsets.test).shape == (len(subsets.test.target), 3)
