"""Scored rows as they are written: the columns of the input, and after them what the model says."""

import csv
import io
import sys
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spotify_ml.data.batches import Batch, Input, csv_lines, with_types


class Output(Protocol):
    """Where scored rows go."""

    def write(self, batch: Batch, kept: np.ndarray, added: pa.Table) -> None:
        """Write the kept rows of a batch, and the columns that the model adds to these.

        Parameters
        ----------
        batch : Batch
            Rows.
        kept : ndarray of bool, shape (n_rows,)
            Those to write.
        added : pyarrow.Table
            The added columns of those.
        """

    def close(self) -> None:
        """Write what is left to write."""


class CsvOutput:
    """Rows as lines of CSV: those of a CSV as they stand there, with the added columns at their ends.

    Parameters
    ----------
    file : binary file
        Opened to be written.
    source : Input
        Where the rows come from.
    added : Schema
        The added columns.
    """

    def __init__(self, file: BinaryIO, source: Input, added: pa.Schema) -> None:
        self._file = file
        file.write(b",".join([source.header, ",".join(added.names).encode()]) + b"\n")

    def write(self, batch: Batch, kept: np.ndarray, added: pa.Table) -> None:
        """Write the kept rows of a batch and the columns that the model adds to them."""
        lines = batch.lines if kept.all() else [batch.lines[row] for row in np.flatnonzero(kept)]
        ends = csv_lines(added)
        self._file.write(b"".join([b"%b,%b\n" % pair for pair in zip(lines, ends, strict=True)]))

    def close(self) -> None:
        """Hand over what is held back, and let go of the file unless it is standard output."""
        if self._file is sys.stdout.buffer:
            self._file.flush()
        else:
            self._file.close()


class ParquetOutput:
    """Rows as Parquet, a row group a batch.

    Parameters
    ----------
    path : Path
        The file.
    source : Input
        Where the rows come from.
    added : Schema
        The added columns.
    """

    def __init__(self, path: Path, source: Input, added: pa.Schema) -> None:
        self._schema = source.schema
        columns = pa.schema([*source.schema, *added], metadata=source.schema.metadata)
        self._writer = pq.ParquetWriter(path, columns)

    def write(self, batch: Batch, kept: np.ndarray, added: pa.Table) -> None:
        """Write the kept rows of a batch and the columns that the model adds to them."""
        table = with_types(batch.table, self._schema)
        if not kept.all():
            table = table.filter(pa.array(kept))
        for name in added.column_names:
            table = table.append_column(added.schema.field(name), added.column(name))
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


class RejectedRows:
    """The side file: rows that were not scored as CSV, after their number and what is wrong with them.

    Parameters
    ----------
    file : binary file
        Opened by the caller, who closes it.
    source : Input
        Where the rows come from.

    Attributes
    ----------
    n_rows : int
        How many rows were written.
    """

    def __init__(self, file: BinaryIO, source: Input) -> None:
        self.n_rows = 0
        self._file = file
        file.write(b"row,reason," + source.header + b"\n")

    def write(self, number: int, reason: str, line: bytes) -> None:
        """Write one row."""
        self.n_rows += 1
        text = io.StringIO()
        csv.writer(text, lineterminator=",").writerow([number, reason])
        self._file.write(text.getvalue().encode() + line + b"\n")
