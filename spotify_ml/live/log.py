"""The writer of the log: what was predicted, in batches, beside the answers and never before them."""

import json
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy.exc import DataError as UnfitValueError
from sqlalchemy.exc import SQLAlchemyError

from spotify_ml.data.contract import CheckedRows, check_rows
from spotify_ml.data.schema import AUDIO, OUTSIDE, TEXT, Kind
from spotify_ml.live.assignment import LONGEST_UNIT, Arm, artist_hash
from spotify_ml.live.database import PREDICTIONS, Database, Experiment, cause_of
from spotify_ml.utils.errors import SpotifyMLError

log = logging.getLogger(__name__)

# A kill -9 loses what was not written yet; many rows at once take less of the time of answers.
_EVERY_S = 0.4
_RETRY_S = 1.0
_FORGET_EVERY_S = 3600.0
_DAY_S = 86_400.0
# Entries that wait while the database is away; some 1 KB each.
_MOST_WAITING = 50_000
_MOST_AT_ONCE = 2000
_LONGEST = 300


@dataclass(frozen=True)
class Scored:
    """What a version predicted of the rows of a request, or why it failed.

    ``role`` is that of the version, or ``expected`` for the error that the champion expects of itself. Only what was
    answered holds its rows.
    """

    request: str
    unit: str
    arm: Arm
    role: str
    model: str
    version: int
    keys: Sequence[str]
    answered: bool
    at: float
    predicted: np.ndarray | None = None
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    expected: np.ndarray | None = None
    error: str | None = None
    latency_ms: float | None = None
    rows: pd.DataFrame | None = None


@dataclass
class Counts:
    """How many rows of the log were written, wait, and are lost for good."""

    written: int = 0
    waiting: int = 0
    lost: int = 0


@dataclass
class LogWriter:
    """A thread that writes what it is given to the log, and goes on when that cannot be used.

    Attributes
    ----------
    database : Database
        The log.
    experiment : Experiment
        What is logged.
    key : bytes
        Of the hashes of artists.
    further : mapping of str to Kind
        The columns beside audio and text that the versions take.
    keep_inputs : bool
        Whether raw rows are kept as they came.
    retention_days : float or None
        How old predictions may become.
    counts : Counts
        What became of the rows.
    """

    database: Database
    experiment: Experiment
    key: bytes
    further: Mapping[str, Kind]
    keep_inputs: bool
    retention_days: float | None
    counts: Counts = field(default_factory=Counts)
    _waiting: deque[Scored] = field(default_factory=deque)
    _lock: Lock = field(default_factory=Lock)
    _ended: Event = field(default_factory=Event)
    _thread: Thread | None = None
    _is_prepared: bool = False
    _is_failing: bool = False
    _forgot_at: float = 0.0

    def prepare(self) -> None:
        """Make the tables; a database that cannot be used is said and waited for.

        Raises `ConfigError` if the log is of another version of this code, or the experiment has other settings.
        """
        try:
            self.database.prepare(self.experiment)
            self._is_prepared = True
        except SQLAlchemyError as error:
            self._failed([], error)

    def start(self) -> None:
        """Start to write."""
        self._thread = Thread(target=self._run, name="live-log", daemon=True)
        self._thread.start()

    def put(self, scored: Scored) -> None:
        """Take a prediction; where too many wait, it is counted as lost."""
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                self.counts.lost += len(scored.keys)
                return
            self._waiting.append(scored)
            self.counts.waiting += len(scored.keys)

    def close(self) -> None:
        """Write what is left, if the database takes it, and end."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self.counts.waiting:
            log.error("the log of predictions: %d rows could not be written and are lost", self.counts.waiting)
            self.counts.lost, self.counts.waiting = self.counts.lost + self.counts.waiting, 0
        self.database.engine.dispose()

    def _run(self) -> None:
        while True:
            is_last = self._ended.wait(_RETRY_S if self._is_failing else _EVERY_S)
            while self._flush():
                pass
            if is_last:
                return

    def _flush(self) -> bool:
        """Write some of what waits, and return whether more can be written."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE))]
        n_rows = sum(len(each.keys) for each in batch)
        try:
            if not self._is_prepared:
                self.database.prepare(self.experiment)
                self._is_prepared = True
            self._forget()
            if not batch:
                return False
            self._write(self._as_rows(batch))
        except (SQLAlchemyError, SpotifyMLError, OSError) as error:
            self._failed(batch, error)
            return False
        except Exception:
            # Whatever it is, the thread goes on with the next.
            log.exception("the log of predictions: %d rows cannot be written and are lost", n_rows)
            with self._lock:
                self.counts.lost, self.counts.waiting = self.counts.lost + n_rows, self.counts.waiting - n_rows
            return True
        if self._is_failing:
            log.warning("the log of predictions is written again; %d rows were lost", self.counts.lost)
        self._is_failing = False
        with self._lock:
            self.counts.written, self.counts.waiting = self.counts.written + n_rows, self.counts.waiting - n_rows
        return bool(self._waiting)

    def _failed(self, batch: list[Scored], error: Exception) -> None:
        """Put back what could not be written, the oldest first, and say why, once."""
        with self._lock:
            self._waiting.extendleft(reversed(batch))
        if not self._is_failing:
            log.error(
                "the log of predictions cannot be written (%s); answers go on, up to %d predictions wait, and further "
                "ones are lost and counted",
                cause_of(error),
                _MOST_WAITING,
            )
        self._is_failing = True

    def _write(self, rows: list[dict[str, Any]]) -> None:
        try:
            self.database.insert(PREDICTIONS, rows)
        except UnfitValueError:
            # One of them has a value that the database does not take.
            for row in rows:
                try:
                    self.database.insert(PREDICTIONS, [row])
                except UnfitValueError as error:
                    self.counts.lost, self.counts.written = self.counts.lost + 1, self.counts.written - 1
                    log.error("the log of predictions does not take a row (%s): it is lost", cause_of(error))  # noqa: TRY400

    def _forget(self) -> None:
        if self.retention_days is None or time.monotonic() - self._forgot_at < _FORGET_EVERY_S:
            return
        self._forgot_at = time.monotonic()
        self.database.forget(time.time() - self.retention_days * _DAY_S)

    def _as_rows(self, batch: Sequence[Scored]) -> list[dict[str, Any]]:
        """Return the rows of the table; what is known of inputs is found for all of them at once."""
        with_rows = [each for each in batch if each.rows is not None]
        details = iter(self._details([each.rows for each in with_rows if each.rows is not None]))
        rows = []
        for each in batch:
            for position, key in enumerate(each.keys):
                rows.append(
                    {
                        "experiment": self.experiment.name,
                        "request": each.request,
                        "row": position,
                        "unit": each.unit,
                        "key": key,
                        "arm": each.arm,
                        "role": each.role,
                        "model": each.model,
                        "version": each.version,
                        "answered": each.answered,
                        "prediction": _at(each.predicted, position),
                        "lower": _at(each.lower, position),
                        "upper": _at(each.upper, position),
                        "expected": _at(each.expected, position),
                        "error": _short(each.error, LONGEST_UNIT),
                        "latency_ms": each.latency_ms,
                        "at": each.at,
                        **(_NO_DETAILS if each.rows is None else next(details)),
                    }
                )
        return rows

    def _details(self, frames: list[pd.DataFrame]) -> list[dict[str, Any]]:
        """Return numbers, genre, hash of the artist, and what was missing or out of range, by row."""
        if not frames:
            return []
        rows = pd.concat(frames, ignore_index=True)
        checked = check_rows(rows, "refuse", self.further)
        gaps, outside = _gaps(checked, rows), _outside(checked, len(rows))
        genres, artists = (_texts(checked, name, len(rows)) for name in ("track_genre", "artists"))
        inputs: list[str | None] = [None] * len(rows)
        if self.keep_inputs:
            kept = [name for name in (*AUDIO, *TEXT, *self.further) if name in rows.columns]
            inputs = [_json(dict(zip(kept, values, strict=True))) for values in rows[kept].itertuples(index=False)]
        return [
            {
                "missing": gaps[number],
                "out_of_range": outside[number],
                "numbers": _json(checked.audio[:, number].tolist()),
                "genre": _short(genres[number], LONGEST_UNIT),
                "artist_group": artist_hash(artists[number], self.key),
                "inputs": inputs[number],
            }
            for number in range(len(rows))
        ]


_NO_DETAILS = dict.fromkeys(("missing", "out_of_range", "numbers", "genre", "artist_group", "inputs"))


def _gaps(checked: CheckedRows, rows: pd.DataFrame) -> list[str]:
    missing = {name: np.isnan(values) for name, values in zip(AUDIO, checked.audio, strict=True)}
    missing |= {name: np.asarray(pd.isna(values)) for name, values in checked.text.items()}
    missing |= {name: np.ones(len(rows), dtype=bool) for name in TEXT if name not in checked.text}
    return _listed(missing, len(rows))


def _outside(checked: CheckedRows, n_rows: int) -> list[str]:
    return _listed(
        {each.column: each.where for each in checked.problems if OUTSIDE in each.text or "infinite" in each.text},
        n_rows,
    )


def _listed(flags: Mapping[str, np.ndarray], n_rows: int) -> list[str]:
    return [";".join(name for name, where in flags.items() if where[number])[:_LONGEST] for number in range(n_rows)]


def _texts(checked: CheckedRows, name: str, n_rows: int) -> list[str | None]:
    if name not in checked.text:
        return [None] * n_rows
    return [None if pd.isna(each) else str(each) for each in checked.text[name]]


def _at(values: np.ndarray | None, position: int) -> float | None:
    return None if values is None or not np.isfinite(values[position]) else float(values[position])


def _short(text: str | None, longest: int) -> str | None:
    return None if text is None else text.encode("utf-8", "replace").decode().replace("\0", "")[:longest]


def _json(value: Any) -> str:
    def plain(each: Any) -> Any:
        if each is None or each is pd.NA or (isinstance(each, float) and not np.isfinite(each)):
            return None
        return (
            each.item() if isinstance(each, np.generic) else each if isinstance(each, int | float | list) else str(each)
        )

    named = {key: plain(each) for key, each in value.items()} if isinstance(value, dict) else list(map(plain, value))
    return json.dumps(named)
