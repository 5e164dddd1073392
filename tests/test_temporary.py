"""Tests of the system's temporary folder: no command leaves anything there, however it ends."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest

from spotify_ml.utils.paths import PROJECT
from tests.commands import python
from tests.conftest import SAMPLE
from tests.servers import free_port, mlflow_server, wait_for

pytestmark = pytest.mark.slow
PATIENCE_S = 200
QUICK = "model.n_estimators=30 model.learning_rate=0.1 model.n_jobs=1 baselines=quick cache=off"
# What is typed, and the exit code; {n} is the run of that number, {store} names the store.
COMMANDS = {
    "train": (f"-m spotify_ml.train {QUICK} hydra.run.dir=run-1 {{store}}", 0),
    "train again": (f"-m spotify_ml.train {QUICK} hydra.run.dir=run-2 features=audio {{store}}", 0),
    "tune": (f"-m spotify_ml.train {QUICK} hydra.run.dir=run-3 tune=optuna tune.n_trials=2 {{study}} {{store}}", 0),
    "features on disk": (f"-m spotify_ml.train {QUICK} hydra.run.dir=run-4 matrices=external {{store}}", 0),
    "promote": ("-m spotify_ml.promote version=1 force=true {store}", 0),
    "predict": ("-m spotify_ml.predict input=tracks.csv output=scored.csv {store}", 0),
    "predict a folder": ("-m spotify_ml.predict input=tracks output=scored {store}", 0),
    "compare": ("{scripts}/compare.py {runs} output=compared.html {store}", 0),
    "profile": ("{scripts}/profile.py output=profile.html", 0),
    "train that is refused": (f"-m spotify_ml.train {QUICK} hydra.run.dir=run-5 model.max_depth=-1 {{store}}", 1),
    "train that fails": (f"-m spotify_ml.train {QUICK} hydra.run.dir=run-6 {{unsound}} {{store}}", 1),
    "tune that fails": (f"-m spotify_ml.train {QUICK} hydra.run.dir=run-7 {{unsound}} tune=optuna {{store}}", 1),
    "promote that is refused": ("-m spotify_ml.promote version=2 {store}", 2),
    "predict that fails": ("-m spotify_ml.predict input=unsound.csv output=none.csv {store}", 1),
    "compare that fails": ("{scripts}/compare.py 1 nobody output=none.html {store}", 1),
    "profile that fails": ("{scripts}/profile.py data=file data.path=none.csv output=none.html", 1),
    "serve that is refused": ("-m spotify_ml.serve model=models:/nobody/1 {store}", 1),
}
# Once each, with a store of its own, from the first import on.
WITH_IMPORTS = {"train", "promote", "predict", "compare", "profile", "serve that is refused"}


@pytest.fixture(params=["sqlite", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What names a store."""
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    served = mlflow_server(database, tmp_path) if request.param == "server" else nullcontext()
    with served as address:
        if address is None:
            yield f"tracking.uri={database}"
        else:
            yield f"tracking=server tracking.uri=http://{address}"


def start(folder: Path, program: str, typed: str, temporary: Path) -> "subprocess.Popen[bytes]":
    temporary.mkdir()
    with (folder / "said.log").open("wb") as said:
        return subprocess.Popen(
            [program, *shlex.split(typed)],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def test_no_command_leaves_anything_in_the_temporary_folder(store: str, tmp_path: Path):
    tracks = pd.read_parquet(SAMPLE)
    (tmp_path / "tracks").mkdir()
    for name in ("tracks.csv", "tracks/a.csv"):
        tracks.head(50).to_csv(tmp_path / name, index=False)
    tracks.head(50).assign(energy="loud").to_csv(tmp_path / "unsound.csv", index=False)
    places = {
        "store": store,
        "scripts": PROJECT / "scripts",
        "study": f"tune.storage=sqlite:///{tmp_path}/study.db",
        "unsound": "data=file data.path=unsound.csv",
    }
    left = {}
    for number, (name, (typed, code)) in enumerate(COMMANDS.items()):
        runs = [json.loads(path.read_text())["run_id"] for path in sorted(tmp_path.glob("run-[12]/summary.json"))]
        temporary = tmp_path / f"temporary-{number}"
        program = sys.executable if name in WITH_IMPORTS and "sqlite" in store else python()
        process = start(tmp_path, program, typed.format(**places, runs=" ".join(runs)), temporary)
        assert process.wait(PATIENCE_S) == code, f"{name}: {(tmp_path / 'said.log').read_text()}"
        left[name] = [path.name for path in temporary.rglob("*")]
    assert left == {name: [] for name in COMMANDS}


@pytest.mark.parametrize("store", ["server"], indirect=True)
def test_a_server_leaves_nothing_in_the_temporary_folder(store: str, tmp_path: Path):
    process = start(tmp_path, python(), COMMANDS["train"][0].format(store=store), tmp_path / "before")
    assert process.wait(PATIENCE_S) == 0, (tmp_path / "said.log").read_text()
    for end in (signal.SIGINT, signal.SIGTERM):
        port, temporary = free_port(), tmp_path / end.name
        typed = f"-m spotify_ml.serve model=models:/spotify-popularity/1 port={port} {store}"
        process = start(tmp_path, sys.executable, typed, temporary)
        try:
            wait_for(port, process, tmp_path / "said.log")
            assert list(temporary.iterdir()) != []
            process.send_signal(end)
            # As of a process that was ended by the signal, or by Ctrl-C.
            assert process.wait(PATIENCE_S) == 128 + end
        finally:
            process.kill()
        assert [path.name for path in temporary.rglob("*")] == []
