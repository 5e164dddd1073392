"""Copies of tracks in a raw file or two, and their effect when rows are split by chance."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import track_codes
from spotify_ml.data.schema import TARGET
from spotify_ml.data.splits import FINGERPRINT, connected_groups, group_codes, split_tracks

_FEWEST_ROWS = 3
_SPLIT, _SEED = SplitConfig(name="random", test_size=0.2, val_size=0.12), 42
_KINDS = {
    "track_id": "the same track_id",
    "recording": "the same recording",
    "album": "the same album",
    "artist": "the same first artist",
}
_COMPARED = ["track_id", "artists", "track_name", *FINGERPRINT]


@dataclass(frozen=True)
class Duplicates:
    """Copies of tracks.

    Attributes
    ----------
    copies : Series of int
        The number of tracks by their number of rows.
    spreads, kinds : ndarray of float and Series of str
        Of each recording with several rows: its highest minus lowest popularity, and whether it has one or several
        track_ids.
    both_sides : dict of str to float
        The share of test rows with a copy on the other side of a random split: the same ``track_id``, recording, album
        or first artist, each including those before. Empty if there are too few rows.
    lookup_r2 : float
        R² of the mean popularity of these copies as the prediction of the test rows that have any; NaN if undefined.
    """

    copies: "pd.Series[int]"
    spreads: np.ndarray
    kinds: "pd.Series[str]"
    both_sides: dict[str, float]
    lookup_r2: float


def find_duplicates(raw: pd.DataFrame) -> Duplicates:
    """Return the copies of tracks among raw rows that fit the schema, and their effect on a random split."""
    tracks = track_codes(raw)
    codes = {"track_id": tracks} | {kind: group_codes(raw, kind) for kind in _KINDS if kind != "track_id"}
    # A track_id is one recording, even if a row of it has no names.
    grouped = raw.groupby(codes["recording"])
    sizes = grouped.size()
    repeated = sizes.index[sizes > 1]
    popularity = grouped[TARGET].agg(["min", "max"]).loc[repeated]
    n_ids = grouped["track_id"].nunique().loc[repeated]
    kinds = pd.Series(np.where(n_ids <= 1, "one track_id", "several track_ids"), index=repeated, dtype="str")
    copies = pd.Series(np.bincount(tracks)).value_counts().sort_index()
    both_sides, lookup_r2 = _split_by_chance(raw, codes)
    return Duplicates(copies, (popularity["max"] - popularity["min"]).to_numpy(), kinds, both_sides, lookup_r2)


def _split_by_chance(raw: pd.DataFrame, codes: dict[str, np.ndarray]) -> tuple[dict[str, float], float]:
    if len(raw) < _FEWEST_ROWS:
        return {}, np.nan
    split = split_tracks(raw, _SPLIT, _SEED)
    known = {kind: np.isin(own[split.test], own[split.trainval]) for kind, own in codes.items()}
    both_sides = {_KINDS[kind]: float(rows.mean()) for kind, rows in known.items()}
    popularity = raw[TARGET].to_numpy()
    recordings = codes["recording"]
    means = pd.Series(popularity[split.trainval]).groupby(recordings[split.trainval]).mean()
    # Of tracks without popularity there is nothing to look up.
    copied = split.test[known["recording"] & ~np.isnan(popularity[split.test])]
    actual = popularity[copied]
    total = ((actual - actual.mean()) ** 2).sum() if len(copied) else 0.0
    if total == 0:
        return both_sides, np.nan
    return both_sides, float(1 - ((actual - means.loc[recordings[copied]].to_numpy()) ** 2).sum() / total)


def copy_groups(rows: pd.DataFrame) -> np.ndarray:
    """Return a number for every row, shape (n_rows,), the same for copies.

    Copies have the same ``track_id``, the same nine audio features, or the same artists and title in normal form.
    """
    named = rows.assign(track_id=rows["track_id"].mask(rows["track_id"] == ""))
    return connected_groups([group_codes(named, "recording"), track_codes(named)], len(named))


def copied(rows: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """Return which rows are copies of other rows, see `copy_groups`, shape (n_rows,)."""
    both = pd.concat([rows[_COMPARED], others[_COMPARED]], ignore_index=True)
    # A feature that one of two files lacks does not tell their rows apart.
    lacking = [name for name in FINGERPRINT if rows[name].isna().all() or others[name].isna().all()]
    groups = copy_groups(both.assign(**dict.fromkeys(lacking, np.nan)))
    return np.isin(groups[: len(rows)], groups[len(rows) :])
