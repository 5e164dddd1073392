"""Raw rows of any number, read from CSV or Parquet a batch at a time, with all columns of the file."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from spotify_ml.config.layouts import AUTO, LayoutConfig
from spotify_ml.data.arrow import DAMAGE, damaged, open_parquet
from spotify_ml.data.csv_text import csv_header, csv_lines, split_rows
from spotify_ml.data.header import SAVE, check_format, header_line, names_in
from spotify_ml.data.layouts import Layout, find_layout
from spotify_ml.data.parts import Part, is_packed, parts_of
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


def open_input(path: Path | None, layout: LayoutConfig = AUTO, *, for_training: bool = False) -> "Input":
    """Open a file of tracks, CSV or Parquet by its first bytes, or else standard input, and find its layout.

    A `DataError` is raised if there is no such file, or no layout fits its columns.
    """
    if path is None:
        if sys.stdin is None:
            raise DataError("standard input is closed; name a file: input=…")
        return CsvInput(sys.stdin.buffer, "standard input", layout, for_training=for_training)
    if is_packed(path):
        return open_part(parts_of(str(path))[0], layout, for_training=for_training)
    return _open_plain(path, str(path), layout, for_training=for_training)


def open_part(part: Part, layout: LayoutConfig | Layout = AUTO, *, for_training: bool = False) -> "Input":
    """Open one of many files, see `open_input`."""
    if not part.is_packed:
        return _open_plain(part.path, part.origin, layout, for_training=for_training)
    return CsvInput(part.open(), part.origin, layout, for_training=for_training)


def _open_plain(path: Path, origin: str, layout: LayoutConfig | Layout, *, for_training: bool) -> "Input":
    try:
        file = path.open("rb")
        if file.peek(4)[:4] == b"PAR1":
            return ParquetInput(file, origin, layout, for_training=for_training)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return CsvInput(file, origin, layout, for_training=for_training)


class CsvInput:
    """Rows of a CSV: comma-separated UTF-8 with a header. Columns that are not in its layout are text.

    Batches have all columns of the file; for training, those of its layout. A layout that is known is not looked for.
    """

    def __init__(
        self, file: Any, origin: str, layout: LayoutConfig | Layout = AUTO, *, for_training: bool = False
    ) -> None:
        self.origin = origin
        self._blocks = row_blocks(file, origin)
        first = next(self._blocks, b"")
        if not first.strip():
            raise DataError(f"{origin} is empty; give a file with tracks in it")
        self.header = header_line(first, origin)
        self._rest = first.partition(_END)[2]
        names = names_in(self.header)
        self.layout = find_layout(names, origin, layout, for_training=for_training)
        self._columns = self.layout.own_names() if for_training else None
        self._types = self.layout.types()
        self._recode = _Recoding(self.layout.encoding)
        kinds = self.layout.kinds()
        self.schema = pa.schema([(name, kinds[name].value if name in kinds else pa.string()) for name in names])

    def batches(self) -> Iterator[Batch]:
        """Yield the rows of one block at a time."""
        last = 0
        for block in chain([self._rest] if self._rest.strip() else [], self._blocks):
            batch = self._batch(self._recode(block), last)
            if batch.n_rows:
                last += batch.n_rows
                yield batch

    def _batch(self, block: bytes, last: int) -> Batch:
        try:
            table = _parse(block, self.schema.names, self._types, self._columns)
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

    def __init__(
        self, file: Any, origin: str, layout: LayoutConfig | Layout = AUTO, *, for_training: bool = False
    ) -> None:
        self.origin = origin
        try:
            self._file = open_parquet(file)
            self.schema = self._file.schema_arrow
        except DAMAGE as error:
            raise damaged(origin, error) from error
        self.layout = find_layout(self.schema.names, origin, layout, for_training=for_training)
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


class _Recoding:
    """Makes UTF-8 of the blocks of a file that may be in another encoding, the same from its start to its end."""

    def __init__(self, encoding: str | None) -> None:
        self._encoding = encoding
        self._found: str | None = None

    def __call__(self, block: bytes) -> bytes:
        if self._encoding is None or block.isascii():
            return block
        if self._found is None:
            try:
                block.decode()
                self._found = "utf-8"
            except UnicodeDecodeError:
                self._found = self._encoding
        # Another byte in a file of UTF-8 is an error, which names its row.
        return block if self._found == "utf-8" else block.decode(self._found).encode()


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
    types: Mapping[str, pa.DataType],
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
