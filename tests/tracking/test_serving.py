"""Tests of the served model: the real server on loopback, asked in every format, rightly and wrongly."""

import csv
import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spotify_ml
from spotify_ml.scoring.files import score_file
from spotify_ml.scoring.rows import Scorer, Tally
from spotify_ml.tracking.registry import ScoringModel
from spotify_ml.utils.paths import PROJECT
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
            _command(store, f"model={CHAMPION}", f"port={port}", "max_mb=1", "timeout_s=2"),
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


@pytest.fixture(scope="module")
def champion(store: Store) -> ScoringModel:
    """The model that is served, in this process."""
    return spotify_ml.load_model(CHAMPION, store.uri)


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
    assert re.search(r"lack the columns tempo|rows to score: tempo\b", json.loads(text)["message"])


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


def test_what_was_known_is_told_on_request(server: Server, store: Store):
    rows = store.rows.head(3).drop(columns=["artists", "loudness", "time_signature"])
    rows.loc[rows.index[1], "track_genre"] = None
    params = {"known": True, "catalogue": "other"}
    records = json.loads(rows.to_json(orient="records"))
    status, text = server.post(json.dumps({"dataframe_records": records, "params": params}).encode())
    assert status == 200, text
    answers = json.loads(text)["predictions"]
    expected = spotify_ml.load_model(CHAMPION, store.uri).predict(rows, params)
    assert [each["known"] for each in answers] == expected["known"].tolist()
    assert [each["popularity"] for each in answers] == pytest.approx(expected["popularity"].tolist(), abs=1e-3)


@pytest.mark.parametrize("params", [{"interval": 1.2}, {"interval": "high"}, {"explain": -1}, {"explain": 500}])
def test_what_cannot_be_asked_is_answered_by_name(server: Server, store: Store, params: dict[str, object]):
    records = json.loads(store.rows.head(1).to_json(orient="records"))
    status, text = server.post(json.dumps({"dataframe_records": records, "params": params}).encode())
    assert status == 400
    assert next(iter(params)) in json.loads(text)["message"]


def _records(rows: pd.DataFrame) -> list[dict[str, object]]:
    return json.loads(rows.to_json(orient="records", double_precision=15))


# What a table of guesses takes for a number, a missing value or a flag, and what a CSV needs quotes for.
ODD = st.one_of(
    st.sampled_from(["25", "25.0", "01953", "1e5", "inf", "0x10", "NA", "N/A", "#N/A", "None", "null", "nan", "True"]),
    st.sampled_from(["", " ", " 25", "25 ", "=1+1", 'a "b" c', "a,b", "a;b", "a\nb", "a\r\nb", "a\rb", "\t", "\u2028"]),
    st.sampled_from(["ﬁ", "İ", "Beyoncé", "夜", "\ufeffx"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)
NAMES = ["artists", "album_name", "track_name", "track_genre"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.fixed_dictionaries({name: ODD | st.none() for name in NAMES}), min_size=1, max_size=4))
def test_odd_names_are_the_same_in_every_format(
    server: Server, store: Store, champion: ScoringModel, tmp_path: Path, names: list[dict[str, str | None]]
):
    numbers = store.rows.drop(columns=NAMES).head(len(names)).reset_index(drop=True)
    rows = pd.concat([numbers, pd.DataFrame(names, columns=NAMES, dtype="str")], axis=1)
    expected = champion.predict(rows)
    records = [number | name for number, name in zip(_records(numbers), names, strict=True)]
    # An empty field is a missing one: CSV has no other.
    bodies = {
        "json": (JSON, json.dumps({"dataframe_records": records}).encode()),
        "csv": (CSV, rows.to_csv(index=False, quoting=csv.QUOTE_ALL).encode()),
        "parquet": (PARQUET, _parquet(rows)),
    }
    for form, (content_type, body) in bodies.items():
        status, text = server.post(body, content_type)
        assert status == 200, (form, text)
        np.testing.assert_allclose(json.loads(text)["predictions"], expected, atol=1e-9, err_msg=form)
    for form in ("csv", "parquet"):
        file, scored = tmp_path / f"rows.{form}", tmp_path / "scored.parquet"
        file.write_bytes(bodies[form][1])
        score_file(file, scored, Scorer(champion.predict, 1, (), "fail", "refuse"), Tally(), lambda _: None)
        np.testing.assert_allclose(pd.read_parquet(scored)["popularity_predicted"], expected, atol=1e-9, err_msg=form)


def test_a_number_in_the_place_of_a_name_is_its_digits_beside_a_missing_one_as_well(server: Server, store: Store):
    rows = store.rows.head(2)
    by_form = {}
    for album in ("25", 25):
        records = [{**record, "album_name": name} for record, name in zip(_records(rows), (album, None), strict=True)]
        status, text = server.post(json.dumps({"dataframe_records": records}).encode())
        assert status == 200, text
        by_form[album] = json.loads(text)["predictions"]
    assert by_form["25"] == by_form[25]


def test_a_key_that_is_mistyped_in_one_row_of_several_is_not_taken_for_unknown(server: Server, store: Store):
    first, second = _records(store.rows.head(2))
    second["temp0"] = second.pop("tempo")
    status, text = server.post(json.dumps({"dataframe_records": [first, second]}).encode())
    assert status == 400
    assert "row 2 lacks tempo (did you mean 'temp0'?)" in json.loads(text)["message"]


@pytest.mark.parametrize("places", [range(3), (0,)], ids=["short", "one field"])
def test_rows_of_csv_that_are_cut_short_are_refused(server: Server, store: Store, places: Sequence[int]):
    header, first, second = store.rows.head(2).to_csv(index=False).splitlines()
    cut = ",".join(second.split(",")[place] for place in places)
    status, text = server.post("\n".join([header, first, cut, ""]).encode(), CSV)
    assert status == 400
    fields = "1 field" if len(places) == 1 else f"{len(places)} fields"
    assert f"row 2 has {fields} in place of {len(header.split(','))}" in json.loads(text)["message"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parms": {"interval": 0.9}}, "unknown key 'parms' (did you mean 'params'?)"),
        ({"params": {"intervall": 0.9}}, "knows no intervall"),
        ({"params": [0.9]}, "params is not an object"),
        ({"dataframe_split": {"columns": [], "data": []}}, "must be a JSON object with one of"),
    ],
)
def test_what_is_mistyped_beside_the_rows_is_refused(
    server: Server, store: Store, change: dict[str, object], said: str
):
    status, text = server.post(json.dumps({"dataframe_records": _records(store.rows.head(1)), **change}).encode())
    assert status == 400
    assert said in json.loads(text)["message"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param(b'{"dataframe_records": [', JSON, 400, id="broken JSON"),
        pytest.param(b'{"rows": []}', JSON, 400, id="no known format"),
        pytest.param(b"[1, 2]", JSON, 400, id="a list"),
        pytest.param(b'{"dataframe_records": []}', JSON, 400, id="no rows"),
        pytest.param(b'{"dataframe_records": [1]}', JSON, 400, id="no records"),
        pytest.param(b'{"dataframe_records": {"tempo": [1]}}', JSON, 400, id="columns for records"),
        pytest.param(b'{"dataframe_split": {"columns": ["tempo", "key"], "data": [[1]]}}', JSON, 400, id="a short row"),
        pytest.param(b'{"inputs": {"tempo": [1, 2], "key": [1]}}', JSON, 400, id="a short column"),
        pytest.param(b'{"dataframe_records": [{"tempo": 1, "tempo": 2}]}', JSON, 400, id="a key twice"),
        pytest.param(b"[" * 100_000, JSON, 400, id="deep JSON"),
        pytest.param(b"\xff\xfe", JSON, 400, id="JSON that is no text"),
        pytest.param(b"\xff\xfe", CSV, 400, id="no text"),
        pytest.param(b"", CSV, 400, id="nothing"),
        pytest.param(b"", JSON, 400, id="no JSON"),
        pytest.param(b"PAR1 and no more", PARQUET, 400, id="damaged Parquet"),
        pytest.param(b"tempo", "text/plain", 415, id="another type"),
        pytest.param(b"tempo", "text/csv; charset=latin-1", 415, id="another encoding"),
        pytest.param(b" " * 1_100_000, JSON, 413, id="too large"),
    ],
)
def test_a_malformed_request_is_refused_and_the_next_one_answered(
    server: Server, store: Store, body: bytes, content_type: str, status: int
):
    answered, text = server.post(body, content_type)
    assert answered == status
    # What is wrong, and nothing of where the server is installed.
    assert len(json.loads(text)["message"]) < 500
    assert not re.search(
        r"Traceback|File |\.py|/", json.loads(text)["message"].replace("text/", "").replace("application/", "")
    )
    good_type, good = FORMATS["dataframe_split"]
    assert server.post(good(store.rows.head(1)), good_type)[0] == 200


def test_a_compressed_request_is_named(server: Server):
    headers = {"Content-Type": CSV, "Content-Encoding": "gzip"}
    request = urllib.request.Request(f"{server.url}/invocations", gzip.compress(b"tempo\n1\n"), headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=PATIENCE_S)
    assert refused.value.code == 415
    assert "gzip" in json.loads(refused.value.read())["message"]


def test_a_request_that_does_not_arrive_is_not_waited_for(server: Server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as slow:
        slow.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: text/csv\r\nContent-Length: 100\r\n\r\ntem"
        )
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")


HEAD = b"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: text/csv\r\n"


def test_a_request_that_comes_by_the_byte_has_an_end(server: Server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as slow:
        slow.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        slow.settimeout(0.2)
        answer = b""
        for _ in range(5 * PATIENCE_S):
            slow.sendall(b"t")
            try:
                answer = slow.recv(1000)
                break
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "sent",
    [
        # It asks before it sends, and need not send.
        pytest.param(HEAD + b"Content-Length: 1100000\r\nExpect: 100-continue\r\n\r\n", id="asked first"),
        pytest.param(HEAD + b"Content-Length: 1100000\r\n\r\n" + b"t" * 1_100_000, id="announced"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"186a0\r\n%b\r\n" % (b"t" * 100_000) * 11 + b"0\r\n\r\n",
            id="in chunks",
        ),
    ],
)
def test_a_large_request_is_refused_however_it_comes(server: Server, sent: bytes):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as large:
        large.sendall(sent)
        assert large.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_an_unfinished_header_has_a_size_and_an_idle_connection_an_end(server: Server):
    for header, status in ((b"a" * 100_000, b"HTTP/1.1 400 "), (b"a\r\n\r\n", b"HTTP/1.1 200 ")):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as caller:
            caller.sendall(b"GET /ping HTTP/1.1\r\nHost: here\r\nX-Long: " + header)
            said = b""
            # The end: the server has closed the connection.
            while part := caller.recv(1000):
                said += part
        assert said.startswith(status)


def _asking(server: Server, opened: ExitStack, sent: bytes, number: int) -> list[socket.socket]:
    """Callers who are connected and have sent that much."""
    connect = socket.create_connection
    callers = [opened.enter_context(connect(("127.0.0.1", server.port), PATIENCE_S)) for _ in range(number)]
    for caller in callers:
        caller.sendall(sent)
    return callers


def test_of_too_many_at_once_the_rest_is_refused_and_later_ones_answered(server: Server, store: Store):
    with ExitStack() as opened:
        callers = _asking(server, opened, HEAD + b"Content-Length: 100\r\n\r\ntem", 200)
        answers = [caller.recv(1000) for caller in callers]
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
    # The default of max_requests.
    assert (len(refused), sum(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)) == (100, 100)
    assert b"100 requests are under way (max_requests)" in refused[0]
    assert server.post(store.rows.head(1).to_csv(index=False).encode(), CSV)[0] == 200


def test_callers_who_send_half_a_header_shut_nobody_out(server: Server, store: Store):
    with ExitStack() as opened:
        _asking(server, opened, HEAD, 200)
        assert server.post(store.rows.head(1).to_csv(index=False).encode(), CSV)[0] == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ping", 200),
        ("/health", 200),
        ("/version", 200),
        ("/docs", 404),
        ("/openapi.json", 404),
        ("/invocations", 405),
    ],
)
def test_there_are_mlflow_s_addresses_and_no_others(server: Server, path: str, status: int):
    try:
        with urllib.request.urlopen(f"{server.url}{path}", timeout=PATIENCE_S) as response:
            answered = response.status
    except urllib.error.HTTPError as error:
        answered = error.code
    assert answered == status


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


def test_the_log_has_a_line_a_request_and_no_traceback(server: Server, tmp_path_factory: pytest.TempPathFactory):
    server.post(b"{}")
    log = next(tmp_path_factory.getbasetemp().glob("served*/log")).read_text()
    assert '"POST /invocations HTTP/1.1" 400' in log
    assert "Traceback" not in log


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
