"""Raw tracks from a CSV or Parquet file, checked against the schema while they are read."""

import hashlib
import io
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa

from spotify_ml.config.layouts import AUTO, LayoutConfig
from spotify_ml.config.run import DataConfig
from spotify_ml.data.arrow import DAMAGE, damaged, open_parquet
from spotify_ml.data.batches import BrokenRow, CsvInput, ParquetInput, open_part
from spotify_ml.data.layouts import RAW, Layout, check_target
from spotify_ml.data.parts import FILE_COLUMN, SOURCE_COLUMN, Part, Paths, digest_of, is_many, is_packed, parts_of
from spotify_ml.data.place import HINTS, check_data
from spotify_ml.data.schema import (
    EXAMPLES,
    FURTHER_NAMES,
    NAMES,
    OUTSIDE,
    Scales,
    Violation,
    check_values,
    empty_columns,
    joined_rows,
)
from spotify_ml.utils.errors import DataError

# A CSV of more bytes is not kept in memory: it is read twice, to hash and to parse it.
_KEPT = 64 * 2**20
_BROKEN = "too few or too many fields (is the file cut off, or a quote left open?)"
_NO_ROWS = "has a header but no rows; give a file with tracks in it"
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class RawFile:
    """A file of tracks, or many as one, the digest of its bytes, and its layout."""

    path: Path
    sha256: str
    layout: Layout = RAW
    # Those of many files, each with its own layout in its own header.
    parts: tuple[tuple[Part, Layout], ...] = ()
    # The name and the digest of each table that is joined.
    joins: tuple[tuple[str, str], ...] = ()

    @property
    def layouts(self) -> list[Layout]:
        """The layouts other than raw columns, one of each name."""
        found = {each.name: each for each in [self.layout, *(each for _, each in self.parts)]}
        return [each for each in found.values() if not each.is_raw]

    def decided_by(self) -> dict[str, Any]:
        """Return what decides the raw rows, with the digest of the file."""
        if len({part.source for part, _ in self.parts}) < 2:
            return {"data": self.sha256, **self.layout.decided_by()}
        return {"data": self.sha256, "layouts": [each.decided_by() for each in self.layouts]}


@dataclass(frozen=True)
class RawTracks:
    """Raw tracks that fit the schema, in file order, with the file, the digest of its bytes, and its layout."""

    frame: pd.DataFrame
    path: Path
    sha256: str
    layout: Layout = RAW

    @property
    def layouts(self) -> list[Layout]:
        """The layout, unless it is raw columns."""
        return [] if self.layout.is_raw else [self.layout]


def read_tracks(config: DataConfig, layout: LayoutConfig = AUTO) -> RawTracks:
    """Read and check the raw tracks of a configuration; a `DataError` lists all violations of the schema."""
    return parse_tracks(*read_file(config, layout))


def read_file(
    config: DataConfig, layout: LayoutConfig = AUTO, *, for_training: bool = True
) -> tuple[RawFile, bytes | None]:
    """Hash the bytes of the configured file; return it with its bytes, or None if they are too many to keep.

    If it is not `for_training` but only looked at, it needs no popularity.

    Raises
    ------
    DataError
        If the file is absent, empty, unreadable, or modified meanwhile, or no layout fits its header.
    """
    if not isinstance(config.path, str):
        check_data(config)
        return find_parts(config.path, layout, for_training=for_training), None
    path, hint = Path(config.path), HINTS[config.name]
    try:
        check_data(config)
        if is_many(config.path):
            return find_parts(config.path, layout, for_training=for_training), None
        with path.open("rb") as file:
            before = _state(file.fileno())
            # Parquet is not read in order, and a pipe only once.
            is_read_twice = not (is_packed(path) or file.peek().startswith(_PARQUET_MAGIC))
            if before and before[0] > _KEPT and is_read_twice:
                content, digest = None, hashlib.file_digest(file, "sha256")
            else:
                content = file.read()
                digest = hashlib.sha256(content)
            changed = _state(file.fileno()) != before
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {hint}") from error
    if changed:
        raise _written_to(path)
    if content == b"":
        raise DataError(f"{path} is empty; {hint}")
    found = _layout_of(path, content, layout)
    if for_training:
        check_target(found, str(path))
    return RawFile(path, digest.hexdigest(), found), content


def _layout_of(path: Path, content: bytes | None, layout: LayoutConfig) -> Layout:
    """Return the layout of a file by its header."""
    if content is None:
        with path.open("rb") as file:
            return CsvInput(file, str(path), layout, for_training=True).layout
    if content.startswith(_PARQUET_MAGIC):
        return ParquetInput(io.BytesIO(content), str(path), layout, for_training=True).layout
    return CsvInput(_opened(path, content), str(path), layout, for_training=True).layout


def _opened(path: Path, content: bytes) -> Any:
    """Open the CSV in the bytes of a file, which may be packed."""
    return parts_of(str(path))[0].open(content) if is_packed(path) else io.BytesIO(content)


def find_parts(path: Paths, layout: LayoutConfig, *, for_training: bool = True) -> RawFile:
    """Return many files as one, each with its layout.

    Raises `DataError` if those of one catalogue are not of one layout, or one is no table.
    """
    parts = parts_of(path)
    layouts = [open_part(part, layout, for_training=True).layout for part in parts]
    first: dict[str, tuple[Part, Layout]] = {}
    for part, each in zip(parts, layouts, strict=True):
        known, own = first.setdefault(part.source, (part, each))
        if own.name != each.name:
            raise DataError(
                f"{part.source or path} holds files of different layouts: {known.name} is layout={own.name}, "
                f"{part.name} layout={each.name}; name those of one layout"
            )
    for part, each in zip(parts, layouts, strict=True):
        if for_training:
            check_target(each, part.origin)
    digest = digest_of(path)
    if digest is None:
        raise _written_to(parts[0].path)
    named = Path(path) if isinstance(path, str) else Path(" + ".join(first))
    return RawFile(named, digest, layouts[0], tuple(zip(parts, layouts, strict=True)))


def parse_tracks(file: RawFile, content: bytes | None) -> RawTracks:
    """Parse and check the raw tracks in the bytes from `read_file`; errors as in `read_tracks`."""
    tracks, violations = _inspect(file, content)
    if violations:
        n_broken = len(np.unique(np.concatenate([violation.rows for violation in violations])))
        raise schema_error(file.path, violations, len(tracks.frame) + n_broken)
    return tracks


def inspect_tracks(config: DataConfig, layout: LayoutConfig = AUTO) -> tuple[RawTracks, list[Violation]]:
    """Return the raw tracks that fit the schema, and the violations of the others; no tracks at all are an error."""
    return _inspect(*read_file(config, layout, for_training=False))


def _inspect(file: RawFile, content: bytes | None) -> tuple[RawTracks, list[Violation]]:
    path = file.path
    if file.parts:
        frame, violations = _read_parts(file)
    elif content is None:
        frame, violations = _read_large_csv(file)
    elif content.startswith(_PARQUET_MAGIC):
        frame, violations = _read_parquet(content, str(path), file.layout)
    else:
        frame, violations = read_csv(_opened(path, content), str(path), file.layout)
    n_rows = len(frame)
    if violations:
        sound = np.ones(n_rows, dtype=bool)
        sound[np.concatenate([violation.rows for violation in violations])] = False
        frame = frame[sound].reset_index(drop=True)
    if frame.empty:
        raise schema_error(path, violations, n_rows) if violations else DataError(f"{path} {_NO_ROWS}")
    return RawTracks(frame, path.resolve(), file.sha256, file.layout), violations


def schema_error(path: Path, violations: list[Violation], n_rows: int) -> DataError:
    """Return the error that lists all violations in a file with so many rows."""
    listing = "\n  ".join(map(str, violations))
    outside = {each.column: each.count for each in violations if each.problem.startswith(OUTSIDE)}
    advice = "".join(f"{text}.\n" for text in Scales(n_rows, Counter(outside)).advice().values())
    spare = [name for name in FURTHER_NAMES if any(each.column == name for each in violations)]
    instead = f", or remove the column {' and '.join(spare)}, which is not needed," if spare else ""
    return DataError(
        f"{path} breaks the schema of raw tracks:\n  {listing}\n"
        f"{advice}Mend or remove these rows{instead} and run again."
    )


def _written_to(path: Path) -> DataError:
    return DataError(f"{path} was written to while it was read; run again when it is complete")


def _state(descriptor: int) -> tuple[int, int] | None:
    """Return the size and time of change, None for pipes, which change all the time."""
    status = os.fstat(descriptor)
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _read_parquet(content: bytes, origin: str, layout: Layout) -> tuple[pd.DataFrame, list[Violation]]:
    try:
        table = open_parquet(pa.BufferReader(content)).read(columns=layout.own_names())
        # Reading does not check text.
        table.validate(full=True)
    except DAMAGE as error:
        raise damaged(origin, error) from error
    table = layout.raw_rows(table, origin)
    return check_values(table, gaps=layout.gaps(empty_columns([table])))


def _read_parts(file: RawFile) -> tuple[pd.DataFrame, list[Violation]]:
    """Read many files as one table, with the name of each row's file; examples of violations name it as well."""
    frames: list[pd.DataFrame] = []
    violations: list[list[Violation]] = []
    n_rows = 0
    for part, layout in file.parts:
        frame, found = read_part(part, layout)
        if part.is_changed():
            raise _written_to(part.path)
        violations.append([_in_part(each, part, n_rows) for each in found])
        n_rows += len(frame)
        # A playlist without tracks says nothing of the types of columns.
        frames += [frame] if len(frame) else []
    return joined_rows(frames) if frames else frame, merged_violations(violations)


def read_part(
    part: Part, layout: Layout, first_row: int = 0, filled: Collection[str] = ()
) -> tuple[pd.DataFrame, list[Violation]]:
    """Read and check one of many files, whose name is in the column `FILE_COLUMN`; see `read_csv`."""
    with part.path.open("rb") as opened:
        is_parquet = opened.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
    if is_parquet:
        frame, found = _read_parquet(part.path.read_bytes(), part.origin, layout)
    else:
        frame, found = read_csv(part.open(), part.origin, layout, first_row, filled)
    names = {FILE_COLUMN: part.name} | ({SOURCE_COLUMN: part.source} if part.source else {})
    return frame.assign(**{column: pd.array([name] * len(frame), dtype="str") for column, name in names.items()}), found


def _in_part(violation: Violation, part: Part, n_before: int) -> Violation:
    examples = tuple(f"{part.name}, {example}" for example in violation.examples)
    return replace(violation, examples=examples, rows=violation.rows + n_before)


def _read_large_csv(file: RawFile) -> tuple[pd.DataFrame, list[Violation]]:
    """Parse a CSV that was hashed but not kept."""
    try:
        with file.path.open("rb") as opened:
            hashed = _HashedFile(opened)
            found = read_csv(hashed, str(file.path), file.layout)
    except OSError as error:
        raise DataError(
            f"{file.path} can no longer be read ({error.strerror}); run again when nothing changes it"
        ) from error
    # The parsed bytes must be the hashed ones.
    if hashed.sha256 != file.sha256:
        raise _written_to(file.path)
    return found


class _HashedFile:
    """An open file whose bytes are hashed while they are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def read1(self, size: int) -> bytes:
        content = self._file.read(size)
        self._digest.update(content)
        return content


def read_csv(
    file: Any, origin: str, layout: Layout = RAW, first_row: int = 0, filled: Collection[str] = ()
) -> tuple[pd.DataFrame, list[Violation]]:
    """Read and check the raw tracks of a CSV.

    Parameters
    ----------
    file : binary file
        With ``read1``.
    origin : str
        Its name in messages.
    layout : Layout
        Its layout.
    first_row : int
        The number of earlier rows, for the row numbers in messages.
    filled : collection of str
        Columns that may not be empty as a whole, since other parts of the file have values of them.

    Returns
    -------
    DataFrame
        The raw columns of the rows with a field for every column.
    list of Violation
        All violations of the schema, with positions in the table.
    """
    tables: list[pa.Table] = []
    numbers: list[np.ndarray] = []
    broken: list[BrokenRow] = []
    for batch in CsvInput(file, origin, layout, for_training=True).batches():
        tables.append(
            layout.raw_rows(batch.table, origin, first_row + int(batch.numbers[0]) if len(batch.numbers) else 1)
        )
        numbers.append(first_row + batch.numbers)
        broken += batch.broken
    gaps = layout.gaps(empty_columns(tables, filled))
    if len({table.schema for table in tables}) <= 1:
        frame, violations = check_values(_joined(tables), np.concatenate([*numbers, np.empty(0, int)]), gaps)
    else:
        # Columns that are not all numbers are checked batch by batch.
        checked = [check_values(*batch, gaps) for batch in zip(tables, numbers, strict=True)]
        frame = joined_rows([frame for frame, _ in checked])
        starts = np.cumsum([0, *map(len, numbers)])
        violations = merged_violations(
            [replace(each, rows=each.rows + start) for each in found]
            for (_, found), start in zip(checked, starts[:-1], strict=True)
        )
    if broken:
        examples = tuple(f"row {first_row + row.number}: {row.problem}" for row in broken[:EXAMPLES])
        violations.insert(0, Violation("row", _BROKEN, len(broken), examples))
    return frame, violations


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Join tables, and free them."""
    joined = pa.concat_tables(tables) if tables else pa.table({name: pa.array([], pa.null()) for name in NAMES})
    tables.clear()
    return joined


def merged_violations(pieces: Iterable[Sequence[Violation]]) -> list[Violation]:
    """Join the violations of consecutive pieces of a file to those of the whole file."""
    merged: dict[tuple[str, str], Violation] = {}
    for violation in chain.from_iterable(pieces):
        key = violation.column, violation.problem
        before = merged.get(key)
        if before is not None:
            examples = (*before.examples, *violation.examples)[:EXAMPLES]
            rows = np.concatenate([before.rows, violation.rows])
            violation = replace(before, count=before.count + violation.count, examples=examples, rows=rows)
        merged[key] = violation
    order = ("row", *NAMES)
    return sorted(merged.values(), key=lambda violation: order.index(violation.column))
