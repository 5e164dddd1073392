"""Tests of the served model: the real server on loopback, asked in every format, rightly and wrongly."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import spotify_ml
from spotify_ml.paths import PROJECT
from tests.tracking.conftest import CHAMPION, Store

pytestmark = pytest.mark.slow

PATIENCE_S = 60
JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, body: bytes, content_type: str = JSON) -> tuple[int, str]:
        request = urllib.request.Request(f"{self.url}/invocations", body, {"Content-Type": content_type})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _command(store: Store, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "spotify_ml.serve", f"tracking.uri={store.uri}", *overrides]


@pytest.fixture(scope="module")
def server(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The champion, served by the command."""
    port = _free_port()
    folder = tmp_path_factory.mktemp("served")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            _command(store, f"model={CHAMPION}", f"port={port}"),
            cwd=folder,
            stdout=log,
            stderr=log,
            text=True,
            # A shell lets its jobs in the background ignore Ctrl-C, and the tests may be one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        served = Server(process, port)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while True:
                try:
                    urllib.request.urlopen(f"{served.url}/ping", timeout=PATIENCE_S).close()
                    break
                except OSError:
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < deadline, (folder / "log").read_text()
                    time.sleep(0.2)
            yield served
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(PATIENCE_S)


def _as_json(key: str, orient: str) -> Callable[[pd.DataFrame], bytes]:
    def body(rows: pd.DataFrame) -> bytes:
        table = json.loads(rows.to_json(orient=orient, double_precision=15))
        return json.dumps({key: table}).encode()

    return body


def _parquet(rows: pd.DataFrame) -> bytes:
    file = BytesIO()
    rows.to_parquet(file, index=False)
    return file.getvalue()


FORMATS = {
    "dataframe_split": (JSON, _as_json("dataframe_split", "split")),
    "dataframe_records": (JSON, _as_json("dataframe_records", "records")),
    "inputs": (JSON, _as_json("inputs", "records")),
    "csv": (CSV, lambda rows: rows.to_csv(index=False).encode()),
    "parquet": (PARQUET, _parquet),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_what_the_loaded_model_gives(server: Server, store: Store, name: str):
    content_type, body = FORMATS[name]
    status, text = server.post(body(store.rows), content_type)
    assert status == 200, text
    expected = spotify_ml.load_model(CHAMPION, store.uri).predict(store.rows)
    np.testing.assert_allclose(json.loads(text)["predictions"], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["dataframe_records", "csv"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: rows.drop(columns="tempo"), id="missing"),
        pytest.param(lambda rows: rows.assign(tempo="fast"), id="text"),
    ],
)
def test_a_column_that_is_wrong_is_named(
    server: Server, store: Store, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]
):
    content_type, body = FORMATS[name]
    status, text = server.post(body(change(store.rows.head(2))), content_type)
    assert status == 400
    assert re.search(r"missing inputs \['tempo'\]|Error: rows to score: tempo\b", json.loads(text)["message"])


@pytest.mark.parametrize(
    ("params", "status"), [({}, 400), ({"out_of_range": "clip"}, 200), ({"out_of_range": "klip"}, 400)]
)
def test_a_request_carries_the_parameters_of_the_prediction(
    server: Server, store: Store, params: dict[str, str], status: int
):
    records = json.loads(store.rows.head(1).assign(tempo=999.0).to_json(orient="records"))
    answered, text = server.post(json.dumps({"dataframe_records": records, "params": params}).encode())
    assert answered == status
    assert "predictions" in text if status == 200 else re.search("tempo|klip", json.loads(text)["message"])


def test_intervals_and_reasons_come_as_json(server: Server, store: Store):
    records = json.loads(store.rows.head(2).to_json(orient="records"))
    params = {"interval": 0.9, "explain": 3}
    status, text = server.post(json.dumps({"dataframe_records": records, "params": params}).encode())
    assert status == 200, text
    expected = spotify_ml.load_model(CHAMPION, store.uri).predict(store.rows.head(2), params)
    for answer, row in zip(json.loads(text)["predictions"], expected.to_dict("records"), strict=True):
        reasons, expected_reasons = answer.pop("reasons"), row.pop("reasons")
        assert answer == pytest.approx(row, abs=1e-3)
        assert [each["feature"] for each in reasons] == [each["feature"] for each in expected_reasons]


@pytest.mark.parametrize("params", [{"interval": 1.2}, {"interval": "high"}, {"explain": -1}, {"explain": 500}])
def test_what_cannot_be_asked_is_answered_by_name(server: Server, store: Store, params: dict[str, object]):
    records = json.loads(store.rows.head(1).to_json(orient="records"))
    status, text = server.post(json.dumps({"dataframe_records": records, "params": params}).encode())
    assert status == 400
    assert next(iter(params)) in json.loads(text)["message"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param(b'{"dataframe_records": [', JSON, 400, id="broken JSON"),
        pytest.param(b'{"rows": []}', JSON, 400, id="no known format"),
        pytest.param(b"[1, 2]", JSON, 400, id="a list"),
        pytest.param(b'{"dataframe_records": []}', JSON, 400, id="no rows"),
        pytest.param(b"\xff\xfe", CSV, 400, id="no text"),
        pytest.param(b"tempo", "text/plain", 415, id="another type"),
    ],
)
def test_a_malformed_request_is_refused_and_the_next_one_answered(
    server: Server, store: Store, body: bytes, content_type: str, status: int
):
    assert server.post(body, content_type)[0] == status
    good_type, good = FORMATS["dataframe_split"]
    assert server.post(good(store.rows.head(1)), good_type)[0] == 200


def test_the_benchmark_counts_answers_and_errors(server: Server):
    def run(url: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PROJECT / "scripts" / "benchmark_serving.py"), "--url", url]
        return subprocess.run(
            [*command, "--requests", "20", "--clients", "2"], capture_output=True, text=True, check=False
        )

    done = run(server.url)
    assert done.returncode == 0, done.stderr
    assert "| requests, clients | 20, 2 |" in done.stdout
    assert "| errors | 0 |" in done.stdout


def _refused(store: Store, *overrides: str, cwd: Path) -> str:
    done = subprocess.run(_command(store, *overrides), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_without_a_champion_it_says_how_to_get_one(store: Store, tmp_path: Path):
    store.client.delete_registered_model_alias("spotify-popularity", "champion")
    try:
        assert "python -m spotify_ml.promote" in _refused(store, f"port={_free_port()}", cwd=tmp_path)
    finally:
        store.client.set_registered_model_alias("spotify-popularity", "champion", "1")


def test_a_changed_file_is_not_served(store: Store, tmp_path: Path):
    path = store.model / "artifacts" / "features.skops"
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        assert "features.skops was changed" in _refused(store, f"port={_free_port()}", cwd=tmp_path)
    finally:
        path.write_bytes(before)


def test_a_port_that_is_taken_is_named(server: Server, store: Store, tmp_path: Path):
    assert f"127.0.0.1:{server.port}" in _refused(store, f"port={server.port}", cwd=tmp_path)


def test_ctrl_c_ends_the_server_and_is_told(server: Server):
    # The last test: it ends what the others ask.
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(PATIENCE_S) == 130
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.1)
    pytest.fail("the server still answers")
