"""What is scored unseen, after the answer: rows by the challenger, or the error that the champion expects of itself."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.live.assignment import Arm
from spotify_ml.live.log import Scored
from spotify_ml.tracking.registry import ScoringModel
from spotify_ml.utils.errors import SpotifyMLError

log = logging.getLogger(__name__)

EXPECTED = "expected"
# Of the interval that tells what error the champion expects, and how many standard deviations its half is.
_CONFIDENCE, _DEVIATIONS = 0.8, 1.2816
# Many rows at once cost little more than one; the pause lets them come together.
_MOST_AT_ONCE, _PAUSE_S = 500, 0.4
# Of a prediction these change its value.
_CHANGING = ("out_of_range", "catalogue")


@dataclass(frozen=True)
class Waiting:
    """A request that was answered, to be scored by a version as ``role``."""

    model: ScoringModel
    role: str
    request: str
    unit: str
    arm: Arm
    keys: Sequence[str]
    rows: pd.DataFrame
    params: dict[str, Any]
    at: float


@dataclass
class UnseenScorer:
    """A thread that scores requests in a queue of limited length, many at once.

    Attributes
    ----------
    put_scored : callable
        Takes what was predicted, or why not.
    capacity : int
        Requests that may wait; further ones are counted and not scored.
    overflowed, scored, failed : int
        Counts of requests.
    """

    put_scored: Callable[[Scored], None]
    capacity: int
    overflowed: int = 0
    scored: int = 0
    failed: int = 0
    _waiting: deque[Waiting] = field(default_factory=deque)
    _ready: Condition = field(default_factory=Condition)
    _is_ended: bool = False
    _thread: Thread | None = None

    def start(self) -> None:
        """Start to score."""
        self._thread = Thread(target=self._run, name="live-unseen", daemon=True)
        self._thread.start()

    def put(self, waiting: Waiting) -> None:
        """Take a request, or count that the queue is full."""
        with self._ready:
            if len(self._waiting) >= self.capacity:
                self.overflowed += 1
                return
            self._waiting.append(waiting)
            self._ready.notify()

    def __len__(self) -> int:
        """Return how many requests wait."""
        return len(self._waiting)

    def close(self) -> None:
        """Score what waits, and end."""
        with self._ready:
            self._is_ended = True
            self._ready.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._waiting and not self._is_ended:
                    self._ready.wait()
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE))]
            groups: dict[Any, list[Waiting]] = {}
            for each in batch:
                asked = repr({name: each.params.get(name) for name in _CHANGING})
                groups.setdefault((each.model.version.uri, each.role, asked), []).append(each)
            for group in groups.values():
                self._score(group)
            if not self._is_ended:
                time.sleep(_PAUSE_S)

    def _score(self, group: list[Waiting]) -> None:
        """Score requests of one kind: the first alone, for its time, and the others at once."""
        started = time.perf_counter()
        self._score_together(group[:1])
        if group[1:]:
            log.debug("the first of %d took %.1f ms", len(group), 1000 * (time.perf_counter() - started))
            self._score_together(group[1:])

    def _score_together(self, group: list[Waiting]) -> None:
        rows = group[0].rows
        if len(group) > 1:
            rows = pd.concat([each.rows for each in group], ignore_index=True)
        started = time.perf_counter()
        try:
            found = _values(group[0], rows)
        except Exception as error:
            if len(group) > 1:
                # One of them is refused; the others are not to suffer from it.
                for each in group:
                    self._score_together([each])
                return
            if not isinstance(error, SpotifyMLError):
                log.exception("the %s could not score a request", group[0].role)
            self.failed += 1
            self.put_scored(_scored(group[0], error=f"{type(error).__name__}: {error}"))
            return
        took = 1000 * (time.perf_counter() - started) if len(group) == 1 else None
        start = 0
        for each in group:
            part = slice(start, start + len(each.rows))
            self.scored += 1
            self.put_scored(_scored(each, latency_ms=took, **{name: values[part] for name, values in found.items()}))
            start = part.stop


def _values(waiting: Waiting, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what is logged of rows: the prediction, and of the champion the squared error that it expects."""
    taken = waiting.model.params
    params = {name: waiting.params[name] for name in _CHANGING if name in waiting.params and name in taken}
    if waiting.role != EXPECTED:
        return {"predicted": np.asarray(waiting.model.predict(rows, params), dtype=np.float64)}
    told = pd.DataFrame(waiting.model.predict(rows, {**params, "interval": _CONFIDENCE}))
    half = (told["upper"] - told["lower"]).to_numpy() / 2
    return {"predicted": told["popularity"].to_numpy(), "expected": (half / _DEVIATIONS) ** 2}


def _scored(waiting: Waiting, **found: Any) -> Scored:
    version = waiting.model.version
    return Scored(
        waiting.request,
        waiting.unit,
        waiting.arm,
        waiting.role,
        version.name,
        version.number,
        waiting.keys,
        answered=False,
        at=waiting.at,
        **found,
    )
