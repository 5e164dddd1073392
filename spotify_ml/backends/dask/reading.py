"""A raw file in slices, which workers read and check independently."""

import hashlib
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from spotify_ml.backends.dask.partitions import gathered, kept, mapped
from spotify_ml.config.layouts import AUTO, LayoutConfig
from spotify_ml.config.run import DataConfig
from spotify_ml.data.arrow import DAMAGE, damaged, open_parquet
from spotify_ml.data.batches import CsvInput, open_input, row_blocks
from spotify_ml.data.layouts import RAW, Layout, check_target
from spotify_ml.data.parts import Part, is_many, is_packed
from spotify_ml.data.schema import NULLABLE, NUMERIC, OPTIONAL, Violation, check_values, empty_columns
from spotify_ml.data.sources import RawFile, find_parts, merged_violations, read_csv, read_part, schema_error
from spotify_ml.utils.errors import DataError

# The number of a row in its file, counted from 0 without the header.
ROW = "row"


@dataclass(frozen=True)
class Slice:
    """Consecutive rows of a file, under a path that is the same for every worker.

    `size` and `changed`, its bytes and time of change, identify the file. `header` is the first line of a CSV. `start`
    and `stop` are bytes of a CSV, or row groups of a Parquet file.
    """

    path: Path
    size: int
    changed: int
    header: bytes
    start: int
    stop: int
    layout: Layout = RAW
    # One of many files, or a packed one, which is read as a whole.
    part: Part | None = None


@dataclass(frozen=True)
class SliceRows:
    """The rows of a slice, violations of the schema, and the number of rows, broken ones included."""

    frame: pd.DataFrame
    violations: list[Violation]
    n_rows: int


def find_slices(config: DataConfig, layout: LayoutConfig = AUTO) -> tuple[RawFile, list[Slice]]:
    """Divide a file at ends of rows, and hash its bytes.

    Quoted line ends of a CSV are only recognised from its beginning, so the file is read once here, without parsing.

    Raises `DataError` if the file is missing, is no table, or lacks a column.
    """
    if not isinstance(config.path, str) or is_many(config.path) or is_packed(Path(config.path)):
        return _whole_files(config, layout)
    path = Path(config.path).absolute()
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; check data.path=…") from error
    source = open_input(path, layout, for_training=True)
    check_target(source.layout, str(path))
    # Workers make features of the columns that all tracks have.
    found = source.layout.without_further()
    bounds: Sequence[tuple[int, int]]
    if isinstance(source, CsvInput):
        sha256, bounds = _csv_bounds(path)
        header = source.header
    else:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        header, bounds = b"", [(group, group + 1) for group in range(pq.read_metadata(path).num_row_groups)]
    if _changed(path, state.st_size, state.st_mtime_ns):
        raise DataError(f"{path} was written to while it was read; run again when it is complete")
    slices = [Slice(path, state.st_size, state.st_mtime_ns, header, *bound, found) for bound in bounds]
    return RawFile(path.resolve(), sha256, found), slices


def _whole_files(config: DataConfig, layout: LayoutConfig) -> tuple[RawFile, list[Slice]]:
    """Return a slice for each of many files, or for a packed one."""
    file = find_parts(config.path, layout)
    file = replace(file, parts=tuple((part, own.without_further()) for part, own in file.parts))
    slices = [
        Slice(
            part.path.absolute(), part.size, part.changed_ns, b"", 0, 0, own, replace(part, path=part.path.absolute())
        )
        for part, own in file.parts
    ]
    return replace(file, path=file.path.absolute()), slices


def _csv_bounds(path: Path) -> tuple[str, list[tuple[int, int]]]:
    digest, bounds, start = hashlib.sha256(), [], 0
    with path.open("rb") as file:
        for block in row_blocks(file, str(path)):
            digest.update(block)
            # The header begins the first block.
            header = block.index(b"\n") + 1 if start == 0 and b"\n" in block else 0
            bounds.append((start + header, start + len(block)))
            start += len(block)
    return digest.hexdigest(), [bound for bound in bounds if bound[0] < bound[1]]


def _changed(path: Path, size: int, changed: int) -> bool:
    state = path.stat()
    return (state.st_size, state.st_mtime_ns) != (size, changed)


def read_slice(chunk: Slice, first_row: int = 0, filled: Collection[str] = ()) -> SliceRows:
    """Read and check the rows of a slice, on a worker; `first_row`, the rows before it, numbers broken rows.

    `filled` are columns that other slices have values of, so that this one may not be without.

    Raises `DataError` if the worker does not have this file, or it is damaged.
    """
    try:
        other = _changed(chunk.path, chunk.size, chunk.changed)
    except OSError as error:
        raise DataError(
            f"a worker cannot read {chunk.path}: {error.strerror}; put the file where all find it under this path"
        ) from error
    if other:
        raise DataError(f"{chunk.path} was changed while it was read, or is another file on a worker; run again")
    if chunk.part is not None:
        frame, violations = read_part(chunk.part, chunk.layout, first_row, filled)
    elif chunk.header:
        with chunk.path.open("rb") as opened:
            opened.seek(chunk.start)
            content = opened.read(chunk.stop - chunk.start)
        whole = io.BytesIO(chunk.header + b"\n" + content)
        frame, violations = read_csv(whole, str(chunk.path), chunk.layout, first_row, filled)
    else:
        table, numbers = _row_groups(chunk, first_row)
        gaps = chunk.layout.gaps(empty_columns([table], filled))
        frame, violations = check_values(table, numbers, gaps)
    n_broken = sum(violation.count for violation in violations if violation.column == "row")
    return SliceRows(frame, violations, len(frame) + n_broken)


def _row_groups(chunk: Slice, first_row: int) -> tuple[pa.Table, np.ndarray]:
    """Return the raw columns of a slice of a Parquet file, and the row numbers in the file."""
    try:
        groups = list(range(chunk.start, chunk.stop))
        table = open_parquet(chunk.path).read_row_groups(groups, columns=chunk.layout.own_names())
        # Reading does not check the encoding of text.
        table.validate(full=True)
    except DAMAGE as error:
        raise damaged(chunk.path, error) from error
    rows = chunk.layout.raw_rows(table, str(chunk.path), first_row + 1)
    return rows, first_row + np.arange(1, table.num_rows + 1)


def read_rows(client: Any, config: DataConfig, layout: LayoutConfig = AUTO) -> tuple[RawFile, list[Any], int]:
    """Read and check a file on the workers; return it, the rows of each slice as tasks, and the number of rows.

    The rows have their number in the file in the column `ROW`. Raises `DataError` if the file is missing, is no table,
    or breaks the schema; all violations are listed together.
    """
    file, slices = find_slices(config, layout)
    no_rows = DataError(f"{file.path} has a header but no rows; give a file with tracks in it")
    if not slices:
        raise no_rows
    read = kept(client, mapped(read_slice, slices))
    found = gathered(client, mapped(_findings, read))
    counts = [n_rows for n_rows, *_ in found]
    first_rows = [0, *np.cumsum(counts)[:-1].tolist()]
    # A raw column is empty in all slices, and so absent, or in none.
    all_empty = set.intersection(*(empty for n_rows, _, empty, _ in found if n_rows)) if sum(counts) else set()
    filled = [name for name in OPTIONAL if name not in (*all_empty, *file.layout.gaps().columns, *NULLABLE)]
    is_wrong = [is_broken or bool(n_rows and empty.intersection(filled)) for n_rows, is_broken, empty, _ in found]
    if any(is_wrong):
        # Read again, as the row numbers in the file are known only now.
        numbered = zip(slices, first_rows, is_wrong, strict=True)
        broken = [(chunk, first_row, filled) for chunk, first_row, is_broken in numbered if is_broken]
        again = gathered(client, mapped(read_slice, *zip(*broken, strict=True)))
        raise schema_error(file.path, merged_violations([rows.violations for rows in again]), sum(counts))
    if not sum(counts):
        raise no_rows
    # Where a value is missing in one slice, the column has floats in all.
    with_gaps = [name for name in NUMERIC if any(name in gaps for *_, gaps in found)]
    return file, mapped(partial(_numbered, with_gaps=with_gaps), read, first_rows), sum(counts)


def _findings(rows: SliceRows) -> tuple[int, bool, set[str], set[str]]:
    """Return the number of rows of a slice, whether any violates the schema, and its empty and incomplete columns."""
    wrong = {violation.column for violation in rows.violations}
    n_empty = rows.frame.isna().sum()
    empty = {name for name in OPTIONAL if n_empty[name] == rows.n_rows and name not in wrong}
    return rows.n_rows, bool(rows.violations), empty, {name for name in NUMERIC if n_empty[name]}


def _numbered(rows: SliceRows, first_row: int, with_gaps: Sequence[str]) -> pd.DataFrame:
    frame = rows.frame.astype(dict.fromkeys(with_gaps, np.float64))
    return frame.assign(**{ROW: np.arange(first_row, first_row + rows.n_rows)})
