"""Files of scored rows: the columns of the input, followed by those of the model."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from spotify_ml.data.batches import Batch, Input
from spotify_ml.data.csv_text import csv_lines, escaped_row, escaped_rows
from spotify_ml.data.header import repeated_names
from spotify_ml.data.layouts import KINDS
from spotify_ml.data.schema import Kind
from spotify_ml.data.texts import read_numbers
from spotify_ml.utils.errors import DataError

# The column with the unreadable cells of a CSV, as JSON.
UNREADABLE = "unreadable"
# Larger integers may have been rounded.
_LARGEST = 2**53


class CsvOutput:
    """Rows as lines of CSV with the added columns at the end; lines from a CSV stay unchanged.

    With `escape`, text that a spreadsheet would run is escaped, see `spotify_ml.data.csv_text.escaped_rows`.
    """

    def __init__(self, file: BinaryIO, source: Input, added: pa.Schema, *, escape: bool) -> None:
        self._file = file
        self._escape = escape
        file.write(b",".join([_header(source, escape=escape), ",".join(added.names).encode()]) + b"\n")

    def write(self, batch: Batch, kept: np.ndarray, added: pa.Table) -> None:
        """Write the rows of a batch that are `kept`, shape (n_rows,), and their added columns."""
        lines = batch.lines if kept.all() else [batch.lines[row] for row in np.flatnonzero(kept)]
        if self._escape:
            lines = escaped_rows(lines)
        ends = csv_lines(added)
        self._file.write(b"".join([b"%b,%b\n" % pair for pair in zip(lines, ends, strict=True)]))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetOutput:
    """Rows as Parquet, one row group per batch.

    Unreadable cells of a CSV are empty; if there are any, a last column `UNREADABLE` has their text. A `DataError` is
    raised if two columns of the source have one name.
    """

    def __init__(self, path: Path, source: Input, added: pa.Schema) -> None:
        repeated = repeated_names(source.schema.names)
        if repeated:
            names = ", ".join(map(repr, repeated))
            raise DataError(
                f"{source.origin} has columns of one name: {names}; rename or remove them, or set output=….csv"
            )
        self._path = path
        self._given, self._kinds = source.schema, source.layout.kinds()
        self._schema = pa.schema([*source.schema, *added], metadata=_sound_metadata(source.schema.metadata))
        self._writer = pq.ParquetWriter(path, self._schema)

    def write(self, batch: Batch, kept: np.ndarray, added: pa.Table) -> None:
        """Write the rows of a batch that are `kept`, shape (n_rows,), and their added columns."""
        table, lost = (batch.table, {}) if batch.content is None else with_types(batch.table, self._given, self._kinds)
        if lost:
            table = table.append_column(UNREADABLE, unreadable(batch, lost))
        if not kept.all():
            table = pa.table([_filtered(column, kept) for column in table.columns], schema=table.schema)
        if lost and UNREADABLE not in self._schema.names and table.column(UNREADABLE).null_count < table.num_rows:
            self._add_unreadable()
        columns = dict(zip(table.column_names, table.columns, strict=True))
        columns |= dict(zip(added.column_names, added.columns, strict=True))
        empty = pa.nulls(table.num_rows, pa.string())
        self._writer.write_table(pa.table([columns.get(name, empty) for name in self._schema.names], self._schema))

    def _add_unreadable(self) -> None:
        """Write the file again, with the column."""
        self._writer.close()
        self._schema = self._schema.append(pa.field(UNREADABLE, pa.string()))
        before = self._path.with_name(f"{self._path.name}.before")
        self._path.rename(before)
        try:
            self._writer = pq.ParquetWriter(self._path, self._schema)
            written = pq.ParquetFile(before)
            for group in range(written.num_row_groups):
                table = written.read_row_group(group)
                empty = pa.nulls(table.num_rows, pa.string())
                self._writer.write_table(pa.table([*table.columns, empty], self._schema))
            written.close()
        finally:
            before.unlink()

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


def _sound_metadata(metadata: dict[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    """Remove damaged metadata of pandas, with which pandas could not read the file."""
    try:
        json.loads((metadata or {}).get(b"pandas", b"{}"))
    except ValueError:
        return {key: value for key, value in (metadata or {}).items() if key != b"pandas"}
    return metadata


def _filtered(values: pa.ChunkedArray, kept: np.ndarray) -> pa.ChunkedArray:
    try:
        return values.filter(pa.array(kept))
    except pa.ArrowNotImplementedError:
        # Arrow cannot filter views.
        return pa.chunked_array([pa.array([values[row].as_py() for row in np.flatnonzero(kept)], values.type)])


def with_types(
    table: pa.Table, schema: pa.Schema, kinds: Mapping[str, Kind] = KINDS
) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """Convert the columns of a CSV to the types of its schema; unreadable values become empty.

    `kinds` are those of its columns that are not text.

    Also returns, by column, which values are lost: unreadable, or too large for anything but infinity.
    """
    columns, lost = [], {}
    for values, wanted in zip(table.columns, schema, strict=True):
        if values.type != wanted.type:
            values, is_lost = _typed(values, wanted.type, kinds.get(wanted.name, Kind.TEXT))
        elif pa.types.is_floating(values.type):
            is_lost = pc.is_inf(values).fill_null(False).to_numpy()
        else:
            is_lost = np.zeros(0, dtype=bool)
        columns.append(values)
        if is_lost.any():
            lost[wanted.name] = is_lost
    return pa.table(columns, schema=schema), lost


def _typed(values: pa.ChunkedArray, wanted: pa.DataType, kind: Kind) -> tuple[pa.Array, np.ndarray]:
    numbers, unreadable = read_numbers(values.to_pandas(), is_flag=kind is Kind.FLAG)
    is_given = ~np.isnan(numbers)
    fits = is_given
    if kind is Kind.FLAG:
        fits = is_given & np.isin(numbers, (0, 1))
    elif kind is Kind.INTEGER:
        fits = is_given & (numbers == np.rint(numbers)) & (np.abs(numbers) <= _LARGEST)
    lost = np.isinf(numbers) if kind is Kind.NUMBER else is_given & ~fits
    typed = pa.array(np.where(fits, numbers, 0), mask=~fits).cast(wanted)
    return typed, lost if unreadable is None else lost | unreadable


def unreadable(batch: Batch, lost: dict[str, np.ndarray]) -> pa.Array:
    """Return the text of the lost cells of each row of a CSV as JSON, null if there are none."""
    text = batch.as_text()
    found: dict[int, dict[str, str]] = {}
    for name, rows in lost.items():
        for row in map(int, np.flatnonzero(rows)):
            found.setdefault(row, {})[name] = text.column(name)[row].as_py()
    return pa.array(
        [json.dumps(found[row], ensure_ascii=False) if row in found else None for row in range(batch.table.num_rows)],
        pa.string(),
    )


def _header(source: Input, *, escape: bool) -> bytes:
    return escaped_row(source.header) if escape else source.header


class RejectedRows:
    """The file of rejected rows as CSV, each after its number and problems; the caller opens and closes it."""

    def __init__(self, file: BinaryIO, source: Input, *, escape: bool) -> None:
        self.n_rows = 0
        self._file = file
        self._escape = escape
        file.write(b"row,reason," + _header(source, escape=escape) + b"\n")

    def write(self, number: int, reason: str, line: bytes) -> None:
        """Write one row."""
        self.n_rows += 1
        if self._escape:
            line = escaped_row(line)
        text = io.StringIO()
        csv.writer(text, lineterminator=",").writerow([number, reason])
        self._file.write(text.getvalue().encode() + line + b"\n")
