"""Tests of how many threads a fit takes beside other processes, by a made-up machine."""

import os
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from spotify_ml.utils import threads


@pytest.mark.parametrize(
    ("busy", "n_cores", "n_own", "expected"),
    [(0, 2, 2, 2), (0.3, 2, 2, 2), (0.95, 2, 2, 1), (2, 2, 2, 1), (5, 2, 2, 1), (1, 16, 16, 15), (40, 64, 2, 2)],
)
def test_each_thread_finds_a_core_of_its_own(busy: float, n_cores: int, n_own: int, expected: int):
    assert threads.threads_beside(busy, n_cores, n_own) == expected


class Machine:
    """Files as of ``/proc``: this process, one that it started, and another."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._at = folder, 100.0
        monkeypatch.setattr(threads, "_PROC", folder)
        monkeypatch.setattr(threads, "_started", None)
        monkeypatch.setattr(threads.time, "monotonic", lambda: self._at)
        monkeypatch.setattr(threads.os, "cpu_count", lambda: 2)
        monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
        for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
            monkeypatch.delenv(name, raising=False)
        self._own, self._child, self._other = 0, 0, 0
        self._write()

    def run(self, seconds: float, *, own: float = 0, child: float = 0, other: float = 0) -> None:
        """Let time pass in which each takes so many cores."""
        ticks = seconds * os.sysconf("SC_CLK_TCK")
        self._at += seconds
        self._own, self._child = self._own + int(own * ticks), self._child + int(child * ticks)
        self._other += int(other * ticks)
        self._write()

    def _write(self) -> None:
        busy = self._own + self._child + self._other
        (self._folder / "stat").write_text(f"cpu  {busy} 0 0 5000 0 0 0 0 0 0\ncpu0 1 2 3\n")
        mine = os.getpid()
        for process, parent, ticks in ((mine, 1, self._own), (mine + 1, mine, self._child), (mine + 2, 1, self._other)):
            (self._folder / str(process)).mkdir(exist_ok=True)
            fields = ["R", parent, *[0] * 9, ticks, 0, 7, 7]
            (self._folder / str(process) / "stat").write_text(f"{process} (a) b) {' '.join(map(str, fields))}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        ({"own": 1.0}, 2),
        # The process that draws is this run's own.
        ({"own": 1.0, "child": 0.9}, 2),
        ({"own": 0.9, "other": 1.0}, 1),
        ({"own": 0.1, "other": 1.9}, 1),
        ({"own": 1.0, "other": 0.2}, 2),
    ],
)
def test_cores_that_others_keep_busy_are_left_to_them(machine: Machine, load: dict[str, float], expected: int):
    with threadpool_limits():
        threads.be_considerate()
        machine.run(2.0, **load)
        assert threads.leave_busy_cores() == expected


def test_what_the_user_has_set_is_kept(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("GOMP_SPINCOUNT", "77")
    threads.be_considerate()
    machine.run(2.0, other=2.0)
    assert threads.leave_busy_cores() is None
    assert os.environ["GOMP_SPINCOUNT"] == "77"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    threads.be_considerate()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_where_the_system_does_not_tell_nothing_is_set(machine: Machine, tmp_path: Path):
    (tmp_path / "stat").unlink()
    threads.be_considerate()
    machine._at += 2
    assert threads.leave_busy_cores() is None


def test_too_short_a_time_says_nothing(machine: Machine):
    threads.be_considerate()
    machine.run(0.1, other=2.0)
    assert threads.leave_busy_cores() is None
