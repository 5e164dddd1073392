"""What becomes of a request: who answers it, and what is logged and scored after the answer."""

import logging
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from starlette.responses import Response

from spotify_ml.config.traffic import LoggedTrafficConfig, SplitTrafficConfig
from spotify_ml.live.assignment import CHALLENGER, CHAMPION, Arm, assign, keys_of, unit_of
from spotify_ml.live.database import Experiment
from spotify_ml.live.log import LogWriter, Scored
from spotify_ml.live.metrics import Reading, ServerMetrics
from spotify_ml.live.unseen import EXPECTED, UnseenScorer, Waiting
from spotify_ml.live.versions import Pair, Versions
from spotify_ml.scoring.requests import read_request
from spotify_ml.tracking.protocol import answer, refusal, refusal_of
from spotify_ml.tracking.registry import ScoringModel
from spotify_ml.utils.errors import SpotifyMLError

log = logging.getLogger(__name__)

REQUEST_HEADER, VERSION_HEADER, UNIT_HEADER = "X-Request-Id", "X-Model-Version", "X-Unit"


def experiment_of(config: LoggedTrafficConfig) -> Experiment:
    """Return the experiment of a server."""
    if isinstance(config, SplitTrafficConfig):
        return Experiment(config.name, config.mode, config.share, config.salt or config.name)
    return Experiment(config.name, config.mode)


@dataclass(frozen=True)
class _Answered:
    """Who answered, what, in how many milliseconds, and why the challenger did not where it was its turn."""

    model: ScoringModel
    predicted: np.ndarray | pd.DataFrame
    took_ms: float
    failed: ScoringModel | None = None
    why: str = ""


class Traffic:
    """Two versions that share the requests of an experiment.

    Parameters
    ----------
    experiment : Experiment
        Who answers what.
    versions : Versions
        The two versions, loaded.
    writer : LogWriter
        Of the log.
    capacity : int
        Requests that may wait to be scored unseen.
    max_rows : int
        Rows that a request may have.
    """

    def __init__(
        self, experiment: Experiment, versions: Versions, writer: LogWriter, capacity: int, max_rows: int
    ) -> None:
        self.experiment = experiment
        self.versions = versions
        self.writer = writer
        self.unseen = UnseenScorer(writer.put, capacity)
        self.metrics = ServerMetrics(self._readings)
        self._max_rows = max_rows

    def start(self) -> None:
        """Start what runs beside the answers."""
        for each in (self.writer, self.unseen, self.versions):
            each.start()

    def close(self) -> None:
        """End it, with everything written that can be."""
        for each in (self.versions, self.unseen, self.writer):
            each.close()

    def respond(self, content: bytes, content_type: str, unit: str | None) -> Response:
        """Return the answer to a request, by one of the versions of this moment."""
        started = time.perf_counter()
        request, pair = uuid.uuid4().hex, self.versions.pair
        response = self._respond(request, pair, content, content_type, unit)
        response.headers[REQUEST_HEADER] = request
        self.metrics.requests.labels(str(response.status_code)).inc()
        if VERSION_HEADER in response.headers:
            version = self.metrics.seconds.labels(response.headers[VERSION_HEADER])
            version.observe(time.perf_counter() - started)
        return response

    def refused(self, response: Response) -> Response:
        """Count a request that was refused before it was read."""
        self.metrics.requests.labels(str(response.status_code)).inc()
        response.headers[REQUEST_HEADER] = uuid.uuid4().hex
        return response

    def _respond(self, request: str, pair: Pair, content: bytes, content_type: str, unit: str | None) -> Response:
        try:
            rows, params = read_request(content, content_type, self._max_rows, pair.further)
            named = unit_of(unit, rows, request)
            arm = self._arm(named)
            answered = _answer(pair, arm, rows, params)
            response = answer(answered.predicted)
        except SpotifyMLError as error:
            return refusal_of(error)
        except Exception:
            log.exception("a request could not be answered")
            self.metrics.errors.labels(str(pair.champion.version.number)).inc()
            return refusal(500, "the request could not be answered; the server's log says why")
        response.headers[VERSION_HEADER] = str(answered.model.version.number)
        if answered.failed is not None:
            self.metrics.errors.labels(str(answered.failed.version.number)).inc()
        self._after(request, pair, named, arm, rows, params, answered)
        return response

    def _arm(self, unit: str) -> Arm:
        if self.experiment.share is None or self.experiment.salt is None:
            return CHAMPION
        return assign(unit, self.experiment.salt, self.experiment.share)

    def _after(
        self,
        request: str,
        pair: Pair,
        unit: str,
        arm: Arm,
        rows: pd.DataFrame,
        params: dict[str, Any],
        answered: _Answered,
    ) -> None:
        """Hand on what is to be logged and to be scored unseen; neither is waited for."""
        keys, now = keys_of(unit, rows), time.time()
        version = answered.model.version
        values = _columns(answered.predicted)
        role = CHALLENGER if answered.model is pair.challenger else CHAMPION
        self.writer.put(
            Scored(
                request,
                unit,
                arm,
                role,
                version.name,
                version.number,
                keys,
                answered=True,
                at=now,
                latency_ms=answered.took_ms,
                rows=rows,
                **values,
            )
        )
        if answered.failed is not None:
            failed = answered.failed.version
            self.writer.put(
                Scored(
                    request,
                    unit,
                    arm,
                    CHALLENGER,
                    failed.name,
                    failed.number,
                    keys,
                    answered=False,
                    at=now,
                    error=answered.why,
                )
            )
        unseen = pair.challenger if self.experiment.mode == "shadow" else pair.champion
        # While there is one version only, there is nothing to be compared.
        if unseen is not None and pair.challenger is not None:
            name = CHALLENGER if self.experiment.mode == "shadow" else EXPECTED
            self.unseen.put(Waiting(unseen, name, request, unit, arm, keys, rows, params, now))

    def _readings(self) -> Iterator[Reading]:
        counts, unseen, pair = self.writer.counts, self.unseen, self.versions.pair
        yield Reading("spotify_ml_unseen_waiting", "Requests that wait to be scored unseen.", len(unseen))
        for name, value in {"overflowed": unseen.overflowed, "scored": unseen.scored, "failed": unseen.failed}.items():
            yield Reading(f"spotify_ml_unseen_{name}", f"Requests of the unseen queue that {name}.", value, (), True)
        yield Reading("spotify_ml_log_waiting", "Rows that wait to be logged.", counts.waiting)
        yield Reading("spotify_ml_log_written", "Rows that were logged.", counts.written, (), True)
        yield Reading("spotify_ml_log_lost", "Rows that could not be logged.", counts.lost, (), True)
        yield Reading("spotify_ml_reloads", "How often other versions were loaded.", self.versions.reloads, (), True)
        yield Reading("spotify_ml_reload_failures", "How often none could be.", self.versions.failures, (), True)
        for role, model in ((CHAMPION, pair.champion), (CHALLENGER, pair.challenger)):
            number = 0 if model is None else model.version.number
            yield Reading(f"spotify_ml_{role}_version", f"The version that is {role}; 0: none.", number)


def _answer(pair: Pair, arm: Arm, rows: pd.DataFrame, params: dict[str, Any]) -> _Answered:
    """Score rows by the version of an arm; where the challenger cannot, by the champion."""
    failed, why = None, ""
    if arm == CHALLENGER and pair.challenger is not None:
        try:
            return _timed(pair.challenger, rows, params)
        except Exception as error:
            failed, why = pair.challenger, f"{type(error).__name__}: {error}"
            if not isinstance(error, SpotifyMLError):
                log.exception("%s could not score a request, which the champion answers", failed.version.uri)
    answered = _timed(pair.champion, rows, params)
    return _Answered(answered.model, answered.predicted, answered.took_ms, failed, why)


def _timed(model: ScoringModel, rows: pd.DataFrame, params: dict[str, Any]) -> _Answered:
    started = time.perf_counter()
    predicted = model.predict(rows, params)
    return _Answered(model, predicted, 1000 * (time.perf_counter() - started))


def _columns(predicted: np.ndarray | pd.DataFrame) -> dict[str, Any]:
    """Return the prediction, and the ends of the interval where one was asked for."""
    if isinstance(predicted, np.ndarray):
        return {"predicted": predicted}
    named = {"predicted": "popularity", "lower": "lower", "upper": "upper"}
    return {name: predicted[column].to_numpy() for name, column in named.items() if column in predicted.columns}
