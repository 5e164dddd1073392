"""Tests of what becomes of runs whose process is gone: closed by the next command, and no others."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from spotify_ml.tracking.abandoned import FOLDER_TAG, close_abandoned, process_tags
from spotify_ml.tracking.store import connect
from spotify_ml.tracking.study import StudyRecord
from spotify_ml.utils.files import remove_abandoned
from spotify_ml.utils.process import machine, machine_token, started
from tests import support
from tests.tracking.test_store import configured

PARENT = "mlflow.parentRunId"


@pytest.fixture(scope="module")
def gone() -> int:
    """The id of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert started(process.pid) is None
    return process.pid


def half_written(target: Path, process_id: int, more: str = "") -> Path:
    """The name under which a process writes; `more` is the part of it that nobody can guess."""
    return target.with_name(f".{target.name}.{more}{process_id}-{machine_token()}.partial")


@pytest.fixture
def place(tmp_path: Path) -> tuple[MlflowClient, str]:
    """A store, and an experiment in it."""
    support.new_store(tmp_path)
    return connect(configured(tmp_path))


def test_runs_of_processes_that_are_gone_are_closed_and_no_others(
    place: tuple[MlflowClient, str], gone: int, caplog: pytest.LogCaptureFixture
):
    client, experiment = place
    dead, here = {f"process/{machine()}/{gone}": "123"}, f"process/{machine()}/{os.getpid()}"
    tags: dict[str, dict[str, str]] = {
        "dead": dead,
        "number given again": {here: "1"},
        "two dead": {**dead, here: "1"},
        "alive": process_tags(),
        "one alive": {**dead, **process_tags()},
        "elsewhere": {f"process/elsewhere/{gone}": "123"},
        "one elsewhere": {**dead, "process/elsewhere/1": "1"},
        "old": {"git.dirty": "false"},
        "trial": {**dead, "tune.trial": "3"},
    }
    runs = {name: client.create_run(experiment, tags=each, run_name=name).info.run_id for name, each in tags.items()}
    for name, parent in (("fold", "dead"), ("fold of the living", "alive")):
        runs[name] = client.create_run(experiment, tags={PARENT: runs[parent]}, run_name=name).info.run_id
    ended = client.create_run(experiment, tags=dead).info.run_id
    client.set_terminated(ended, "FINISHED")
    closed = {"dead", "number given again", "two dead", "trial", "fold"}
    with caplog.at_level(logging.WARNING):
        close_abandoned(client, experiment)
    found = {name: client.get_run(run_id) for name, run_id in runs.items()}
    assert {name for name, run in found.items() if run.info.status == "FAILED"} == closed
    assert {name for name, run in found.items() if run.info.status == "RUNNING"} == set(runs) - closed
    assert all("ended without closing it" in found[name].data.tags["error"] for name in closed)
    assert found["trial"].data.tags["tune.state"] == "fail"
    assert found["dead"].info.end_time is not None
    assert client.get_run(ended).info.status == "FINISHED"
    assert len(caplog.records) == len(closed)
    close_abandoned(client, experiment)
    assert len(caplog.records) == len(closed)


def test_what_a_process_that_is_gone_was_writing_to_its_run_folder_goes_with_its_run(
    place: tuple[MlflowClient, str], gone: int, tmp_path: Path
):
    client, experiment = place
    folder = tmp_path / "run"
    half_written(folder / "models", gone).mkdir(parents=True)
    (folder / "train.log").write_text("INFO etl")
    client.create_run(experiment, tags={f"process/{machine()}/{gone}": "1", FOLDER_TAG: str(folder)})
    close_abandoned(client, experiment)
    assert [path.name for path in folder.iterdir()] == ["train.log"]


def test_a_model_and_a_version_that_a_process_had_begun_go_with_its_run(
    place: tuple[MlflowClient, str], gone: int, caplog: pytest.LogCaptureFixture
):
    client, experiment = place
    client.create_registered_model("m")
    runs, models = {}, {}
    for name, process in (("alone", gone), ("with alias", gone), ("alive", os.getpid())):
        since = started(process) or "1"
        run = client.create_run(experiment, tags={f"process/{machine()}/{process}": since}).info.run_id
        pending, ready = (client.create_logged_model(experiment, source_run_id=run) for _ in range(2))
        client.finalize_logged_model(ready.model_id, LoggedModelStatus.READY)
        runs[name] = client.create_model_version("m", f"models:/{ready.model_id}", run, model_id=ready.model_id).version
        models[name] = [pending.model_id, ready.model_id]
    client.set_registered_model_alias("m", "challenger", runs["with alias"])
    close_abandoned(client, experiment)
    versions = {version.version for version in client.search_model_versions("name = 'm'")}
    assert versions == {runs["with alias"], runs["alive"]}
    statuses = {name: [client.get_logged_model(each).status for each in ids] for name, ids in models.items()}
    assert statuses["alone"] == statuses["with alias"] == [LoggedModelStatus.FAILED, LoggedModelStatus.READY]
    assert statuses["alive"] == [LoggedModelStatus.PENDING, LoggedModelStatus.READY]
    assert f"version {runs['alone']} of m was not complete and is removed" in caplog.text


def test_half_written_files_of_the_living_and_of_other_machines_stay(gone: int, tmp_path: Path):
    mine, dead = (half_written(tmp_path / "x.csv", number) for number in (os.getpid(), gone))
    others = [tmp_path / f".x.csv.{gone}-000000.partial", tmp_path / ".x.csv.partial", tmp_path / f".x.{gone}.partial"]
    for path in (mine, dead, *others):
        path.write_text("half")
    dead_folder = half_written(tmp_path / "models", gone, "k2_x9a.")
    (dead_folder / "below").mkdir(parents=True)
    remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in (mine, *others)}
    remove_abandoned(tmp_path / "none")


def test_a_process_that_has_ended_and_was_not_waited_for_is_gone():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert started(process.pid) == started(process.pid) is not None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert started(process.pid) is None
    process.communicate()


def test_what_a_killed_end_of_a_study_was_writing_goes_when_another_ends_it(gone: int, tmp_path: Path):
    uri = support.new_store(tmp_path)
    store = [f"tracking.uri={uri}", f"tracking.artifact_location={tmp_path / 'artifacts'}"]
    record = StudyRecord(support.configured("tune=optuna", *store))
    client = MlflowClient(uri)
    record.open("night", None, {})
    before, now, best = (tmp_path / name for name in ("before", "now", "before/best"))
    half = [half_written(before / "study", gone), half_written(best / "figures", gone)]
    for folder in half:
        folder.mkdir(parents=True)
    record.use_folder(before)
    tags = {PARENT: record.run_id, f"process/{machine()}/{gone}": "1", FOLDER_TAG: str(best)}
    experiment = client.get_experiment_by_name("spotify-popularity").experiment_id
    refit = client.create_run(experiment, tags=tags).info.run_id
    # Of a study that goes on, its own worker comes before the others' rule.
    ((number, run_id),) = record.running()
    assert (number, run_id) == (None, refit)
    record.end_refit(refit)
    record.use_folder(now)
    assert client.get_run(refit).info.status == "FAILED"
    assert [folder.exists() for folder in half] == [False, False]
    assert client.get_run(record.run_id).data.tags[FOLDER_TAG] == str(now)
