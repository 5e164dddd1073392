"""Tests of every model, task, cross-validation and comparison through the real command, and of the data they refuse."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from spotify_ml.data.sources import RawTracks
from spotify_ml.utils.places import shared_text
from tests.commands import python, train_each

pytestmark = pytest.mark.slow

PATIENCE_S = 300
QUICK = ["model.n_estimators=20", "model.learning_rate=0.3", "model.max_depth=4"]
MEMBERS = [
    "model.members.xgboost.n_estimators=10",
    "model.members.hist_gradient_boosting.max_iter=10",
    "model.members.extra_trees.n_estimators=10",
]
CATEGORIES = ["Low Popularity", "Medium Popularity", "High Popularity"]
CLASS_METRICS = ("log_loss", "macro_f1", "roc_auc", "average_precision", "calibration_error")
MODELS = {
    "linear": ["model=linear", "model.alpha=100"],
    "random_forest": ["model=random_forest", "model.n_estimators=10"],
    "hist_gradient_boosting": ["model=hist_gradient_boosting", "model.max_iter=10"],
    "two_part": ["model=two_part", "model.dead.n_estimators=10", "model.alive.n_estimators=10"],
    "blend": ["model=blend", *MEMBERS],
    "stack": ["model=stack", "model.folds=2", *MEMBERS],
}
PARENT = "mlflow.parentRunId"
Scorer = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True)
class Store:
    """A local tracking store below a folder."""

    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def overrides(self, experiment: str) -> list[str]:
        artifacts = f"tracking.artifact_location={self.folder / 'artifacts'}"
        return [f"tracking.uri={self.uri}", artifacts, f"tracking.experiment={experiment}"]

    def runs(self, experiment: str) -> list[Run]:
        found = self.client.get_experiment_by_name(experiment)
        return [] if found is None else list(self.client.search_runs([found.experiment_id]))

    def versions(self, model: str) -> list[str]:
        return [str(each.version) for each in self.client.search_model_versions(f"name='{model}'")]


@dataclass(frozen=True)
class Finished:
    """A command that has ended, and where it wrote."""

    code: int
    stderr: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        assert self.code == 0, self.stderr
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    @property
    def metrics(self) -> dict[str, float]:
        """Every figure of a run that went well; none may be undefined and pass for a figure."""
        metrics = self.summary["metrics"]
        assert [name for name, value in metrics.items() if not np.isfinite(value)] == []
        return metrics


def command(*overrides: str, folder: Path, **environment: str) -> Finished:
    """Run the command in a process of its own, with its run or sweep folder below `folder`."""
    run = folder / "run"
    arguments = [*overrides, f"hydra.run.dir={run}", f"hydra.sweep.dir={run}"]
    done = subprocess.run(
        # What is imported may depend on the environment.
        [sys.executable if environment else python(), "-m", "spotify_ml.train", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Finished(done.returncode, done.stderr, run)


def assert_one_error(result: Finished, *words: str) -> str:
    """One message for the user, and nothing that is meant for a developer; returns the message."""
    assert "Traceback" not in result.stderr
    assert len(re.findall(r"^error: ", result.stderr, re.MULTILINE)) == 1
    message = result.stderr[result.stderr.index("error: ") :]
    for word in words:
        assert word in message
    assert result.code == 1
    assert not (result.folder / "summary.json").exists()
    return message


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that exists, so that no test waits for its tables."""
    made = Store(tmp_path_factory.mktemp("store"))
    made.client.search_experiments()
    return made


@pytest.fixture
def own(store: Store, request: pytest.FixtureRequest) -> tuple[str, list[str]]:
    """An experiment and a registered model of this test alone, in the shared store."""
    name = re.sub(r"\W+", "-", request.node.name)
    return name, [*store.overrides(name), f"tracking.registered_model={name}"]


@pytest.fixture
def registered(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Scorer]:
    """Load the challenger of a name where nothing may be unpickled."""
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(store.uri)
    return lambda name: mlflow.pyfunc.load_model(f"models:/{name}@challenger").predict


@pytest.fixture(scope="module")
def few(sample: RawTracks) -> pd.DataFrame:
    """As many of the bundled tracks as a quick fit needs."""
    return sample.frame.sample(600, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def few_path(few: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("few") / "few.parquet"
    few.to_parquet(path)
    return path


def from_file(path: Path) -> list[str]:
    return ["data=file", f"data.path={path}"]


def first_rows(frame: pd.DataFrame, n_rows: int, **values: str | None) -> pd.DataFrame:
    """Return a copy whose first rows hold other values."""
    changed = frame.copy()
    changed.loc[: n_rows - 1, list(values)] = list(values.values())
    return changed


# --- tasks


@pytest.fixture(scope="module")
def plain(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Regression on the whole sample, cross-validated and beside all baselines; every fit sees every row."""
    asked = ["cv=3", "baselines=full", "model.subsample=1"]
    names = [*store.overrides("plain"), "tracking.registered_model=plain"]
    return command(*QUICK, *asked, *names, folder=tmp_path_factory.mktemp("plain"))


def test_classification_is_judged_drawn_and_registered_as_such(
    store: Store, registered: Callable[[str], Scorer], sample: RawTracks, tmp_path: Path
):
    result = command("task=classification", *QUICK, *store.overrides("category"), folder=tmp_path)
    metrics = result.metrics
    (run,) = store.runs("category")
    for part in ("test", "baseline_mean", "baseline_genre"):
        for metric in CLASS_METRICS:
            assert run.data.metrics[f"{part}/{metric}"] == pytest.approx(metrics[f"{part}/{metric}"])
    assert metrics["test/log_loss"] < metrics["baseline_genre/log_loss"] < metrics["baseline_mean/log_loss"]
    assert result.summary["objective"] == metrics["val/log_loss"]
    logged = {Path(file.path).name for file in store.client.list_artifacts(run.info.run_id, "figures")}
    drawn = {path.name for path in (result.folder / "figures").iterdir()}
    assert logged == drawn >= {"confusion_matrix.png", "calibration.png"}
    assert "predicted_vs_actual.png" not in drawn
    name = "spotify-popularity-category"
    version = store.client.get_model_version_by_alias(name, "challenger")
    assert (version.name, version.run_id) == (name, run.info.run_id)
    probabilities = registered(name)(sample.frame)
    assert probabilities.columns.tolist() == CATEGORIES
    assert probabilities.min(axis=None) >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)
    actual = pd.cut(sample.frame["popularity"], [-1, 33, 66, 100], labels=CATEGORIES)
    assert (probabilities.idxmax(axis=1) == actual).mean() > 0.8


def test_popular_or_not_is_two_classes_at_the_threshold(
    few: pd.DataFrame, few_path: Path, own: tuple[str, list[str]], registered: Callable[[str], Scorer], tmp_path: Path
):
    name, overrides = own
    task = ["task=classification", "task.label=popular", "task.threshold=50"]
    result = command(*from_file(few_path), *task, *QUICK, *overrides, folder=tmp_path)
    assert {f"test/{metric}" for metric in CLASS_METRICS} <= set(result.metrics)
    probabilities = registered(name)(few)
    assert probabilities.columns.tolist() == ["not popular", "popular"]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)
    popular = few["popularity"] >= 50
    assert ((probabilities["popular"] > 0.5) == popular).mean() > 0.8


def test_balanced_weights_change_the_bands_and_nothing_of_the_test(
    plain: Finished, own: tuple[str, list[str]], tmp_path: Path
):
    balanced = command("task.weights=balanced", "model.subsample=1", *QUICK, *own[1], folder=tmp_path).metrics
    unweighted = plain.metrics
    bands = [
        f"test_{band}/{metric}" for band in ("zero", "low", "medium", "high") for metric in ("rmse", "mae", "bias")
    ]
    assert [name for name in bands if balanced[name] == unweighted[name]] == []
    # The lowest figures are the commonest, so that every other band is pulled towards them without weights.
    assert balanced["test_high/bias"] > unweighted["test_high/bias"]
    for name in ("rows/train", "rows/test", "baseline_mean/rmse", "baseline_genre/rmse"):
        assert balanced[name] == unweighted[name]


# --- models


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_written_registered_and_scores_raw_rows(
    model: str,
    few_path: Path,
    own: tuple[str, list[str]],
    registered: Callable[[str], Scorer],
    sample: RawTracks,
    tmp_path: Path,
):
    name, overrides = own
    result = command(*from_file(few_path), *MODELS[model], *overrides, folder=tmp_path)
    assert result.metrics["formats/largest_difference"] <= 1e-5
    assert result.metrics["test/rmse"] < result.metrics["baseline_mean/rmse"]
    assert result.summary["version"] == 1
    estimators = {path.name for path in (result.folder / "models").glob(f"{model}_popularity_model.*")}
    assert estimators == {f"{model}_popularity_model.joblib", f"{model}_popularity_model.skops"}
    predictions = registered(name)(sample.frame.drop(columns="popularity"))
    assert predictions.shape == (len(sample.frame),)
    assert np.isfinite(predictions).all()
    assert 0 <= predictions.min() < predictions.max() <= 100
    assert predictions.std() > 1


@pytest.mark.parametrize("model", ["hist_gradient_boosting", "linear"])
def test_newcomers_are_a_question_to_models_that_dislike_empty_columns(
    model: str, few_path: Path, own: tuple[str, list[str]], tmp_path: Path
):
    """With split=artist no train row knows another track of its artist: whole columns are empty."""
    result = command(*from_file(few_path), "split=artist", *MODELS[model], *own[1], folder=tmp_path)
    assert result.metrics["test/rmse"] < 1.2 * result.metrics["baseline_mean/rmse"]
    assert result.summary["version"] == 1


# --- cross-validation and baselines


def test_folds_are_runs_below_the_run_and_their_mean_and_spread_its_metrics(plain: Finished, store: Store):
    summary, metrics = plain.summary, plain.metrics
    runs = store.runs("plain")
    (parent,) = (run for run in runs if PARENT not in run.data.tags)
    folds = [run for run in runs if PARENT in run.data.tags]
    assert {fold.data.tags[PARENT] for fold in folds} == {parent.info.run_id} == {summary["run_id"]}
    assert sorted(fold.data.tags["fold"] for fold in folds) == ["0", "1", "2"]
    assert {fold.info.status for fold in folds} == {"FINISHED"}
    for metric in ("r2", "rmse", "mae"):
        values = [fold.data.metrics[f"fold/{metric}"] for fold in folds]
        assert len(set(values)) == 3
        assert parent.data.metrics[f"cv/{metric}_mean"] == pytest.approx(fmean(values))
        assert parent.data.metrics[f"cv/{metric}_std"] == pytest.approx(stdev(values))
        assert metrics[f"cv/{metric}_mean"] == pytest.approx(fmean(values))
    assert store.versions("plain") == ["1"]


def test_final_model_is_fitted_on_all_training_rows_whatever_the_folds(plain: Finished):
    metrics = plain.metrics
    assert metrics["rows/train"] + metrics["rows/test"] == metrics["rows/clean"]
    content = json.loads((plain.folder / "models" / "xgboost_popularity_model.json").read_text(encoding="utf-8"))
    trees = content["learner"]["gradient_booster"]["model"]["trees"]
    # Of a squared error, the Hessian of a row is 1: the root counts the rows.
    assert {tree["sum_hessian"][0] for tree in trees} == {metrics["rows/train"]}


def test_full_baselines_are_logged_beside_the_quick_ones(plain: Finished, store: Store):
    (run,) = (run for run in store.runs("plain") if PARENT not in run.data.tags)
    names = ("baseline_ridge", "baseline_audio", "baseline_reference", "baseline_genre", "baseline_mean")
    for metric in ("r2", "rmse", "mae"):
        assert len({run.data.metrics[f"{name}/{metric}"] for name in names}) == len(names)
    assert max(run.data.metrics[f"{name}/r2"] for name in names) < run.data.metrics["test/r2"]
    assert run.data.metrics["baseline_ridge/rmse"] < run.data.metrics["baseline_mean/rmse"]


# --- sweep


def test_sweep_over_splits_and_seeds_is_compared_with_its_baselines(few_path: Path, store: Store, tmp_path: Path):
    swept = ["-m", "split=recording,artist", "seed=1,2", "features=audio", "model.n_estimators=20"]
    result = command(*swept, *from_file(few_path), *store.overrides("sweep"), folder=tmp_path)
    assert result.code == 0, result.stderr
    runs = store.runs("sweep")
    (parent,) = (run for run in runs if PARENT not in run.data.tags)
    children = [run for run in runs if PARENT in run.data.tags]
    assert [child.data.tags[PARENT] for child in children] == [parent.info.run_id] * 4
    settings = {(child.data.params["split.name"], child.data.params["seed"]) for child in children}
    assert settings == {(split, seed) for split in ("recording", "artist") for seed in ("1", "2")}
    assert {run.info.status for run in runs} == {"FINISHED"}
    files = {file.path for file in store.client.list_artifacts(parent.info.run_id)}
    assert files >= {"comparison.csv", "comparison.md", "comparison.png"}
    path = store.client.download_artifacts(parent.info.run_id, "comparison.csv", str(tmp_path))
    table = pd.read_csv(path)
    predictors = {"model", "mean", "genre mean", "ridge", "audio only", "reference pipeline"}
    assert len(table) == 2 * len(predictors)
    assert set(zip(table["split"], table["predictor"], strict=True)) == {
        (split, predictor) for split in ("recording", "artist") for predictor in predictors
    }
    assert set(table["seeds"]) == {2}
    parts = {"model": "test", "ridge": "baseline_ridge", "mean": "baseline_mean"}
    for _, row in table[table["predictor"].isin(list(parts))].iterrows():
        jobs = [child for child in children if child.data.params["split.name"] == row["split"]]
        values = [job.data.metrics[f"{parts[row['predictor']]}/r2"] for job in jobs]
        assert row["r2"] == pytest.approx(fmean(values))
        assert row["r2_std"] == pytest.approx(stdev(values))


# --- bad input


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.max_dept=3"], ["'model.max_dept'", "did you mean 'model.max_depth'"]),
        (["model=xgbost"], ["model=xgbost", "did you mean 'xgboost'"]),
        (["model=linear", "model.max_depth=3"], ["'model.max_depth'", "another choice of 'model'"]),
        (["task=classification", "task.threshold=0"], ["task.threshold=0", "greater than 0"]),
    ],
)
def test_a_mistyped_setting_stops_the_command_before_any_run(
    overrides: list[str], words: list[str], store: Store, own: tuple[str, list[str]], tmp_path: Path
):
    name, recorded = own
    assert_one_error(command(*overrides, *recorded, folder=tmp_path), *words)
    assert store.runs(name) == []
    assert store.versions(name) == []


BAD: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], list[str], list[str]]] = {
    "one artist": (lambda tracks: tracks.assign(artists="Abba"), ["split=artist"], ["split=artist", "1 group"]),
    "more folds than groups": (lambda tracks: tracks.head(200), ["cv=500", *QUICK], ["cv=500", "split=recording"]),
    "no popularity": (
        lambda tracks: tracks.drop(columns="popularity"),
        ["task=classification"],
        ["missing: popularity"],
    ),
    "one class": (
        lambda tracks: tracks.assign(popularity=50),
        ["task=classification"],
        ["task=classification", "Low Popularity", "High Popularity"],
    ),
    "a class in one fold": (
        # Its only group stands in train, for this seed.
        lambda tracks: tracks,
        ["model=stack", "task=classification", "task.label=popular", "task.threshold=91", *MEMBERS],
        ["task=classification", "no train row is popular", "task.threshold"],
    ),
}


@pytest.fixture(scope="module")
def refused(few: pd.DataFrame, store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """Every command with bad data, in an experiment and for a registered model of its own."""
    folder = tmp_path_factory.mktemp("refused")
    commands, runs = [], {kind: folder / str(number) for number, kind in enumerate(BAD)}
    for kind, (change, overrides, _) in BAD.items():
        change(few).to_parquet(path := folder / f"{runs[kind].name}.parquet")
        recorded = [*store.overrides(kind), f"tracking.registered_model={kind}", f"hydra.run.dir={runs[kind]}"]
        commands.append([*from_file(path), *overrides, *recorded])
    ends = train_each(commands, folder)
    return {kind: Finished(end.returncode, end.stderr, runs[kind]) for kind, end in zip(BAD, ends, strict=True)}


@pytest.mark.parametrize("kind", BAD)
def test_data_that_cannot_answer_the_question_fail_the_run_with_one_error(
    kind: str, refused: dict[str, Finished], store: Store
):
    message = assert_one_error(refused[kind], *BAD[kind][2])
    (run,) = store.runs(kind)
    assert run.info.status == "FAILED"
    # A store is told the names of files, without their folders.
    assert run.data.tags["error"] == shared_text(message.removeprefix("error: ").rstrip())
    assert store.versions(kind) == []
    # What has no say in the categories is no way out.
    assert ("task.threshold" in message) == any(override.startswith("task.threshold") for override in BAD[kind][1])


def test_a_library_that_cannot_be_imported_is_named_with_its_extra(
    few_path: Path, store: Store, own: tuple[str, list[str]], tmp_path: Path
):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "lightgbm.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')\n")
    name, recorded = own
    result = command(*from_file(few_path), "model=lightgbm", *recorded, folder=tmp_path, PYTHONPATH=str(broken))
    assert_one_error(result, "model=lightgbm", "pip install", "[lightgbm]")
    assert store.runs(name) == []
    assert store.versions(name) == []
    assert not result.folder.exists()


# --- odd but sensible input


def test_a_constant_target_is_predicted_without_figures_that_are_undefined(
    few: pd.DataFrame, own: tuple[str, list[str]], registered: Callable[[str], Scorer], tmp_path: Path
):
    few.assign(popularity=50).to_parquet(tmp_path / "constant.parquet")
    name, recorded = own
    metrics = command(*from_file(tmp_path / "constant.parquet"), *QUICK, *recorded, folder=tmp_path).metrics
    assert metrics["test/rmse"] == pytest.approx(0, abs=1e-3)
    assert {"test/r2", "test/spearman", "baseline_mean/r2"} & set(metrics) == set()
    np.testing.assert_allclose(registered(name)(few.drop(columns="popularity")), 50, atol=1e-3)


def test_odd_tracks_are_learned_from_and_scored(
    few: pd.DataFrame, own: tuple[str, list[str]], registered: Callable[[str], Scorer], tmp_path: Path
):
    odd = first_rows(few, 150, track_genre="[lo-fi] <beats>")
    odd = first_rows(first_rows(odd, 100, album_name=""), 50, artists=None)
    odd = first_rows(odd, 5, track_genre=";".join(f"genre {number}" for number in range(10_000)))
    odd.to_parquet(tmp_path / "odd.parquet")
    name, recorded = own
    metrics = command(*from_file(tmp_path / "odd.parquet"), *QUICK, *recorded, folder=tmp_path).metrics
    assert metrics["rows/clean"] == few["track_id"].nunique()
    # Genres stand in components, however many there are.
    assert metrics["features/count"] < 200
    assert metrics["test/rmse"] < metrics["baseline_mean/rmse"]
    predictions = registered(name)(odd.drop(columns="popularity"))
    assert np.isfinite(predictions).all()
    assert 0 <= predictions.min() < predictions.max() <= 100


def test_names_that_were_never_heard_fall_back_to_what_is_known(
    plain: Finished, registered: Callable[[str], Scorer], sample: RawTracks
):
    assert plain.code == 0, plain.stderr
    score = registered("plain")
    unheard = sample.frame.drop(columns="popularity").assign(
        artists="Qqzx Vvkw", album_name="Wxqz Kkvj", track_genre="zzqxw"
    )
    others = unheard.assign(artists="Xxwq Zzjv", album_name="Jvqx Wwzk", track_genre="wqxzz")
    scores = score(unheard)
    assert np.isfinite(scores).all()
    assert 0 <= scores.min() < scores.max() <= 100
    # All that is known of either is that nothing is.
    np.testing.assert_array_equal(scores, score(others))
    # They are like the tracks whose artist and album stand once, which are more popular than the others.
    names = [sample.frame["artists"].str.partition(";")[0], sample.frame["album_name"]]
    once = ~(names[0].duplicated(keep=False) | names[1].duplicated(keep=False))
    by_genre = sample.frame[once].groupby("track_genre")["popularity"].mean()
    assert by_genre.min() < scores.mean() < by_genre.max()
    # A newcomer in a known genre is told apart from one in another.
    lowest, highest = (score(unheard.assign(track_genre=by_genre.agg(end))).mean() for end in ("idxmin", "idxmax"))
    assert lowest < highest
