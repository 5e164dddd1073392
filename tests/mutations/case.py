"""What a mutated input is: what is given, and what is right to do with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

TEXT = ("track_id", "artists", "album_name", "track_name", "track_genre")
WHOLE = ("duration_ms", "key", "mode", "time_signature")
FLAG = "explicit"
SHARES = ("danceability", "energy", "speechiness", "acousticness", "instrumentalness", "liveness", "valence")
AUDIO = ("duration_ms", FLAG, *SHARES, "key", "loudness", "mode", "tempo", "time_signature")
RANGES = {
    "duration_ms": (0, 86_400_000),
    "key": (-1, 11),
    "mode": (0, 1),
    "time_signature": (0, 7),
    "loudness": (-100, 20),
    "tempo": (0, 300),
    **dict.fromkeys(SHARES, (0, 1)),
}
# A row of training may leave these empty.
NULLABLE = ("artists", "album_name", "track_name")

# A file of training may lack these, or leave all of their cells empty.
LACKABLE = (*NULLABLE, "track_id", "track_genre", "explicit", "key", "mode", "time_signature")


class Right(Enum):
    """What is right: rows that are scored must always be the plain ones."""

    SCORED = "as the plain rows, but for the bad ones"
    REFUSED = "refused as a whole"
    EITHER = "as the plain rows, or refused as a whole"
    ANSWERED = "nothing is known of the rows, but there is no traceback"


class Missing(Enum):
    """Meanings of a cell beside a value."""

    EMPTY = "no value"
    REFUSED = "no such value"


@dataclass(frozen=True)
class Meaning:
    """What a cell means.

    Attributes
    ----------
    value : object
        As it is given plainly, or one of `Missing`.
    clipped : float, optional
        What it is where numbers out of their range may be clipped; it is refused elsewhere.
    is_sure : bool
        Whether a reader must take it, if it has a value.
    """

    value: Any
    clipped: float | None = None
    is_sure: bool = True


@dataclass(frozen=True)
class Case:
    """A mutated input.

    Attributes
    ----------
    name : str
        What was changed.
    mode : str
        Who is given it: ``train``, ``predict``, ``python``, ``http``.
    given : object
        The bytes of a file, a Python object, or a request.
    right : Right
        What is right.
    plain : DataFrame, optional
        The rows that it is equal to.
    bad : tuple of int
        Rows that must be refused.
    maybe : tuple of int
        Rows that may be.
    tells : str
        What a refusal must name.
    settings : dict
        Of the command: ``on_error``, ``out_of_range``, ``output``, ``place``.
    """

    name: str
    mode: str
    given: Any
    right: Right
    plain: pd.DataFrame | None = None
    bad: tuple[int, ...] = ()
    maybe: tuple[int, ...] = ()
    tells: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def plain_rows(tracks: pd.DataFrame) -> pd.DataFrame:
    """Return tracks in the plainest types: float64 numbers and text."""
    numbers = {name: tracks[name].astype(np.float64) for name in (*AUDIO, "popularity")}
    return tracks.assign(**numbers).reset_index(drop=True)


def with_cell(rows: pd.DataFrame, column: str, row: int, value: Any) -> pd.DataFrame:
    """Return rows of which one cell holds another object; its column holds objects."""
    values = pd.Series(rows[column].tolist(), dtype=object)
    values[row] = value if not isinstance(value, list | tuple | np.ndarray | dict | set) else None
    if values[row] is None and value is not None:
        listed = values.tolist()
        listed[row] = value
        values = pd.Series(pd.array([None] * len(listed), dtype=object))
        for position, each in enumerate(listed):
            values.iloc[position] = each
    return rows.assign(**{column: values})


def told(
    rows: pd.DataFrame, column: str, row: int, meaning: Meaning, mode: str, out_of_range: str
) -> tuple[pd.DataFrame, tuple[int, ...], tuple[int, ...]]:
    """Return the plain rows of a cell's meaning, those that must, and those that may be refused."""
    value = meaning.value
    if meaning.clipped is not None:
        value = meaning.clipped if out_of_range == "clip" and mode != "train" else Missing.REFUSED
    if value is Missing.EMPTY and mode == "train" and column not in NULLABLE:
        value = Missing.REFUSED
    if value is Missing.REFUSED:
        return rows, (row,), ()
    empty = None if column in TEXT else np.nan
    plain = with_cell(rows, column, row, empty if value is Missing.EMPTY else value)
    if column not in TEXT:
        plain[column] = plain[column].astype(np.float64)
    else:
        plain[column] = plain[column].astype("str")
    return plain, (), () if meaning.is_sure else (row,)


def picked(options: Mapping[str, Sequence[str]], rng: np.random.Generator) -> dict[str, str]:
    """Return one of the choices of every setting."""
    return {name: str(rng.choice(list(choices))) for name, choices in options.items()}
