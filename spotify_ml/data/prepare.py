"""The first stages of a run, computed or from the cache: clean tracks, their quality report, and their split."""

import json
import logging
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from spotify_ml.config.layouts import AUTO, LayoutConfig
from spotify_ml.config.run import CleaningConfig, DataConfig, RunConfig, SplitConfig
from spotify_ml.data.cache import StageCache
from spotify_ml.data.dates import (
    COLLECTED_COLUMN,
    PLACEHOLDERS,
    collected_days,
    day_of,
    day_text,
    parse_dates,
)
from spotify_ml.data.etl import CleanTracks, check_any, clean_consuming, track_codes
from spotify_ml.data.join_tables import read_join_files, read_table
from spotify_ml.data.joined_columns import Joined
from spotify_ml.data.joins import as_found, join_tracks
from spotify_ml.data.parts import SOURCE_COLUMN
from spotify_ml.data.quality import QualityReport, raw_report
from spotify_ml.data.schema import FURTHER_NAMES, absent_columns
from spotify_ml.data.sources import RawFile, parse_tracks, read_file
from spotify_ml.data.splits import Split, split_tracks

log = logging.getLogger(__name__)

_TABLE, _REPORT = "tracks.arrow", "report.json"
_KNOWN_TO = ("to the day", "to the month", "to the year", "not known")
_POSITIONS = ("train", "validation", "test", "groups")


class RowSettings(NamedTuple):
    """The settings of a run that decide its rows."""

    data: DataConfig
    cleaning: CleaningConfig
    split: SplitConfig
    seed: int
    layout: LayoutConfig = AUTO


def prepare_tracks(config: RunConfig | RowSettings, cache: StageCache) -> tuple[RawFile, CleanTracks, QualityReport]:
    """Read and clean the tracks of a run; equal bytes are parsed once.

    Returns the raw file, with its absolute path, the clean tracks, and the quality of the raw ones. A `DataError` is
    raised if the file is absent, no table, or violates the schema.
    """
    file, content = read_file(config.data, config.layout)
    tables = read_join_files(config.data.join)
    file = replace(file, joins=tuple((each.name, each.sha256) for each in tables))
    say_layout(file)

    def make() -> tuple[CleanTracks, QualityReport]:
        nonlocal content
        raw = parse_tracks(file, content)
        del content
        added = join_tracks(raw.frame, [read_table(each) for each in tables])
        add_collected(raw.frame, file, config.data.collected)
        # Arrow keeps the memory of parsing, a sixth of that of the rows.
        pa.default_memory_pool().release_unused()
        codes = track_codes(raw.frame)
        quality = raw_report(raw, codes)
        tracks = clean_consuming(raw.frame, config.cleaning.name, codes)
        check_any(len(tracks.frame), raw.path)
        return replace(tracks, joins=as_found(added, tracks.frame)), quality.after(tracks)

    decided_by = {**origin_of(config, file), "cleaning": config.cleaning.name}
    tracks, quality = cache.get("tracks", decided_by, make, _write_tracks, _read_tracks, reread=True)
    say_absent(file, tracks.frame)
    for each in tracks.joins:
        log.info("%s: %s", each.name, each)
    say_dates(file, tracks.frame)
    # A file with equal bytes may have another name.
    return replace(file, path=file.path.resolve()), tracks, replace(quality, source=file.path.resolve().name)


def prepare_split(config: RunConfig | RowSettings, raw: RawFile, tracks: pd.DataFrame, cache: StageCache) -> Split:
    """Split the clean tracks of a run; a `DataError` if train, validation or test would be empty."""
    make = partial(split_tracks, tracks, config.split, config.seed)
    read = partial(_read_split, ordered=config.split.name == "release")
    return cache.get("split", split_origin(config, raw), make, _write_split, read)


def origin_of(config: RunConfig | RowSettings, file: RawFile) -> dict[str, Any]:
    """Return what decides the raw rows of a run, except the code."""
    collected = config.data.collected
    own: dict[str, Any] = {} if collected is None else {"collected": collected}
    return file.decided_by() | own | ({"joins": [list(each) for each in file.joins]} if file.joins else {})


def add_collected(raw: pd.DataFrame, file: RawFile, given: str | None) -> None:
    """Add the day on which popularity was counted to raw rows with release dates, where one is known.

    A further column without any value is removed.
    """
    for name in FURTHER_NAMES:
        if name in raw and raw[name].isna().all():
            del raw[name]
    if "release_date" not in raw:
        return
    if given is not None:
        raw[COLLECTED_COLUMN] = float(day_of(given))
        return
    days = {part.source: layout.collected for part, layout in file.parts} or {"": file.layout.collected}
    known = {source: day_of(day) if day else np.nan for source, day in days.items()}
    raw[COLLECTED_COLUMN] = raw[SOURCE_COLUMN].map(known).astype(float) if SOURCE_COLUMN in raw else known[""]


def split_origin(config: RunConfig | RowSettings, raw: RawFile) -> dict[str, Any]:
    """Return everything that decides the clean tracks of a run and their split, except the code."""
    return {
        **origin_of(config, raw),
        "cleaning": config.cleaning.name,
        "split": config.split.model_dump(),
        "seed": config.seed,
    }


def say_absent(file: RawFile, tracks: pd.DataFrame) -> None:
    """Log which raw columns have no value, where the layout does not say it."""
    empty = [name for name in absent_columns(tracks) if name not in file.layout.absent]
    if empty:
        log.info("%s: no value of %s", file.path.name, ", ".join(empty))


def say_dates(file: RawFile, tracks: pd.DataFrame) -> None:
    """Log what is known of labels and release dates, if there are any."""
    if "label" in tracks:
        n_labels, n_named = tracks["label"].nunique(), int(tracks["label"].notna().sum())
        log.info("%s: %s tracks have a label, of %s different ones", file.path.name, f"{n_named:,}", f"{n_labels:,}")
    if "release_date" not in tracks:
        return
    dates = parse_dates(tracks["release_date"])
    counts = np.bincount(dates.precision, minlength=4)[::-1]
    known = [f"{count:,} {which}" for which, count in zip(_KNOWN_TO, counts, strict=True) if count]
    n_placeholders = int(tracks["release_date"].isin(PLACEHOLDERS).sum())
    holding = f" ({n_placeholders:,} hold a placeholder such as {PLACEHOLDERS[-1]})" if n_placeholders else ""
    collected = collected_days(dates, tracks[COLLECTED_COLUMN].to_numpy(dtype=np.float64))
    days = collected[np.isfinite(collected)]
    counted = f"popularity of {day_text(days.max())}" if len(days) else "popularity of an unknown day"
    log.info("%s: release dates of %s%s; %s", file.path.name, ", ".join(known), holding, counted)
    if n_later := int((dates.first > collected).sum()):
        log.warning(
            "%s: %s tracks came out after the day on which popularity was counted; see data.collected=…",
            file.path.name,
            f"{n_later:,}",
        )


def say_layout(file: RawFile) -> None:
    """Log the layouts of a file, or of several catalogues, other than raw columns."""
    named = {(part.source or file.path.name): layout for part, layout in file.parts} or {file.path.name: file.layout}
    for name, layout in named.items():
        if not layout.is_raw:
            log.info("%s: %s", name, layout)


def _write_tracks(made: tuple[CleanTracks, QualityReport], folder: Path) -> None:
    tracks, quality = made
    # In one batch, mapped text is used without a copy.
    table = pa.Table.from_pandas(tracks.frame, preserve_index=False).combine_chunks()
    with pa.ipc.new_file(folder / _TABLE, table.schema) as writer:
        writer.write_table(table)
    report = {"dropped": tracks.dropped, "joins": list(map(asdict, tracks.joins)), "quality": asdict(quality)}
    (folder / _REPORT).write_text(json.dumps(report), encoding="utf-8")


def _read_tracks(folder: Path) -> tuple[CleanTracks, QualityReport]:
    frame = pa.ipc.open_file(pa.memory_map(str(folder / _TABLE))).read_all().to_pandas(split_blocks=True)
    report = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
    joins = tuple(Joined(**each) for each in report["joins"])
    return CleanTracks(frame, report["dropped"], joins), QualityReport(**report["quality"])


def _write_split(split: Split, folder: Path) -> None:
    for name in _POSITIONS:
        np.save(folder / f"{name}.npy", getattr(split, name))


def _read_split(folder: Path, *, ordered: bool) -> Split:
    return Split(**{name: np.load(folder / f"{name}.npy") for name in _POSITIONS}, ordered=ordered)
