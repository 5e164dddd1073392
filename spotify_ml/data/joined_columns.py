"""Columns joined from other tables: ``<table>_<column>``, and the flag ``matched_<table>``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from spotify_ml.data.dates import COLLECTED_COLUMN
from spotify_ml.data.parts import FILE_COLUMN, SOURCE_COLUMN
from spotify_ml.data.schema import DERIVED, FURTHER_NAMES, NAMES, Kind

Key = Literal["track_id", "artists"]
MATCHED = "matched_"
# The columns that clean tracks may have beside joined ones.
OWN = frozenset({*NAMES, *FURTHER_NAMES, *DERIVED, FILE_COLUMN, SOURCE_COLUMN, COLLECTED_COLUMN})
# Words in the names of columns that measure nearly the same as popularity.
_NEAR_TARGET = ("popularity", "playlist", "chart", "stream", "follower")


def near_target(column: str) -> bool:
    """Return whether a column seems to measure nearly the same as popularity, by the words in its name."""
    return any(word in column.lower() for word in _NEAR_TARGET)


@dataclass(frozen=True)
class Joined:
    """What a table has added to tracks.

    ``columns`` are those that it adds, ``filled`` those of the tracks that it fills, and ``left_out`` says why others
    are not used. The mean popularity of tracks that are in the table, and of the others, is None where there are none.
    """

    name: str
    key: Key
    sha256: str
    n_rows: int
    columns: list[str]
    filled: list[str]
    left_out: dict[str, str]
    n_matched: int = 0
    n_tracks: int = 0
    popularity: float | None = None
    others_popularity: float | None = None

    @property
    def near_popularity(self) -> list[str]:
        """The added columns that seem to measure nearly the same as popularity."""
        return [name for name in self.columns if near_target(name)]

    def __str__(self) -> str:
        """Return it in a line."""
        parts = [f"{self.n_matched:,} of {self.n_tracks:,} tracks are in it by {self.key}"]
        parts += [f"adds {', '.join(self.columns)}"] if self.columns else []
        parts += [f"near popularity itself: {', '.join(self.near_popularity)}"] if self.near_popularity else []
        parts += [f"fills {', '.join(self.filled)}"] if self.filled else []
        reasons = dict.fromkeys(self.left_out.values())
        listed = [
            f"{', '.join(repr(name) for name, own in self.left_out.items() if own == reason)} ({reason})"
            for reason in reasons
        ]
        parts += [f"left out: {'; '.join(listed)}"] if listed else []
        return "; ".join(parts)


def flags_of(names: Iterable[str]) -> list[str]:
    """Return the flags ``matched_<table>`` among the names of columns."""
    return [name for name in names if name.startswith(MATCHED)]


def columns_by_flag(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the joined columns of each flag; a column is of the table with the longest name that it begins with.

    >>> columns_by_flag(["track_id", "labels_founded", "matched_labels"])
    {'matched_labels': ['labels_founded']}
    """
    known = list(names)
    found: dict[str, list[str]] = {flag: [] for flag in flags_of(known)}
    by_length = sorted(found, key=len, reverse=True)
    for name in known:
        own = (flag for flag in by_length if name.startswith(f"{flag.removeprefix(MATCHED)}_"))
        flag = None if name in OWN or name in found else next(own, None)
        if flag is not None:
            found[flag].append(name)
    return found


def joined_kinds(tracks: pd.DataFrame) -> dict[str, Kind]:
    """Return the joined columns of tracks with what they hold: text, or numbers."""
    names = [name for flag, columns in columns_by_flag(map(str, tracks)).items() for name in (*columns, flag)]
    is_number = {name: pd.api.types.is_numeric_dtype(tracks[name]) for name in names}
    return {name: Kind.NUMBER if is_number[name] else Kind.TEXT for name in names}


def fill_flags(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns of rows to be scored, where a missing flag is 1 if any column of its table has a value, else 0.

    A table without columns of its own is one of `FURTHER_NAMES`.
    """
    filled = dict(columns)
    for flag, names in columns_by_flag(columns).items():
        own = names or [name for name in FURTHER_NAMES if name in columns]
        given = np.logical_or.reduce([pd.notna(columns[name]) for name in own]) if own else 0
        filled[flag] = np.where(np.isnan(columns[flag]), given, columns[flag])
    return filled
