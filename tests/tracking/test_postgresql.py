"""Tests of a PostgreSQL database as the store: every command, and what is said where it, or its driver, is missing."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from spotify_ml.tracking.store_address import check_store
from spotify_ml.utils.errors import StoreError
from spotify_ml.utils.paths import PROJECT
from tests.commands import python
from tests.conftest import SAMPLE
from tests.postgresql import PASSWORD

PATIENCE_S = 120
QUICK = ["model.n_estimators=40", "model.learning_rate=0.1", "model.max_depth=4", "model.n_jobs=1"]


def _run(folder: Path, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [python(), *command],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def _served(folder: Path, uri: str, rows: bytes) -> int:
    """Serve the champion, ask for rows as CSV, and return how many predictions came."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "spotify_ml.serve", f"tracking.uri={uri}", f"port={port}"]
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", rows, {"Content-Type": "text/csv"})
        while True:
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                    return len(json.load(answer)["predictions"])
            except OSError:
                assert process.poll() is None, (folder / "serve.log").read_text()
                assert time.monotonic() < deadline, (folder / "serve.log").read_text()
                time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)


@pytest.mark.slow
def test_every_command_works_with_a_database_and_tells_no_password(new_database: Callable[[], str], tmp_path: Path):
    # As users type it: without the name of a driver.
    uri = new_database().replace("+psycopg2", "")
    pd.read_parquet(SAMPLE).head(20).to_csv(tmp_path / "tracks.csv", index=False)
    store = [f"tracking.uri={uri}", f"tracking.artifact_location={tmp_path / 'kept'}"]
    train = ["-m", "spotify_ml.train", *QUICK]
    done = {
        "train": _run(tmp_path, *train, *store, f"hydra.run.dir={tmp_path}/one"),
        "variable": _run(
            tmp_path, *train, "tracking=server", "seed=7", f"hydra.run.dir={tmp_path}/two", MLFLOW_TRACKING_URI=uri
        ),
        "study": _run(
            *[tmp_path, *train, *store, "tune=optuna", "tune.n_trials=2", f"tune.storage={new_database()}"],
            f"hydra.run.dir={tmp_path}/study",
        ),
        "sweep": _run(tmp_path, *train, "-m", *store, "model.max_depth=2,3", f"hydra.sweep.dir={tmp_path}/sweep"),
        "promote": _run(tmp_path, "-m", "spotify_ml.promote", "version=1", "force=true", *store),
    }
    names = [json.loads((tmp_path / name / "summary.json").read_text())["run_id"] for name in ("one", "two")]
    done |= {
        "compare": _run(tmp_path, str(PROJECT / "scripts" / "compare.py"), *names, *store, "output=page.html"),
        "predict": _run(tmp_path, "-m", "spotify_ml.predict", "input=tracks.csv", "output=scored.csv", store[0]),
        "load": _run(
            *[tmp_path, "-c", "import spotify_ml; print(spotify_ml.load_model().version.number)"],
            MLFLOW_TRACKING_URI=uri,
        ),
    }
    assert {name: each.returncode for name, each in done.items()} == dict.fromkeys(done, 0), [
        each.stderr[-900:] for each in done.values() if each.returncode
    ]
    assert len(pd.read_csv(tmp_path / "scored.csv")) == 20
    assert _served(tmp_path, uri, (tmp_path / "tracks.csv").read_bytes()) == 20
    relocated = _run(tmp_path, "-m", "spotify_ml.relocate", *store)
    assert (relocated.returncode, "no local store" in relocated.stderr) == (1, True)
    shared = _run(tmp_path, *train, *store, "tune=optuna", f"tune.storage={uri}", f"hydra.run.dir={tmp_path}/shared")
    assert (shared.returncode, "studies need a database of their own" in shared.stderr) == (1, True)
    for each in (*done.values(), relocated, shared):
        assert PASSWORD not in each.stdout + each.stderr, each.args
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("address", "module", "add"),
    [
        ("postgresql", "psycopg2", "-e '.[postgresql]'"),
        ("postgresql+asyncpg", "asyncpg", "asyncpg"),
        ("mysql", "MySQLdb", "mysqlclient"),
        ("mssql+pyodbc", "pyodbc", "pyodbc"),
    ],
)
def test_a_driver_that_is_not_installed_is_named(address: str, module: str, add: str, monkeypatch: pytest.MonkeyPatch):
    # As the import system answers for what is not there.
    monkeypatch.setitem(sys.modules, module, None)
    for name in ("psycopg", "psycopg2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StoreError, match="needs a driver that is not installed") as caught:
        check_store(f"{address}://user:{PASSWORD}@127.0.0.1:1/store")
    assert str(caught.value) == (
        f"the tracking store {address}://user:***@127.0.0.1:1/store needs a driver that is not installed ({module}); "
        f"add it with `pip install {add}`"
    )
