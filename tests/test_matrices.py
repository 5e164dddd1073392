"""Features in memory and in files, through the real command: the same run, and nothing left behind."""

import json
import subprocess
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from tests.commands import python, train_each

pytestmark = pytest.mark.slow

QUICK = ["model.n_estimators=20", "model.learning_rate=0.3"]
# One after the other, of which the second finds its features where the first left them.
RUNS = {
    "memory": ["matrices=memory"],
    "disk": ["matrices=disk"],
    "external": ["matrices=external", "cache=off"],
    "external, again": ["matrices=external", "experiment=reference", *QUICK],
    "reference": ["matrices=memory", "experiment=reference", *QUICK, "cache=off"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of `RUNS` have been."""
    folder = tmp_path_factory.mktemp("matrices")
    commands = []
    for number, overrides in enumerate(RUNS.values()):
        kept = [] if "cache=off" in overrides else [f"cache.folder={folder / 'cache'}"]
        commands.append([*store(folder), *QUICK, *kept, *overrides, f"hydra.run.dir={folder / str(number)}"])
    for ended in train_each(commands, folder):
        assert ended.returncode == 0, ended.stderr
        assert "Warning" not in ended.stderr
    return folder


def store(folder: Path) -> list[str]:
    return [f"tracking.uri=sqlite:///{folder / 'mlflow.db'}", f"tracking.artifact_location={folder / 'artifacts'}"]


def summary(folder: Path, run: str) -> dict[str, float]:
    figures = json.loads((folder / str(list(RUNS).index(run)) / "summary.json").read_text())["metrics"]
    return {name: value for name, value in figures.items() if not name.startswith("time/")}


@pytest.mark.parametrize(
    ("run", "other"), [("disk", "memory"), ("external", "memory"), ("external, again", "reference")]
)
def test_the_figures_are_those_of_features_in_memory(folder: Path, run: str, other: str):
    # What a batch of rows adds to a sum may differ in its last digit.
    assert summary(folder, run) == pytest.approx(summary(folder, other), rel=1e-5, abs=1e-7)


def test_the_registered_models_score_alike(folder: Path):
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    tracks = pd.read_parquet(folder / "0" / "predictions" / "test.parquet")
    versions = MlflowClient().search_model_versions("name='spotify-popularity'")
    assert len(versions) == len(RUNS)
    models = {version.version: version.source for version in versions}
    assert len(set(models.values())) == len(RUNS)
    predictions = [
        pd.read_parquet(folder / str(number) / "predictions" / "test.parquet")["popularity_predicted"]
        for number in range(3)
    ]
    for predicted in predictions[1:]:
        pd.testing.assert_series_equal(predicted, predictions[0], check_exact=True)
    assert len(tracks) > 1000


def test_nothing_but_entries_is_left_in_the_cache(folder: Path):
    stages = sorted(entry.name.partition("-")[0] for entry in (folder / "cache").iterdir())
    # The features of the default, and of the reference pipeline.
    assert stages == ["features", "features", "split", "split", "tracks", "tracks"]


def test_a_place_that_cannot_be_written_ends_the_run_with_one_error(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    overrides = [*store(tmp_path), "matrices=disk", f"cache.folder={tmp_path / 'file' / 'cache'}"]
    command = [python(), "-m", "spotify_ml.train", *QUICK, *overrides, f"hydra.run.dir={tmp_path / 'run'}"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    (error,) = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert str(tmp_path / "file" / "cache") in error
    assert "Traceback" not in ended.stderr
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert list(mlflow.search_runs(search_all_experiments=True)["status"]) == ["FAILED"]
