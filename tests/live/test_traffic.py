"""Tests of live traffic: who answers, what stays unseen, what a moved alias does, and what is refused."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import spotify_ml
from spotify_ml.live.assignment import CHALLENGER, CHAMPION, artist_hash, assign, keys_of, unit_of
from spotify_ml.live.log import Scored
from spotify_ml.live.unseen import UnseenScorer, Waiting
from spotify_ml.tracking.registry import ScoringModel, Version
from spotify_ml.utils.errors import DataError
from tests.live.conftest import MODEL, PATIENCE_S, Server, Store, records, served, until
from tests.test_architecture import MODULES, graph


def test_units_are_assigned_by_share_and_for_good():
    units = [f"unit {number}" for number in range(20_000)]
    arms = [assign(unit, "spring", 0.2) for unit in units]
    assert arms == [assign(unit, "spring", 0.2) for unit in units]
    # Four standard deviations.
    assert abs(arms.count(CHALLENGER) / len(units) - 0.2) < 4 * np.sqrt(0.16 / len(units))
    both = sum(a == b == CHALLENGER for a, b in zip(arms, (assign(u, "autumn", 0.2) for u in units), strict=True))
    assert abs(both / len(units) - 0.04) < 4 * np.sqrt(0.04 / len(units))


def test_who_is_with_the_challenger_stays_when_its_share_grows():
    units = [f"unit {number}" for number in range(2000)]
    few = {unit for unit in units if assign(unit, "s", 0.1) == CHALLENGER}
    assert few < {unit for unit in units if assign(unit, "s", 0.5) == CHALLENGER}


@pytest.mark.parametrize(
    ("header", "ids", "expected"),
    [("a b", ["x"], "a b"), (None, ["x", "y"], "x"), (None, [None], "request"), (None, None, "request")],
)
def test_a_unit_is_the_header_or_the_first_track(header: str | None, ids: list[str | None] | None, expected: str):
    rows = pd.DataFrame({"tempo": [1.0] * len(ids or [1])} | ({} if ids is None else {"track_id": ids}))
    assert unit_of(header, rows, "request") == expected


@pytest.mark.parametrize("header", ["", "  ", "x" * 201])
def test_a_unit_without_a_name_is_refused(header: str):
    with pytest.raises(DataError, match="X-Unit has"):
        unit_of(header, pd.DataFrame({"tempo": [1.0]}), "request")


def test_rows_of_one_request_are_named_each():
    assert keys_of("u", pd.DataFrame({"track_id": ["x"]})) == ["u"]
    assert keys_of("u", pd.DataFrame({"track_id": ["x", None]})) == ["x", "u#1"]


def test_an_artist_is_hashed_however_the_name_is_written():
    assert artist_hash("ABBA;Cher", b"key") == artist_hash(" abba ", b"key") != artist_hash("abba", b"other")
    assert artist_hash(None, b"key") is None


def test_nothing_of_the_package_is_imported_while_requests_are_answered():
    """A version that is loaded beside them takes the package's modules away for a moment."""
    reached, ahead = set(), ["spotify_ml.live.server"]
    while ahead:
        module = ahead.pop()
        if module not in reached:
            reached.add(module)
            ahead += [each for each in graph()[module] if each in MODULES]
    late = {
        f"{module}: {ast.unparse(node)}"
        for module in reached
        if module.startswith(("spotify_ml.live", "spotify_ml.scoring", "spotify_ml.data", "spotify_ml.tracking.reg"))
        for function in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spotify_ml")
    }
    assert late == set()


class _Model(ScoringModel):
    """A model that scores a tempo as it is, and refuses a negative one."""

    def predict(self, rows, params=None):
        if (rows["tempo"] < 0).any():
            raise DataError("tempo")
        return rows["tempo"].to_numpy(dtype=float)

    @property
    def params(self) -> list[str]:
        return []


def _waiting(number: int, *tempi: float) -> Waiting:
    model = _Model(Version(MODEL, 2, "run", {}), None)
    rows = pd.DataFrame({"tempo": tempi})
    return Waiting(model, "challenger", str(number), "u", CHAMPION, ["k"] * len(tempi), rows, {}, 0.0)


def test_a_request_that_the_challenger_refuses_spoils_no_other():
    found: list[Scored] = []
    scorer = UnseenScorer(found.append, 100)
    for number, tempi in enumerate([(1.0,), (2.0, 3.0), (-1.0,), (4.0,)]):
        scorer.put(_waiting(number, *tempi))
    scorer.start()
    scorer.close()
    by_request = {each.request: each for each in found}
    assert by_request["2"].error == "DataError: tempo"
    assert {name: list(by_request[name].predicted) for name in "013"} == {"0": [1.0], "1": [2.0, 3.0], "3": [4.0]}
    assert (scorer.scored, scorer.failed, scorer.overflowed) == (3, 1, 0)


def test_a_full_queue_counts_what_it_does_not_take():
    scorer = UnseenScorer(lambda scored: None, 3)
    for number in range(10):
        scorer.put(_waiting(number, 1.0))
    assert (len(scorer), scorer.overflowed) == (3, 7)


@pytest.fixture(scope="module")
def shadow(trained: Store) -> Iterator[Server]:
    with served(trained, "traffic=shadow", f"traffic.log=sqlite:///{trained.folder / 'live.db'}") as server:
        yield server


@pytest.mark.slow
def test_the_champion_answers_and_the_challenger_is_logged_beside_it(shadow: Server, trained: Store):
    rows = trained.rows.head(5)
    status, headers, body = shadow.ask(records(rows, interval=0.8))
    assert (status, headers["x-model-version"]) == (200, "1")
    request = f"request = '{headers['x-request-id']}'"
    until(lambda: len(trained.logged(where=request)) == 10, "the request is not logged")
    for role, number in (("champion", 1), ("challenger", 2)):
        logged = trained.logged("key, prediction, answered, version", f"{request} AND role = '{role}' ORDER BY row")
        model = spotify_ml.load_model(f"models:/{MODEL}/{number}", trained.uri)
        np.testing.assert_allclose([each[1] for each in logged], model.predict(rows), atol=1e-5)
        assert [each[0] for each in logged] == rows["track_id"].tolist()
        assert {each[2:] for each in logged} == {(int(role == "champion"), number)}
    answered = trained.logged("lower, upper, genre, artist_group, numbers, missing, inputs", f"{request} AND answered")
    lower, upper, genre, artist, numbers, missing, inputs = answered[0]
    told = json.loads(body)["predictions"][0]
    assert (lower, upper) == pytest.approx((told["lower"], told["upper"]), abs=1e-3)
    first = rows.iloc[0]
    assert (genre, json.loads(numbers)[-2], missing, inputs) == (first["track_genre"], first["tempo"], "", None)
    assert len(artist) == 32


@pytest.mark.slow
def test_what_is_missing_or_out_of_range_is_logged_and_no_name_is(shadow: Server, trained: Store):
    rows = trained.rows.head(1).assign(tempo=999.0, artists="Somebody Unheard Of").drop(columns=["key", "track_genre"])
    _, headers, _ = shadow.ask(records(rows, out_of_range="clip"), headers={"X-Unit": "odd"})
    request = f"request = '{headers['x-request-id']}'"
    until(lambda: trained.logged(where=request), "the request is not logged")
    (logged,) = trained.logged("unit, key, missing, out_of_range", f"{request} AND answered")
    assert logged == ("odd", "odd", "key;track_genre", "tempo")
    assert b"Unheard" not in trained.log.read_bytes()


@pytest.mark.slow
def test_the_page_of_the_interface_asks_for_nothing(shadow: Server):
    page = shadow.ask(path="/docs", method="GET")[2].decode()
    assert "POST <code>/invocations</code>" in page
    assert not re.search(r"<script|<link|src=|https?://", page)
    interface = json.loads(shadow.ask(path="/openapi.json", method="GET")[2])
    assert {"/invocations", "/outcomes", "/metrics"} <= set(interface["paths"])


@pytest.mark.slow
def test_requests_are_counted_by_status(shadow: Server, trained: Store):
    before = shadow.metric('spotify_ml_requests_total{status="200"}')
    for _ in range(3):
        shadow.ask(records(trained.rows.head(1)))
    shadow.ask(b"{")
    assert shadow.metric('spotify_ml_requests_total{status="200"}') == before + 3
    assert shadow.metric('spotify_ml_requests_total{status="400"}') >= 1
    assert shadow.metric("spotify_ml_champion_version") == 1


@pytest.mark.slow
def test_each_unit_has_its_version_and_each_prediction_is_logged_once(store: Store):
    with served(store, "traffic=split", "traffic.share=0.4", "traffic.name=spring") as server:
        rows = store.rows.head(60)
        answers = {}
        for _ in range(2):
            for _, row in rows.iterrows():
                status, headers, _ = server.ask(records(row.to_frame().T.infer_objects()))
                assert status == 200
                answers.setdefault(row["track_id"], set()).add(headers["x-model-version"])
        expected = {unit: {"2" if assign(unit, "spring", 0.4) == CHALLENGER else "1"} for unit in answers}
        assert answers == expected
        assert {frozenset(each) for each in answers.values()} == {frozenset("1"), frozenset("2")}
    logged = store.logged("request, row, role, answered, expected")
    assert sum(each[3] for each in logged) == 120
    assert len({each[:3] for each in logged}) == len(logged) == 240
    # What the champion expects of its error, for both sides.
    assert all(each[4] > 0 for each in logged if each[2] == "expected")


@pytest.mark.slow
def test_an_alias_that_moves_under_load_loses_no_request(store: Store):
    with served(store, "traffic=shadow", "traffic.reload_s=0.05") as server:
        ended = False
        predicted = {
            number: spotify_ml.load_model(f"models:/{MODEL}/{number}", store.uri).predict(store.rows.head(20))
            for number in (1, 2)
        }

        def ask(client: int) -> list[tuple[int, int, str | None, float]]:
            seen = []
            while not ended:
                for place in range(20):
                    status, headers, body = server.ask(records(store.rows.iloc[[place]]))
                    seen.append((place, status, headers.get("x-model-version"), json.loads(body)["predictions"][0]))
            return seen

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask, client) for client in range(4)]
            for move in range(20):
                champion, challenger = (2, 1) if move % 2 == 0 else (1, 2)
                store.alias("champion", champion)
                store.alias("challenger", challenger)
                until(lambda n=champion: server.metric("spotify_ml_champion_version") == n, "no reload")
            ended = True
            seen = [each for one in asking for each in one.result()]
    assert {status for _, status, _, _ in seen} == {200}
    assert {version for _, _, version, _ in seen} == {"1", "2"}
    wrong = [each for each in seen if abs(predicted[int(each[2] or 0)][each[0]] - each[3]) > 1e-4]
    assert wrong == []


@pytest.mark.slow
def test_a_challenger_that_is_promoted_leaves_one_version_until_there_is_another(store: Store):
    with served(store, "traffic=split", "traffic.reload_s=0.05") as server:
        store.alias("champion", 2)
        until(lambda: server.metric("spotify_ml_challenger_version") == 0, "no reload")
        answers = {server.ask(records(store.rows.iloc[[place]]))[1]["x-model-version"] for place in range(10)}
        assert answers == {"2"}
        store.alias("challenger", 1)
        until(lambda: server.metric("spotify_ml_challenger_version") == 1, "no reload")
        answers = {server.ask(records(store.rows.iloc[[place]]))[1]["x-model-version"] for place in range(20)}
        assert answers == {"1", "2"}


def _refused(store: Store, *overrides: str) -> str:
    command = [sys.executable, "-m", "spotify_ml.serve", f"tracking.uri={store.uri}", "port=5999", *overrides]
    done = subprocess.run(command, cwd=store.folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["traffic.share=0"], "traffic.share=0"),
        (["traffic.share=1"], "traffic.share=1"),
        (["traffic.share=1.5"], "traffic.share=1.5"),
        (["workers=2"], "workers=2: traffic=split is answered by one process"),
        (["calibration=some.json"], "a calibration is for one version"),
        (["traffic.challenger=models:/spotify-popularity/1"], "are the same version"),
        (["traffic.challenger=models:/spotify-popularity@chalenger"], "did you mean 'challenger'"),
        (["traffic.log=mysql://x/y"], "traffic.log"),
        (["traffic.nam=spring"], "did you mean 'traffic.name'"),
    ],
)
def test_what_cannot_be_served_is_one_error(store: Store, overrides: list[str], message: str):
    assert message in _refused(store, "traffic=split", *overrides)
    assert not store.log.exists()


@pytest.mark.slow
def test_a_second_server_with_another_salt_is_refused(store: Store):
    with served(store, "traffic=split", "traffic.salt=a") as first:
        assert "was started with traffic.salt=a" in _refused(store, "traffic=split", "traffic.salt=b")
        assert "traffic.share=0.5" in _refused(store, "traffic=split", "traffic.salt=a", "traffic.share=0.2")
        assert "traffic.mode=split" in _refused(store, "traffic=shadow")
        with served(store, "traffic=split", "traffic.salt=a") as second:
            for place in range(5):
                versions = {
                    server.ask(records(store.rows.iloc[[place]]))[1]["x-model-version"] for server in (first, second)
                }
                assert len(versions) == 1
