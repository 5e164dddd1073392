"""The server of a model over HTTP: MLflow's protocol, with the reading and the refusals of this project."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from mlflow.pyfunc.scoring_server import predictions_to_json
from mlflow.version import VERSION
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.supervisors.multiprocess import Multiprocess

from spotify_ml.data.schema import Kind
from spotify_ml.scoring.calibrated import CalibratedModel, Predict, read_calibration
from spotify_ml.scoring.requests import UnsupportedFormatError, read_request
from spotify_ml.tracking.registry import Version, load_folder
from spotify_ml.utils.errors import ModelError, SpotifyMLError, shown
from spotify_ml.utils.files import remove_lasting_folder
from spotify_ml.utils.stops import if_stuck, note, requested

# Processes that answer are given what to serve by their environment.
_SERVED = "SPOTIFY_ML_SERVED"
_STOP_WITHIN_S = 3
_ENDED = "the server ended by itself; the lines above say why"


@dataclass(frozen=True)
class Limits:
    """What a request may take: the size of its body, the time in which this must arrive, and its tracks."""

    max_mb: float
    timeout_s: float
    # How many a process answers at once.
    max_requests: int
    max_rows: int


def serve(
    version: Version, folder: Path, host: str, port: int, workers: int, limits: Limits, calibration: Path | None = None
) -> None:
    """Answer requests for a version, whose files in `folder` were checked, by so many processes until stopped.

    With a `calibration`, a file that belongs to the version, predictions are corrected by it.

    Raises `KeyboardInterrupt` after Ctrl-C, SIGTERM or SIGHUP, once requests under way are answered or 3 seconds have
    passed; `ModelError` if the server ends by itself.
    """
    # Requests are answered side by side: further threads for one row would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    served: dict[str, Any] = {"version": asdict(version), "folder": str(folder), "limits": asdict(limits)}
    served["calibration"] = "" if calibration is None else str(calibration)
    os.environ[_SERVED] = json.dumps(served)
    settings = uvicorn.Config(
        f"{__name__}:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        # Another reader of HTTP that is installed would have no limit for headers.
        http="h11",
        ws="none",
        timeout_graceful_shutdown=_STOP_WITHIN_S,
        server_header=False,
    )
    try:
        if workers > 1:
            supervisor = _Supervisor(settings, [settings.bind_socket()])
            with if_stuck(remove_lasting_folder), if_stuck(supervisor.kill_all):
                supervisor.run()
        else:
            server = _Server(settings)
            if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                signal.signal(signal.SIGHUP, server.handle_exit)
            with if_stuck(remove_lasting_folder):
                server.run()
    except SystemExit as error:
        raise ModelError(_ENDED) from error
    if not requested():
        raise ModelError(_ENDED)
    raise KeyboardInterrupt


class _Server(uvicorn.Server):
    """uvicorn's server of one process, which remembers what stopped it."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        note(sig)
        super().handle_exit(sig, frame)


class _Supervisor(Multiprocess):
    """uvicorn's parent of several processes, which SIGHUP ends as well, and which remembers what stopped it."""

    def handle_int(self) -> None:
        self._stop(signal.SIGINT)

    def handle_term(self) -> None:
        self._stop(signal.SIGTERM)

    def handle_hup(self) -> None:
        self._stop(signal.SIGHUP)

    def _stop(self, number: int) -> None:
        note(number)
        self.should_exit.set()

    def kill_all(self) -> None:
        """End the processes that answer at once."""
        for process in self.processes:
            process.kill()


def create_app() -> Starlette:
    """Return the application of a process that answers: the model that `serve` was given, behind MLflow's addresses."""
    served = json.loads(os.environ[_SERVED])
    version = Version(**served["version"])
    model = load_folder(version, Path(served["folder"]))
    predict: Predict = model.predict
    if served["calibration"]:
        predict = CalibratedModel(predict, read_calibration(Path(served["calibration"]), version.identity)).predict
    limits = Limits(**served["limits"])

    # uvicorn's own limit counts connections: of a burst it refuses all, and callers who ask nothing shut others out.
    places = asyncio.Semaphore(limits.max_requests)

    async def invocations(request: Request) -> Response:
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            return _refusal(415, f"Content-Encoding: {shown(encoding)} is not read; send the body as it is")
        if places.locked():
            return _refusal(503, f"{limits.max_requests} requests are under way (max_requests); try again later")
        async with places:
            content = await _body(request, limits)
            if isinstance(content, Response):
                return content
            content_type = request.headers.get("content-type", "")
            return await asyncio.to_thread(_answer, predict, content, content_type, limits.max_rows, model.further)

    return Starlette(
        routes=[
            *(Route(path, _alive) for path in ("/ping", "/health")),
            Route("/version", _version),
            Route("/invocations", invocations, methods=["POST"]),
        ]
    )


async def _alive(request: Request) -> Response:
    return Response("\n", media_type="application/json")


async def _version(request: Request) -> Response:
    return Response(VERSION, media_type="text/plain")


async def _body(request: Request, limits: Limits) -> bytes | Response:
    """Return the body of a request, or why it is not taken.

    What is too large is read to its end, or to that of its time, but not kept: who still sends does not read an answer.
    """
    most = int(limits.max_mb * 1e6)
    announced = request.headers.get("content-length", "")
    # Who asks first has not sent anything yet.
    if request.headers.get("expect", "").lower() == "100-continue" and announced.isdecimal() and int(announced) > most:
        return _too_large(limits)
    parts, size = list[bytes](), 0
    try:
        async with asyncio.timeout(limits.timeout_s):
            async for part in request.stream():
                size += len(part)
                parts.append(part)
                if size > most:
                    parts.clear()
    except TimeoutError:
        if size <= most:
            return _refusal(408, f"the request did not arrive within {limits.timeout_s:g} s (timeout_s)")
    except ClientDisconnect:
        return _refusal(400, "the request was broken off")
    if size > most:
        return _too_large(limits)
    return b"".join(parts)


def _too_large(limits: Limits) -> JSONResponse:
    return _refusal(413, f"the request is larger than {limits.max_mb:g} MB (max_mb); send fewer rows at a time")


def _answer(
    predict: Predict, content: bytes, content_type: str, max_rows: int, further: Mapping[str, Kind]
) -> Response:
    try:
        rows, params = read_request(content, content_type, max_rows, further)
        predicted = predict(rows, params)
    except UnsupportedFormatError as error:
        return _refusal(415, str(error))
    except SpotifyMLError as error:
        return _refusal(400, str(error))
    answer = StringIO()
    predictions_to_json(predicted, answer)
    return Response(answer.getvalue(), media_type="application/json")


def _refusal(status: int, message: str) -> JSONResponse:
    """Return a refusal in MLflow's form; the message says all that there is to know, without paths and frames."""
    code = "INVALID_PARAMETER_VALUE" if status == 400 else "BAD_REQUEST"
    return JSONResponse(
        {"error_code": code, "message": message}, status, {"Connection": "close"} if status != 400 else None
    )
