"""Tests of what is left of commands that end badly, killed or on a full disk, and that the next one works."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotify_ml.tracking.abandoned import process_tags
from tests import test_command
from tests.test_command import PATIENCE_S, QUICK, Store, assert_one_error, command_line, start

pytestmark = pytest.mark.slow

store, own = test_command.store, test_command.own


def test_the_next_command_closes_what_a_killed_one_left_running(
    store: Store, own: tuple[str, list[str]], tmp_path: Path
):
    name, overrides = own
    endless = ["model.n_jobs=1", "model.n_estimators=1000000", "model.learning_rate=0.00001"]
    study = ["tune=optuna", f"tune.storage=journal:///{tmp_path / 'journal'}", "~tune.space.model.learning_rate"]
    for number, command in enumerate(([], study)):
        process = start(*endless, *command, *overrides, run=tmp_path / f"run-{number}", cwd=tmp_path)
        _wait_until(store, name, process, runs=number + 1 + (number and 1))
        process.kill()
        process.communicate()
    # The second has closed the run of the first.
    alive = store.client.create_run(store.client.get_experiment_by_name(name).experiment_id, tags=process_tags())
    result = command_line(*QUICK, *overrides, run=tmp_path / "next", cwd=tmp_path)
    assert result.code == 0, result.stderr
    assert (result.stdout + result.stderr).count("was left RUNNING by a process that is gone") == 2
    statuses = {run.info.run_id: run.info.status for run in store.runs(name)}
    assert statuses.pop(result.summary["run_id"]) == "FINISHED"
    assert statuses.pop(alive.info.run_id) == "RUNNING"
    assert list(statuses.values()) == ["FAILED"] * 3
    assert store.versions(name) == [1]


def _wait_until(store: Store, experiment: str, process: subprocess.Popen[str], runs: int) -> None:
    """Wait until there are so many runs with params in an experiment."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if sum(bool(run.data.params) for run in store.runs(experiment)) >= runs:
            return
        time.sleep(0.2)
    pytest.fail("no run appeared in the store")


@pytest.fixture
def full_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of half a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_temporary_folder_is_named_in_a_line(
    full_folder: Path, store: Store, own: tuple[str, list[str]], tmp_path: Path
):
    name, overrides = own
    environment = {**os.environ, "TMPDIR": str(full_folder)}
    result = command_line(*QUICK, *overrides, run=tmp_path / "run", cwd=tmp_path, env=environment)
    assert_one_error(result, str(full_folder), "No space left on device", "TMPDIR")
    assert len(result.stderr.strip().splitlines()) == 2
    (run,) = store.runs(name)
    assert run.info.status == "FAILED"
    assert store.versions(name) == []


def test_a_full_disk_under_a_journal_leaves_nothing_running_and_the_study_goes_on(
    full_folder: Path, store: Store, own: tuple[str, list[str]], tmp_path: Path
):
    name, overrides = own
    journal = full_folder / "journal.log"
    study = [f"tune.storage=journal:///{journal}", "tune=optuna", "tune.study_name=s", "baselines=quick", *QUICK]
    filling = full_folder / "filling"
    filling.write_bytes(bytes(484 * 1024))
    first = command_line(*study, "tune.n_trials=200", *overrides, run=tmp_path / "first", cwd=tmp_path)
    assert_one_error(first, str(journal), "No space left on device")
    assert {run.info.status for run in store.runs(name)} <= {"FINISHED", "FAILED"}
    filling.unlink()
    finished = sum(run.data.tags.get("tune.state") in ("complete", "pruned") for run in store.runs(name))
    again = command_line(*study, f"tune.n_trials={finished + 1}", *overrides, run=tmp_path / "again", cwd=tmp_path)
    assert again.code == 0, again.stderr
    assert "1 fail" in again.stdout
