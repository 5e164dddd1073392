"""Seconds spent in the stages of a run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

log = logging.getLogger(__name__)


class Stopwatch:
    """Wall-clock ``seconds`` by stage, in their order, also logged at ``level``."""

    def __init__(self, level: int = logging.INFO) -> None:
        self._level = level
        self.seconds: dict[str, float] = {}
        self._started = perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure and log the duration of the block; blocks of the same stage are added."""
        started = perf_counter()
        yield
        seconds = perf_counter() - started
        before = self.seconds.get(name)
        self.seconds[name] = (before or 0.0) + seconds
        in_all = "" if before is None else f", {before + seconds:.2f} s in all"
        log.log(self._level, "%s: %.2f s%s", name, seconds, in_all)

    def metrics(self) -> dict[str, float]:
        """Return ``time/<stage>_s`` of every stage, and ``time/total_s`` since the stopwatch was made."""
        times = {**self.seconds, "total": perf_counter() - self._started}
        return {f"time/{stage}_s": seconds for stage, seconds in times.items()}
