"""Tests of cross-validation: what is in a fold, and what never reaches one."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.run import RunConfig, SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, fold_splits, split_tracks
from spotify_ml.evaluation.cross_validation import cross_validate
from spotify_ml.features.builder import build_subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.utils.errors import DataError
from tests.support import configured

SEED = 7
SPLITS = ["recording", "album", "artist", "random"]
SETTINGS = [
    "features=reference",
    "model.n_estimators=20",
    "model.early_stopping_rounds=5",
    "model.learning_rate=0.3",
    "model.max_depth=3",
    "model.n_jobs=1",
]
TASKS = {
    "regression": [],
    "category": ["task=classification"],
    "popular": ["task=classification", "task.label=popular", "task.threshold=60"],
}


@cache
def configuration(*overrides: str) -> RunConfig:
    return configured(f"seed={SEED}", *SETTINGS, *overrides)


def rule(name: str, val_size: float = 0.12) -> SplitConfig:
    return SplitConfig(name=name, test_size=0.2, val_size=val_size, names="normal")


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame.sample(1500, random_state=0), "tracks").frame


@pytest.fixture(scope="module")
def split(tracks: pd.DataFrame) -> Split:
    return split_tracks(tracks, rule("recording"), SEED)


@pytest.mark.parametrize("n_folds", [2, 5])
@pytest.mark.parametrize("name", SPLITS)
def test_folds_divide_the_fitting_rows_by_groups(name: str, n_folds: int, tracks: pd.DataFrame):
    split = split_tracks(tracks, rule(name), SEED)
    folds = list(fold_splits(split, n_folds, rule(name), SEED))
    assert len(folds) == n_folds
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), split.trainval)
    for fold in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([fold.trainval, fold.test])), split.trainval)
        parts = (fold.train, fold.validation, fold.test)
        groups = [set(split.groups[rows]) for rows in parts]
        assert all(groups)
        assert len(set.union(*groups)) == sum(map(len, groups))
        assert all((np.diff(rows) > 0).all() for rows in parts)
        assert not np.isin(split.test, np.concatenate(parts)).any()
        assert set(split.groups[split.test]).isdisjoint(set.union(*groups))
        np.testing.assert_array_equal(fold.groups, split.groups)


@pytest.mark.parametrize("val_size", [0.1, 0.4])
def test_validation_rows_of_a_fold_are_as_many_as_the_split_says(val_size: float, tracks: pd.DataFrame):
    split = split_tracks(tracks, rule("random"), SEED)
    for fold in fold_splits(split, 4, rule("random", val_size), SEED):
        assert len(fold.validation) == pytest.approx(val_size * len(fold.trainval), abs=1)
        assert len(fold.test) == pytest.approx(len(split.trainval) / 4, abs=1)


def test_folds_are_the_same_for_a_seed_and_others_for_another(split: Split):
    def members(seed: int) -> list[list[int]]:
        return [
            rows.tolist() for fold in fold_splits(split, 3, rule("recording"), seed) for rows in (fold.train, fold.test)
        ]

    assert members(SEED) == members(SEED)
    assert members(SEED) != members(SEED + 1)


def three_groups() -> Split:
    return Split(np.array([0, 1, 2, 3]), np.array([4, 5]), np.array([6, 7]), np.array([0, 0, 1, 1, 2, 2, 3, 3]))


def test_more_folds_than_groups_are_refused():
    with pytest.raises(DataError, match=r"cv=4: there are only 3 groups .*split=album"):
        next(fold_splits(three_groups(), 4, rule("album"), SEED))


def test_as_many_folds_as_groups_hold_a_group_each():
    held_out = [fold.test.tolist() for fold in fold_splits(three_groups(), 3, rule("album"), SEED)]
    assert sorted(held_out) == [[0, 1], [2, 3], [4, 5]]


def test_a_fold_without_validation_rows_is_refused():
    two = Split(np.array([0, 1]), np.array([2, 3]), np.array([4]), np.array([0, 0, 1, 1, 2]))
    with pytest.raises(DataError, match=r"cv=2 split=album split\.val_size=0\.12 leaves a part without rows"):
        next(fold_splits(two, 2, rule("album"), SEED))


def test_the_command_refuses_more_folds_than_groups(tracks: pd.DataFrame):
    with pytest.raises(DataError, match="cv=4"):
        cross_validate(configuration(), 4, tracks.head(8), three_groups())


@pytest.mark.parametrize("task", TASKS)
def test_there_are_the_figures_of_every_fold(task: str, tracks: pd.DataFrame, split: Split):
    folds = cross_validate(configuration(*TASKS[task]), 3, tracks, split)
    names = {
        "regression": {"rmse", "mae", "r2", "adj_r2", "spearman"},
        "category": {"log_loss", "accuracy", "macro_f1", "calibration_error", "roc_auc", "average_precision"},
    }
    assert [set(fold) for fold in folds] == [names["regression" if task == "regression" else "category"]] * 3
    assert all(np.isfinite(list(fold.values())).all() for fold in folds)
    # Folds are different rows.
    error = "rmse" if task == "regression" else "log_loss"
    assert len({fold[error] for fold in folds}) == 3


def test_a_fold_is_scored_by_a_model_of_the_other_folds(tracks: pd.DataFrame, split: Split):
    config = configuration()
    expected = []
    for fold in fold_splits(split, 3, config.split, SEED):
        subsets = build_subsets("reference", tracks, fold, SEED)
        final = fit_estimators(config.model, config.task, subsets, SEED).refit
        error = final.predict(subsets.test.features).clip(0, 100) - tracks["popularity"].to_numpy()[fold.test]
        expected.append(np.abs(error).mean())
    assert [fold["mae"] for fold in cross_validate(config, 3, tracks, split)] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("features", ["reference", "full"])
def test_folds_are_deterministic_and_test_rows_irrelevant(features: str, tracks: pd.DataFrame, split: Split):
    config = configuration(f"features={features}")
    columns = {}
    for name in ("popularity", "tempo", "loudness", "artists", "track_genre"):
        values = tracks[name].to_numpy(dtype=object if name in ("artists", "track_genre") else None, copy=True)
        values[split.test] = "someone else" if values.dtype == object else values.max()
        columns[name] = values
    changed = tracks.assign(**columns)
    folds = cross_validate(config, 2, tracks, split)
    assert cross_validate(config, 2, tracks, split) == folds
    assert cross_validate(config, 2, changed, split) == folds


def test_fitting_rows_are_not_irrelevant(tracks: pd.DataFrame, split: Split):
    popularity = tracks["popularity"].to_numpy(copy=True)
    popularity[split.trainval] = popularity[split.trainval][::-1]
    folds = cross_validate(configuration(), 2, tracks, split)
    assert cross_validate(configuration(), 2, tracks.assign(popularity=popularity), split) != folds


def test_another_seed_gives_other_figures(tracks: pd.DataFrame, split: Split):
    folds = cross_validate(configuration(), 2, tracks, split)
    assert cross_validate(configuration().model_copy(update={"seed": SEED + 1}), 2, tracks, split) != folds
