"""From raw rows to clean tracks: dropped and merged rows, and derived columns."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from spotify_ml.data.joined_columns import Joined
from spotify_ml.data.parts import SOURCE_COLUMN
from spotify_ml.data.schema import LIST_SEPARATOR, MEASURED, TARGET
from spotify_ml.utils.errors import DataError

MS_PER_MINUTE = 60_000
MOODS = ("Chill/Happy", "Energetic/Sad", "Happy/High Energy", "Sad/Low Energy")
ENERGY_LEVELS = ("Low Energy", "Medium Energy", "High Energy")
# Right-closed: 33 is low, 66 is medium.
POPULARITY_EDGES = (33.0, 66.0)
POPULARITY_LEVELS = ("Low Popularity", "Medium Popularity", "High Popularity")
TEMPO_LEVELS = ("Slow", "Moderate", "Fast", "Very Fast")


@dataclass(frozen=True)
class CleanTracks:
    """Clean tracks with derived columns, one row per track or raw row, and the number of dropped rows by reason.

    `joins` says what other tables have added.
    """

    frame: pd.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)
    joins: tuple[Joined, ...] = ()


def clean(raw: pd.DataFrame, cleaning: Literal["tracks", "rows"]) -> CleanTracks:
    """Clean raw rows that fit the schema, and add the derived columns.

    ``rows`` keeps every row. ``tracks`` drops rows without any name and keeps one row per ``track_id``, with its genres
    as one sorted, ``;``-joined set and its popularity as the mean of its rows, of several catalogues of those of the
    first that has the track.
    """
    # Columns are removed from a shallow copy.
    return clean_consuming(raw.copy(deep=False), cleaning, track_codes(raw))


def track_codes(raw: pd.DataFrame) -> np.ndarray:
    """Return the number of each row's ``track_id``, shape (n_rows,); a row without one is a track of its own."""
    codes, ids = pd.factorize(raw["track_id"])
    nameless = codes < 0
    codes[nameless] = len(ids) + np.arange(nameless.sum())
    return codes


def clean_consuming(raw: pd.DataFrame, cleaning: Literal["tracks", "rows"], codes: np.ndarray) -> CleanTracks:
    """Do the same as `clean`, with known codes, and empty ``raw``: no column is in memory twice for long."""
    measured = measured_rows(raw)
    unmeasured = {} if measured.all() else {"no audio feature": int((~measured).sum())}
    if cleaning == "rows":
        return CleanTracks(add_derived_columns(raw[measured].reset_index(drop=True) if unmeasured else raw), unmeasured)
    named = raw[["artists", "album_name", "track_name"]].notna().any(axis=1).to_numpy()
    rows = np.flatnonzero(named & measured)
    dropped = {"no artists, album and title": int((measured & ~named).sum())}
    tracks = _one_row_per_track(raw, rows, codes)
    dropped |= {"further rows of a track_id, merged into its first": len(rows) - len(tracks)}
    return CleanTracks(add_derived_columns(tracks), unmeasured | dropped)


def measured_rows(raw: pd.DataFrame) -> np.ndarray:
    """Return which rows have any audio feature, shape (n_rows,); only those of some layouts may have none."""
    if not raw[MEASURED[0]].hasnans:
        return np.ones(len(raw), dtype=bool)
    return raw[list(MEASURED)].notna().any(axis=1).to_numpy()


def check_any(n_tracks: int, path: Path) -> None:
    """Raise a `DataError` if cleaning has left no row of a file."""
    if not n_tracks:
        raise DataError(
            f"{path} has no row with artists, album_name or track_name, and cleaning=tracks drops all others; "
            "fill one of these columns, or set cleaning=rows"
        )


def _one_row_per_track(raw: pd.DataFrame, rows: np.ndarray, codes: np.ndarray) -> pd.DataFrame:
    """Merge the given rows of each track, and remove all columns from ``raw``."""
    codes, _ = pd.factorize(codes[rows])
    first = rows[~pd.Series(codes).duplicated().to_numpy()]
    counts = np.bincount(codes)
    newest = _newest(raw[SOURCE_COLUMN].to_numpy()[rows], codes, first, rows) if SOURCE_COLUMN in raw else None
    columns: dict[str, Any] = {}
    for name in map(str, list(raw)):
        column = raw.pop(name)
        if name == TARGET:
            values = column.to_numpy()[rows]
            if newest is None:
                columns[name] = np.bincount(codes, weights=values) / counts
            else:
                columns[name] = np.bincount(codes, weights=values * newest) / np.bincount(codes, weights=newest)
        elif name in ("track_genre", SOURCE_COLUMN):
            columns[name] = _merged_genres(column, rows, codes, first, counts > 1)
        else:
            columns[name] = column.array.take(first)
        del column
        # Without this, Arrow would keep the memory of all raw columns until the end.
        pa.default_memory_pool().release_unused()
    # Without a copy, each column in its own block.
    return pd.DataFrame(columns, copy=False)


def _newest(sources: np.ndarray, codes: np.ndarray, first: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return 1 for rows of the newest catalogue that has their track, whose rows come first, else 0."""
    positions = np.searchsorted(rows, first)
    return (sources == sources[positions][codes]).astype(np.float64)


def _merged_genres(
    genres: pd.Series, rows: np.ndarray, codes: np.ndarray, first: np.ndarray, repeated: np.ndarray
) -> pd.api.extensions.ExtensionArray:
    """Return the genre of each track's first row, or its sorted distinct genres if it has several rows or genres."""
    labels, names = pd.factorize(genres, sort=True)
    merged = pa.array(names.array.take(labels[first], allow_fill=True))
    if repeated.any():
        several = repeated[codes] & (labels[rows] >= 0)
        pairs = np.unique(codes[several] * len(names) + labels[rows[several]])
        tracks, labels = np.divmod(pairs, len(names))
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(tracks)) + 1, [len(pairs)]])
        lists = pa.ListArray.from_arrays(bounds.astype(np.int32), pa.array(names, pa.string()).take(pa.array(labels)))
        joined = pc.binary_join(lists, LIST_SEPARATOR)
        # Rows without a genre make no list.
        with_genres = np.zeros(len(first), dtype=bool)
        with_genres[tracks] = True
        merged = pc.replace_with_mask(merged, with_genres, joined.cast(merged.type))
    return pd.array(_as_sets(merged, names), dtype="str")


def _as_sets(merged: pa.Array, names: pd.Index) -> pa.Array:
    """Return lists of genres as sorted sets, where rows have lists themselves."""
    if not any(LIST_SEPARATOR in name for name in names):
        return merged
    encoded = merged.dictionary_encode()
    sets = [LIST_SEPARATOR.join(sorted(set(text.split(LIST_SEPARATOR)))) for text in encoded.dictionary.to_pylist()]
    return pa.array(sets, pa.string()).take(encoded.indices)


def add_derived_columns(tracks: pd.DataFrame) -> pd.DataFrame:
    """Return tracks with the derived columns of the reference pipeline.

    ``duration_min``, ``mood_energy``, ``energy_category``, ``tempo_category`` and, if there is a target,
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
    """Cut values into ordered bins; the schema limits the range, and NaN has no bin."""
    numbers = values.to_numpy()
    codes = np.searchsorted(inner_edges, numbers, side="left")
    return pd.Categorical.from_codes(np.where(np.isnan(numbers), -1, codes), pd.Index(labels), ordered=True)
