"""Raw rows of any number, read from CSV or Parquet a batch at a time, with all columns of the file."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from spotify_ml.data.arrow import DAMAGE, damaged, open_parquet
from spotify_ml.data.contract import check_columns
from spotify_ml.data.csv_text import csv_header, csv_lines, split_rows
from spotify_ml.data.header import SAVE, check_format, header_line, names_in, repeated_names
from spotify_ml.data.schema import COLUMNS, Kind
from spotify_ml.utils.errors import DataError, shown

# The size of a batch in bytes of CSV, some 45,000 rows, and in rows of Parquet.
_BLOCK = 8 * 2**20
_BATCH_ROWS = 45_000
# The bytes that one thread parses: a table of few large chunks is joined and copied faster.
_CHUNK = 4 * 2**20
# No row, and no text between two quotes, is longer.
_LONGEST_ROW = 8 * _BLOCK
_LONG_ROW = 2**20
_QUOTE, _END = b'"', b"\n"
_QUOTED_FIELD = re.compile(rb'(?:^|[,\n])"[^"]*(?:""[^"]*)*+(?P<end>"?)')
_KINDS = {column.name: column.kind for column in COLUMNS}
CheckNames = Callable[[Sequence[str], str], None]
# Integers may be written as floats, but not as hexadecimal numbers.
_READ_AS = {name: pa.float64() if kind is Kind.INTEGER else kind.value for name, kind in _KINDS.items()}


@dataclass(frozen=True)
class BrokenRow:
    """A row of CSV with too few or too many fields; numbers count from 1 without the header."""

    number: int
    text: str
    problem: str


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a file, with all its columns; those of a CSV that cannot be read as their type are text.

    ``numbers``, shape (n_rows,), count the rows of the table from 1 without the header; ``content`` has the bytes of a
    CSV.
    """

    table: pa.Table
    numbers: np.ndarray
    broken: list[BrokenRow] = field(default_factory=list)
    content: bytes | None = None

    @property
    def n_rows(self) -> int:
        """The number of rows, with the broken ones."""
        return len(self.numbers) + len(self.broken)

    def as_text(self) -> pa.Table:
        """Return the rows of a CSV with every field as its original text."""
        return _parse(self.content or b"", self.table.column_names, {}, on_broken_row=lambda row: "skip")

    @cached_property
    def lines(self) -> list[bytes]:
        """The rows of the table as lines of CSV, unchanged if they are from one; unclear quotes are a `DataError`."""
        if self.content is None:
            return csv_lines(self.table)
        lines = split_rows(self.content)
        if self.broken and len(lines) == self.n_rows:
            first = min([self.broken[0].number, *self.numbers[:1]])
            lines = [lines[number - first] for number in self.numbers]
        if len(lines) != len(self.numbers):
            raise DataError(
                f"quotes leave in doubt where the rows from {self.numbers[0]:,} on end; "
                "write the file again with every quote doubled, or set output=….parquet"
            )
        return lines


def check_scoring_names(names: Sequence[str], origin: str) -> None:
    """Check that a file has the columns that a model needs, and no raw column twice."""
    repeated = [name for name in repeated_names(names) if name in _KINDS]
    if repeated:
        raise DataError(f"{origin} has columns of one name: {', '.join(map(repr, repeated))}; rename or remove them")
    check_columns(names, f"rows of {origin}")


def open_input(path: Path | None, check: CheckNames = check_scoring_names) -> "Input":
    """Open a file of raw rows, CSV or Parquet by its first bytes, or else standard input, and check its columns.

    `check` gets the names of the columns and the name of the file. A `DataError` is raised if there is no such file, or
    if a column is wrong.
    """
    if path is None:
        if sys.stdin is None:
            raise DataError("standard input is closed; name a file: input=…")
        return CsvInput(sys.stdin.buffer, "standard input", check)
    try:
        file = path.open("rb")
        if file.peek(4)[:4] == b"PAR1":
            return ParquetInput(file, str(path), check)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return CsvInput(file, str(path), check)


class CsvInput:
    """Rows of a CSV: comma-separated UTF-8 with a header. Columns that are not in the schema are text.

    Batches have the given columns, in their order; by default all of the file.
    """

    def __init__(
        self, file: Any, origin: str, check: CheckNames = check_scoring_names, columns: Sequence[str] | None = None
    ) -> None:
        self.origin = origin
        self._columns = columns
        self._blocks = row_blocks(file, origin)
        first = next(self._blocks, b"")
        if not first.strip():
            raise DataError(f"{origin} is empty; give a file with tracks in it")
        self.header = header_line(first, origin)
        self._rest = first.partition(_END)[2]
        names = names_in(self.header)
        check(names, origin)
        self.schema = pa.schema([(name, _KINDS[name].value if name in _KINDS else pa.string()) for name in names])

    def batches(self) -> Iterator[Batch]:
        """Yield the rows of one block at a time."""
        last = 0
        for block in chain([self._rest] if self._rest.strip() else [], self._blocks):
            batch = self._batch(block, last)
            if batch.n_rows:
                last += batch.n_rows
                yield batch

    def _batch(self, block: bytes, last: int) -> Batch:
        try:
            table = _parse(block, self.schema.names, _READ_AS, self._columns)
            return Batch(table, np.arange(last + 1, last + 1 + table.num_rows), content=block)
        except pa.ArrowInvalid:
            return self._unfit_batch(block, last)

    def _unfit_batch(self, block: bytes, last: int) -> Batch:
        """Read values that are no numbers as text, and leave out rows with too few or too many fields."""
        # Arrow would skip rows that are not UTF-8, with only a line on stderr.
        _check_encoding(block, last, self.origin)
        invalid: list[pacsv.InvalidRow] = []

        def set_aside(row: pacsv.InvalidRow) -> str:
            invalid.append(row)
            return "skip"

        try:
            table = _parse(block, self.schema.names, {}, self._columns, set_aside)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{self.origin}: the rows from {last + 1:,} on are not a CSV ({shown(error, 300)}); {SAVE}"
            ) from error
        broken = [BrokenRow(last + row.number, row.text, _field_count(row)) for row in invalid]
        numbers = np.arange(last + 1, last + 1 + table.num_rows + len(broken))
        return Batch(table, np.setdiff1d(numbers, [row.number for row in broken]), broken, block)


def _field_count(row: pacsv.InvalidRow) -> str:
    return f"{row.actual_columns} field{'s' * (row.actual_columns != 1)} in place of {row.expected_columns}"


class ParquetInput:
    """Rows of a Parquet file."""

    def __init__(self, file: Any, origin: str, check: CheckNames = check_scoring_names) -> None:
        self.origin = origin
        try:
            self._file = open_parquet(file)
            self.schema = self._file.schema_arrow
        except DAMAGE as error:
            raise damaged(origin, error) from error
        check(self.schema.names, origin)
        self.header = csv_header(self.schema.names)

    def batches(self) -> Iterator[Batch]:
        """Yield a fixed number of rows at a time."""
        last = 0
        try:
            for records in self._file.iter_batches(_BATCH_ROWS):
                table = pa.Table.from_batches([records])
                # Reading does not check text.
                table.validate(full=True)
                yield Batch(table, np.arange(last + 1, last + 1 + table.num_rows))
                last += table.num_rows
        except DAMAGE as error:
            raise damaged(self.origin, error) from error


Input = CsvInput | ParquetInput


def row_blocks(file: Any, origin: str) -> Iterator[bytes]:
    """Yield the bytes of a CSV in blocks that end at the end of a row: at a line end outside of quotes."""
    rest, is_first = b"", True
    while content := _read(file, origin):
        if is_first:
            check_format(content, origin)
        is_first = False
        rest += content
        end = _last_row_end(rest)
        if end:
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > _LONGEST_ROW:
            raise DataError(f"{origin} holds a row of more than {len(rest):,} bytes; is a quote left open?")
    if rest:
        yield rest


def _read(file: Any, origin: str) -> bytes:
    """Return the next block, or the rest; a single read of a pipe would delay Ctrl-C."""
    pieces: list[bytes] = []
    size = 0
    try:
        while size < _BLOCK and (piece := file.read1(_BLOCK - size)):
            pieces.append(piece)
            size += len(piece)
    except OSError as error:
        raise DataError(f"{origin} cannot be read: {error.strerror}") from error
    return b"".join(pieces)


def _last_row_end(content: bytes) -> int:
    """Return the position after the last line end outside of quotes, 0 if there is none."""
    is_open = content.count(_QUOTE) % 2
    end = len(content)
    while (line_end := content.rfind(_END, 0, end)) >= 0:
        is_open ^= content.count(_QUOTE, line_end, end) % 2
        if not is_open:
            # If a row seems very long, a quote within an unquoted field, as in 12" Mix, was counted.
            return line_end + 1 if len(content) - line_end < _LONG_ROW else _row_end_of_fields(content)
        end = line_end
    return _row_end_of_fields(content)


def _row_end_of_fields(content: bytes) -> int:
    """Do the same as `_last_row_end` field by field: only a quote at the start of a field opens it."""
    start = len(content)
    for quoted in _QUOTED_FIELD.finditer(content):
        if not quoted["end"]:
            start = quoted.start() + 1
    return content.rfind(_END, 0, start) + 1


def _parse(
    block: bytes,
    names: list[str],
    types: dict[str, pa.DataType],
    columns: Sequence[str] | None = None,
    on_broken_row: object | None = None,
) -> pa.Table:
    """Parse rows of CSV, with all or some columns; those without a type are text."""
    return pacsv.read_csv(
        pa.BufferReader(block),
        # Numbers of broken rows need a single thread, and rows of any length a single block.
        pacsv.ReadOptions(column_names=names, block_size=_CHUNK)
        if on_broken_row is None
        else pacsv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1),
        pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_broken_row),
        # Only an empty field is null: there are songs called "NA" and "Null".
        pacsv.ConvertOptions(
            column_types={name: types.get(name, pa.string()) for name in names},
            include_columns=columns,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _check_encoding(block: bytes, last: int, origin: str) -> None:
    try:
        block.decode()
    except UnicodeDecodeError as wrong:
        row = last + len(split_rows(block[: wrong.start] + b"."))
        raise DataError(
            f"{origin}: row {row:,} is not in UTF-8 (it holds byte {block[wrong.start]:#x}); {SAVE}"
        ) from wrong
