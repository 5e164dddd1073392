"""Tests of averages, stacks and the model in two parts, against their members fitted alone."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import lsq_linear
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier, XGBRegressor

from spotify_ml.config.run import RunConfig, SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, split_tracks
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.models.combined import AverageClassifier, AverageRegressor, TwoPartRegressor
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.files import AGREEMENT, check_agreement, load_model_files, model_files, write_model
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.targets import class_names, task_target
from spotify_ml.utils.errors import ConfigError, DataError
from tests.support import configured

SEED = 7
BOOSTER = ["n_estimators=40", "early_stopping_rounds=5", "learning_rate=0.3", "max_depth=3", "n_jobs=1"]
MEMBERS = [
    *(f"model.members.xgboost.{setting}" for setting in BOOSTER),
    "model.members.hist_gradient_boosting.max_iter=40",
    "model.members.hist_gradient_boosting.n_iter_no_change=5",
    "model.members.hist_gradient_boosting.learning_rate=0.3",
    "model.members.hist_gradient_boosting.max_leaf_nodes=8",
    "model.members.hist_gradient_boosting.max_bins=32",
    "model.members.extra_trees.n_estimators=10",
    "model.members.extra_trees.n_jobs=1",
]
SETTINGS = {
    "blend": MEMBERS,
    "stack": [*MEMBERS, "model.folds=3"],
    "two_part": [f"model.{part}.{setting}" for part in ("dead", "alive") for setting in BOOSTER],
}
TASKS = {
    "regression": ["task=regression"],
    "category": ["task=classification"],
    "popular": ["task=classification", "task.label=popular", "task.threshold=60"],
}
AVERAGES = [(model, task) for model in ("blend", "stack") for task in TASKS]
NOTHING = np.empty((3, 1))


@cache
def configuration(model: str, task: str, *overrides: str) -> RunConfig:
    return configured(f"model={model}", *SETTINGS[model], *TASKS[task], *overrides)


def fit(config: RunConfig, subsets: Subsets, seed: int = SEED) -> FittedEstimators:
    return fit_estimators(config.model, config.task, subsets, seed)


def predict(estimator: Any, part: Subset) -> np.ndarray:
    known = getattr(estimator, "predict_proba", None) or estimator.predict
    return known(part.matrix())


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    # Threads that wait for each other on a busy machine take ten times as long.
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame.sample(1500, random_state=0), "tracks").frame


@pytest.fixture(scope="module")
def split(tracks: pd.DataFrame) -> Split:
    return split_tracks(tracks, SplitConfig(name="artist", test_size=0.2, val_size=0.12), SEED)


@pytest.fixture(scope="module")
def subsets(tracks: pd.DataFrame, split: Split) -> Subsets:
    return build_subsets("reference", tracks, split, SEED)


@pytest.fixture(scope="module")
def fitted(subsets: Subsets) -> dict[tuple[str, str], FittedEstimators]:
    kinds = [*AVERAGES, ("two_part", "regression")]
    return {kind: fit(configuration(*kind), subsets) for kind in kinds}


def regressor(constant: float) -> DummyRegressor:
    return DummyRegressor(strategy="constant", constant=constant).fit(NOTHING, np.zeros(3))


def classifier(*codes: int) -> DummyClassifier:
    """Predict the shares of the classes among codes."""
    return DummyClassifier(strategy="prior").fit(np.empty((len(codes), 1)), codes)


def test_regressors_are_averaged_by_weight():
    members = {"low": regressor(10), "high": regressor(40)}
    average = AverageRegressor(members, np.array([0.25, 0.75]))
    np.testing.assert_allclose(average.predict(NOTHING), [32.5, 32.5, 32.5])
    swapped = AverageRegressor(members, np.array([0.75, 0.25]))
    np.testing.assert_allclose(swapped.predict(NOTHING), [17.5, 17.5, 17.5])


def test_probabilities_are_averaged_by_weight():
    members = {"even": classifier(0, 1), "odd": classifier(0, 1, 1, 1)}
    average = AverageClassifier(members, np.array([0.4, 0.6]))
    np.testing.assert_allclose(average.predict_proba(NOTHING), [[0.35, 0.65]] * 3)
    members = {"sure": classifier(0, 0, 1, 2), "even": classifier(0, 1, 2)}
    average = AverageClassifier(members, np.array([0.5, 0.5]))
    np.testing.assert_allclose(average.predict_proba(NOTHING[:1]), [[5 / 12, 7 / 24, 7 / 24]])


def test_two_parts_give_the_expected_popularity():
    X = np.array([[0.0], [0.0], [1.0], [1.0]])
    # Dead by half at 0, by all at 1; alive, 20 at 0 and 60 at 1.
    dead = DecisionTreeClassifier().fit(X, [0, 1, 1, 1])
    alive = LinearRegression().fit(X, [20, 20, 60, 60])
    two_part = TwoPartRegressor(dead, alive, dead_mean=0.4)
    np.testing.assert_allclose(two_part.predict(np.array([[0.0], [1.0]])), [0.5 * 0.4 + 0.5 * 20, 0.4])
    surely_alive = TwoPartRegressor(DecisionTreeClassifier().fit(X, [0, 0, 0, 1]), alive, dead_mean=0.4)
    np.testing.assert_allclose(surely_alive.predict(np.array([[0.0], [1.0]])), [20, 0.5 * 0.4 + 0.5 * 60])


@pytest.mark.parametrize(
    "ensemble",
    [
        AverageRegressor({"one": regressor(1)}, np.ones(1)),
        AverageClassifier({"one": classifier(0, 1)}, np.ones(1)),
        TwoPartRegressor(classifier(0, 1), regressor(1), 0.0),
    ],
    ids=lambda ensemble: type(ensemble).__name__,
)
def test_ensembles_are_fitted_and_stay_as_they_are(ensemble: Any):
    check_is_fitted(ensemble)
    predicting = getattr(ensemble, "predict_proba", None) or ensemble.predict
    before = predicting(NOTHING)
    assert ensemble.fit(NOTHING, np.full(3, 90.0)) is ensemble
    np.testing.assert_array_equal(predicting(NOTHING), before)


@pytest.mark.parametrize("task", TASKS)
def test_blend_is_the_plain_mean_of_its_members(
    task: str, fitted: dict[tuple[str, str], FittedEstimators], subsets: Subsets
):
    config = configuration("blend", task)
    members = [fit_estimators(member, config.task, subsets, SEED) for member in config.model.members.values()]
    assert len(members) == 3
    for which, part in (("early_stopped", subsets.validation), ("refit", subsets.test)):
        expected = np.mean([predict(getattr(member, which), part) for member in members], axis=0)
        np.testing.assert_allclose(predict(getattr(fitted["blend", task], which), part), expected, rtol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_stack_is_its_members_weighted_by_their_out_of_fold_predictions(
    task: str, fitted: dict[tuple[str, str], FittedEstimators], subsets: Subsets
):
    """The weights are found once more by another solver, from members that are fitted here."""
    config = configuration("stack", task)
    chosen = {name: fit_estimators(member, config.task, subsets, SEED) for name, member in config.model.members.items()}
    predicted, actual = [], []
    for seen, held_out in subsets.builder.train_folds(3):
        outer = []
        for name, member in config.model.members.items():
            bound = {"xgboost": "n_estimators", "hist_gradient_boosting": "max_iter"}.get(name)
            exact = {bound: chosen[name].n_trees} if bound else {}
            # Where the watched rows are those of the fit, every tree allowed makes the error lower.
            alone = Subsets(seen, seen, seen, held_out, subsets.transformer, subsets.builder)
            estimator = fit_estimators(member.model_copy(update=exact), config.task, alone, SEED).refit
            outer.append(predict(estimator, held_out).ravel())
        predicted.append(np.column_stack(outer))
        target = task_target(config.task, held_out.target)
        n_classes = len(class_names(config.task))
        actual.append((target[:, None] == np.arange(n_classes)).ravel().astype(float) if n_classes else target)
    solution = lsq_linear(np.vstack(predicted), np.concatenate(actual), (0, np.inf)).x
    expected = solution / solution.sum()
    stack = fitted["stack", task]
    for ensemble in (stack.early_stopped, stack.refit):
        np.testing.assert_allclose(ensemble.weights, expected, atol=1e-4)
        assert (ensemble.weights >= 0).all()
        assert ensemble.weights.sum() == pytest.approx(1)
    members = [predict(each.refit, subsets.test) for each in chosen.values()]
    np.testing.assert_allclose(
        predict(stack.refit, subsets.test), np.tensordot(stack.refit.weights, members, axes=1), rtol=1e-6
    )


def test_averages_have_no_number_of_trees_and_no_learning_curve(fitted: dict[tuple[str, str], FittedEstimators]):
    assert {(each.n_trees, len(each.learning_curve)) for each in fitted.values()} == {(None, 0)}


@pytest.mark.parametrize(("model", "task"), AVERAGES)
def test_averaged_probabilities_sum_to_one(
    model: str, task: str, fitted: dict[tuple[str, str], FittedEstimators], subsets: Subsets
):
    predicted = predict(fitted[model, task].refit, subsets.test)
    if task == "regression":
        assert predicted.shape == (len(subsets.test.target),)
    else:
        assert predicted.shape == (len(subsets.test.target), len(class_names(configuration(model, task).task)))
        np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-6)


def part(n_rows: int, seed: int) -> Subset:
    """Popularity that is a line of the first of ten columns, and noise."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n_rows, 10)).astype(np.float32)
    target = np.clip(50 + 12 * features[:, 0] + random.normal(scale=12, size=n_rows), 0, 100)
    return Subset(pd.DataFrame(features, columns=list("abcdefghij")), target)


def rows(part: Subset, chosen: np.ndarray) -> Subset:
    return Subset(part.features[chosen], part.target[chosen])


def made_up(train: Subset) -> Subsets:
    """Subsets around train rows, in folds of every n-th row."""

    def folds(n_folds: int) -> Iterator[tuple[Subset, Subset]]:
        for fold in range(n_folds):
            held_out = np.arange(len(train.target)) % n_folds == fold
            yield rows(train, ~held_out), rows(train, held_out)

    return Subsets(train, train, train, train, ColumnTransformer([]), SimpleNamespace(train_folds=folds))


LINE_OR_FOREST = [
    "~model.members.hist_gradient_boosting",
    "~model.members.xgboost",
    "+model@model.members.linear=linear",
    "model.members.extra_trees.min_samples_leaf=1",
    "model.members.extra_trees.n_estimators=20",
    "model.members.extra_trees.n_jobs=1",
    "model.folds=4",
]


def line_or_forest(task: str, *overrides: str) -> RunConfig:
    return configured("model=stack", *LINE_OR_FOREST, *TASKS[task], *overrides)


@pytest.mark.parametrize("task", TASKS)
def test_stack_prefers_what_is_right_on_rows_it_never_saw(task: str):
    """A single deep tree knows its train rows by heart, and a line does not."""
    single = "model.members.extra_trees.n_estimators=1"
    stack = fit(line_or_forest(task, single, "model.members.linear.alpha=1"), made_up(part(300, 0))).refit
    weights = dict(zip(stack.estimators, stack.weights, strict=True))
    assert weights["linear"] > 0.8 > 0.2 > weights["extra_trees"] >= 0
    assert sum(weights.values()) == pytest.approx(1)


@pytest.mark.parametrize("task", TASKS)
def test_stack_gives_little_to_a_member_that_knows_nothing(task: str):
    stack = fit(line_or_forest(task, "model.members.linear.alpha=1e9"), made_up(part(300, 0))).refit
    weights = dict(zip(stack.estimators, stack.weights, strict=True))
    assert weights["extra_trees"] > weights["linear"] >= 0
    assert sum(weights.values()) == pytest.approx(1)


def test_a_class_in_too_few_folds_is_named():
    train = part(300, 0)
    lone = Subset(train.features, np.where(np.arange(300) == 8, 90.0, 10.0))
    with pytest.raises(DataError, match="popular"):
        fit(line_or_forest("popular"), made_up(lone))


@pytest.mark.parametrize("n_folds", [2, 5])
def test_folds_never_divide_a_group_and_make_up_the_train_rows(n_folds: int, subsets: Subsets, split: Split):
    folds = list(subsets.builder.train_folds(n_folds))
    assert len(folds) == n_folds
    for seen, held_out in folds:
        inner, outer = seen.features.index, held_out.features.index
        assert set(split.groups[inner]).isdisjoint(split.groups[outer])
        np.testing.assert_array_equal(np.sort(np.concatenate([inner, outer])), split.train)
    held_out = np.concatenate([outer.features.index for _, outer in folds])
    np.testing.assert_array_equal(np.sort(held_out), split.train)


def test_features_of_a_fold_never_saw_its_popularity(tracks: pd.DataFrame, split: Split):
    seen, held_out = next(build_subsets("full", tracks, split, SEED).builder.train_folds(4))
    popularity = tracks["popularity"].to_numpy(copy=True)
    popularity[held_out.features.index] = 100 - popularity[held_out.features.index]
    changed = build_subsets("full", tracks.assign(popularity=popularity), split, SEED)
    other_seen, other_held_out = next(changed.builder.train_folds(4))
    pd.testing.assert_frame_equal(other_held_out.features, held_out.features)
    pd.testing.assert_frame_equal(other_seen.features, seen.features)
    assert (other_held_out.target != held_out.target).any()


@pytest.mark.parametrize("model", ["stack", "two_part"])
def test_same_seed_gives_the_same_predictions_and_another_seed_others(
    model: str, fitted: dict[tuple[str, str], FittedEstimators], subsets: Subsets
):
    config = configuration(model, "regression")
    predicted = predict(fitted[model, "regression"].refit, subsets.test)
    np.testing.assert_array_equal(predict(fit(config, subsets).refit, subsets.test), predicted)
    assert (predict(fit(config, subsets, SEED + 1).refit, subsets.test) != predicted).any()


@pytest.mark.parametrize("model", SETTINGS)
def test_test_rows_have_no_influence_on_the_fits(
    model: str, fitted: dict[tuple[str, str], FittedEstimators], subsets: Subsets
):
    other = fit(configuration(model, "regression"), replace(subsets, test=part(50, 1)))
    np.testing.assert_array_equal(
        predict(other.refit, subsets.test), predict(fitted[model, "regression"].refit, subsets.test)
    )


@pytest.mark.parametrize("which", ["early_stopped", "refit"])
def test_two_part_is_a_direct_classifier_and_regressor(
    which: str, fitted: dict[tuple[str, str], FittedEstimators], subsets: Subsets
):
    two_part = getattr(fitted["two_part", "regression"], which)
    seen = subsets.train if which == "early_stopped" else subsets.trainval
    is_dead = seen.target <= 1
    config = configuration("two_part", "regression").model
    expected = []
    for part_config, own, direct, X, y in (
        (config.dead, two_part.dead, XGBClassifier, seen.features, is_dead.astype(int)),
        (config.alive, two_part.alive, XGBRegressor, seen.features[~is_dead], seen.target[~is_dead]),
    ):
        n_trees = own.best_iteration + 1 if which == "early_stopped" else own.get_booster().num_boosted_rounds()
        parameters = part_config.model_dump(exclude={"name", "early_stopping_rounds"}) | {"n_estimators": n_trees}
        expected.append(predict(direct(random_state=SEED, **parameters).fit(X, y), subsets.test))
    dead, alive = expected[0][:, 1], expected[1]
    assert two_part.dead_mean == pytest.approx(seen.target[is_dead].mean())
    np.testing.assert_allclose(
        predict(two_part, subsets.test), dead * seen.target[is_dead].mean() + (1 - dead) * alive, rtol=1e-5
    )


@pytest.mark.parametrize("task", ["category", "popular"])
def test_two_part_refuses_classification(task: str, subsets: Subsets):
    with pytest.raises(ConfigError, match=r"model=two_part .*task=regression"):
        fit(configuration("two_part", task), subsets)


@pytest.mark.parametrize("name", ["train", "validation", "trainval"])
@pytest.mark.parametrize("target", [0.0, 40.0], ids=["dead", "alive"])
def test_two_part_needs_dead_and_living_tracks_in_every_part(name: str, target: float, subsets: Subsets):
    whole = getattr(subsets, name)
    only = replace(subsets, **{name: replace(whole, target=np.full(len(whole.target), target))})
    with pytest.raises(DataError, match="model=two_part needs tracks above and up to popularity 1 in every part"):
        fit(configuration("two_part", "regression"), only)


def test_balanced_weights_change_every_ensemble(fitted: dict[tuple[str, str], FittedEstimators], subsets: Subsets):
    for model in ("blend", "two_part"):
        balanced = fit(configuration(model, "regression", "task.weights=balanced"), subsets).refit
        predicted = predict(fitted[model, "regression"].refit, subsets.test)
        assert np.abs(predict(balanced, subsets.test) - predicted).max() > 1


def check_round_trip(config: RunConfig, estimator: Any, subsets: Subsets, raw: pd.DataFrame, folder: Path) -> None:
    classes = class_names(config.task)
    model = PopularityModel(subsets.transformer, estimator, class_names(config.task))
    write_model(folder, config.model.name, model, pd.DataFrame({"feature": []}), {})
    files = model_files(folder)
    assert files.estimator.name == f"{config.model.name}_popularity_model.skops"
    model = load_model_files(files)
    assert type(model.estimator) is type(estimator)
    scored = model.predict(raw)
    assert 0 <= check_agreement(folder, subsets.test.matrix(), scored, classes) <= AGREEMENT
    expected = predict(estimator, subsets.test)
    np.testing.assert_allclose(scored, expected if classes else expected.clip(0, 100), atol=1e-5)


@pytest.mark.parametrize(("model", "task"), [*AVERAGES, ("two_part", "regression")])
def test_files_score_raw_rows_as_the_ensemble_scores_features(
    model: str,
    task: str,
    fitted: dict[tuple[str, str], FittedEstimators],
    subsets: Subsets,
    tracks: pd.DataFrame,
    split: Split,
    tmp_path: Path,
):
    raw = tracks.iloc[split.test].drop(columns="popularity")
    check_round_trip(configuration(model, task), fitted[model, task].refit, subsets, raw, tmp_path)


@pytest.mark.parametrize("task", TASKS)
def test_members_of_the_extra_libraries_survive_their_files(
    task: str, subsets: Subsets, tracks: pd.DataFrame, split: Split, tmp_path: Path
):
    pytest.importorskip("lightgbm")
    pytest.importorskip("catboost")
    members = [
        "+model@model.members.lightgbm=lightgbm",
        "model.members.lightgbm.n_estimators=5",
        "model.members.lightgbm.n_jobs=1",
        "+model@model.members.catboost=catboost",
        "model.members.catboost.iterations=5",
        "model.members.catboost.depth=3",
        "model.members.catboost.thread_count=1",
    ]
    config = configuration("blend", task, *members)
    assert list(config.model.members)[-2:] == ["lightgbm", "catboost"]
    raw = tracks.iloc[split.test].drop(columns="popularity")
    check_round_trip(config, fit(config, subsets).refit, subsets, raw, tmp_path)
