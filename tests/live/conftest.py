"""A store with two versions, and servers of them on loopback."""

import http.client
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from spotify_ml.data.sources import RawTracks
from spotify_ml.tracking.training import train
from tests.servers import free_port, wait_for
from tests.support import configured, new_store, without_figures

MODEL = "spotify-popularity"
PATIENCE_S = 60
JSON = "application/json"


@dataclass(frozen=True)
class Store:
    """A local store whose version 1 is champion, and version 2 challenger."""

    folder: Path
    rows: pd.DataFrame

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def log(self) -> Path:
        return self.folder / "live.db"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def alias(self, name: str, version: int) -> None:
        self.client.set_registered_model_alias(MODEL, name, str(version))

    def logged(self, columns: str = "*", where: str = "1 = 1") -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.log}?mode=ro", uri=True, timeout=PATIENCE_S)) as connection:
            return connection.execute(f"SELECT {columns} FROM live_predictions WHERE {where}").fetchall()  # noqa: S608


@dataclass(frozen=True)
class Server:
    """A server that answers, and where it says what it does."""

    process: "subprocess.Popen[bytes]"
    port: int
    said: Path

    def ask(
        self,
        body: bytes = b"",
        kind: str = JSON,
        headers: Mapping[str, str] | None = None,
        path: str = "/invocations",
        method: str = "POST",
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (in small letters) and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {"Content-Type": kind, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        text = self.ask(path="/metrics", method="GET")[2].decode()
        return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} "))

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_S)


@contextmanager
def served(store: Store, *overrides: str) -> Iterator[Server]:
    """Start the command on a store, and stop it at the end."""
    port, said = free_port(), store.folder / f"server-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "spotify_ml.serve", f"tracking.uri={store.uri}", f"port={port}", *overrides]
    with said.open("wb") as out:
        process = subprocess.Popen(command, cwd=store.folder, stdout=out, stderr=out)
    server = Server(process, port, said)
    try:
        wait_for(port, process, said)
        yield server
    finally:
        server.stop()


def until(found: Any, what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def records(rows: pd.DataFrame, **params: Any) -> bytes:
    """Return the body of a request."""
    listed = json.loads(rows.to_json(orient="records", double_precision=15))
    return json.dumps({"dataframe_records": listed, **({"params": params} if params else {})}).encode()


@pytest.fixture(scope="session")
def trained(sample: RawTracks, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which two small versions were trained; its files are not to be changed."""
    root = tmp_path_factory.mktemp("two")
    uri = new_store(root)
    for name, chosen in {"weak": "features=audio", "strong": "features=full"}.items():
        place = [f"tracking.uri={uri}", f"tracking.artifact_location={root / 'artifacts'}"]
        overrides = ["model.n_jobs=1", "model.n_estimators=30", "baselines=quick", chosen, *place]
        (root / name).mkdir()
        with without_figures():
            train(configured(*overrides), root / name, overrides)
    store = Store(root, sample.frame.drop(columns="popularity"))
    store.alias("champion", 1)
    store.alias("challenger", 2)
    return store


@pytest.fixture
def store(trained: Store, tmp_path: Path) -> Store:
    """The store, with aliases and a log of a test's own; the files of versions stay where they are."""
    shutil.copyfile(trained.folder / "mlflow.db", tmp_path / "mlflow.db")
    return Store(tmp_path, trained.rows)
