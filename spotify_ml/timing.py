"""Seconds spent in the stages of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """Measure stages by name, in wall-clock seconds.

    Attributes
    ----------
    seconds : dict of str to float
        By stage, in the order in which they were first entered.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the block to a stage."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - started

    def metrics(self) -> dict[str, float]:
        """Return ``time/<stage>_s`` of every stage, and of everything since the stopwatch was made."""
        times = {**self.seconds, "total": perf_counter() - self._started}
        return {f"time/{stage}_s": seconds for stage, seconds in times.items()}
