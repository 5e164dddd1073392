"""The user's own tracks with their popularity, read to calibrate a model, without copies of the rows to be scored."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from spotify_ml.config.layouts import AUTO, LayoutConfig
from spotify_ml.data.arrow import arrow_frame
from spotify_ml.data.batches import Batch, Input, open_input, open_part
from spotify_ml.data.contract import CheckedRows, OutOfRange, Problem
from spotify_ml.data.duplicates import copied, copy_groups
from spotify_ml.data.etl import track_codes
from spotify_ml.data.header import column_hint
from spotify_ml.data.join_tables import JoinTable
from spotify_ml.data.parts import is_many, parts_of
from spotify_ml.data.schema import NAMES, TARGET, Kind
from spotify_ml.data.texts import read_numbers
from spotify_ml.models.catalogue_calibration import N_FOLDS
from spotify_ml.models.intervals import HIGHEST, LOWEST
from spotify_ml.scoring.complaints import Complaints
from spotify_ml.scoring.raw import checked_rows, raw_rows
from spotify_ml.utils.errors import DataError

FEWEST = 100


@dataclass(frozen=True)
class KnownRows:
    """Checked rows, their popularity, shape (n_rows,), and the number of rows that were left out.

    Attributes
    ----------
    origin : str
        Where they are from.
    rows : DataFrame
        Raw columns, see `spotify_ml.data.contract.CheckedRows.frame`.
    popularity : ndarray of float, shape (n_rows,)
        From 0 to 100.
    n_repeated : int
        Further rows of a ``track_id``.
    n_copies : int
        Copies of rows that are to be scored.
    """

    origin: str
    rows: pd.DataFrame
    popularity: np.ndarray
    n_repeated: int = 0
    n_copies: int = 0

    @property
    def groups(self) -> np.ndarray:
        """The number of every row, the same for copies."""
        return copy_groups(self.rows)

    def take(self, where: np.ndarray) -> "KnownRows":
        """Return some of the rows."""
        return replace(self, rows=self.rows[where].reset_index(drop=True), popularity=self.popularity[where])

    def left_out(self) -> str:
        """Return what was left out in a few words, nothing if that is nothing."""
        told = {"copies of rows to be scored": self.n_copies, "further rows of a track_id": self.n_repeated}
        return ", ".join(f"{count:,} {what}" for what, count in told.items() if count)


def read_known(
    path: str,
    layout: LayoutConfig = AUTO,
    out_of_range: OutOfRange = "refuse",
    further: Mapping[str, Kind] = MappingProxyType({}),
    joins: Sequence[JoinTable] = (),
) -> KnownRows:
    """Read tracks with popularity from one file or many; of a repeated ``track_id``, the first row counts.

    `further` are the columns that the model takes beside those of all models, some of which `joins` may have.

    Raises
    ------
    DataError
        If there is no popularity, or rows cannot be scored or have none from 0 to 100; it names them.
    """
    frames, popularity = [], []
    for rows in open_inputs(path, layout):
        complaints = Complaints(rows.layout)
        for batch in rows.batches():
            checked, given = _checked(batch, rows, out_of_range, further, joins)
            complaints.scales.add(checked.scales)
            if batch.broken or checked.refused().any():
                complaints.add(batch, checked, only_broken=False)
            frames.append(checked.frame())
            popularity.append(given)
        complaints.check(rows.origin, None, "be used to calibrate")
    if not frames:
        raise DataError(f"{path} has a header but no rows; give rows with popularity")
    known = KnownRows(path, pd.concat(frames, ignore_index=True), np.concatenate(popularity))
    if known.popularity.max() == known.popularity.min():
        raise DataError(f"{path} has one popularity, {known.popularity[0]:g}, in all rows; there is nothing to learn")
    if known.popularity.max() <= 1:
        raise DataError(
            f"{path} has popularity up to {known.popularity.max():g}, where it is from 0 to 100; convert it"
        )
    first = ~pd.Series(track_codes(known.rows)).duplicated().to_numpy()
    return replace(known.take(first), n_repeated=int((~first).sum()))


def without_copies(known: KnownRows, inputs: Iterable[Input], out_of_range: OutOfRange = "refuse") -> KnownRows:
    """Return known rows without copies of the rows of files that are to be scored.

    Raises
    ------
    DataError
        If there are too few left, or too many of these are copies of each other.
    """
    is_copy = np.zeros(len(known.rows), dtype=bool)
    for rows in inputs:
        for batch in rows.batches():
            is_copy |= copied(known.rows, checked_rows(raw_rows(batch, rows), out_of_range).frame())
    left = replace(known.take(~is_copy), n_copies=int(is_copy.sum()))
    n_rows, n_tracks = len(left.rows), len(np.unique(left.groups))
    if n_rows < FEWEST or n_tracks < N_FOLDS:
        what = f"{n_rows:,} rows" if n_rows < FEWEST else f"{n_rows:,} rows that are copies of {n_tracks:,}"
        without = f" ({told} left out)" if (told := left.left_out()) else ""
        raise DataError(
            f"calibrate={known.origin} has {what} with popularity{without}; at least {FEWEST} different ones are "
            "needed: add rows, or score without calibrate=…"
        )
    return left


def open_inputs(path: str, layout: LayoutConfig = AUTO) -> Iterator[Input]:
    """Open the files that a path names, one after the other."""
    if not is_many(path):
        yield open_input(Path(path), layout)
        return
    for part in parts_of(path):
        yield open_part(part, layout)


def _checked(
    batch: Batch,
    rows: Input,
    out_of_range: OutOfRange,
    further: Mapping[str, Kind],
    joins: Sequence[JoinTable],
) -> tuple[CheckedRows, np.ndarray]:
    """Return checked rows, with the problems of their popularity, and this."""
    raw = raw_rows(batch, rows, further)
    if TARGET not in raw.column_names:
        spare = [name for name in rows.schema.names if name not in NAMES]
        raise DataError(
            f"{rows.origin} has no column {TARGET}{column_hint(TARGET, spare)}, which calibrate=… learns from; add or "
            "rename it"
        )
    checked = checked_rows(raw, out_of_range, further, joins)
    popularity, unreadable = read_numbers(arrow_frame(raw.select([TARGET]))[TARGET], is_flag=False)
    is_text = np.zeros(len(popularity), dtype=bool) if unreadable is None else unreadable
    found = {
        "is not numeric": is_text,
        "is empty": np.isnan(popularity) & ~is_text,
        "is not from 0 to 100": (popularity < LOWEST) | (popularity > HIGHEST),
    }
    problems = [Problem(TARGET, text, where) for text, where in found.items() if where.any()]
    return replace(checked, problems=[*checked.problems, *problems]), popularity
