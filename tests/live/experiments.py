"""Logs of experiments with real predictions: what a server would have written, without one."""

import time
from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

import spotify_ml
from spotify_ml.live.assignment import CHALLENGER, CHAMPION, assign, read_key
from spotify_ml.live.database import OUTCOMES, Database, Experiment
from spotify_ml.live.log import LogWriter, Scored
from tests.live.conftest import MODEL, Store

DAY_S = 86_400.0
STARTED = time.time() - 5 * DAY_S


@cache
def predictions(uri: str, number: int) -> np.ndarray:
    """What a version predicts of the sample."""
    return np.asarray(spotify_ml.load_model(f"models:/{MODEL}/{number}", uri).predict(_sample()))


@cache
def _sample() -> pd.DataFrame:
    from tests.conftest import SAMPLE

    return pd.read_parquet(SAMPLE)


def logged(
    store: Store,
    places: Sequence[int],
    *,
    mode: str = "shadow",
    share: float = 0.5,
    name: str = "live",
    versions: tuple[int, int] = (1, 2),
    rows: pd.DataFrame | None = None,
    keep_inputs: bool = False,
    shares: float | None = None,
) -> Database:
    """Write the log of an experiment in which some tracks of the sample were asked for, one a minute."""
    experiment = Experiment(name, mode, share, name) if mode == "split" else Experiment(name, mode)
    database = Database(f"sqlite:///{store.log}")
    key = read_key(database.file, make=True)
    writer = LogWriter(database, experiment, key, {}, keep_inputs, None)
    given = _sample().iloc[list(places)] if rows is None else rows
    by = dict(zip((CHAMPION, CHALLENGER), versions, strict=True))
    for number, place in enumerate(places):
        one = given.iloc[[number]].drop(columns="popularity")
        unit = str(one["track_id"].iloc[0])
        # With other shares, what a server does is not what it says.
        arm = assign(unit, name, share if shares is None else shares) if mode == "split" else CHAMPION
        values = {role: predictions(store.uri, version)[[place]] for role, version in by.items()}
        fixed = (f"{name}{number:028}"[-32:], unit, arm)
        said = {"at": STARTED + 60.0 * number, "latency_ms": 5.0, "keys": [unit], "model": MODEL}
        of_arm = {"role": arm, "version": by[arm], "predicted": values[arm]}
        writer.put(Scored(*fixed, answered=True, rows=one, **of_arm, **said))
        role = CHALLENGER if mode == "shadow" else CHAMPION
        unseen = {"role": role, "version": by[role], "predicted": values[role]}
        if mode == "split":
            unseen |= {"role": "expected", "expected": 100.0 + values[CHAMPION]}
        writer.put(Scored(*fixed, answered=False, **unseen, **said))
    writer.start()
    writer.close()
    return Database(f"sqlite:///{store.log}")


def observe(database: Database, places: Sequence[int], popularity: np.ndarray | None = None) -> None:
    """Keep the popularity of some tracks, as the sample has it by default, as observed a day after the prediction."""
    rows = _sample().iloc[list(places)]
    values = rows["popularity"].to_numpy(float) if popularity is None else popularity
    moments = STARTED + 60.0 * np.arange(len(rows)) + DAY_S
    table = pd.DataFrame({"unit": rows["track_id"].array, "popularity": values, "observed_at": moments})
    database.insert(OUTCOMES, table.assign(received_at=time.time()).to_dict("records"))


def distinct(n: int, seed: int = 0) -> list[int]:
    """Positions of tracks of the sample, each once, in random order."""
    rows = _sample().reset_index(drop=True).drop_duplicates("track_id")
    return np.random.default_rng(seed).permutation(rows.index.to_numpy())[:n].tolist()
