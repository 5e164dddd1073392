"""How many threads a fit takes, and how they wait for each other, on a machine that others use as well."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

# libgomp's threads spin while they wait, and those of a fit wait many times a second. Where another process runs on
# their core, the one that all wait for does not. The usual 300,000 spins gain a lone fit next to nothing over these.
_SPINS = "1000"
_PROC = Path("/proc")
# Of a process's line, after its name: its parent, and the ticks that it has run, in its own code and in the system's.
_PARENT, _USER, _SYSTEM = 1, 11, 12
# Of the line of all cores: what is no idling. Time stolen by another machine is nobody's here.
_BUSY = (0, 1, 2, 5, 6)
# A shorter time says little in ticks of a hundredth of a second.
_SHORTEST_S = 0.5


@dataclass(frozen=True)
class _Ticks:
    """What all cores have run so far, and how much of it was this process and those that it started."""

    at: float
    busy: int
    own: int


_started: _Ticks | None = None


def be_considerate() -> None:
    """Let threads wait without keeping a core, and begin to watch how busy others keep the machine.

    Call it before a library with threads is imported. What the user has set is kept: ``GOMP_SPINCOUNT`` or
    ``OMP_WAIT_POLICY``.
    """
    global _started
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    _started = _ticks()


def leave_busy_cores() -> int | None:
    """Let fits from now on take as many threads as there are cores that others have left idle since the start.

    A thread beside a busy process gets half a core, and all others wait for it: with one core of two, one thread is
    twice as fast as two. How many threads there are changes no number. ``OMP_NUM_THREADS``, and a number of threads
    among the parameters of a model, are kept.

    Returns
    -------
    int or None
        The number of threads, if it was set: where there is a way to know.
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
    """Return how many threads find a core of their own.

    Parameters
    ----------
    busy : float
        How many cores others keep busy, on average.
    n_cores : int
        How many there are.
    n_own : int
        How many of them this process may use.
    """
    return min(max(round(n_cores - busy), 1), n_own)


def _ticks() -> _Ticks | None:
    """Return the ticks so far, or None where the system does not tell them as Linux does."""
    try:
        busy = [int(field) for field in (_PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
        return _Ticks(time.monotonic(), sum(busy[field] for field in _BUSY), _own_ticks())
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _own_ticks() -> int:
    """Return the ticks of this process and of those below it that are there."""
    parents, ticks = dict[int, int](), dict[int, int]()
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # A name may hold blanks and brackets.
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
