"""The copies of tracks in a raw file, and what they do to figures when rows are divided by chance."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.schema import TARGET
from spotify_ml.data.splits import group_codes, split_tracks

_FEWEST_ROWS = 3
_KINDS = {
    "track_id": "the same track_id",
    "recording": "the same recording",
    "album": "the same album",
    "artist": "the same first artist",
}


@dataclass(frozen=True)
class Duplicates:
    """What stands more than once.

    Attributes
    ----------
    copies : Series of int
        How many tracks there are by their number of rows.
    spreads : ndarray of float
        Highest less lowest popularity among the rows of each recording that has several.
    kinds : Series of str
        For each of those recordings, whether its rows have one track_id or several.
    both_sides : dict of str to float
        The share of the test rows that have a row of the same kind on the other side, if the rows are divided by
        chance: the same ``track_id``, recording, album or first artist, each counting those before. Empty where there
        are too few rows to divide.
    lookup_r2 : float
        R² of predicting each of the test rows with a copy by the mean popularity of its copies on the other side; NaN
        where that is undefined.
    """

    copies: "pd.Series[int]"
    spreads: np.ndarray
    kinds: "pd.Series[str]"
    both_sides: dict[str, float]
    lookup_r2: float


def find_duplicates(raw: pd.DataFrame, test_size: float = 0.2, seed: int = 42) -> Duplicates:
    """Find copies of tracks among raw rows, and divide the rows by chance to see what that does.

    Parameters
    ----------
    raw : DataFrame
        Rows that keep to the schema.
    test_size : float
        The share of the rows that are put aside.
    seed : int
        Decides which.
    """
    tracks, _ = pd.factorize(raw["track_id"])
    codes = {"track_id": tracks} | {kind: group_codes(raw, kind) for kind in _KINDS if kind != "track_id"}
    # A track_id stands for one recording, even where a row of it lacks its names.
    grouped = raw.groupby(codes["recording"])
    sizes = grouped.size()
    repeated = sizes.index[sizes > 1]
    popularity = grouped[TARGET].agg(["min", "max"]).loc[repeated]
    n_ids = grouped["track_id"].nunique().loc[repeated]
    kinds = pd.Series(np.where(n_ids == 1, "one track_id", "several track_ids"), index=repeated, dtype="str")
    copies = pd.Series(np.bincount(tracks)).value_counts().sort_index()
    both_sides, lookup_r2 = _divided_by_chance(raw, codes, test_size, seed)
    return Duplicates(copies, (popularity["max"] - popularity["min"]).to_numpy(), kinds, both_sides, lookup_r2)


def _divided_by_chance(
    raw: pd.DataFrame, codes: dict[str, np.ndarray], test_size: float, seed: int
) -> tuple[dict[str, float], float]:
    if len(raw) < _FEWEST_ROWS:
        return {}, np.nan
    split = split_tracks(raw, SplitConfig(name="random", test_size=test_size, val_size=0.12), seed)
    known = {kind: np.isin(own[split.test], own[split.trainval]) for kind, own in codes.items()}
    both_sides = {_KINDS[kind]: float(rows.mean()) for kind, rows in known.items()}
    popularity = raw[TARGET].to_numpy()
    recordings = codes["recording"]
    means = pd.Series(popularity[split.trainval]).groupby(recordings[split.trainval]).mean()
    copied = split.test[known["recording"]]
    actual = popularity[copied]
    total = ((actual - actual.mean()) ** 2).sum() if len(copied) else 0.0
    if total == 0:
        return both_sides, np.nan
    return both_sides, float(1 - ((actual - means.loc[recordings[copied]].to_numpy()) ** 2).sum() / total)
