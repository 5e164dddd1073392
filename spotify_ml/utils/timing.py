"""Seconds spent in the stages of a run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

log = logging.getLogger(__name__)


class Stopwatch:
    """Measure stages by name, in wall-clock seconds.

    Parameters
    ----------
    level : int
        At which the log tells of each stage.

    Attributes
    ----------
    seconds : dict of str to float
        By stage, in their order.
    """

    def __init__(self, level: int = logging.INFO) -> None:
        self._level = level
        self.seconds: dict[str, float] = {}
        self._started = perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Take the duration of the block, and say it in the log; several blocks of a stage are added."""
        started = perf_counter()
        yield
        seconds = perf_counter() - started
        before = self.seconds.get(name)
        self.seconds[name] = (before or 0.0) + seconds
        in_all = "" if before is None else f", {before + seconds:.2f} s in all"
        log.log(self._level, "%s: %.2f s%s", name, seconds, in_all)

    def metrics(self) -> dict[str, float]:
        """Return ``time/<stage>_s`` of every stage, and of everything since the stopwatch was made."""
        times = {**self.seconds, "total": perf_counter() - self._started}
        return {f"time/{stage}_s": seconds for stage, seconds in times.items()}
