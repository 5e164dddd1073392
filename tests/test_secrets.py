"""Tests that a password is written nowhere, and folders of this machine in no store: planted, and looked for."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from spotify_ml.utils.errors import without_passwords
from spotify_ml.utils.paths import PROJECT
from tests.commands import python
from tests.conftest import SAMPLE
from tests.servers import free_port, mlflow_server

PLANTED = "h0rse-b4ttery"
PATIENCE_S = 120


@pytest.mark.parametrize(
    "address",
    [
        f"http://user:{PLANTED}@host:5000",
        f"http://user:{PLANTED}@{PLANTED}@host",
        f"https://{PLANTED}@host/path",
        f"postgresql+psycopg2://user:{PLANTED}@host/db",
        f"postgresql://host/db?user=u&password={PLANTED}&sslmode=require",
        f"postgresql://host/db?sslpassword={PLANTED}",
        f"http://host/store?access_token={PLANTED}#top",
        f"s3://user:{PLANTED}@host/bucket",
        f"tcp://user:{PLANTED}@scheduler:8786",
        f"a line with 'http://u:{PLANTED}@h' and \"http://u:{PLANTED}@h\" in it",
    ],
)
def test_every_form_of_a_secret_is_hidden(address: str):
    told = without_passwords(address)
    assert PLANTED not in told
    assert "***" in told
    assert without_passwords(told) == told


@pytest.mark.parametrize(
    "text", ["sqlite:///mlruns/mlflow.db", "http://127.0.0.1:5000", "postgresql://user@host/db", "a: b@c", "x//y:z"]
)
def test_what_holds_no_secret_stays(text: str):
    assert without_passwords(text) == text


@dataclass(frozen=True)
class Server:
    """A tracking server on loopback, and the folder with all that it and its callers write."""

    port: int
    folder: Path

    @property
    def uri(self) -> str:
        return f"http://somebody:{PLANTED}@127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("secrets")
    with mlflow_server(f"sqlite:///{folder / 'server.db'}", folder) as address:
        yield Server(int(address.rpartition(":")[2]), folder)


def _run(
    server: Server, *command: str, variable: str | None = None, **others: str
) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"TMPDIR": str(server.folder / "tmp")} | ({"MLFLOW_TRACKING_URI": variable} if variable else {})
    environment |= others
    (server.folder / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [python(), *command],
        cwd=server.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def _nowhere(server: Server, *done: "subprocess.CompletedProcess[str]") -> None:
    for each in done:
        assert PLANTED not in each.stdout + each.stderr, each.args
    assert _holding(server.folder, PLANTED) == []


def _holding(folder: Path, word: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


QUICK = ["model.n_estimators=40", "model.learning_rate=0.1", "model.max_depth=4", "model.n_jobs=1"]


@pytest.mark.slow
def test_a_password_of_the_store_is_in_no_file_no_store_and_on_no_screen(server: Server):
    train, place = ["-m", "spotify_ml.train"], f"hydra.run.dir={server.folder}"
    typed = _run(server, *train, *QUICK, f"tracking.uri={server.uri}", "tracking=server", f"{place}/typed")
    held = _run(server, *train, *QUICK, f"{place}/held", variable=server.uri)
    sweep = _run(
        server,
        *[*train, "-m", *QUICK, f"tracking.uri={server.uri}", "tracking.artifact_location=null", "baselines=quick"],
        *["model.max_depth=2,3", f"hydra.sweep.dir={server.folder}/sweep"],
    )
    study = _run(
        server,
        *[*train, *QUICK, "tune=optuna", "tune.n_trials=2", f"tune.storage=sqlite:///{server.folder}/optuna.db"],
        *[f"{place}/study", "baselines=quick"],
        variable=server.uri,
    )
    for each in (typed, held, sweep, study):
        assert each.returncode == 0, each.stderr
    pd.read_parquet(SAMPLE).head(20).to_csv(server.folder / "tracks.csv", index=False)
    names = [
        (server.folder / name / "summary.json").read_text().split('"run_id": "')[1][:8] for name in ("typed", "held")
    ]
    done = [
        _run(server, "-m", "spotify_ml.promote", "dry_run=true", "force=true", variable=server.uri),
        _run(server, "-m", "spotify_ml.promote", "version=1", "force=true", f"tracking.uri={server.uri}"),
        _run(server, "-m", "spotify_ml.predict", "input=tracks.csv", "output=scored.csv", f"tracking.uri={server.uri}"),
        _run(server, str(PROJECT / "scripts" / "compare.py"), *names, "output=page.html", variable=server.uri),
    ]
    for each in done:
        assert each.returncode == 0, each.stderr + each.stdout
    _nowhere(server, typed, held, sweep, study, *done)


@pytest.mark.slow
def test_a_command_that_is_refused_repeats_no_password(server: Server):
    closed = f"http://somebody:{PLANTED}@127.0.0.1:{free_port()}"
    database = f"postgresql://somebody:{PLANTED}@127.0.0.1:{free_port()}/runs"
    study = f"tune.storage=postgresql://127.0.0.1:{free_port()}/studies?user=u&password={PLANTED}"
    train = "spotify_ml.train"
    own = [f"tracking.uri=sqlite:///{server.folder}/own.db", f"hydra.run.dir={server.folder}/own"]
    commands = [
        [train, f"tracking.uri={closed}"],
        [train, f"tracking.uri={database}"],
        [train, f"tracking.uri={server.uri}", "model.max_depth=-1"],
        [train, f"tracking.uri={server.uri}", "data=file", "data.path=none.csv"],
        [train, f"trackng.uri={server.uri}"],
        [train, "tune=optuna", study],
        [train, "tune=optuna", study.replace("=", '="', 1) + '"'],
        [train, "engine=dask", f"engine.address=tcp://somebody:{PLANTED}@127.0.0.1:{free_port()}", *own],
        *([f"spotify_ml.{name}", f"tracking.uri={closed}"] for name in ("promote", "serve", "relocate")),
        ["spotify_ml.predict", "input=tracks.csv", "output=none.csv", f"tracking.uri={closed}"],
    ]
    pd.read_parquet(SAMPLE).head(2).to_csv(server.folder / "tracks.csv", index=False)
    done = [_run(server, "-m", *command) for command in commands]
    done.append(_run(server, "-m", train, variable=closed))
    for each in done:
        assert each.returncode == 1, each.args
        assert each.stderr.count("error: ") == 1, each.stderr
    _nowhere(server, *done)


# Where MLflow finds the files of a local store; `relocate` rewrites them.
LOCATIONS = {"artifact_location", "artifact_uri", "storage_location", "source"}


def _cells(database: Path) -> Iterator[tuple[str, str]]:
    """Each column of each table, and what it holds as text."""
    with closing(sqlite3.connect(database)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - its own names
            for row in rows:
                yield from zip((each[0] for each in rows.description), map(str, row), strict=True)


@pytest.mark.slow
def test_a_store_holds_no_folder_of_the_machine_that_made_it(server: Server, tmp_path: Path):
    home, data, scratch, local = (tmp_path / f"{name}-pl4ce" for name in ("home", "data", "scratch", "local"))
    for folder in (home, data, scratch):
        folder.mkdir()
    own = {"HOME": str(home), "TMPDIR": str(scratch), "SPOTIFY_CACHE_PATH": str(scratch / "cache")}
    tracks = data / "my tracks.parquet"
    shutil.copy(SAMPLE, tracks)
    (data / "broken.csv").write_text("tempo\n1\n")
    outside = ["data=file", f'data.path="{tracks}"']
    stores = {
        "server": ["tracking=server", f"tracking.uri={server.uri}"],
        "local": [f"tracking.uri=sqlite:///{local}/mlflow.db"],
    }
    for name, store in stores.items():
        train = ["-m", "spotify_ml.train", *store, *QUICK]
        runs = [
            _run(server, *train, "tracking.experiment=places", *more, f"hydra.run.dir={home}/{name}/{number}", **own)
            for number, more in enumerate([[], outside, ["data=file", f"data.path={data}/broken.csv"]])
        ]
        swept = f"data.path={data}/broken.csv,'{tracks}'"
        sweep = ["-m", "data=file", swept, "tracking.experiment=places", f"hydra.sweep.dir={home}/{name}/sweep"]
        runs.append(_run(server, *train, *sweep, **own))
        assert [each.returncode for each in runs] == [0, 0, 1, 1], [each.stderr for each in runs]
        ids = [json.loads((home / name / run / "summary.json").read_text())["run_id"] for run in ("0", "1")]
        # A version whose data is elsewhere is judged on it by its run's folder, and compared with another.
        place = ["tracking.experiment=places", *store]
        done = [
            _run(server, "-m", "spotify_ml.promote", "dry_run=true", *place, **own),
            _run(server, str(PROJECT / "scripts" / "compare.py"), *ids, *place, f"output={home}/page.html", **own),
        ]
        assert "not there any more" not in done[0].stdout + done[0].stderr
        assert [each.returncode in (0, 2) for each in done] == [True, True], [each.stderr for each in done]
    kept = {"server": (server.folder / "server.db", server.folder / "kept"), "local": (local / "mlflow.db", local)}
    for database, artifacts in kept.values():
        cells = list(_cells(database))
        assert [cell for cell in cells if cell[1].startswith("my tracks")]
        for word in (str(PROJECT), "-pl4ce"):
            assert [cell for cell in cells if word in cell[1] and cell[0] not in LOCATIONS] == []
            assert [path for path in _holding(artifacts, word) if path != database] == []
