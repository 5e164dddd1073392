"""Tests of outcomes: what is taken, what it joins, and what is refused whole."""

import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from spotify_ml.live.database import OUTCOMES, PREDICTIONS, Database
from spotify_ml.live.outcomes import OutcomesTable, Received, receive
from spotify_ml.utils.errors import DataError
from tests.commands import HEAVY, interpreter
from tests.live.conftest import Store, records, served

NOW = time.time()
LATER = datetime.fromtimestamp(NOW, UTC).isoformat()


def _prediction(key: str, at: float) -> dict[str, object]:
    fixed = {"experiment": "live", "row": 0, "arm": "champion", "role": "champion", "model": "m", "version": 1}
    return {**fixed, "request": f"{key}-{at}", "unit": key, "key": key, "answered": True, "prediction": 40.0, "at": at}


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A log with predictions of the units a and b, an hour ago."""
    made = Database(f"sqlite:///{tmp_path / 'live.db'}")
    made.prepare()
    made.insert(PREDICTIONS, [_prediction(key, NOW - 3600) for key in "ab"])
    return made


def _table(*rows: tuple[object, object, object]) -> OutcomesTable:
    listed = [dict(zip(("unit", "popularity", "observed_at"), row, strict=True)) for row in rows]
    return OutcomesTable.of_request(json.dumps({"outcomes": listed}).encode(), "application/json")


def _kept(database: Database) -> list[tuple[str, float]]:
    with database.engine.connect() as connection:
        kept = connection.execute(sa.select(OUTCOMES.c.unit, OUTCOMES.c.popularity).order_by(OUTCOMES.c.id))
        return [tuple(row) for row in kept]


def test_an_outcome_is_new_repeated_or_a_correction(database: Database):
    assert receive(database, _table(("a", 41, LATER), ("b", 7, LATER))) == Received(2, 0, 0, 0, 0)
    assert receive(database, _table(("a", 41, LATER), ("a", 41.0, LATER))) == Received(0, 2, 0, 0, 0)
    assert receive(database, _table(("a", 43, LATER), ("b", 7, LATER))) == Received(1, 1, 1, 0, 0)
    assert _kept(database) == [("a", 41), ("b", 7), ("a", 43)]


def test_what_joins_nothing_is_counted(database: Database):
    early = datetime.fromtimestamp(NOW - 7200, UTC).isoformat()
    assert receive(database, _table(("unknown", 41, LATER), ("a", 40, early))) == Received(2, 0, 0, 1, 1)


def test_a_day_means_its_end(database: Database):
    """Popularity of a day is known when it is over: it joins a prediction of that day."""
    day = datetime.fromtimestamp(NOW - 3600, UTC).date().isoformat()
    assert receive(database, _table(("a", 41, day))).early == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", 101, LATER), r"popularity is not a number from 0 to 100 in 1 row \(row 2: 101\)"),
        (("a", -1, LATER), "popularity is not a number"),
        (("a", "many", LATER), "row 2: many"),
        (("a", None, LATER), "popularity is not a number"),
        (("", 4, LATER), "unit is empty"),
        ((None, 4, LATER), "unit is empty"),
        (("x" * 201, 4, LATER), "longer than 200 characters"),
        (("a", 4, "soon"), "observed_at is no day or time"),
        (("a", 4, "2999-01-01"), "observed_at is in the future"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_kept(database: Database, row: tuple[object, object, object], message: str):
    with pytest.raises(DataError, match=message):
        receive(database, _table(("b", 7, LATER), row))
    assert _kept(database) == []


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_text("track,popularity,observed_at\na,1,2026-01-01\n"), "lacks the columns unit"),
        (lambda path: path.write_text("unit,popularity,observed_at\n"), "has no rows"),
        (lambda path: path.write_text(""), "is no CSV or Parquet file"),
        (lambda path: path.write_bytes(b"PAR1damaged"), "is no CSV or Parquet file"),
        (lambda path: path.write_text("unit,popularity,observed_at\nb,1\n"), "observed_at is no day"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_error(tmp_path: Path, write: Callable[[Path], object], message: str):
    path = tmp_path / "observed.csv"
    write(path)
    with pytest.raises(DataError, match=message):
        OutcomesTable.of_file(path)


def test_a_unit_of_digits_or_called_na_is_text(tmp_path: Path):
    path = tmp_path / "observed.csv"
    path.write_text("unit,popularity,observed_at\n007,1,2026-01-01\nNA,2,2026-01-01T10:00:00+01:00\n")
    frame = OutcomesTable.of_file(path).frame
    assert frame["unit"].tolist() == ["007", "NA"]
    assert frame["observed_at"].tolist() == [
        pd.Timestamp("2026-01-01T23:59:59Z").timestamp(),
        pd.Timestamp("2026-01-01T09:00:00Z").timestamp(),
    ]


def _live(store: Store, *overrides: str) -> "subprocess.CompletedProcess[str]":
    return interpreter(*HEAVY).run("spotify_ml.live", f"tracking.uri={store.uri}", *overrides, cwd=store.folder)


@pytest.mark.slow
def test_outcomes_are_taken_by_file_and_over_http(store: Store):
    assert "serve with traffic=shadow" in _live(store, "outcomes=observed.csv").stderr
    with served(store, "traffic=shadow") as server:
        rows = store.rows.head(3)
        server.ask(records(rows))
        listed = [{"unit": each, "popularity": 50, "observed_at": "2999-01-01"} for each in rows["track_id"]]
        status, _, body = server.ask(json.dumps({"outcomes": listed}).encode(), path="/outcomes")
        assert (status, "in the future" in json.loads(body)["message"]) == (400, True)
    moment = datetime.now(UTC).isoformat()
    told = pd.DataFrame({"unit": rows["track_id"], "popularity": [1, 2, 3], "observed_at": moment})
    told.to_csv(store.folder / "observed.csv", index=False)
    done = _live(store, "outcomes=observed.csv")
    assert (done.returncode, done.stdout) == (
        0,
        "outcomes: 3 new (0 of them corrections), 0 repeated; 0 of units that were not predicted, "
        "0 from before the prediction\n",
    )
    with served(store, "traffic=shadow") as server:
        body = told.assign(popularity=9).to_csv(index=False).encode()
        status, _, text = server.ask(body, "text/csv", path="/outcomes")
    assert (status, json.loads(text)) == (200, {"new": 3, "repeated": 0, "corrected": 3, "unmatched": 0, "early": 0})
    told.assign(popularity=101).to_csv(store.folder / "observed.csv", index=False)
    done = _live(store, "outcomes=observed.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert "in 3 rows (row 1: 101" in done.stderr


@pytest.mark.slow
def test_a_log_that_is_none_is_one_error(store: Store):
    (store.folder / "observed.csv").write_text("unit,popularity,observed_at\na,1,2026-01-01\n")
    for name, message in {"mlflow.db": "is no log of live traffic", "none.db": "there is no log"}.items():
        done = _live(store, "outcomes=observed.csv", f"log=sqlite:///{store.folder / name}")
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert "names no file of outcomes" in _live(store).stderr
