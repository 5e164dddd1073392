"""The quality report of a data file: its rows, oddities, and the rows that cleaning has dropped."""

from dataclasses import asdict, dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from spotify_ml.data.etl import CleanTracks, track_codes
from spotify_ml.data.schema import NUMERIC, TARGET
from spotify_ml.data.sources import RawTracks


@dataclass(frozen=True)
class QualityReport:
    """The quality of a data file; counts of zero are left out.

    ``duplicates`` counts repeated rows or tracks by kind, ``nulls`` and ``zeros`` values by column, ``dropped`` the
    rows dropped or merged by cleaning, by reason. ``ranges`` has the minimum, mean and maximum of every numeric column.
    """

    source: str
    sha256: str
    raw_rows: int
    clean_rows: int
    duplicates: dict[str, int]
    nulls: dict[str, int]
    ranges: dict[str, dict[str, float]]
    zeros: dict[str, int]
    dropped: dict[str, int]

    def after(self, clean: CleanTracks) -> Self:
        """Return the report with the result of cleaning."""
        return replace(self, clean_rows=len(clean.frame), dropped=clean.dropped)

    def as_dict(self) -> dict[str, object]:
        """Return the report as plain values for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """Return the report as text."""
        ranges = (
            f"  {name:<18} {bounds['min']:>14,.3f} {bounds['mean']:>14,.3f} {bounds['max']:>14,.3f}"
            for name, bounds in self.ranges.items()
        )
        lines = [
            "DATA QUALITY REPORT",
            f"source: {self.source}",
            f"sha256: {self.sha256}",
            f"rows: {self.raw_rows:,} raw, {self.clean_rows:,} after cleaning",
            *_section("Duplicates", self.duplicates),
            *_section("Empty values", self.nulls),
            *_section("Dropped by cleaning", self.dropped),
            *_section("Zeros", self.zeros),
            "",
            "Ranges",
            f"  {'column':<18} {'min':>14} {'mean':>14} {'max':>14}",
            *ranges,
        ]
        return "\n".join(lines) + "\n"


def _section(title: str, counts: dict[str, int]) -> list[str]:
    return ["", title, *([f"  {name}: {count:,}" for name, count in counts.items()] or ["  none"])]


def quality_report(raw: RawTracks, clean: CleanTracks) -> QualityReport:
    """Return the report of raw tracks and their cleaning."""
    return raw_report(raw, track_codes(raw.frame)).after(clean)


def raw_report(raw: RawTracks, codes: np.ndarray) -> QualityReport:
    """Return the report of raw tracks with their `spotify_ml.data.etl.track_codes`, before cleaning."""
    frame = raw.frame
    nulls = {str(name): int(frame[name].isna().sum()) for name in frame}
    ranges, zeros = {}, {}
    for name in NUMERIC:
        column = frame[name].to_numpy()
        if np.isnan(column).any():
            column = column[~np.isnan(column)]
        if not len(column):
            continue
        ranges[name] = {"min": float(column.min()), "mean": float(column.mean()), "max": float(column.max())}
        zeros[name] = int((column == 0).sum())
    return QualityReport(
        source=raw.path.name,
        sha256=raw.sha256,
        raw_rows=len(frame),
        clean_rows=len(frame),
        duplicates=_duplicates(frame, codes),
        nulls={name: count for name, count in nulls.items() if count},
        ranges=ranges,
        zeros={name: count for name, count in zeros.items() if count},
        dropped={},
    )


def _duplicates(frame: pd.DataFrame, codes: np.ndarray) -> dict[str, int]:
    counts = np.bincount(codes)
    # Only rows of a track with several rows can be equal.
    rows = np.flatnonzero((counts > 1)[codes])
    tracks = codes[rows]
    genres, names = pd.factorize(frame["track_genre"].take(rows))
    # A row without a genre has code -1.
    pairs = pd.Series(tracks * (len(names) + 1) + genres)
    # Equal rows have the same id and genre: only those few are compared in full.
    suspects = frame.iloc[rows[pairs.duplicated(keep=False).to_numpy()]]
    n_values = frame[TARGET].take(rows).groupby(tracks).nunique()
    return {
        "rows equal to an earlier row": int(suspects.duplicated().sum()),
        "rows with the track_id and genre of an earlier row": int(pairs.duplicated().sum()),
        "rows with the track_id of an earlier row": len(frame) - len(counts),
        "track_ids whose rows differ in popularity": int((n_values > 1).sum()),
    }
