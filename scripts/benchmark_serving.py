"""Measure the served model: one raw row a request, a few clients that keep their connections open.

Start the server first, in another terminal; the clients run on the same machine and take their share of it::

    make serve
    python scripts/benchmark_serving.py                             # 20,000 requests from 8 clients
    python scripts/benchmark_serving.py --requests 500 --clients 1  # what a client alone waits

A request counts as an error if it is not answered, or not by one number from 0 to 100.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from time import perf_counter
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from spotify_ml.utils.paths import PACKAGE

SAMPLE = PACKAGE / "data" / "sample" / "spotify_by_genre.parquet"
_HEADERS = {"Content-Type": "application/json"}
_ANSWER_WITHIN_S = 60


@dataclass
class Answers:
    """What the clients got.

    Attributes
    ----------
    seconds : list of float
        How long each request took, errors included.
    errors : list of str
        What went wrong.
    """

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def requests(rows: pd.DataFrame) -> list[bytes]:
    """Return one request a row."""
    table = json.loads(rows.to_json(orient="split", index=False, double_precision=15))
    return [
        json.dumps({"dataframe_split": {"columns": table["columns"], "data": [row]}}).encode() for row in table["data"]
    ]


def ask(address: str, bodies: Sequence[bytes]) -> Answers:
    """Send requests one after the other over one connection."""
    answers, connection = Answers(), HTTPConnection(address, timeout=_ANSWER_WITHIN_S)
    for body in bodies:
        started = perf_counter()
        try:
            connection.request("POST", "/invocations", body, _HEADERS)
            response = connection.getresponse()
            text = response.read()
            if response.status != 200 or not is_popularity(text):
                answers.errors.append(f"{response.status} {text[:200]!r}")
        except (OSError, HTTPException) as error:
            answers.errors.append(repr(error))
            connection.close()
        answers.seconds.append(perf_counter() - started)
    connection.close()
    return answers


def is_popularity(text: bytes) -> bool:
    """Tell whether an answer is one number from 0 to 100."""
    try:
        (prediction,) = json.loads(text)["predictions"]
        return 0 <= prediction <= 100
    except (ValueError, KeyError, TypeError):
        return False


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure the served model, one row a request.")
    parser.add_argument("--url", default="http://127.0.0.1:5001", help="of the server")
    parser.add_argument("--requests", type=int, default=20_000, help="in all")
    parser.add_argument("--clients", type=int, default=8, help="at once, each with a connection of its own")
    args = parser.parse_args(argv)
    address = urlsplit(args.url).netloc
    known = requests(pd.read_parquet(SAMPLE).drop(columns="popularity"))
    bodies = [known[number % len(known)] for number in range(args.requests)]
    ask(address, bodies[:10])
    started = perf_counter()
    with ThreadPoolExecutor(args.clients) as pool:
        clients = list(pool.map(lambda client: ask(address, bodies[client :: args.clients]), range(args.clients)))
    elapsed = perf_counter() - started
    milliseconds = 1000 * np.concatenate([each.seconds for each in clients])
    errors = [error for each in clients for error in each.errors]
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
    print("| what | measured |\n|---|---|")
    print(f"| requests, clients | {len(milliseconds):,}, {args.clients} |")
    print(f"| p50, p95, p99 | {p50:.1f}, {p95:.1f}, {p99:.1f} ms |")
    print(f"| requests/s | {len(milliseconds) / elapsed:.0f} |")
    print(f"| errors | {len(errors)} |")
    if errors:
        sys.exit(f"error: the first of {len(errors)}: {errors[0]}")


if __name__ == "__main__":
    main()
