"""Predictions joined with the outcomes that were observed after them: the rows that versions are compared on."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from spotify_ml.data.schema import AUDIO
from spotify_ml.live.assignment import CHALLENGER, CHAMPION
from spotify_ml.live.database import EXPERIMENTS, OUTCOMES, PREDICTIONS, Database, Experiment, log_errors
from spotify_ml.live.unseen import EXPECTED
from spotify_ml.utils.errors import ConfigError, DataError, did_you_mean

_DAY_S = 86_400.0
_COLUMNS = (
    *("id", "request", "row", "unit", "key", "arm", "role", "model", "version", "answered", "prediction", "expected"),
    *("error", "latency_ms", "missing", "out_of_range", "at", "numbers", "genre", "artist_group", "inputs"),
)


@dataclass(frozen=True)
class LiveLog:
    """All that was logged of an experiment with one pair of versions, and the outcomes.

    ``champion`` and ``challenger`` are the numbers of the versions of the registered model ``model``.
    """

    experiment: Experiment
    model: str
    champion: int
    challenger: int
    predictions: pd.DataFrame
    outcomes: pd.DataFrame

    @property
    def answered(self) -> pd.DataFrame:
        """The predictions that were answers, with what is known of their rows."""
        return self.predictions[self.predictions["answered"]]


@dataclass(frozen=True)
class Observed:
    """Units with an outcome, one row each, in the order in which outcomes became known.

    ``frame`` has ``key``, ``group`` (codes of artists), ``genre``, ``popularity``, ``is_challenger``, ``champion`` and
    ``challenger`` (what each predicted, NaN where it did not), and ``expected``. ``counts`` say what was left out.
    """

    frame: pd.DataFrame
    counts: dict[str, int] = field(default_factory=dict)


def read_log(database: Database, name: str | None, versions: tuple[int, int] | None = None) -> LiveLog:
    """Return what was logged of an experiment; of the last pair of versions, if none is named.

    Raises `ConfigError` if there is no such experiment, or several and none is named; `DataError` if nothing was logged
    with two versions.
    """
    with log_errors(database.address), database.engine.connect() as connection:
        experiment = _find(connection, name)
        chosen = [PREDICTIONS.c[column] for column in _COLUMNS]
        query = sa.select(*chosen).where(PREDICTIONS.c.experiment == experiment.name).order_by(PREDICTIONS.c.id)
        predictions = pd.DataFrame(connection.execute(query).all(), columns=list(_COLUMNS))
        outcomes = pd.DataFrame(
            connection.execute(sa.select(OUTCOMES).order_by(OUTCOMES.c.id)).all(), columns=list(OUTCOMES.c.keys())
        )
    predictions["answered"] = predictions["answered"].astype(bool)
    for column in ("prediction", "expected", "latency_ms"):
        predictions[column] = pd.to_numeric(predictions[column])
    pair = versions or _last_pair(predictions, experiment)
    return LiveLog(
        experiment,
        str(predictions["model"].iloc[-1]),
        *pair,
        _of_pair(predictions, experiment, *pair),
        outcomes,
    )


def _find(connection: Any, name: str | None) -> Experiment:
    found = {row.name: row for row in connection.execute(sa.select(EXPERIMENTS).order_by(EXPERIMENTS.c.started))}
    if name is None and len(found) == 1:
        (name,) = found
    if name is None or name not in found:
        listed = ", ".join(found) or "none"
        asked = "name one of them: name=…" if name is None else f"there is no '{name}'{did_you_mean(name, found)}"
        raise ConfigError(f"config: the log has the experiments {listed}; {asked}")
    row = found[name]
    return Experiment(row.name, row.mode, row.share, row.salt)


def _last_pair(predictions: pd.DataFrame, experiment: Experiment) -> tuple[int, int]:
    """Return the versions that were served last, champion first."""
    others = predictions[predictions["role"] == CHALLENGER]
    if others.empty:
        raise DataError(f"the challenger has predicted nothing in '{experiment.name}' yet; serve it, and send requests")
    challenger = int(others["version"].iloc[-1])
    beside = predictions[predictions["role"].isin([CHAMPION, EXPECTED]) & (predictions["version"] != challenger)]
    if beside.empty:
        raise DataError(f"the champion has predicted nothing in '{experiment.name}' yet; send requests")
    return int(beside["version"].iloc[-1]), challenger


def _of_pair(predictions: pd.DataFrame, experiment: Experiment, champion: int, challenger: int) -> pd.DataFrame:
    """Return the predictions of requests that saw both versions, in these roles."""
    own = predictions["version"].where(predictions["role"] == CHALLENGER, other=-1)
    wrong = predictions["version"].where(predictions["role"] != CHALLENGER, other=-1)
    fits = (own == challenger) | (wrong == champion)
    kept = predictions[fits]
    if experiment.mode == "split":
        # While there was one version only, nothing was expected, and nobody was assigned.
        seen = kept.loc[kept["role"] == EXPECTED, "request"]
        is_sole = (kept["role"] == CHAMPION) & (kept["arm"] == CHALLENGER)
        return kept[~is_sole | kept["request"].isin(seen)]
    return kept


def join_outcomes(log: LiveLog, most_days: float) -> Observed:
    """Return the units that an outcome is known of: each once, by its first prediction and the first outcome after it.

    An outcome that was corrected, the same moment with another popularity, counts with what was received last. One
    that was observed more than `most_days` after the prediction is late, and left out.
    """
    rows = _units(log)
    outcomes = log.outcomes.rename(columns={"unit": "key"})
    # Of one moment what was received last; the place in the order is that of the first.
    by_moment = outcomes.groupby(["key", "observed_at"], sort=False)
    latest = by_moment.tail(1).set_index(["key", "observed_at"])["popularity"]
    first = by_moment["id"].min()
    known = pd.DataFrame({"popularity": latest, "order": first}).reset_index()
    joined = rows.merge(known, on="key")
    after = joined[joined["observed_at"] >= joined["at"]]
    in_time = after[after["observed_at"] <= after["at"] + most_days * _DAY_S]
    one = in_time.sort_values(["observed_at", "order"]).drop_duplicates("key").sort_values("order")
    lacks = one[CHAMPION].isna() & one[CHALLENGER].isna()
    if log.experiment.mode == "shadow":
        lacks = one[CHAMPION].isna() | one[CHALLENGER].isna()
    frame = one[~lacks].reset_index(drop=True)
    groups = frame["artist_group"].where(frame["artist_group"].notna(), "unit " + frame["key"])
    frame["group"] = pd.factorize(groups)[0]
    counts = {
        "units": len(rows),
        "with_outcome": len(frame),
        "without_outcome": len(rows) - len(one),
        "early": int(joined["key"].nunique() - after["key"].nunique()),
        "late": int(after["key"].nunique() - in_time["key"].nunique()),
        "without_prediction": int(lacks.sum()),
        "unmatched": int((~known["key"].isin(rows["key"])).sum()),
        "corrected": int(len(outcomes) - len(known)),
    }
    return Observed(frame, counts)


def _units(log: LiveLog) -> pd.DataFrame:
    """Return each unit once, by its first request: what both predicted, and what is known of it."""
    predictions = log.predictions
    answered = predictions[predictions["answered"]].drop_duplicates("key")
    place = ["request", "row"]
    named = answered.set_index(place)
    columns: dict[str, Any] = {}
    for role in (CHAMPION, CHALLENGER):
        own = predictions[(predictions["role"] == role) & predictions["error"].isna()].drop_duplicates(place)
        columns[role] = own.set_index(place)["prediction"].reindex(named.index)
    expected = predictions[predictions["role"] == EXPECTED].drop_duplicates(place)
    columns["expected"] = expected.set_index(place)["expected"].reindex(named.index)
    # Who was assigned to the challenger and answered by the champion is no unit of the challenger.
    is_challenger = named["role"] == CHALLENGER
    kept = named[["key", "unit", "arm", "at", "genre", "artist_group", "latency_ms", "numbers", "inputs"]]
    return kept.assign(is_challenger=is_challenger, **columns).reset_index(drop=True)


def numbers_of(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the audio columns of logged rows, NaN where a value was missing."""
    listed = [json.loads(each) for each in predictions["numbers"].dropna()]
    return pd.DataFrame(np.array(listed, dtype=np.float64).reshape(-1, len(AUDIO)), columns=list(AUDIO))
