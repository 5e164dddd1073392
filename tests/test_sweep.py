"""Tests of ``--multirun``: one parent run with its jobs below it, however they are launched and however they end."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient
from mlflow.entities import Run
from omegaconf import open_dict

from spotify_ml.train import run as task
from spotify_ml.utils.paths import CONF
from tests.commands import python

pytestmark = pytest.mark.slow

PATIENCE_S = 120
QUICK = ["model.n_jobs=1", "model.n_estimators=20"]
# The first test is of the baselines that jobs share as well.
ALONE = ["features=audio", "baselines=quick"]
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class Sweep:
    """A sweep that has ended, and what it left in a store of its own."""

    code: int
    stdout: str
    stderr: str
    folder: Path
    parents: list[Run]
    children: list[Run]
    versions: int

    def summaries(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("sweep/*/summary.json"))]


def sweep(folder: Path, *overrides: str) -> Sweep:
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    store = [f"tracking.uri={uri}", f"tracking.artifact_location={folder / 'artifacts'}"]
    command = [python(), "-m", "spotify_ml.train", "--multirun", *QUICK, *store, *overrides]
    command.append(f"hydra.sweep.dir={folder / 'sweep'}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    client = MlflowClient(uri)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return Sweep(
        done.returncode,
        done.stdout,
        done.stderr,
        folder,
        [run for run in runs if PARENT not in run.data.tags],
        [run for run in runs if PARENT in run.data.tags],
        len(client.search_model_versions()),
    )


@pytest.mark.parametrize("launcher", [[], JOBLIB], ids=["one after the other", "two at once"])
def test_sweep_is_one_parent_with_a_child_for_every_job(launcher: list[str], tmp_path: Path):
    result = sweep(tmp_path, "model.max_depth=2,3", *launcher)
    assert result.code == 0, result.stderr
    (parent,) = result.parents
    assert parent.info.status == "FINISHED"
    assert "model.max_depth=2,3" in parent.data.tags["hydra.overrides"]
    assert [child.data.tags[PARENT] for child in result.children] == [parent.info.run_id] * 2
    assert [child.info.status for child in result.children] == ["FINISHED"] * 2
    assert {child.data.params["model.max_depth"] for child in result.children} == {"2", "3"}
    summaries = result.summaries()
    assert {summary["run_id"] for summary in summaries} == {child.info.run_id for child in result.children}
    assert (
        len({summary["folder"] for summary in summaries}) == len({summary["objective"] for summary in summaries}) == 2
    )
    assert result.versions == 0
    assert {summary["version"] for summary in summaries} == {None}
    best = min(summaries, key=lambda summary: summary["objective"])
    assert f"Best by validation RMSE: model.max_depth={best_depth(best)} ({best['run_name']})" in result.stdout
    assert parent.data.tags["sweep.best_run_id"] == best["run_id"]
    assert parent.data.params["model.max_depth"] == "2, 3"
    for name in ("val/rmse", "val/r2", "test/r2"):
        assert parent.data.metrics[name] == pytest.approx(best["metrics"][name])
    link = f"[{best['run_name']}](#/experiments/{parent.info.experiment_id}/runs/{best['run_id']})"
    assert link in parent.data.tags["mlflow.note.content"]


def test_sweep_that_is_asked_to_register_does(tmp_path: Path):
    result = sweep(tmp_path, "model.max_depth=2", "register=true", *ALONE)
    assert result.code == 0, result.stderr
    assert result.versions == 1
    assert [summary["version"] for summary in result.summaries()] == [1]


def best_depth(summary: dict[str, Any]) -> str:
    return dict(each.split("=") for each in summary["overrides"])["model.max_depth"]


@pytest.mark.parametrize("launcher", [[], JOBLIB], ids=["one after the other", "two at once"])
def test_a_failing_job_fails_the_sweep_with_one_error(launcher: list[str], tmp_path: Path):
    subdir = "hydra.sweep.subdir=jobs/${hydra.job.num}"
    result = sweep(tmp_path, "split.val_size=0.12,0.99999", *ALONE, *launcher, subdir)
    assert result.code == 1
    assert "Traceback" not in result.stderr
    (error,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert "split.val_size=0.99999" in error
    assert [parent.info.status for parent in result.parents] == ["FAILED"]
    statuses = {child.data.params["split.val_size"]: child.info.status for child in result.children}
    assert statuses == {"0.12": "FINISHED", "0.99999": "FAILED"}
    assert result.versions == 0
    # What came to its end is compared all the same, and what did not is named.
    (finished,) = (child for child in result.children if child.info.status == "FINISHED")
    assert finished.info.run_name in (tmp_path / "sweep" / "comparison.md").read_text()
    (failed,) = (line for line in result.stdout.splitlines() if line.startswith("failed "))
    assert "split.val_size=0.99999" in failed


def test_a_mistyped_job_fails_the_sweep_with_one_error(tmp_path: Path):
    result = sweep(tmp_path, "model.max_depth=-1,-2")
    assert result.code == 1
    assert "Traceback" not in result.stderr
    (error,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert "model.max_depth=-" in error
    assert "RUNNING" not in {parent.info.status for parent in result.parents}
    assert result.children == []


def test_objective_is_the_validation_rmse_of_the_summary(tmp_path: Path):
    """As a sweeper calls the task: with a composed configuration, for a float."""
    store = [f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", f"tracking.artifact_location={tmp_path}/artifacts"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [*QUICK, *store], return_hydra_config=True)
    with open_dict(config):
        config.hydra.job.num = 0
        config.hydra.runtime.output_dir = str(tmp_path)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    objective = task(config)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert isinstance(objective, float)
    assert objective == summary["metrics"]["val/rmse"] == summary["objective"]
