"""Tests of the baselines against implementations too plain to be wrong."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, split_tracks
from spotify_ml.evaluation.baselines import full_baselines, predict_genre_mean, predict_mean, quick_baselines
from spotify_ml.evaluation.metrics import regression_metrics
from spotify_ml.features.builder import build_subsets
from spotify_ml.models.targets import class_names
from tests.support import configured


def tracks(*genres: str | None) -> pd.DataFrame:
    return pd.DataFrame({"track_genre": pd.array(genres, dtype="str")})


def plain_genre_mean(trainval: pd.DataFrame, popularity: np.ndarray, wanted: pd.DataFrame) -> list[float]:
    """Mean of the means of a track's known genres; the overall mean where none is known."""
    known: dict[str, list[float]] = {}
    for genres, value in zip(trainval["track_genre"], popularity, strict=True):
        for genre in genres.split(";"):
            known.setdefault(genre, []).append(value)
    return [
        mean([mean(known[genre]) for genre in genres.split(";") if genre in known] or [popularity.mean()])
        for genres in wanted["track_genre"]
    ]


def test_mean_is_that_of_the_fitting_rows():
    np.testing.assert_allclose(predict_mean(np.array([10.0, 20.0, 60.0]), 2), [30, 30])


@pytest.mark.parametrize(
    ("genre", "expected"),
    [
        ("pop", 30.0),
        ("rock", 70.0),
        ("jazz", 5.0),
        ("pop;rock", 50.0),
        ("rock;pop", 50.0),
        ("jazz;pop;rock", 35.0),
        ("unheard", 36.25),
        ("pop;unheard", 30.0),
        ("unheard;unseen", 36.25),
        ("", 36.25),
        (None, 36.25),
    ],
)
def test_values_worked_out_by_hand(genre: str | None, expected: float):
    trainval = tracks("pop", "pop;rock", "rock", "jazz")
    # pop: 0 and 60; rock: 60 and 80; jazz: 5.
    popularity = np.array([0.0, 60.0, 80.0, 5.0])
    assert predict_genre_mean(trainval, popularity, tracks(genre)).tolist() == [pytest.approx(expected)]


@pytest.mark.parametrize("cleaning", ["tracks", "rows"])
def test_agrees_with_the_plain_implementation_on_the_sample(sample: RawTracks, cleaning: str):
    frame = clean(sample.frame, cleaning).frame
    shuffled = frame.sample(frac=1, random_state=0)
    # One genre is never seen in fitting.
    missing = frame["track_genre"].iloc[0].split(";")[0]
    trainval = shuffled[~shuffled["track_genre"].str.contains(missing, regex=False)].head(3000)
    wanted = shuffled.tail(1500)
    assert wanted["track_genre"].str.contains(missing, regex=False).any()
    popularity = trainval["popularity"].to_numpy(dtype=float)
    expected = plain_genre_mean(trainval, popularity, wanted)
    np.testing.assert_allclose(predict_genre_mean(trainval, popularity, wanted), expected)


def test_wanted_popularity_is_not_looked_at(sample: RawTracks):
    frame = clean(sample.frame, "tracks").frame
    trainval, wanted = frame.iloc[:4000], frame.iloc[4000:]
    popularity = trainval["popularity"].to_numpy(dtype=float)
    blind = predict_genre_mean(trainval, popularity, wanted.drop(columns="popularity"))
    np.testing.assert_array_equal(blind, predict_genre_mean(trainval, popularity, wanted))


POPULAR = ("task=classification", "task.label=popular", "task.threshold=60")


def test_quick_baselines_of_popularity_are_its_means():
    trainval, popularity = tracks("pop", "pop", "rock"), np.array([10.0, 20.0, 90.0])
    found = quick_baselines(configured().task, trainval, popularity, tracks("rock", "pop", "unheard"))
    assert list(found) == ["baseline_mean", "baseline_genre"]
    np.testing.assert_allclose(found["baseline_mean"], [40, 40, 40])
    np.testing.assert_allclose(found["baseline_genre"], [90, 15, 40])


def test_quick_baselines_of_classes_are_their_shares():
    # Low, Medium, High and High; pop: Low and Medium; rock: both High.
    trainval, popularity = tracks("pop", "pop", "rock", "rock"), np.array([33.0, 66.0, 67.0, 100.0])
    task = configured("task=classification").task
    found = quick_baselines(task, trainval, popularity, tracks("rock", "pop", "pop;rock", "unheard"))
    np.testing.assert_allclose(found["baseline_mean"], [[0.25, 0.25, 0.5]] * 4)
    np.testing.assert_allclose(
        found["baseline_genre"], [[0, 0, 1], [0.5, 0.5, 0], [0.25, 0.25, 0.5], [0.25, 0.25, 0.5]]
    )
    found = quick_baselines(configured(*POPULAR).task, trainval, popularity, tracks("rock", "pop", "unheard"))
    np.testing.assert_allclose(found["baseline_mean"], [[0.25, 0.75]] * 3)
    np.testing.assert_allclose(found["baseline_genre"], [[0, 1], [0.5, 0.5], [0.25, 0.75]])


@pytest.mark.parametrize("overrides", [("task=classification",), POPULAR], ids=["category", "popular"])
def test_quick_baselines_of_classes_sum_to_one_on_the_sample(sample: RawTracks, overrides: tuple[str, ...]):
    frame = clean(sample.frame, "tracks").frame
    trainval, wanted = frame.iloc[::2], frame.iloc[1::2]
    task = configured(*overrides).task
    for predicted in quick_baselines(task, trainval, trainval["popularity"].to_numpy(dtype=float), wanted).values():
        assert predicted.shape == (len(wanted), len(class_names(task)))
        assert (predicted >= 0).all()
        np.testing.assert_allclose(predicted.sum(axis=1), 1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    # Threads that wait for each other on a busy machine take ten times as long.
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def some(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame.sample(600, random_state=0), "tracks").frame


@pytest.fixture(scope="module")
def split(some: pd.DataFrame) -> Split:
    return split_tracks(some, configured().split, 42)


@pytest.fixture(scope="module")
def figures(some: pd.DataFrame, split: Split) -> dict[str, float]:
    return full_baselines(configured(), some, split)


FITTED = ("baseline_ridge", "baseline_audio", "baseline_reference")


def test_full_baselines_are_the_three_that_are_models(figures: dict[str, float]):
    metrics = ("rmse", "mae", "r2", "adj_r2", "spearman")
    assert set(figures) == {f"{name}/{metric}" for name in FITTED for metric in metrics}
    assert np.isfinite(list(figures.values())).all()
    assert len({figures[f"{name}/rmse"] for name in FITTED}) == 3


def test_ridge_baseline_is_a_ridge_on_the_reference_features(
    figures: dict[str, float], some: pd.DataFrame, split: Split
):
    subsets = build_subsets("reference", some, split, 42)
    ridge = make_pipeline(StandardScaler(), Ridge(alpha=10.0)).fit(subsets.trainval.features, subsets.trainval.target)
    predicted = ridge.predict(subsets.test.features).clip(0, 100)
    expected = regression_metrics(subsets.test.target, predicted, 37)
    found = {name: figures[f"baseline_ridge/{name}"] for name in expected}
    assert found == pytest.approx(expected, rel=1e-5)


def test_full_baselines_know_nothing_of_the_model_its_features_and_its_weights(
    figures: dict[str, float], some: pd.DataFrame, split: Split
):
    other = configured("model=linear", "features=audio", "task.weights=balanced")
    assert full_baselines(other, some, split) == figures


def test_full_baselines_of_classes(some: pd.DataFrame, split: Split):
    figures = full_baselines(configured("task=classification"), some, split)
    metrics = ("log_loss", "accuracy", "macro_f1", "calibration_error", "roc_auc", "average_precision")
    assert set(figures) == {f"{name}/{metric}" for name in FITTED for metric in metrics}
    assert np.isfinite(list(figures.values())).all()


@pytest.fixture(scope="module")
def folder(some: pd.DataFrame, split: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep in which a job left its baselines."""
    folder = tmp_path_factory.mktemp("sweep")
    full_baselines(configured(), some, split, folder)
    return folder


LEFT = {"baseline_ridge/rmse": 1.0}


@pytest.fixture
def marked(folder: Path, tmp_path: Path) -> Path:
    """A copy of that folder whose figures are recognised wherever they are taken."""
    shutil.copytree(folder, tmp_path / "sweep")
    (kept,) = (tmp_path / "sweep").iterdir()
    kept.write_text(json.dumps(LEFT), encoding="utf-8")
    return tmp_path / "sweep"


def test_a_job_of_a_sweep_leaves_its_figures(figures: dict[str, float], folder: Path):
    (kept,) = folder.iterdir()
    assert json.loads(kept.read_text(encoding="utf-8")) == figures


@pytest.mark.parametrize("overrides", [(), ("model.max_depth=3",), ("features=audio", "cv=3", "name=other")])
def test_another_job_takes_what_was_left(overrides: tuple[str, ...], some: pd.DataFrame, split: Split, marked: Path):
    assert full_baselines(configured(*overrides), some, split, marked) == LEFT


@pytest.mark.parametrize("override", ["seed=43", "split=artist", "split.test_size=0.3", "cleaning=rows", *POPULAR[:1]])
def test_what_was_left_of_other_rows_or_another_task_is_not_taken(
    override: str, some: pd.DataFrame, split: Split, marked: Path
):
    before = set(marked.iterdir())
    found = full_baselines(configured(override), some, split, marked)
    assert {name.partition("/")[0] for name in found} == set(FITTED)
    (written,) = set(marked.iterdir()) - before
    assert json.loads(written.read_text(encoding="utf-8")) == found
