"""MLflow's protocol over HTTP: bodies read within limits, answers and refusals in its form, and its other addresses."""

import asyncio
from dataclasses import dataclass
from io import StringIO

import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server import predictions_to_json
from mlflow.version import VERSION
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from spotify_ml.scoring.requests import UnsupportedFormatError
from spotify_ml.utils.errors import SpotifyMLError, shown


@dataclass(frozen=True)
class Limits:
    """What a request may take: the size of its body, the time in which this must arrive, and its tracks."""

    max_mb: float
    timeout_s: float
    # How many a process answers at once.
    max_requests: int
    max_rows: int


async def alive(request: Request) -> Response:
    """Say that the server runs."""
    return Response("\n", media_type="application/json")


async def version(request: Request) -> Response:
    """Say which MLflow the server follows."""
    return Response(VERSION, media_type="text/plain")


class Intake:
    """The way of a request's body into a process, which takes so many at once; in the order in which it is refused.

    Parameters
    ----------
    limits : Limits
        What a request may take.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # uvicorn's own limit counts connections: of a burst it refuses all, and idle callers shut others out.
        self.places = asyncio.Semaphore(limits.max_requests)

    def refusal(self, request: Request) -> Response | None:
        """Return why a request is not taken, before anything of it is read."""
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            return refusal(415, f"Content-Encoding: {shown(encoding)} is not read; send the body as it is")
        if self.places.locked():
            most = self._limits.max_requests
            return refusal(503, f"{most} requests are under way (max_requests); try again later")
        return None

    async def body(self, request: Request) -> bytes | Response:
        """Return the body of a request, or why it is not taken.

        What is too large is read to its end, or to that of its time, but not kept: who still sends does not read an
        answer.
        """
        limits = self._limits
        most = int(limits.max_mb * 1e6)
        announced = request.headers.get("content-length", "")
        expects = request.headers.get("expect", "").lower() == "100-continue"
        # Who asks first has not sent anything yet.
        if expects and announced.isdecimal() and int(announced) > most:
            return self._too_large()
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
                return refusal(408, f"the request did not arrive within {limits.timeout_s:g} s (timeout_s)")
        except ClientDisconnect:
            return refusal(400, "the request was broken off")
        if size > most:
            return self._too_large()
        return b"".join(parts)

    def _too_large(self) -> Response:
        return refusal(
            413, f"the request is larger than {self._limits.max_mb:g} MB (max_mb); send fewer rows at a time"
        )


def answer(predicted: np.ndarray | pd.DataFrame, headers: dict[str, str] | None = None) -> Response:
    """Return predictions in MLflow's form."""
    text = StringIO()
    predictions_to_json(predicted, text)
    return Response(text.getvalue(), media_type="application/json", headers=headers)


def refusal_of(error: SpotifyMLError) -> Response:
    """Return why rows are not scored."""
    return refusal(415 if isinstance(error, UnsupportedFormatError) else 400, str(error))


def refusal(status: int, message: str) -> Response:
    """Return a refusal in MLflow's form; the message says all that there is to know, without paths and frames."""
    code = "INVALID_PARAMETER_VALUE" if status == 400 else "BAD_REQUEST"
    return JSONResponse(
        {"error_code": code, "message": message}, status, {"Connection": "close"} if status != 400 else None
    )
