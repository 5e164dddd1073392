"""Raw tracks from a CSV or Parquet file, checked against the schema as they are read."""

import hashlib
import io
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa

from spotify_ml.config.run import DataConfig
from spotify_ml.data.batches import BrokenRow, CsvInput
from spotify_ml.data.parquet import DAMAGE, damaged, open_parquet
from spotify_ml.data.place import HINTS
from spotify_ml.data.schema import EXAMPLES, NAMES, OUTSIDE, Violation, check_names, check_values
from spotify_ml.data.units import Scales
from spotify_ml.utils.errors import DataError

# A CSV of more bytes is not held in memory; it is read once to be hashed, and once more to be parsed.
_HELD = 64 * 2**20
_BROKEN = "too few or too many fields (is the file cut off, or a quote left open?)"
_NO_ROWS = "has a header but no rows; give a file with tracks in it"
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class RawFile:
    """A file of raw tracks.

    Attributes
    ----------
    path : Path
        Where it was read.
    sha256 : str
        Digest of the bytes that were read.
    """

    path: Path
    sha256: str


@dataclass(frozen=True)
class RawTracks:
    """Raw tracks that keep to the schema.

    Attributes
    ----------
    frame : DataFrame
        One row per row of the file, in file order, with the columns of the schema.
    path : Path
        Where they were read.
    sha256 : str
        Digest of the file's bytes.
    """

    frame: pd.DataFrame
    path: Path
    sha256: str


def read_tracks(config: DataConfig) -> RawTracks:
    """Read and check the raw tracks that a configuration names.

    Raises
    ------
    DataError
        If the file is absent, no table, or breaks the schema; all violations are listed together.
    """
    return parse_tracks(*read_file(config))


def read_file(config: DataConfig) -> tuple[RawFile, bytes | None]:
    """Hash the bytes of the file that a configuration names: what is hashed is what `parse_tracks` parses.

    Returns
    -------
    RawFile
        Where they were read.
    bytes or None
        The bytes; None where they are too many to hold, and are parsed where they are.

    Raises
    ------
    DataError
        If the file is absent or empty, cannot be read, or is written to meanwhile.
    """
    path = Path(config.path)
    sha256, content = _content(path, HINTS[config.name])
    return RawFile(path, sha256), content


def parse_tracks(file: RawFile, content: bytes | None) -> RawTracks:
    """Parse and check the raw tracks in a file's bytes, as `read_file` returns them.

    Raises
    ------
    DataError
        As `read_tracks`.
    """
    tracks, violations = _inspect(file, content)
    if violations:
        n_broken = len(np.unique(np.concatenate([violation.rows for violation in violations])))
        raise schema_error(file.path, violations, len(tracks.frame) + n_broken)
    return tracks


def inspect_tracks(config: DataConfig) -> tuple[RawTracks, list[Violation]]:
    """Read those of the raw tracks that keep to the schema, and say what is wrong with the others.

    Raises
    ------
    DataError
        If the file is absent or no table, or none of its rows keeps to the schema.
    """
    return _inspect(*read_file(config))


def _inspect(file: RawFile, content: bytes | None) -> tuple[RawTracks, list[Violation]]:
    path = file.path
    if content is None:
        frame, violations = _read_large_csv(file)
    elif content.startswith(_PARQUET_MAGIC):
        frame, violations = check_values(_parquet_table(content, path))
    else:
        frame, violations = read_csv(io.BytesIO(content), str(path))
    n_rows = len(frame)
    if violations:
        sound = np.ones(n_rows, dtype=bool)
        sound[np.concatenate([violation.rows for violation in violations])] = False
        frame = frame[sound].reset_index(drop=True)
    if frame.empty:
        raise schema_error(path, violations, n_rows) if violations else DataError(f"{path} {_NO_ROWS}")
    return RawTracks(frame, path.resolve(), file.sha256), violations


def schema_error(path: Path, violations: list[Violation], n_rows: int) -> DataError:
    """Return the error that lists everything that breaks the schema in a file of so many rows."""
    listing = "\n  ".join(map(str, violations))
    outside = {each.column: each.count for each in violations if each.problem.startswith(OUTSIDE)}
    advice = "".join(f"{text}.\n" for text in Scales(n_rows, Counter(outside)).advice().values())
    return DataError(
        f"{path} breaks the schema of raw tracks:\n  {listing}\n{advice}Mend or remove these rows and run again."
    )


def _content(path: Path, hint: str) -> tuple[str, bytes | None]:
    try:
        with path.open("rb") as file:
            before = _state(file.fileno())
            # Parquet is not read from first to last, and a pipe only once.
            if before and before[0] > _HELD and not file.peek().startswith(_PARQUET_MAGIC):
                content, digest = None, hashlib.file_digest(file, "sha256")
            else:
                content = file.read()
                digest = hashlib.sha256(content)
            changed = _state(file.fileno()) != before
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; {hint}") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; name a CSV or Parquet file in it with data.path=…") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {hint}") from error
    if changed:
        raise _written_to(path)
    if content == b"":
        raise DataError(f"{path} is empty; {hint}")
    return digest.hexdigest(), content


def _written_to(path: Path) -> DataError:
    return DataError(f"{path} was written to while it was read; run again when it is complete")


def _state(descriptor: int) -> tuple[int, int] | None:
    """Return what changes when a file is written to; a pipe is written to all the time."""
    status = os.fstat(descriptor)
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _parquet_table(content: bytes, path: Path) -> pa.Table:
    try:
        file = open_parquet(pa.BufferReader(content))
        check_names(file.schema_arrow.names, str(path))
        table = file.read(columns=list(NAMES))
        # Parquet's text is not checked as it is read.
        table.validate(full=True)
        return table
    except DAMAGE as error:
        raise damaged(path, error) from error


def _read_large_csv(file: RawFile) -> tuple[pd.DataFrame, list[Violation]]:
    """Read a CSV that is not held once more, to parse it."""
    try:
        with file.path.open("rb") as opened:
            hashed = _HashedFile(opened)
            found = read_csv(hashed, str(file.path))
    except OSError as error:
        raise DataError(
            f"{file.path} can no longer be read ({error.strerror}); run again when nothing changes it"
        ) from error
    # What is parsed must be what was hashed.
    if hashed.sha256 != file.sha256:
        raise _written_to(file.path)
    return found


class _HashedFile:
    """An open file whose bytes are hashed as they are read."""

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


def read_csv(file: Any, origin: str, first_row: int = 0) -> tuple[pd.DataFrame, list[Violation]]:
    """Read and check the raw tracks of a CSV.

    Parameters
    ----------
    file : binary file
        With ``read1``.
    origin : str
        What to call it.
    first_row : int
        The number of rows before the first one, for what is said of broken ones.

    Returns
    -------
    DataFrame
        The raw columns of the rows that have a field for every column.
    list of Violation
        Everything that breaks the schema; the rows of each are positions in the table.
    """
    tables: list[pa.Table] = []
    numbers: list[np.ndarray] = []
    broken: list[BrokenRow] = []
    for batch in CsvInput(file, origin, check_names, NAMES).batches():
        tables.append(batch.table)
        numbers.append(first_row + batch.numbers)
        broken += batch.broken
    if len({table.schema for table in tables}) <= 1:
        frame, violations = check_values(_joined(tables), np.concatenate([*numbers, np.empty(0, int)]))
    else:
        # What is wrong with values that do not read as numbers is found batch by batch.
        checked = [check_values(*batch) for batch in zip(tables, numbers, strict=True)]
        frame = pd.concat([frame for frame, _ in checked], ignore_index=True)
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
    """Join tables into one that nobody else holds."""
    joined = pa.concat_tables(tables) if tables else pa.table({name: pa.array([], pa.null()) for name in NAMES})
    tables.clear()
    return joined


def merged_violations(parts: Iterable[Sequence[Violation]]) -> list[Violation]:
    """Join what is wrong in each part of a file, in file order, into what is wrong in the file."""
    merged: dict[tuple[str, str], Violation] = {}
    for violation in (each for found in parts for each in found):
        key = violation.column, violation.problem
        before = merged.get(key)
        if before is not None:
            examples = (*before.examples, *violation.examples)[:EXAMPLES]
            rows = np.concatenate([before.rows, violation.rows])
            violation = replace(before, count=before.count + violation.count, examples=examples, rows=rows)
        merged[key] = violation
    order = ("row", *NAMES)
    return sorted(merged.values(), key=lambda violation: order.index(violation.column))
