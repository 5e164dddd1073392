"""The server of a model over HTTP: MLflow's protocol, with the reading and the refusals of this project."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.supervisors.multiprocess import Multiprocess

from spotify_ml.data.schema import Kind
from spotify_ml.scoring.calibrated import CalibratedModel, Predict, read_calibration
from spotify_ml.scoring.requests import read_request
from spotify_ml.tracking.protocol import Intake, Limits, alive, answer, refusal_of
from spotify_ml.tracking.protocol import version as mlflow_version
from spotify_ml.tracking.registry import Version, load_folder
from spotify_ml.utils.errors import ModelError, SpotifyMLError
from spotify_ml.utils.files import remove_lasting_folder
from spotify_ml.utils.stops import if_stuck, note, requested

# Processes that answer are given what to serve by their environment.
_SERVED = "SPOTIFY_ML_SERVED"
_STOP_WITHIN_S = 3
_ENDED = "the server ended by itself; the lines above say why"


def serve(
    version: Version, folder: Path, host: str, port: int, workers: int, limits: Limits, calibration: Path | None = None
) -> None:
    """Answer requests for a version, whose files in `folder` were checked, by so many processes until stopped.

    With a `calibration`, a file that belongs to the version, predictions are corrected by it.

    Raises `KeyboardInterrupt` after Ctrl-C, SIGTERM or SIGHUP, once requests under way are answered or 3 seconds have
    passed; `ModelError` if the server ends by itself.
    """
    served: dict[str, Any] = {"version": asdict(version), "folder": str(folder), "limits": asdict(limits)}
    served["calibration"] = "" if calibration is None else str(calibration)
    os.environ[_SERVED] = json.dumps(served)
    answer_until_stopped(f"{__name__}:create_app", host, port, workers)


def answer_until_stopped(app: Any, host: str, port: int, workers: int = 1, *, access_log: bool = True) -> None:
    """Answer requests by an application, or by what makes one in each of several processes, named as ``module:name``.

    Errors are those of `serve`.
    """
    # Requests are answered side by side: further threads for one row would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings = uvicorn.Config(
        app,
        factory=isinstance(app, str),
        host=host,
        port=port,
        workers=workers,
        # Another reader of HTTP that is installed would have no limit for headers.
        http="h11",
        ws="none",
        access_log=access_log,
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
    intake = Intake(limits)

    async def invocations(request: Request) -> Response:
        if (refused := intake.refusal(request)) is not None:
            return refused
        async with intake.places:
            content = await intake.body(request)
            if isinstance(content, Response):
                return content
            content_type = request.headers.get("content-type", "")
            return await asyncio.to_thread(_answer, predict, content, content_type, limits.max_rows, model.further)

    return Starlette(
        routes=[
            *(Route(path, alive) for path in ("/ping", "/health")),
            Route("/version", mlflow_version),
            Route("/invocations", invocations, methods=["POST"]),
        ]
    )


def _answer(
    predict: Predict, content: bytes, content_type: str, max_rows: int, further: Mapping[str, Kind]
) -> Response:
    try:
        rows, params = read_request(content, content_type, max_rows, further)
        return answer(predict(rows, params))
    except SpotifyMLError as error:
        return refusal_of(error)
