"""The server of two versions on FastAPI: MLflow's addresses as `single` has them, and those of live traffic."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from spotify_ml.config.commands import ServeConfig
from spotify_ml.config.traffic import LoggedTrafficConfig
from spotify_ml.live.assignment import read_key
from spotify_ml.live.database import Database, log_address
from spotify_ml.live.log import LogWriter
from spotify_ml.live.metrics import CONTENT_TYPE
from spotify_ml.live.outcomes import OutcomesTable, receive
from spotify_ml.live.traffic import REQUEST_HEADER, UNIT_HEADER, VERSION_HEADER, Traffic, experiment_of
from spotify_ml.live.versions import Versions
from spotify_ml.reports.page import as_page, render
from spotify_ml.scoring.requests import CSV, JSON, PARQUET
from spotify_ml.tracking.protocol import Intake, Limits, alive, refusal, refusal_of
from spotify_ml.tracking.protocol import version as mlflow_version
from spotify_ml.tracking.serving import answer_until_stopped
from spotify_ml.tracking.store import open_store
from spotify_ml.utils.errors import DataError, SpotifyMLError, TrackingError
from spotify_ml.utils.version import __version__

log = logging.getLogger(__name__)

_DESCRIPTION = (
    "Popularity of Spotify tracks, by two versions of a model. /ping and /health say that the server runs, /version "
    "which MLflow it follows."
)
_FORMATS = {
    JSON: (
        '{"dataframe_records": […]}, {"dataframe_split": {…}}, {"instances": […]} or {"inputs": …}, and perhaps '
        '"params": {"interval": 0.9}'
    ),
    CSV: "UTF-8, comma-separated, with a header",
    PARQUET: "a file",
}
_ROWS = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"description": told}} for kind, told in _FORMATS.items()},
    }
}
_HEADERS = {
    "parameters": [
        {
            "name": UNIT_HEADER,
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "what the request is assigned by, and outcomes name it by; the first track_id by default",
        }
    ]
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": f"predictions; {VERSION_HEADER} says whose, {REQUEST_HEADER} is in the log"},
    400: {"description": "rows, a key or a parameter that is refused, and why"},
    408: {"description": "the body did not arrive in time"},
    413: {"description": "the body is too large"},
    415: {"description": "a format that is not read"},
    503: {"description": "too many requests at once"},
}
_OUTCOMES = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "description": '{"outcomes": [{"unit": "…", "popularity": 41, "observed_at": "2026-01-31"}]}'
                }
            },
            CSV: {"schema": {"description": "the columns unit, popularity and observed_at"}},
        },
    }
}


def open_traffic(config: ServeConfig, traffic: LoggedTrafficConfig) -> Traffic:
    """Return the traffic of a server, its versions loaded, its log checked as far as it answers.

    Raises `SpotifyMLError` if a version is not there, both are the same, or the log is of other settings.
    """
    versions = Versions(
        open_store(config.tracking.uri), config.tracking.uri, config.model_uri, traffic.challenger, traffic.reload_s
    )
    experiment = experiment_of(traffic)
    database = Database(log_address(traffic.log, config.tracking.uri))
    key = read_key(database.file, make=True)
    pair = versions.load()
    writer = LogWriter(database, experiment, key, pair.further, traffic.keep_inputs, traffic.retention_days)
    writer.prepare()
    return Traffic(experiment, versions, writer, traffic.queue, config.max_rows)


def serve_traffic(config: ServeConfig, traffic: Traffic) -> None:
    """Answer requests until stopped; errors as of `spotify_ml.tracking.serving.serve`."""
    limits = Limits(config.max_mb, config.timeout_s, config.max_requests, config.max_rows)
    # A line for each request takes time, and /metrics and the log say more.
    answer_until_stopped(create_app(traffic, limits), config.host, config.port, access_log=False)


def create_app(traffic: Traffic, limits: Limits) -> FastAPI:
    """Return the application of two versions."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        traffic.start()
        yield
        await asyncio.to_thread(traffic.close)

    # FastAPI's own page of the interface would fetch scripts from elsewhere.
    app = FastAPI(
        title="spotify_ml",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    intake = Intake(limits)

    @app.post("/invocations", openapi_extra={**_ROWS, **_HEADERS}, responses=_ANSWERS)
    async def invocations(request: Request) -> Response:
        """Predict the popularity of raw tracks, by one of the two versions."""
        if (refused := intake.refusal(request)) is not None:
            return traffic.refused(refused)
        async with intake.places:
            content = await intake.body(request)
            if isinstance(content, Response):
                return traffic.refused(content)
            kind, unit = request.headers.get("content-type", ""), request.headers.get(UNIT_HEADER)
            return await asyncio.to_thread(traffic.respond, content, kind, unit)

    @app.post("/outcomes", openapi_extra=_OUTCOMES, responses={code: _ANSWERS[code] for code in (400, 413, 415, 503)})
    async def outcomes(request: Request) -> Response:
        """Take popularity that was observed later; nothing of a request is kept if a row of it is wrong."""
        if (refused := intake.refusal(request)) is not None:
            return refused
        async with intake.places:
            content = await intake.body(request)
            if isinstance(content, Response):
                return content
            return await asyncio.to_thread(_take, traffic, content, request.headers.get("content-type", ""))

    # As Starlette has them beside `single`: HEAD is answered as well.
    for path, answers in (("/ping", alive), ("/health", alive), ("/version", mlflow_version)):
        app.add_route(path, answers)
    app.add_exception_handler(HTTPException, _in_plain_words)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Return requests, times, errors, queues and versions, for Prometheus."""
        return Response(traffic.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(as_page(render("api.md.j2", api=app.openapi())))

    return app


async def _in_plain_words(request: Request, error: Exception) -> Response:
    """Answer an unknown address or method as `single` does."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    detail = error.detail if isinstance(error, HTTPException) else ""
    return PlainTextResponse(detail, status, headers)


def _take(traffic: Traffic, content: bytes, content_type: str) -> Response:
    try:
        received = receive(traffic.writer.database, OutcomesTable.of_request(content, content_type))
    except DataError as error:
        return refusal_of(error)
    except (TrackingError, SpotifyMLError) as error:
        log.error("outcomes could not be kept: %s", error)  # noqa: TRY400
        return refusal(503, "the log cannot be written at present; send the outcomes again later")
    return Response(received.as_json(), media_type=JSON)
