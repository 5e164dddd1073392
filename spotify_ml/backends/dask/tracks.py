"""Clean tracks in partitions, numbered as in a run in one process."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from spotify_ml.backends.dask.partitions import as_dask_frame, gathered, kept, mapped
from spotify_ml.backends.dask.reading import ROW
from spotify_ml.config.run import CleaningConfig
from spotify_ml.data.etl import CleanTracks, check_any, clean
from spotify_ml.data.quality import QualityReport, quality_report
from spotify_ml.data.schema import NAMES
from spotify_ml.data.sources import RawFile, RawTracks

# Rows per task: some tens of megabytes with features.
_PARTITION_ROWS = 100_000


@dataclass(frozen=True)
class CleanRows:
    """The clean tracks of one partition, and the quality of its raw rows."""

    frame: pd.DataFrame
    quality: QualityReport | None


@dataclass(frozen=True)
class TrackPartitions:
    """Clean tracks on the workers.

    `frames` are tasks for DataFrames, indexed by `positions`: those of each partition's rows among all clean tracks.
    """

    frames: list[Any]
    positions: list[np.ndarray]

    @property
    def n_tracks(self) -> int:
        """The number of tracks."""
        return sum(map(len, self.positions))

    def spread(self, values: np.ndarray) -> list[np.ndarray]:
        """Divide an array with an element per clean track by partition."""
        return [values[positions] for positions in self.positions]

    def collect(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Return an array with an element per clean track from those of the partitions: the inverse of `spread`."""
        values = np.empty((self.n_tracks, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
        for positions, array in zip(self.positions, arrays, strict=True):
            values[positions] = array
        return values


def clean_rows(
    client: Any, raw: RawFile, frames: list[Any], n_rows: int, cleaning: CleaningConfig
) -> tuple[TrackPartitions, QualityReport]:
    """Bring all rows of a track together, clean them, and return them with the quality report.

    `frames` and their number of rows are those of `spotify_ml.backends.dask.reading.read_rows`.
    """
    rows = as_dask_frame(client, frames)
    n_partitions = max(-(-n_rows // _PARTITION_ROWS), sum(client.nthreads().values()))
    by_track = rows.shuffle("track_id", npartitions=n_partitions).to_delayed()
    clean_parts = kept(client, mapped(partial(_clean, cleaning=cleaning.name, raw=raw), by_track))
    found = gathered(client, mapped(_contents, clean_parts))
    file_rows = np.concatenate([numbers for numbers, _ in found])
    check_any(len(file_rows), raw.path)
    order = np.empty(len(file_rows), dtype=np.int64)
    order[np.argsort(file_rows)] = np.arange(len(file_rows))
    positions = np.split(order, np.cumsum([len(numbers) for numbers, _ in found])[:-1])
    numbered = kept(client, mapped(_indexed, clean_parts, positions))
    reports = [report for _, report in found if report is not None]
    return TrackPartitions(numbered, positions), merged_reports(reports)


def _clean(rows: pd.DataFrame, cleaning: Literal["tracks", "rows"], raw: RawFile) -> CleanRows:
    in_file_order = rows.sort_values(ROW, ignore_index=True)
    tracks = clean(in_file_order, cleaning)
    if in_file_order.empty:
        return CleanRows(tracks.frame, None)
    report = quality_report(RawTracks(in_file_order[list(NAMES)], Path(raw.path), raw.sha256), tracks)
    return CleanRows(tracks.frame, report)


def _contents(cleaned: CleanRows) -> tuple[np.ndarray, QualityReport | None]:
    return cleaned.frame[ROW].to_numpy(dtype=np.int64), cleaned.quality


def _indexed(cleaned: CleanRows, positions: np.ndarray) -> pd.DataFrame:
    return cleaned.frame.drop(columns=ROW).set_axis(pd.Index(positions, dtype=np.int64))


def merged_reports(reports: Sequence[QualityReport]) -> QualityReport:
    """Return the report of a file from those of its partitions; all rows of a track are in one partition."""
    first, n_rows = reports[0], sum(report.raw_rows for report in reports)
    # A partition may have no value of a column.
    names = [name for name in NAMES if any(name in report.ranges for report in reports)]
    ranges = {name: _merged_range(name, [report for report in reports if name in report.ranges]) for name in names}
    return QualityReport(
        source=first.source,
        sha256=first.sha256,
        raw_rows=n_rows,
        clean_rows=sum(report.clean_rows for report in reports),
        duplicates=_summed([report.duplicates for report in reports]),
        nulls=_summed([report.nulls for report in reports]),
        ranges=ranges,
        zeros=_summed([report.zeros for report in reports]),
        dropped=_summed([report.dropped for report in reports]),
    )


def _merged_range(name: str, reports: Sequence[QualityReport]) -> dict[str, float]:
    """Return the range of a column from those of partitions with values of it."""
    ranges = [report.ranges[name] for report in reports]
    counts = [report.raw_rows - report.nulls.get(name, 0) for report in reports]
    total = sum(own["mean"] * count for own, count in zip(ranges, counts, strict=True))
    return {
        "min": min(own["min"] for own in ranges),
        "mean": total / sum(counts),
        "max": max(own["max"] for own in ranges),
    }


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Sum counts by name; columns are in the order of the schema."""
    names = dict.fromkeys(name for each in counts for name in each)
    ordered = sorted(names, key=lambda name: NAMES.index(name) if name in NAMES else len(NAMES))
    return {name: sum(each.get(name, 0) for each in counts) for name in ordered}


def collect_tracks(client: Any, tracks: TrackPartitions, dropped: dict[str, int]) -> CleanTracks:
    """Return all clean tracks in this process, in file order."""
    return CleanTracks(pd.concat(gathered(client, tracks.frames)).sort_index(), dropped)
