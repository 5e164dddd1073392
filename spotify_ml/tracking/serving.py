"""The server of a model over HTTP: MLflow's protocol, with the reading and the refusals of this project."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from types import FrameType

import uvicorn
from mlflow.pyfunc.scoring_server import predictions_to_json
from mlflow.version import VERSION
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from spotify_ml.errors import ModelError, SpotifyMLError, shown
from spotify_ml.files import remove_lasting_folder
from spotify_ml.scoring.requests import UnsupportedFormatError, read_request
from spotify_ml.tracking.registry import ScoringModel, Version, load_folder

# Processes that answer are given what to serve by their environment.
_SERVED = "SPOTIFY_ML_SERVED"
_STOP_WITHIN_S = 3


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Attributes
    ----------
    max_mb : float
        The size of its body, in millions of bytes.
    timeout_s : float
        The seconds in which its body must arrive.
    """

    max_mb: float
    timeout_s: float


def serve(version: Version, folder: Path, host: str, port: int, workers: int, limits: Limits) -> None:
    """Answer requests until Ctrl-C.

    Parameters
    ----------
    version : Version
        Which version.
    folder : Path
        Its files, which were checked.
    host, port : str, int
        Where to listen.
    workers : int
        Number of processes.
    limits : Limits
        What a request may take.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, once requests under way are answered.
    ModelError
        If the server ends by itself.
    """
    # Requests are answered side by side: further threads for one row would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ[_SERVED] = json.dumps({"version": asdict(version), "folder": str(folder), "limits": asdict(limits)})
    # After SIGTERM, uvicorn answers what is under way and then ends the process by that signal.
    signal.signal(signal.SIGTERM, _end_by_signal)
    try:
        uvicorn.run(
            f"{__name__}:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            timeout_graceful_shutdown=_STOP_WITHIN_S,
            server_header=False,
        )
    except SystemExit as error:
        raise ModelError("the server ended by itself; the lines above say why") from error
    # uvicorn returns after Ctrl-C alone.
    raise KeyboardInterrupt


def _end_by_signal(number: int, frame: FrameType | None) -> None:
    remove_lasting_folder()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def create_app() -> Starlette:
    """Return the application of a process that answers: the model that `serve` was given, behind MLflow's addresses."""
    served = json.loads(os.environ[_SERVED])
    model = load_folder(Version(**served["version"]), Path(served["folder"]))
    limits = Limits(**served["limits"])

    async def invocations(request: Request) -> Response:
        content = await _body(request, limits)
        if isinstance(content, Response):
            return content
        return await asyncio.to_thread(_answer, model, content, request.headers.get("content-type", ""))

    return Starlette(
        routes=[
            *(Route(path, _alive) for path in ("/ping", "/health")),
            Route("/version", _version),
            Route("/invocations", _encodings_refused(invocations), methods=["POST"]),
        ]
    )


async def _alive(request: Request) -> Response:
    return Response("\n", media_type="application/json")


async def _version(request: Request) -> Response:
    return Response(VERSION, media_type="text/plain")


def _encodings_refused(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Answer a compressed request by the name of its encoding, where it would else be no JSON."""

    async def checked(request: Request) -> Response:
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            return _refusal(415, f"Content-Encoding: {shown(encoding)} is not read; send the body as it is")
        return await endpoint(request)

    return checked


async def _body(request: Request, limits: Limits) -> bytes | Response:
    """Return the body of a request, or why it is not taken.

    What is too large is read to its end, or to that of its time, but not kept: who still sends does not read an answer.
    """
    most = int(limits.max_mb * 1e6)
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
        return _refusal(413, f"the request is larger than {limits.max_mb:g} MB (max_mb); send fewer rows at a time")
    return b"".join(parts)


def _answer(model: ScoringModel, content: bytes, content_type: str) -> Response:
    try:
        rows, params = read_request(content, content_type)
        predicted = model.predict(rows, params)
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
