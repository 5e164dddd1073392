"""The number of threads of a fit, and how they wait, on a machine that other processes also use."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

# Waiting threads of libgomp spin, and take the core from the process that they wait for. Even on an idle machine, the
# default of 300,000 spins is hardly faster.
_SPINS = "1000"
_PROC = Path("/proc")
# Fields of a process's line, after its name: its parent, and its ticks in its own code and in the system's.
_PARENT, _USER, _SYSTEM = 1, 11, 12
# Fields of the line of all cores that are not idle time. Time stolen by other virtual machines is left out.
_BUSY = (0, 1, 2, 5, 6)
# Too few ticks, of a hundredth of a second, are not reliable.
_SHORTEST_S = 0.5


@dataclass(frozen=True)
class _Ticks:
    """Ticks that all cores were busy so far, and those of this process and its descendants."""

    at: float
    busy: int
    own: int


_started: _Ticks | None = None
_alone = RLock()


def be_considerate() -> None:
    """Let waiting threads free their core, and start to measure how busy other processes keep the machine.

    Call it before importing a library with threads. ``GOMP_SPINCOUNT`` and ``OMP_WAIT_POLICY`` are kept if they are
    set.
    """
    global _started
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    _started = _ticks()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let linear algebra use one thread: several add numbers up in another order, which changes the last digits.

    The limit is of the whole process, so one thread of it at a time gets in.
    """
    from threadpoolctl import threadpool_limits

    with _alone, threadpool_limits(1, user_api="blas"):
        yield


def leave_busy_cores() -> int | None:
    """Limit the threads of later fits to the cores that other processes have left idle, and return their number.

    A thread on a busy core gets half of it, and all others wait for it: with one free core of two, one thread is twice
    as fast as two. The number of threads changes no result. ``OMP_NUM_THREADS`` and a model's own parameter take
    precedence. Where it cannot be decided, nothing changes, and None is returned.
    """
    before, now = _started, _ticks()
    if before is None or now is None or "OMP_NUM_THREADS" in os.environ or now.at - before.at < _SHORTEST_S:
        return None
    by_others = (now.busy - before.busy - (now.own - before.own)) / os.sysconf("SC_CLK_TCK") / (now.at - before.at)
    threads = threads_beside(by_others, os.cpu_count() or 1, len(os.sched_getaffinity(0)))

    from threadpoolctl import threadpool_limits

    threadpool_limits(threads, user_api="openmp")
    return threads


def threads_beside(busy: float, n_cores: int, n_own: int) -> int:
    """Return how many threads get their own core if others keep ``busy`` cores busy; at most ``n_own``."""
    return min(max(round(n_cores - busy), 1), n_own)


def _ticks() -> _Ticks | None:
    """Return the ticks so far, None where there is no ``/proc`` as on Linux."""
    try:
        busy = [int(field) for field in (_PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
        return _Ticks(time.monotonic(), sum(busy[field] for field in _BUSY), _own_ticks())
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _own_ticks() -> int:
    """Return the ticks of this process and its running descendants."""
    parents, ticks = dict[int, int](), dict[int, int]()
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # A name may contain blanks and brackets.
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        process = int(folder.name)
        parents[process] = int(fields[_PARENT])
        ticks[process] = int(fields[_USER]) + int(fields[_SYSTEM])
    own = {os.getpid()}
    while below := {process for process, parent in parents.items() if parent in own} - own:
        own |= below
    return sum(ticks[process] for process in own if process in ticks)
