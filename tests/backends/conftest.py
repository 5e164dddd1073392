"""A Dask cluster within the tests' own process, and one of a scheduler and workers as processes of their own."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

distributed = pytest.importorskip("distributed")
pytest.importorskip("dask.dataframe")

SCHEDULER, WORKER = ("-m", "distributed.cli.dask_scheduler"), ("-m", "distributed.cli.dask_worker")


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """Two workers in threads of this process: what a test patches, they see."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with distributed.Client(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as client:
        yield client


def waited_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@dataclass
class Processes:
    """A scheduler and its workers."""

    folder: Path
    address: str = ""
    scheduler: Any = None
    workers: list[Any] = field(default_factory=list)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def start(self, name: str, *arguments: str) -> Any:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{name}.log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, *arguments], cwd=self.folder, stdout=log, stderr=log, env=environment
            )

    def is_fitting(self) -> bool:
        return any("got rank" in self.log(f"worker-{number}") for number in range(len(self.workers)))


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """A scheduler and two workers on loopback."""
    started = Processes(tmp_path)
    file = tmp_path / "scheduler.json"
    started.scheduler = started.start(
        "scheduler", *SCHEDULER, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
    )
    try:
        waited_for(file.is_file)
        for number in range(2):
            arguments = (*WORKER, "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard", "--no-nanny")
            started.workers.append(started.start(f"worker-{number}", *arguments))
        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            started.address = client.scheduler.address
        yield started
    finally:
        for process in (*started.workers, started.scheduler):
            process.kill()
            process.wait()
