"""Raw rows of any number, read from CSV or Parquet a batch at a time, with every column of the file."""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from spotify_ml.data.contract import check_columns, read_numbers
from spotify_ml.data.schema import COLUMNS, Kind
from spotify_ml.errors import DataError

# What one batch holds: some 45,000 rows of CSV, or as many of Parquet.
_BLOCK = 8 * 2**20
_BATCH_ROWS = 45_000
# A row, or what stands between two quotes, is not longer.
_LONGEST_ROW = 8 * _BLOCK
_SAVE = "save it as comma-separated UTF-8"
_QUOTE, _END = b'"', b"\n"
_KINDS = {column.name: column.kind for column in COLUMNS}


@dataclass(frozen=True)
class BrokenRow:
    """A row of CSV that does not have a field for every column.

    Attributes
    ----------
    number : int
        Its number in the file, counted from 1 without the header.
    text : str
        The row.
    problem : str
        How many fields it has.
    """

    number: int
    text: str
    problem: str


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a file.

    Attributes
    ----------
    table : pyarrow.Table
        All columns of the file; those of a CSV that do not read as their type are text.
    numbers : ndarray of int, shape (n_rows,)
        The number of each row in the file, counted from 1 without the header.
    broken : list of BrokenRow
        Rows that are not in the table.
    content : bytes, optional
        The rows as they stand in a CSV.
    """

    table: pa.Table
    numbers: np.ndarray
    broken: list[BrokenRow] = field(default_factory=list)
    content: bytes | None = None

    @property
    def n_rows(self) -> int:
        """How many rows of the file these are."""
        return len(self.numbers) + len(self.broken)

    @cached_property
    def lines(self) -> list[bytes]:
        """The rows of the table as lines of CSV: as they stand there, if it is one.

        Raises
        ------
        DataError
            If quotes leave in doubt where a row ends.
        """
        if self.content is None:
            return csv_lines(self.table)
        lines = split_rows(self.content)
        if self.broken and len(lines) == self.n_rows:
            first = min(self.broken[0].number, *self.numbers[:1])
            lines = [lines[number - first] for number in self.numbers]
        if len(lines) != len(self.numbers):
            raise DataError(
                f"quotes leave in doubt where the rows from {self.numbers[0]:,} on end; "
                "write the file again with every quote doubled, or set output=….parquet"
            )
        return lines


class Input(Protocol):
    """A file of raw rows.

    Attributes
    ----------
    origin : str
        What to call it in a message.
    schema : pyarrow.Schema
        All its columns, and the types they have, or that a CSV's are given in Parquet.
    header : bytes
        The names of its columns as a line of CSV.
    n_rows : int or None
        How many rows it has, where that is known before they are read.
    """

    origin: str
    schema: pa.Schema
    header: bytes
    n_rows: int | None

    def batches(self) -> Iterator[Batch]:
        """Yield its rows, in order."""


def open_input(path: Path | None) -> Input:
    """Open a file of raw rows and check its columns.

    Parameters
    ----------
    path : Path, optional
        CSV or Parquet, told apart by their first bytes; by default CSV from standard input.

    Raises
    ------
    DataError
        If there is no such file, or it lacks a column.
    """
    if path is None:
        return CsvInput(sys.stdin.buffer, "standard input")
    try:
        file = path.open("rb")
        if file.peek(4)[:4] == b"PAR1":
            return ParquetInput(file, str(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return CsvInput(file, str(path))


class CsvInput:
    """Rows of a CSV: comma-separated UTF-8 with a header. Columns that the schema does not know are text."""

    n_rows: int | None = None

    def __init__(self, file: Any, origin: str) -> None:
        self.origin = origin
        self._blocks = row_blocks(file, origin)
        first = next(self._blocks, b"")
        if not first.strip():
            raise DataError(f"{origin} is empty; give rows to score")
        line, _, self._rest = first.removeprefix(b"\xef\xbb\xbf").partition(_END)
        self.header = line.rstrip(b"\r")
        names = _header(self.header, origin)
        self.schema = pa.schema([(name, _KINDS[name].value if name in _KINDS else pa.string()) for name in names])
        _check_names(names, origin)

    def batches(self) -> Iterator[Batch]:
        """Yield the rows of a block at a time."""
        last = 0
        for block in _chain(self._rest, self._blocks):
            batch = self._batch(block, last)
            if batch.n_rows:
                last += batch.n_rows
                yield batch

    def _batch(self, block: bytes, last: int) -> Batch:
        try:
            table = _parse(block, self.schema.names, {name: _READ_AS[kind] for name, kind in _KINDS.items()})
            return Batch(table, np.arange(last + 1, last + 1 + table.num_rows), content=block)
        except pa.ArrowInvalid:
            return self._unfit_batch(block, last)

    def _unfit_batch(self, block: bytes, last: int) -> Batch:
        """Read as text what does not read as numbers, and set aside rows that have too few or too many fields."""
        invalid: list[pacsv.InvalidRow] = []

        def set_aside(row: pacsv.InvalidRow) -> str:
            invalid.append(row)
            return "skip"

        try:
            table = _parse(block, self.schema.names, {}, set_aside)
        except pa.ArrowInvalid as error:
            raise DataError(f"{self.origin}: {_not_a_csv(block, last, error)}; {_SAVE}") from error
        broken = [
            BrokenRow(last + row.number, row.text, f"{row.actual_columns} fields in place of {row.expected_columns}")
            for row in invalid
        ]
        numbers = np.arange(last + 1, last + 1 + table.num_rows + len(broken))
        return Batch(table, np.setdiff1d(numbers, [row.number for row in broken]), broken, block)


# An integer that another program has written as a float is one still.
_READ_AS = {kind: pa.float64() if kind is Kind.INTEGER else kind.value for kind in Kind}


class ParquetInput:
    """Rows of a Parquet file."""

    def __init__(self, file: Any, origin: str) -> None:
        self.origin = origin
        try:
            self._file = pq.ParquetFile(file)
            self.schema, self.n_rows = self._file.schema_arrow, self._file.metadata.num_rows
        # Where the damage is in a column's name, pyarrow decodes it unguarded.
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{origin} is a damaged Parquet file ({error}); write it again") from error
        (self.header,) = csv_lines(self.schema.empty_table(), header=True)
        _check_names(self.schema.names, origin)

    def batches(self) -> Iterator[Batch]:
        """Yield a fixed number of rows at a time."""
        last = 0
        try:
            for records in self._file.iter_batches(_BATCH_ROWS):
                table = pa.Table.from_batches([records])
                # Parquet's text is not checked as it is read.
                table.validate(full=True)
                yield Batch(table, np.arange(last + 1, last + 1 + table.num_rows))
                last += table.num_rows
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.origin} is a damaged Parquet file ({error}); write it again") from error


def with_types(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give the columns of a CSV the types of its schema; a value that is something else becomes empty."""
    pairs = [(table.column(column.name), column.type) for column in schema]
    return pa.table(
        [values if values.type == wanted else _typed(values, wanted) for values, wanted in pairs], schema=schema
    )


def _typed(values: pa.ChunkedArray, wanted: pa.DataType) -> pa.Array:
    numbers, _ = read_numbers(values.to_pandas())
    fits = ~np.isnan(numbers)
    if wanted != pa.float64():
        fits &= (numbers == np.rint(numbers)) & (np.abs(numbers) <= (1 if wanted == pa.bool_() else 2**53))
    return pa.array(np.where(fits, numbers, 0), mask=~fits).cast(wanted)


def csv_lines(table: pa.Table, *, header: bool = False) -> list[bytes]:
    """Return the rows of a table as lines of CSV, without their line ends.

    Raises
    ------
    DataError
        If a column holds what CSV has no form for.
    """
    written = pa.BufferOutputStream()
    try:
        pacsv.write_csv(table, written, pacsv.WriteOptions(include_header=header))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"these rows cannot be written as CSV ({error}); set output=….parquet") from error
    return split_rows(written.getvalue().to_pybytes())


def _check_names(names: list[str], origin: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{origin} has columns of one name: {', '.join(map(repr, repeated))}; rename or remove them")
    check_columns(names, f"rows of {origin}")


def _header(line: bytes, origin: str) -> list[str]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{origin} is not a CSV in UTF-8 (its first line holds byte {line[error.start]:#x}); {_SAVE}"
        ) from error
    if "\0" in text or "\r" in text:
        raise DataError(f"{origin} is not a CSV in UTF-8 whose lines end in a newline; {_SAVE}")
    return next(csv.reader([text]), [])


def _chain(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    if first.strip():
        yield first
    yield from blocks


def row_blocks(file: Any, origin: str) -> Iterator[bytes]:
    """Yield the bytes of a CSV in blocks that end where a row ends: at a line end outside of quotes."""
    held = b""
    while True:
        try:
            read = _read(file)
        except OSError as error:
            raise DataError(f"{origin} cannot be read: {error.strerror}") from error
        if not read:
            break
        held += read
        end = _last_row_end(held)
        if end:
            yield held[:end]
            held = held[end:]
        elif len(held) > _LONGEST_ROW:
            raise DataError(f"{origin} holds a row of more than {len(held):,} bytes; is a quote left open?")
    if held:
        yield held


def _read(file: Any) -> bytes:
    """Return the next block, or what there is of it; one read of a pipe would not heed Ctrl-C between its parts."""
    parts: list[bytes] = []
    size = 0
    while size < _BLOCK and (part := file.read1(_BLOCK - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _last_row_end(content: bytes) -> int:
    """Return the position after the last line end that an even number of quotes stands before, 0 without one."""
    is_open = content.count(_QUOTE) % 2
    end = len(content)
    while (line_end := content.rfind(_END, 0, end)) >= 0:
        is_open ^= content.count(_QUOTE, line_end, end) % 2
        if not is_open:
            return line_end + 1
        end = line_end
    return 0


def split_rows(content: bytes) -> list[bytes]:
    """Return the rows of a CSV; a line end within quotes is part of a row."""
    rows: list[bytes] = []
    parts: list[bytes] = []
    for line in content.split(_END):
        if line.count(_QUOTE) % 2:
            parts.append(line)
            if len(parts) > 1:
                rows.append(_END.join(parts))
                parts = []
        elif parts:
            parts.append(line)
        else:
            rows.append(line)
    rows += parts
    return [row for row in (row.removesuffix(b"\r") for row in rows) if row]


def _parse(
    block: bytes, names: list[str], types: dict[str, pa.DataType], on_broken_row: object | None = None
) -> pa.Table:
    """Parse rows of CSV; columns without a type are text."""
    return pacsv.read_csv(
        pa.BufferReader(block),
        # Only a single thread knows the number of a broken row, and only one block holds a row of any length.
        pacsv.ReadOptions(column_names=names)
        if on_broken_row is None
        else pacsv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1),
        pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_broken_row),
        # Only an empty field is null: there are songs called "NA" and "Null".
        pacsv.ConvertOptions(
            column_types={name: types.get(name, pa.string()) for name in names},
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _not_a_csv(block: bytes, last: int, error: Exception) -> str:
    try:
        block.decode()
    except UnicodeDecodeError as wrong:
        row = last + len(split_rows(block[: wrong.start] + b"."))
        return f"row {row:,} is not in UTF-8 (it holds byte {block[wrong.start]:#x})"
    return f"the rows from {last + 1:,} on are not a CSV ({error})"
