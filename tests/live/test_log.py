"""Tests of the log: what is written, also when the database is away, full or read-only, or the process dies."""

import json
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from spotify_ml.live.database import PREDICTIONS, Database, Experiment
from spotify_ml.live.log import LogWriter, Scored
from spotify_ml.utils.errors import ConfigError, StoreError
from tests.live.conftest import Store, records, served, until

EXPERIMENT = Experiment("live", "shadow")


def _writer(address: str, **changes: object) -> LogWriter:
    options = {"keep_inputs": False, "retention_days": None, **changes}
    return LogWriter(Database(address), EXPERIMENT, b"key", {}, **options)


def _scored(number: int, rows: pd.DataFrame, **changes: object) -> Scored:
    fixed = {"answered": True, "at": time.time(), "rows": rows, "predicted": np.full(len(rows), 40.0)}
    keys = [f"{number}-{place}" for place in range(len(rows))]
    return Scored(f"{number:032}", f"u{number}", "champion", "champion", "m", 1, keys, **{**fixed, **changes})


def _all(database: Database) -> list[sa.Row]:
    with database.engine.connect() as connection:
        return list(connection.execute(sa.select(PREDICTIONS).order_by(PREDICTIONS.c.id)))


def test_rows_of_any_columns_are_written_together(tmp_path: Path, sample):
    writer = _writer(f"sqlite:///{tmp_path / 'live.db'}", keep_inputs=True)
    rows = sample.frame.drop(columns="popularity").head(2)
    odd = rows.head(1).assign(track_id="a\0b", track_genre="夜" * 300, tempo="89.5", artists=[["A", "B"]])
    writer.start()
    writer.put(_scored(1, rows))
    writer.put(_scored(2, odd.drop(columns=["album_name", "key"])))
    writer.put(_scored(3, rows.head(1), predicted=np.array([np.nan]), error="E" * 900))
    writer.close()
    found = _all(_writer(f"sqlite:///{tmp_path / 'live.db'}").database)
    assert [each.key for each in found] == ["1-0", "1-1", "2-0", "3-0"]
    assert [each.missing for each in found] == ["", "", "key;album_name", ""]
    assert found[2].genre == "夜" * 200
    assert json.loads(found[2].numbers)[-2] == 89.5
    assert json.loads(found[0].inputs)["track_name"] == rows["track_name"].iloc[0]
    assert (found[3].prediction, len(found[3].error)) == (None, 200)
    assert (writer.counts.written, writer.counts.lost, writer.counts.waiting) == (4, 0, 0)


def test_what_was_written_before_is_not_written_twice(tmp_path: Path, sample):
    writer = _writer(f"sqlite:///{tmp_path / 'live.db'}")
    writer.start()
    for _ in range(2):
        writer.put(_scored(1, sample.frame.head(3)))
    writer.close()
    assert len(_all(writer.database)) == 3


def test_old_predictions_are_removed(tmp_path: Path, sample):
    address = f"sqlite:///{tmp_path / 'live.db'}"
    for days, number in ((None, 1), (None, 2), (30, 3)):
        writer = _writer(address, retention_days=days)
        writer.start()
        writer.put(_scored(number, sample.frame.head(1), at=time.time() - (40 * 86_400 if number == 1 else 0)))
        writer.close()
    assert [each.unit for each in _all(writer.database)] == ["u2", "u3"]


def test_a_log_of_another_version_is_refused(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path / 'live.db'}")
    database.prepare(EXPERIMENT)
    with closing(sqlite3.connect(tmp_path / "live.db")) as connection, connection:
        connection.execute("UPDATE live_meta SET value = '99'")
    for ask in (database.check_there, database.prepare):
        with pytest.raises(ConfigError, match="is of version 99, and this code knows 1"):
            ask()


def _read_only(path: Path) -> Callable[[], None]:
    # Nobody is kept from writing who is root; a trigger keeps everybody.
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON live_predictions BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )

    def mend() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
            connection.execute("DROP TRIGGER full")

    return mend


def _moved(path: Path) -> Callable[[], None]:
    files = [each for each in path.parent.glob("live.db*") if not each.name.endswith(".key")]
    for each in files:
        each.rename(each.with_name(f"away-{each.name}"))
    path.mkdir()

    def mend() -> None:
        path.rmdir()
        for each in files:
            each.with_name(f"away-{each.name}").rename(each)

    return mend


@pytest.mark.parametrize("away", [_read_only, _moved])
def test_what_could_not_be_written_is_written_later(
    tmp_path: Path, sample, caplog: pytest.LogCaptureFixture, away: Callable[[Path], Callable[[], None]]
):
    path = tmp_path / "live.db"
    first = _writer(f"sqlite:///{path}")
    first.prepare()
    first.database.engine.dispose()
    mend = away(path)
    writer = _writer(f"sqlite:///{path}")
    writer.start()
    for number in range(5):
        writer.put(_scored(number, sample.frame.head(2)))
    until(lambda: "cannot be written" in caplog.text, "nothing is said")
    assert caplog.text.count("cannot be written") == 1
    assert writer.counts.waiting == 10
    mend()
    until(lambda: writer.counts.written == 10, "it is not written again")
    writer.close()
    assert len(_all(writer.database)) == 10
    assert "is written again; 0 rows were lost" in caplog.text


def test_what_finds_no_room_is_lost_and_counted(tmp_path: Path, sample, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("spotify_ml.live.log._MOST_WAITING", 3)
    (tmp_path / "live.db").mkdir()
    writer = _writer(f"sqlite:///{tmp_path / 'live.db'}")
    for number in range(5):
        writer.put(_scored(number, sample.frame.head(2)))
    assert (writer.counts.waiting, writer.counts.lost) == (6, 4)
    writer.start()
    writer.close()
    assert (writer.counts.waiting, writer.counts.lost, writer.counts.written) == (0, 10, 0)


def test_a_driver_that_is_not_there_is_named():
    with pytest.raises(StoreError, match="needs a driver that is not installed"):
        Database("postgresql+pg8000://nobody@127.0.0.1/none")


@pytest.mark.slow
def test_answers_go_on_without_the_log(store: Store):
    store.log.mkdir()
    (store.folder / "live.db.key").write_text("key")
    with served(store, "traffic=split") as server:
        statuses = {server.ask(records(store.rows.iloc[[place]]))[0] for place in range(10)}
        assert statuses == {200}
        until(lambda: server.metric("spotify_ml_log_waiting") >= 10, "nothing waits")
        body = b'{"outcomes": [{"unit": "a", "popularity": 1, "observed_at": "2026-01-01"}]}'
        assert server.ask(body, path="/outcomes")[0] == 503
    assert "the log of predictions cannot be written" in server.said.read_text()
    assert "rows could not be written and are lost" in server.said.read_text()


@pytest.mark.slow
def test_after_kill_9_the_log_is_whole_and_lacks_a_second_at_most(store: Store):
    for _ in range(3):
        answered: list[tuple[float, str]] = []
        with served(store, "traffic=shadow") as server:

            def ask(client: int, server=server, answered=answered) -> None:
                for place in range(1000):
                    try:
                        _, headers, _ = server.ask(records(store.rows.iloc[[(client * 1000 + place) % 6000]]))
                    except OSError:
                        return
                    answered.append((time.time(), headers["x-request-id"]))

            with ThreadPoolExecutor(3) as pool:
                asking = [pool.submit(ask, client) for client in range(3)]
                until(lambda answered=answered: len(answered) > 150, "no answers")
                server.process.kill()
                killed = time.time()
                server.process.wait()
                for each in asking:
                    each.exception()
        with closing(sqlite3.connect(store.log)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        logged = {each[0] for each in store.logged("request", "answered")}
        lost = [at for at, request in answered if request not in logged]
        assert all(at > killed - 1 for at in lost)
    assert len(store.logged("request", "answered")) == len(set(store.logged("request, row", "answered")))


@pytest.mark.slow
def test_two_servers_share_a_log_in_postgresql(store: Store, database: str, monkeypatch: pytest.MonkeyPatch):
    log = f"traffic.log={database}"
    with pytest.raises(AssertionError, match="set SPOTIFY_LIVE_KEY"), served(store, "traffic=split", log):
        pass
    monkeypatch.setenv("SPOTIFY_LIVE_KEY", "a long random text")
    with served(store, "traffic=split", log) as first, served(store, "traffic=split", log) as second:
        for place in range(30):
            for server in (first, second):
                assert server.ask(records(store.rows.iloc[[place]]))[0] == 200
        outcome = {"unit": store.rows["track_id"].iloc[0], "popularity": 5, "observed_at": "2026-01-01"}
        asked = json.dumps({"outcomes": [outcome]}).encode()
        until(lambda: json.loads(first.ask(asked, path="/outcomes")[2])["early"] == 1, "it joins nothing")
    rows = _all(Database(database))
    assert len({(each.request, each.role) for each in rows}) == len(rows) == 120
    assert {each.arm for each in rows} == {"champion", "challenger"}
    # The same artist has the same hash on both.
    assert len({each.artist_group for each in rows if each.answered}) <= 30
    assert "hush-hush" not in first.said.read_text() + second.said.read_text()
