"""A registered model, its server, and cases given to both: what became of each."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tests.mutations.judge import HANG, PATIENCE_S, TRACEBACK

_START_S = 120
# Beside a hang of the server, which the worker itself sees.
_GRACE_S = 5
MODEL = "models:/spotify-popularity/1"


@dataclass(frozen=True)
class Session:
    """What cases are given to.

    Attributes
    ----------
    store : str
        The address of the store.
    port : int
        Of the server.
    log : Path
        What the server prints.
    """

    store: str
    port: int
    log: Path


@contextmanager
def served(store: str, folder: Path) -> Iterator[Session]:
    """Serve the first version of a store."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "spotify_ml.serve", f"tracking.uri={store}", f"model={MODEL}", f"port={port}"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "max_mb=12", "timeout_s=3"], cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for(port, process)
            yield Session(store, port, folder / "server.log")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=PATIENCE_S).close()
            return
        time.sleep(0.2)
    raise RuntimeError("the server does not answer")


def judged(session: Session, folder: Path, seeds: Sequence[int], n_cases: int, n_jobs: int = 2) -> pd.DataFrame:
    """Return what became of so many cases of every seed: their seed, number, mode, name, kind, and what was said."""
    step = -(-n_cases // n_jobs)
    parts = [(seed, start, min(start + step, n_cases)) for seed in seeds for start in range(0, n_cases, step)]
    with ThreadPoolExecutor(n_jobs) as pool:
        done = pool.map(lambda part: list(_part(session, folder, *part)), parts)
    return pd.DataFrame([row for rows in done for row in rows])


def _part(session: Session, folder: Path, seed: int, start: int, stop: int) -> Iterator[dict[str, Any]]:
    place = folder / f"{seed}-{start}"
    place.mkdir()
    while start < stop:
        for row in _worker(session, place, seed, start, stop):
            yield {"seed": seed, **row}
            start = row["number"] + 1


def _worker(session: Session, folder: Path, seed: int, start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Yield what a process says of cases, until it is done, hangs, or ends."""
    asked = {"model": MODEL, "store": session.store, "port": session.port, "folder": str(folder)}
    asked |= {"seed": seed, "start": start, "stop": stop}
    command = [sys.executable, "-m", "tests.mutations.worker", json.dumps(asked)]
    with (folder / "worker.log").open("w") as log:
        # What is waited for must not stand in a buffer of ours.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE, stderr=log, env=environment)
    assert process.stdout is not None
    current: dict[str, Any] = {}
    try:
        while True:
            ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S + _GRACE_S if current else _START_S)
            line = process.stdout.readline() if ready else b""
            if not line:
                break
            said = json.loads(line)
            if "kind" not in said:
                current = said
                continue
            yield {**current, **said}
            if said["number"] == stop - 1:
                return
        kind = TRACEBACK if ready else HANG
        if "number" not in current:
            raise RuntimeError((folder / "worker.log").read_text()[-2_000:])
        yield {
            **current,
            "kind": kind,
            "detail": f"the process ended or hung: {(folder / 'worker.log').read_text()[-500:]}",
        }
    finally:
        process.kill()
        process.wait()


def table(outcomes: pd.DataFrame) -> str:
    """Return how many cases of every mode came to what."""
    return pd.crosstab(outcomes["mode"], outcomes["kind"], margins=True).to_string()
