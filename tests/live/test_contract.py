"""The server of two versions answers as that of one does: every request of the documentation, right and wrong."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from io import BytesIO

import pandas as pd
import pytest

from spotify_ml.utils.paths import PROJECT
from tests.live.conftest import JSON, Server, Store, records, served

pytestmark = pytest.mark.slow
CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"


def _parquet(rows: pd.DataFrame) -> bytes:
    file = BytesIO()
    rows.to_parquet(file, index=False)
    return file.getvalue()


def _of_the_page() -> list[bytes]:
    """The bodies of the requests that are printed in the documentation."""
    page = (PROJECT / "docs" / "serving.md").read_text(encoding="utf-8")
    return [each.encode() for each in re.findall(r"-H 'Content-Type: application/json' -d '(.*?)'\n", page, re.DOTALL)]


def _split(rows: pd.DataFrame) -> bytes:
    return json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split"))}).encode()


# What is sent, made of some rows: a body, its type, further headers, the address and the method.
REQUESTS: dict[str, Callable[[pd.DataFrame], tuple[object, ...]]] = {
    "records": lambda rows: (records(rows), JSON),
    "split": lambda rows: (_split(rows), JSON),
    "csv": lambda rows: (rows.to_csv(index=False).encode(), CSV),
    "csv with charset": lambda rows: (rows.to_csv(index=False).encode(), f"{CSV}; charset=utf-8"),
    "parquet": lambda rows: (_parquet(rows), PARQUET),
    "interval": lambda rows: (records(rows, interval=0.9), JSON),
    "explain": lambda rows: (records(rows, explain=2), JSON),
    "clip": lambda rows: (records(rows.assign(tempo=999.0), out_of_range="clip"), JSON),
    "out of range": lambda rows: (records(rows.assign(tempo=999.0)), JSON),
    "no tempo": lambda rows: (records(rows.drop(columns="tempo")), JSON),
    "text as tempo": lambda rows: (records(rows.assign(tempo="fast")), JSON),
    "mistyped": lambda rows: (records(rows.rename(columns={"tempo": "temp0"})), JSON),
    "unknown parameter": lambda rows: (records(rows, intervall=0.9), JSON),
    "wrong parameter": lambda rows: (records(rows, interval=2), JSON),
    "broken": lambda rows: (b'{"dataframe_records": [', JSON),
    "nested": lambda rows: (b"[" * 100_000, JSON),
    "no rows": lambda rows: (b'{"dataframe_records": []}', JSON),
    "unknown key": lambda rows: (b'{"dataframe_recordz": []}', JSON),
    "no utf-8": lambda rows: (b"\xff\xfe", CSV),
    "short row": lambda rows: (rows.to_csv(index=False).encode() + b"1,2\n", CSV),
    "damaged": lambda rows: (_parquet(rows)[:200], PARQUET),
    "empty": lambda rows: (b"", JSON),
    "another type": lambda rows: (records(rows), "text/plain"),
    "another charset": lambda rows: (records(rows), f"{JSON}; charset=latin-1"),
    "packed": lambda rows: (records(rows), JSON, {"Content-Encoding": "gzip"}),
    "large": lambda rows: (b" " * 1_100_000, JSON),
    "many rows": lambda rows: (_parquet(pd.concat([rows] * 60)), PARQUET),
    "unknown address": lambda rows: (b"", JSON, {}, "/nothing"),
    "get": lambda rows: (b"", JSON, {}, "/invocations", "GET"),
    "ping": lambda rows: (b"", JSON, {}, "/ping", "GET"),
    "ping, head": lambda rows: (b"", JSON, {}, "/ping", "HEAD"),
    "ping, post": lambda rows: (b"", JSON, {}, "/ping", "POST"),
    "health": lambda rows: (b"", JSON, {}, "/health", "GET"),
    "version": lambda rows: (b"", JSON, {}, "/version", "GET"),
    **{f"page {number}": lambda rows, body=body: (body, JSON) for number, body in enumerate(_of_the_page())},
}


@pytest.fixture(scope="module")
def pair(trained: Store) -> Iterator[tuple[Server, Server, Server]]:
    """The champion alone, and both versions in either way, whose champion answers."""
    limits = ("max_mb=1", "max_rows=100")
    log = f"traffic.log=sqlite:///{trained.folder / 'contract.db'}"
    with (
        served(trained, *limits) as single,
        served(trained, *limits, "traffic=shadow", log) as shadow,
        # Nobody's unit is below this share.
        served(trained, *limits, "traffic=split", "traffic.share=1e-18", "traffic.name=few", log) as split,
    ):
        yield single, shadow, split


def test_the_page_has_requests():
    assert len(_of_the_page()) == 2
    assert all("dataframe" in shlex.quote(body.decode()) for body in _of_the_page())


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_is_answered_as_by_the_server_of_one_version(
    pair: tuple[Server, Server, Server], trained: Store, name: str
):
    asked = REQUESTS[name](trained.rows.head(3))
    expected, *others = (server.ask(*asked) for server in pair)
    for status, headers, body in others:
        assert (status, body) == (expected[0], expected[2])
        kept = {each for each in headers if not each.startswith("x-")} - {"date"}
        assert kept == set(expected[1]) - {"date"}
        assert headers.get("content-type") == expected[1].get("content-type")
        is_asked = len(asked) < 4
        assert ("x-request-id" in headers) == is_asked
        assert ("x-model-version" in headers) == (is_asked and status == 200)
