"""Tests of a trial: the same fit as a run's first, judged by the same rows, sharing what can be shared."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import fold_splits, split_tracks
from spotify_ml.evaluation.metrics import task_metrics
from spotify_ml.features import prepare
from spotify_ml.features.builder import build_subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.predictions import predict_matrix
from spotify_ml.models.targets import class_names
from spotify_ml.tuning import trials
from spotify_ml.tuning.trials import TrialData
from tests.support import configured

FRESH = "cache=off"
QUICK = [
    FRESH,
    "features=audio",
    "model.n_estimators=40",
    "model.learning_rate=0.3",
    "model.max_depth=4",
    "model.n_jobs=1",
]


class StopError(Exception):
    pass


def stop_at(step: int) -> Callable[[int, float], None]:
    def report(at: int, error: float) -> None:
        if at >= step:
            raise StopError

    return report


@pytest.mark.parametrize(
    "overrides",
    [
        QUICK,
        [*QUICK, "task.weights=balanced"],
        [*QUICK, "model.max_bin=32", "model.grow_policy=lossguide", "model.max_leaves=8"],
        [*QUICK, "task=classification"],
        [*QUICK, "task=classification", "task.label=popular"],
        [FRESH, "features=audio", "model=linear"],
        [FRESH, "features=audio", "model=hist_gradient_boosting", "model.max_iter=20"],
        [FRESH, "features=audio", "model=two_part", "model.dead.n_estimators=5", "model.alive.n_estimators=5"],
    ],
    ids=lambda overrides: " ".join(overrides[-2:]),
)
def test_a_trial_is_the_first_fit_of_a_run(sample: RawTracks, overrides: list[str]):
    config = configured(*overrides)
    tracks = clean(sample.frame, config.cleaning.name).frame
    split = split_tracks(tracks, config.split, config.seed)
    subsets = build_subsets(config.features.name, tracks, split, config.seed)
    fitted = fit_estimators(config.model, config.task, subsets, config.seed)
    validation = subsets.validation
    predicted = predict_matrix(fitted.early_stopped, validation.matrix(), class_names(config.task))
    expected = task_metrics(config.task, validation.target, predicted, validation.features.shape[1])
    curve: list[float] = []
    found = TrialData(None).fit(config, curve)
    assert {name: found[f"val/{name}"] for name in expected} == pytest.approx(expected, abs=1e-6)
    if fitted.n_trees is not None:
        assert found["model/trees"] == fitted.n_trees
        assert curve == pytest.approx(fitted.learning_curve["val"], abs=1e-6)


def test_features_and_quantised_matrices_are_made_once(monkeypatch: pytest.MonkeyPatch):
    made = {"features": 0, "matrices": 0}

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def count(*args: object, **kwargs: object) -> object:
            made[name] += 1
            return function(*args, **kwargs)

        return count

    monkeypatch.setattr(prepare, "build_subsets", counted("features", build_subsets))
    monkeypatch.setattr(trials, "QuantileDMatrix", counted("matrices", trials.QuantileDMatrix))
    data = TrialData(None)
    for overrides in ([], ["model.max_depth=3"], ["model.subsample=0.5"]):
        data.fit(configured(*QUICK, *overrides), [])
    assert made == {"features": 1, "matrices": 1}
    data.fit(configured(*QUICK, "model.max_bin=16"), [])
    assert made == {"features": 1, "matrices": 2}
    data.fit(configured(*QUICK, "features=reference"), [])
    assert made == {"features": 2, "matrices": 3}
    data.fit(configured(*QUICK), [])
    assert made == {"features": 2, "matrices": 3}


def test_trials_do_not_depend_on_those_before():
    shared = TrialData(None)
    configs = [configured(*QUICK, override) for override in ("model.max_depth=2", "model.max_bin=16", "model.gamma=3")]
    together = [shared.fit(config, [])["val/rmse"] for config in configs]
    alone = [TrialData(None).fit(config, [])["val/rmse"] for config in configs]
    assert together == alone


# The first trees after which (1 - rate)^trees has fallen to exp(-1), exp(-2), …
STEPS = {0.25: [4, 7, 11, 14, 18], 0.5: [2, 3, 5, 6, 8, 9, 11, 12, 13, 15, 16, 18, 19]}


@pytest.mark.parametrize(("rate", "expected"), STEPS.items())
def test_steps_are_those_of_the_learning_rate(rate: float, expected: list[int]):
    config = configured(*QUICK, f"model.learning_rate={rate}", "model.n_estimators=20")
    reported: list[tuple[int, float]] = []
    curve: list[float] = []
    TrialData(None).fit(config, curve, lambda step, error: reported.append((step, error)))
    assert [step for step, _ in reported] == list(range(1, len(expected) + 1))
    assert [error for _, error in reported] == [curve[tree - 1] for tree in expected]


def test_a_trial_that_is_stopped_leaves_its_curve_so_far():
    config = configured(*QUICK, "model.learning_rate=0.25")
    curve: list[float] = []
    with pytest.raises(StopError):
        TrialData(None).fit(config, curve, stop_at(3))
    assert len(curve) == 11


def test_folds_are_the_split_s_own_and_never_its_test_rows(sample: RawTracks):
    config = configured(*QUICK)
    tracks = clean(sample.frame, "tracks").frame
    split = split_tracks(tracks, config.split, config.seed)
    data = TrialData(3)
    figures: list[list[dict[str, float]]] = []
    found = data.fit(config, [], None, lambda folds: figures.append(list(folds)))
    assert [len(folds) for folds in figures] == [1, 2, 3]
    assert found["val/rmse"] == pytest.approx(np.mean([fold["val/rmse"] for fold in figures[-1]]))
    (folds,) = data._folds.values()
    judged = [fold.judged.features.index for fold in folds]
    expected = [fold.test for fold in fold_splits(split, 3, config.split, config.seed)]
    for rows, fold in zip(judged, expected, strict=True):
        np.testing.assert_array_equal(rows, fold)
        assert not np.isin(rows, split.test).any()
    for fold in folds:
        seen = [split.groups[subset.features.index] for subset in (fold.subsets.train, fold.subsets.validation)]
        assert not np.isin(split.groups[fold.judged.features.index], np.concatenate(seen)).any()


def test_the_test_rows_have_no_influence(sample: RawTracks, tmp_path: Path):
    config = configured(*QUICK, "features=full")
    tracks = clean(sample.frame, "tracks").frame
    split = split_tracks(tracks, config.split, config.seed)
    ids = set(tracks["track_id"].to_numpy()[split.test])
    other = sample.frame.copy()
    rows = other["track_id"].isin(ids)
    other.loc[rows, "popularity"] = 100 - other.loc[rows, "popularity"]
    other.to_parquet(tmp_path / "changed.parquet")
    changed = configured(*QUICK, "features=full", "data=file", f"data.path={tmp_path}/changed.parquet")
    found = [TrialData(None).fit(each, [])["val/rmse"] for each in (config, changed)]
    assert found[0] == found[1]
