"""From raw rows to clean tracks: what is dropped and merged, and the derived columns."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd

from spotify_ml.data.schema import LIST_SEPARATOR, TARGET

MS_PER_MINUTE = 60_000
MOODS = ("Chill/Happy", "Energetic/Sad", "Happy/High Energy", "Sad/Low Energy")
ENERGY_LEVELS = ("Low Energy", "Medium Energy", "High Energy")
# Right-closed: 33 is low, 66 is medium.
POPULARITY_EDGES = (33.0, 66.0)
POPULARITY_LEVELS = ("Low Popularity", "Medium Popularity", "High Popularity")
TEMPO_LEVELS = ("Slow", "Moderate", "Fast", "Very Fast")


@dataclass(frozen=True)
class CleanTracks:
    """Clean tracks and what cleaning did.

    Attributes
    ----------
    frame : DataFrame
        One row per track (``cleaning=tracks``) or per raw row (``cleaning=rows``), derived columns included.
    dropped : dict of str to int
        Rows that are no longer there, by reason.
    """

    frame: pd.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)


def clean(raw: pd.DataFrame, cleaning: Literal["tracks", "rows"]) -> CleanTracks:
    """Clean raw rows and add the derived columns.

    Parameters
    ----------
    raw : DataFrame
        Rows that keep to the schema.
    cleaning : {"tracks", "rows"}
        ``rows`` keeps every row. ``tracks`` drops rows without any name and keeps one row per ``track_id``, with
        its genres as one sorted, ``;``-joined set and its popularity as the mean of its rows.
    """
    if cleaning == "rows":
        return CleanTracks(add_derived_columns(raw))
    nameless = raw[["artists", "album_name", "track_name"]].isna().all(axis=1).to_numpy()
    named = raw[~nameless] if nameless.any() else raw
    tracks = _one_row_per_track(named)
    dropped = {
        "no artists, album and title": int(nameless.sum()),
        "further rows of a track_id, merged into its first": len(named) - len(tracks),
    }
    return CleanTracks(add_derived_columns(tracks), dropped)


def _one_row_per_track(raw: pd.DataFrame) -> pd.DataFrame:
    codes, _ = pd.factorize(raw["track_id"])
    first = np.flatnonzero(~pd.Series(codes).duplicated().to_numpy())
    tracks = raw.iloc[first].reset_index(drop=True)
    counts = np.bincount(codes)
    popularity = np.bincount(codes, weights=raw[TARGET].to_numpy()) / counts
    genres = tracks["track_genre"].to_numpy(dtype=object)
    repeated = counts > 1
    if repeated.any():
        genres[repeated] = _joined_genres(codes, raw["track_genre"], repeated)
    return tracks.assign(popularity=popularity, track_genre=pd.array(genres, dtype="str"))


def _joined_genres(codes: np.ndarray, genres: pd.Series, wanted: np.ndarray) -> list[str]:
    """Join the distinct genres of each wanted track, in alphabetical and thus reproducible order."""
    rows = np.flatnonzero(wanted[codes])
    labels, names = pd.factorize(genres.iloc[rows], sort=True)
    pairs = np.unique(codes[rows] * len(names) + labels)
    tracks, labels = np.divmod(pairs, len(names))
    of_tracks = names.to_numpy(dtype=object)[labels].tolist()
    bounds = [0, *(np.flatnonzero(np.diff(tracks)) + 1).tolist(), len(of_tracks)]
    return [LIST_SEPARATOR.join(of_tracks[start:end]) for start, end in pairwise(bounds)]


def add_derived_columns(tracks: pd.DataFrame) -> pd.DataFrame:
    """Return tracks with the derived columns of the reference pipeline appended.

    ``duration_min``, ``mood_energy``, ``energy_category``, ``tempo_category`` and, where there is a target,
    ``popularity_category``. Bins are right-closed and include their lowest edge.
    """
    happy = tracks["valence"].to_numpy() > 0.5
    energetic = tracks["energy"].to_numpy() > 0.5
    # Positions in MOODS: the four corners of valence and energy.
    mood = np.where(energetic, np.where(happy, 2, 1), np.where(happy, 0, 3))
    derived: dict[str, Any] = {
        "duration_min": tracks["duration_ms"] / MS_PER_MINUTE,
        "mood_energy": pd.Categorical.from_codes(mood, pd.Index(MOODS)),
        "energy_category": _binned(tracks["energy"], (0.33, 0.66), ENERGY_LEVELS),
        "tempo_category": _binned(tracks["tempo"], (90, 120, 150), TEMPO_LEVELS),
    }
    if TARGET in tracks:
        derived["popularity_category"] = _binned(tracks[TARGET], POPULARITY_EDGES, POPULARITY_LEVELS)
    return tracks.assign(**derived)


def _binned(values: pd.Series, inner_edges: tuple[float, ...], labels: tuple[str, ...]) -> "pd.Categorical[str]":
    """Cut values into ordered bins; the schema guards the outer edges, and NaN stays without a bin."""
    numbers = values.to_numpy()
    codes = np.searchsorted(inner_edges, numbers, side="left")
    return pd.Categorical.from_codes(np.where(np.isnan(numbers), -1, codes), pd.Index(labels), ordered=True)
