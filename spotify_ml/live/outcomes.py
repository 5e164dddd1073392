"""Outcomes: popularity that was observed after a prediction, from a file or a request, and what became of it."""

import json
import re
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import sqlalchemy as sa

from spotify_ml.data.schema import EXAMPLES, in_rows
from spotify_ml.live.assignment import LONGEST_UNIT
from spotify_ml.live.database import OUTCOMES, PREDICTIONS, Database, log_errors
from spotify_ml.utils.errors import DataError, did_you_mean, shown
from spotify_ml.utils.files import reason_of

_COLUMNS = ("unit", "popularity", "observed_at")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_DAY_S = 86_400.0
_ASKED_AT_ONCE = 500
_JSON, _CSV = "application/json", "text/csv"
_HIGHEST = 100.0


@dataclass(frozen=True)
class Received:
    """What became of outcomes, as counts.

    ``new`` were not there before; ``repeated`` were, with the same value at the same moment; ``corrected`` are new ones
    with another value for a moment that is known. ``unmatched`` name no unit that was predicted, ``early`` were
    observed before the first prediction of theirs; both are kept, and join nothing.
    """

    new: int
    repeated: int
    corrected: int
    unmatched: int
    early: int

    def as_json(self) -> str:
        """Return the counts as JSON."""
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        """Return the counts in a line."""
        return (
            f"outcomes: {self.new:,} new ({self.corrected:,} of them corrections), {self.repeated:,} repeated; "
            f"{self.unmatched:,} of units that were not predicted, {self.early:,} from before the prediction"
        )


@dataclass(frozen=True)
class OutcomesTable:
    """Checked outcomes: ``unit``, ``popularity`` and ``observed_at`` in seconds since 1970."""

    frame: pd.DataFrame

    @classmethod
    def of_file(cls, path: Path) -> "OutcomesTable":
        """Read a CSV or Parquet file; a `DataError` names what is wrong with it."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"outcomes={path} cannot be read: {reason_of(error)}") from error
        return cls(_checked(_table(content, str(path)), str(path)))

    @classmethod
    def of_request(cls, content: bytes, content_type: str) -> "OutcomesTable":
        """Read the body of a request, JSON or CSV; a `DataError` names what is wrong with it."""
        kind, origin = content_type.partition(";")[0].strip().lower(), "the request"
        if kind == _CSV:
            return cls(_checked(_table(content, origin), origin))
        if kind != _JSON:
            raise DataError(f"Content-Type: {shown(kind) or 'none'} is not read; send {_JSON} or {_CSV}")
        try:
            listed = json.loads(content)["outcomes"]
            frame = pd.DataFrame.from_records([dict(each) for each in listed])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f'{origin} must be {{"outcomes": [{{"unit": "…", "popularity": 41, "observed_at": "2026-01-31"}}]}}'
            ) from error
        return cls(_checked(frame, origin))


def receive(database: Database, outcomes: OutcomesTable) -> Received:
    """Keep outcomes, all or none of them; a `TrackingError` if the log cannot be used."""
    frame = outcomes.frame.drop_duplicates()
    with log_errors(database.address):
        database.prepare()
        units = frame["unit"].unique().tolist()
        known = _select(database, sa.select(OUTCOMES.c.unit, OUTCOMES.c.observed_at), OUTCOMES.c.unit, units)
        moments = set(map(tuple, known))
        first = sa.select(PREDICTIONS.c.key, sa.func.min(PREDICTIONS.c.at)).group_by(PREDICTIONS.c.key)
        predicted = dict(map(tuple, _select(database, first, PREDICTIONS.c.key, units)))
        before = _count(database)
        now = time.time()
        database.insert(OUTCOMES, [{**row, "received_at": now} for row in _records(frame)])
        n_new = _count(database) - before
    same_moment = sum((row["unit"], row["observed_at"]) in moments for row in _records(frame))
    n_repeated = len(frame) - n_new
    starts = frame["unit"].map(predicted)
    return Received(
        new=n_new,
        repeated=n_repeated + len(outcomes.frame) - len(frame),
        corrected=max(same_moment - n_repeated, 0),
        unmatched=int(starts.isna().sum()),
        early=int((frame["observed_at"] < starts).sum()),
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", frame.to_dict("records"))


def _select(database: Database, query: Any, column: Any, values: list[str]) -> list[Any]:
    """Return the rows of a query for some values, of which a statement takes so many at once."""
    found: list[Any] = []
    with database.engine.connect() as connection:
        for start in range(0, len(values), _ASKED_AT_ONCE):
            found += connection.execute(query.where(column.in_(values[start : start + _ASKED_AT_ONCE]))).all()
    return found


def _count(database: Database) -> int:
    with database.engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(OUTCOMES)).scalar_one())


def _table(content: bytes, origin: str) -> pd.DataFrame:
    try:
        if content.startswith(b"PAR1"):
            return pd.read_parquet(BytesIO(content))
        # Only an empty field is missing: a unit may be called NA.
        return pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8")
    except (ValueError, OSError) as error:
        raise DataError(f"{origin} is no CSV or Parquet file ({shown(error, 200)})") from error


def _checked(frame: pd.DataFrame, origin: str) -> pd.DataFrame:
    """Return the three columns with their types, or raise an error that names every wrong one with its rows."""
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        spare = [str(name) for name in frame.columns if name not in _COLUMNS]
        listing = ", ".join(name + did_you_mean(name, spare) for name in missing)
        raise DataError(f"{origin} lacks the columns {listing}; give {', '.join(_COLUMNS)}")
    if frame.empty:
        raise DataError(f"{origin} has no rows; give outcomes")
    given = frame[list(_COLUMNS)].reset_index(drop=True)
    units = given["unit"].astype(object).where(given["unit"].notna(), "").map(str)
    popularity = pd.to_numeric(given["popularity"], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    moments = _moments(given["observed_at"])
    wrong = {
        f"unit is empty or longer than {LONGEST_UNIT} characters": ~units.str.len().between(1, LONGEST_UNIT).to_numpy(),
        "popularity is not a number from 0 to 100": ~((popularity >= 0) & (popularity <= _HIGHEST)),
        "observed_at is no day or time such as 2026-01-31 or 2026-01-31T12:00:00+00:00": np.isnan(moments),
        "observed_at is in the future": moments > time.time() + _DAY_S,
    }
    found = [_described(problem, where, given) for problem, where in wrong.items() if where.any()]
    if found:
        raise DataError(f"{origin}: {'; '.join(found)}; mend or leave out these rows: nothing was kept")
    plain = units.map(lambda text: text.encode("utf-8", "replace").decode().replace("\0", ""))
    return pd.DataFrame({"unit": plain, "popularity": popularity, "observed_at": moments})


def _described(problem: str, where: np.ndarray, given: pd.DataFrame) -> str:
    column = problem.partition(" ")[0]
    rows: Collection[int] = np.flatnonzero(where)[:EXAMPLES].tolist()
    return problem + in_rows(int(where.sum()), [f"row {row + 1}: {shown(given[column].iloc[row])}" for row in rows])


def _moments(values: pd.Series) -> np.ndarray:
    """Return moments in seconds since 1970, NaN for what is none; a day means its end."""
    texts = values.astype(object).where(values.notna(), "").map(str).str.strip()
    parsed = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    # In milliseconds a year of four digits has room.
    moments = parsed.dt.tz_convert(None).to_numpy("datetime64[ms]")
    seconds = np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1000)
    return seconds + np.where(texts.str.fullmatch(_DAY.pattern), _DAY_S - 1, 0.0)
