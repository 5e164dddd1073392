"""Tests of what Ctrl-C, SIGTERM and SIGHUP do: to code that holds something, and to whole commands."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient

from spotify_ml.utils.stops import deferred
from tests.tracking import conftest
from tests.tracking.conftest import CHAMPION, Store

PATIENCE_S = 120
# A stop takes 4 seconds at most, a machine that is busy some more.
SOON_S = 15
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
store = conftest.store


def _signals_as_in_a_terminal() -> None:
    """Undo what a shell does to jobs in the background, which the tests may be one of."""
    for name in CODES:
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def _start(*arguments: str, cwd: Path, before: Callable[[], None] = _signals_as_in_a_terminal) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
        start_new_session=True,
    )


_PROGRAM = """
import os, sys, time, types
from pathlib import Path
from spotify_ml.cli import command
from spotify_ml.utils import stops

def ready():
    print("ready", flush=True)

def task(*_):
{task}

# In place of Hydra, which takes longer to import than these tests take.
sys.modules["spotify_ml.cli.hydra_app"] = types.SimpleNamespace(ask_hydra=task)
command.run_command(task, "train")
"""


def _program(task: str, cwd: Path, **options: Callable[[], None]) -> subprocess.Popen[str]:
    """Start a command whose task is given by its lines, and return it when that is ready."""
    (cwd / "program.py").write_text(_PROGRAM.format(task=textwrap.indent(textwrap.dedent(task), "    ")))
    process = _start("program.py", cwd=cwd, **options)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


WAITING = """
    ready()
    time.sleep(100)
"""
TIDYING = """
    try:
        ready()
        time.sleep(100)
    finally:
        print("tidying", flush=True)
        time.sleep({seconds})
        print("tidied")
"""


STUCK = {
    "what is raised is dropped": """
        with stops.if_stuck(Path("closed").touch):
            while True:
                try:
                    ready()
                    time.sleep(100)
                except KeyboardInterrupt:
                    pass
        """,
    "tidying takes too long": """
        with stops.if_stuck(Path("closed").touch):
            try:
                ready()
                time.sleep(100)
            finally:
                time.sleep(100)
        """,
    "another step fails": """
        with stops.if_stuck(Path("closed").touch), stops.if_stuck(lambda: 1 / 0):
            try:
                ready()
                time.sleep(100)
            finally:
                time.sleep(100)
        """,
}


@pytest.mark.parametrize("name", CODES)
def test_each_signal_ends_a_command_by_its_own_code(name: str, tmp_path: Path):
    process = _program(WAITING, tmp_path)
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=SOON_S)
    assert (process.returncode, err) == (CODES[name], f"stopped by {'Ctrl-C' if name == 'SIGINT' else name}\n")


def test_what_was_ignored_at_the_start_stays_so(tmp_path: Path):
    def as_under_nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    process = _program("ready()\ntime.sleep(1)\nprint('done')", tmp_path, before=as_under_nohup)
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=SOON_S)
    assert (process.returncode, out, err) == (0, "done\n", "")


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path):
    process = _program(TIDYING.format(seconds=100), tmp_path)
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "tidying\n"
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(SOON_S) == 130
    # Without the second, it would take 4 seconds.
    assert time.monotonic() - began < 2


def test_the_same_ctrl_c_twice_is_one(tmp_path: Path):
    process = _program(TIDYING.format(seconds=1), tmp_path)
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=SOON_S)
    assert (process.returncode, out) == (130, "tidying\ntidied\n")


@pytest.mark.parametrize("name", STUCK)
def test_a_command_that_is_stuck_ends_all_the_same_after_its_last_steps(name: str, tmp_path: Path):
    process = _program(STUCK[name], tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(SOON_S) == 143
    assert (tmp_path / "closed").exists()


def test_another_error_that_a_stop_becomes_is_a_stop(tmp_path: Path):
    task = """
        try:
            ready()
            time.sleep(100)
        except KeyboardInterrupt as error:
            raise ImportError("half imported") from error
    """
    process = _program(task, tmp_path)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=SOON_S)
    assert (process.returncode, err) == (143, "stopped by SIGTERM\n")


def test_a_stop_inside_the_exec_of_a_text_keeps_its_code(tmp_path: Path):
    process = _program("exec('ready(); time.sleep(100)')", tmp_path)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=SOON_S)
    assert (process.returncode, err) == (129, "stopped by SIGHUP\n")


def test_a_stop_that_python_drops_is_raised_again(tmp_path: Path):
    task = """
        import weakref

        class Thing:
            pass

        def removed(reference):
            ready()
            time.sleep(0.5)

        thing = Thing()
        reference = weakref.ref(thing, removed)
        del thing
        try:
            time.sleep(100)
        finally:
            print("tidied")
    """
    process = _program(task, tmp_path)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    out, err = process.communicate(timeout=SOON_S)
    assert (process.returncode, out, err) == (143, "tidied\n", "stopped by SIGTERM\n")
    # Not by the end that comes after 4 seconds.
    assert time.monotonic() - began < 3


def test_a_stop_after_the_work_is_none(tmp_path: Path):
    task = """
        import atexit
        atexit.register(lambda: (print("end", flush=True), time.sleep(1)))
        ready()
    """
    process = _program(task, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "end\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=SOON_S)
    assert (process.returncode, err) == (0, "")


WORK = """
    import sqlalchemy, filelock
    engine = sqlalchemy.create_engine('sqlite:///rows.db')
    ready()
    try:
        while True:
            with filelock.FileLock('rows.lock'), engine.begin() as connection:
                connection.execute(sqlalchemy.text('CREATE TABLE IF NOT EXISTS rows (number INTEGER)'))
                connection.execute(sqlalchemy.text('INSERT INTO rows VALUES (1)'))
    except BaseException:
        # As when the run is marked: by another lock and another connection of the same process.
        with filelock.FileLock('rows.lock', timeout=2), engine.begin() as connection:
            connection.execute(sqlalchemy.text('INSERT INTO rows VALUES (2)'))
        raise
"""


@pytest.mark.parametrize("number", range(6))
def test_no_lock_and_no_transaction_is_left_by_a_stop(number: int, tmp_path: Path):
    process = _program(WORK, tmp_path)
    time.sleep(0.01 + 0.0137 * number)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SOON_S)
    assert (process.returncode, err) == (130, "stopped by Ctrl-C\n")
    with closing(sqlite3.connect(tmp_path / "rows.db")) as connection:
        assert connection.execute("SELECT count(*) FROM rows WHERE number = 2").fetchone() == (1,)


def _stopped_in_a_block(steps: list[str]) -> None:
    with deferred():
        os.kill(os.getpid(), signal.SIGINT)
        steps.append("to the end")


def test_ctrl_c_in_a_library_waits_for_the_end_of_the_block():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    steps: list[str] = []
    try:
        with pytest.raises(KeyboardInterrupt):
            _stopped_in_a_block(steps)
        assert steps == ["to the end"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        # Nothing stays of it.
        with deferred():
            pass
    finally:
        signal.signal(signal.SIGINT, before)


# --- whole commands


def _running(store: Store, experiment: str) -> Callable[[], bool]:
    def found() -> bool:
        query = (
            "SELECT count(*) FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = ? "
            "AND runs.status = 'RUNNING'"
        )
        with closing(sqlite3.connect(f"file:{store.folder / 'mlflow.db'}?mode=ro", uri=True)) as database:
            return bool(database.execute(query, (experiment,)).fetchone()[0])

    return found


def _wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


LONG = ["model.n_jobs=1", "model.n_estimators=1000000", "model.learning_rate=0.00001"]
COMMANDS = {"train": LONG, "tune": ["tune=optuna", *LONG], "sweep": ["-m", "seed=1,2", *LONG]}


@pytest.mark.slow
@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_stopped_run_is_closed_with_all_below_it(command: str, name: str, store: Store, tmp_path: Path):
    experiment = f"stopped-{command}-{name}"
    folders = [f"hydra.run.dir={tmp_path / 'run'}", f"hydra.sweep.dir={tmp_path / 'run'}", "cache=off"]
    options = [f"tracking.uri={store.uri}", f"tracking.experiment={experiment}", *folders]
    storage = [f"tune.storage=sqlite:///{tmp_path / 'study.db'}"] if command == "tune" else []
    process = _start("-m", "spotify_ml.train", *options, *storage, *COMMANDS[command], cwd=tmp_path)
    _wait(_running(store, experiment), process)
    time.sleep(2)
    began = time.monotonic()
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=SOON_S)
    assert process.returncode == CODES[name], out + err
    assert time.monotonic() - began < SOON_S
    assert "Traceback" not in out + err
    client = MlflowClient(store.uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    assert {run.info.status for run in client.search_runs([found.experiment_id])} == {"KILLED"}
    if command == "tune":
        import optuna

        storage_name = f"sqlite:///{tmp_path / 'study.db'}"
        (study,) = optuna.get_all_study_names(storage_name)
        states = {trial.state.name for trial in optuna.load_study(study_name=study, storage=storage_name).trials}
        assert states == {"FAIL"}
        with FileLock(tmp_path / "study.db.study.lock", timeout=1):
            pass


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _ends_soon(group: int) -> bool:
    """Say whether all processes of a group end within a moment."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("workers", [1, 2])
def test_each_signal_ends_the_server(name: str, workers: int, store: Store, tmp_path: Path):
    options = [f"tracking.uri={store.uri}", f"model={CHAMPION}", f"port={_free_port()}", f"workers={workers}"]
    process = _start("-m", "spotify_ml.serve", *options, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    started = 0
    while started < workers:
        line = process.stderr.readline()
        assert line, "the server ended"
        started += "Application startup complete" in line
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=SOON_S)
    assert process.returncode == CODES[name], out + err
    assert "Traceback" not in err
    assert _ends_soon(process.pid)
