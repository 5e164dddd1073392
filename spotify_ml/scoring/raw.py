"""Batches of any layout as raw rows, checked as a model takes them."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import pandas as pd
import pyarrow as pa

from spotify_ml.data.arrow import arrow_frame
from spotify_ml.data.batches import Batch, Input
from spotify_ml.data.contract import CheckedRows, OutOfRange, check_rows
from spotify_ml.data.join_tables import JoinTable
from spotify_ml.data.joins import add_columns
from spotify_ml.data.schema import AUDIO, TEXT, Kind


def raw_rows(batch: Batch, rows: Input, further: Collection[str] = ()) -> pa.Table:
    """Return a batch with raw columns, and those of further ones that it has under their own names."""
    first_row = int(batch.numbers[0]) if len(batch.numbers) else 1
    raw = rows.layout.raw_rows(batch.table, rows.origin, first_row, every=False)
    for name in further:
        if name not in raw.column_names and batch.table.column_names.count(name) == 1:
            raw = raw.append_column(name, batch.table.column(name))
    return raw


def given_rows(raw: pa.Table, further: Collection[str], joins: Sequence[JoinTable] = ()) -> pd.DataFrame:
    """Return the columns that a model takes, with those of joined tables."""
    taken = [name for name in raw.column_names if name in (*AUDIO, *TEXT, *further)]
    return add_columns(arrow_frame(raw.select(taken)), joins, further)


def checked_rows(
    raw: pa.Table,
    out_of_range: OutOfRange,
    further: Mapping[str, Kind] = MappingProxyType({}),
    joins: Sequence[JoinTable] = (),
) -> CheckedRows:
    """Return `given_rows` checked."""
    return check_rows(given_rows(raw, further, joins), out_of_range, further)
