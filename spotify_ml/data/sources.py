"""Raw tracks from a CSV or Parquet file, checked against the schema as they are read."""

import hashlib
import os
import stat
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from spotify_ml.config.run import DataConfig
from spotify_ml.data.batches import READ_AS
from spotify_ml.data.header import SAVE, header_line, names_in
from spotify_ml.data.parquet import DAMAGE, damaged, open_parquet
from spotify_ml.data.place import HINTS
from spotify_ml.data.schema import EXAMPLES, NAMES, OUTSIDE, Violation, check_names, check_values
from spotify_ml.data.units import Scales
from spotify_ml.utils.errors import DataError, shown

# A table of few large chunks is numbered, joined and copied faster than one of many (the default is 1 MiB).
_BLOCK = 10 * 2**20
_MAX_BLOCK = 2**31 - 2
# A CSV of more bytes is not held in memory; it is read once to be hashed, and once more to be parsed.
_HELD = 64 * 2**20
# Beside one for each core, so many of its blocks are held: reading outruns parsing, and would hold most of the file.
_WAITING = 4
# The header of such a CSV is not longer.
_HEADER = 2**20
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
        frame, violations = _read_csv(content, path)
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


def _read_csv(content: bytes, path: Path) -> tuple[pd.DataFrame, list[Violation]]:
    _check_csv_header(content, path)
    try:
        return check_values(_csv_table(pa.BufferReader(content), READ_AS))
    except pa.ArrowInvalid:
        return _read_broken_csv(content, path)


def _read_large_csv(file: RawFile) -> tuple[pd.DataFrame, list[Violation]]:
    """Read a CSV that is not held once more, to parse it."""
    path = file.path
    try:
        try:
            return _read_blocks(file)
        except pa.ArrowInvalid:
            content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} can no longer be read ({error.strerror}); run again when nothing changes it"
        ) from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise _written_to(path)
    return _read_broken_csv(content, path)


def _read_blocks(file: RawFile) -> tuple[pd.DataFrame, list[Violation]]:
    with file.path.open("rb") as opened:
        _check_csv_header(opened.read(_HEADER), file.path)
        opened.seek(0)
        blocks = _HashedBlocks(opened)
        found = check_values(_csv_table(pa.PythonFile(blocks, mode="r"), READ_AS))
    # What is parsed must be what was hashed.
    if blocks.sha256 != file.sha256:
        raise _written_to(file.path)
    return found


class _HashedBlocks:
    """An open file whose blocks are hashed as they are read, and of which few are held at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._room = Semaphore(pa.cpu_count() + _WAITING)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        self._file.close()

    def read(self, size: int) -> np.ndarray:
        # Waiting is for memory's sake alone: a parser that held all blocks would not hang.
        self._room.acquire(timeout=1)
        content = self._file.read(size)
        self._digest.update(content)
        block = np.frombuffer(content, np.uint8)
        # Arrow lets go of it when it is parsed.
        weakref.finalize(block, self._room.release)
        return block


def _check_csv_header(content: bytes, path: Path) -> None:
    check_names(names_in(header_line(content, str(path))), str(path))
    if b"\n" not in content:
        raise DataError(f"{path} {_NO_ROWS}")


def _csv_table(
    source: pa.NativeFile, types: dict[str, pa.DataType], on_broken_row: Callable[[pacsv.InvalidRow], str] | None = None
) -> pa.Table:
    """Parse a CSV; a row with the wrong number of fields goes to `on_broken_row`, or is an error without it."""
    return pacsv.read_csv(
        source,
        # Only a single thread knows the number of a row, and only one block holds a row of any length.
        pacsv.ReadOptions(block_size=_BLOCK)
        if on_broken_row is None
        else pacsv.ReadOptions(use_threads=False, block_size=min(source.size(), _MAX_BLOCK)),
        pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_broken_row),
        # Only an empty field is null: there are songs called "NA" and "Null".
        pacsv.ConvertOptions(
            column_types=types, include_columns=list(NAMES), null_values=[""], strings_can_be_null=True
        ),
    )


def _read_broken_csv(content: bytes, path: Path) -> tuple[pd.DataFrame, list[Violation]]:
    """Read a CSV that is known to break the schema once more as text, to say everything that is wrong with it."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path} is not in UTF-8 (line {line} holds byte {content[error.start]:#x}); {SAVE}") from error
    broken: list[pacsv.InvalidRow] = []

    def collect(row: pacsv.InvalidRow) -> str:
        broken.append(row)
        return "skip"

    try:
        table = _csv_table(pa.BufferReader(content), dict.fromkeys(NAMES, pa.string()), collect)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a CSV ({shown(error, 300)}); {SAVE}") from error
    # The parser counts the header as row 1.
    broken_rows = np.array([row.number - 1 for row in broken], dtype=int)
    total = table.num_rows + len(broken)
    frame, violations = check_values(table, np.setdiff1d(np.arange(1, total + 1), broken_rows))
    if broken:
        examples = tuple(f"row {row.number - 1}: {row.actual_columns}" for row in broken[:EXAMPLES])
        expected = f"not {broken[0].expected_columns} fields (is the file cut off, or a quote left open?)"
        violations.insert(0, Violation("row", expected, len(broken), examples))
    return frame, violations
