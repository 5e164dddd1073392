"""Batches of any layout as raw rows, checked as a model takes them."""

from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa

from spotify_ml.data.arrow import arrow_frame
from spotify_ml.data.batches import Batch, Input
from spotify_ml.data.contract import CheckedRows, OutOfRange, check_rows
from spotify_ml.data.schema import AUDIO, TEXT, Kind


def raw_rows(batch: Batch, rows: Input) -> pa.Table:
    """Return a batch with raw columns, and perhaps others."""
    first_row = int(batch.numbers[0]) if len(batch.numbers) else 1
    return rows.layout.raw_rows(batch.table, rows.origin, first_row, every=False)


def checked_rows(
    raw: pa.Table, out_of_range: OutOfRange, further: Mapping[str, Kind] = MappingProxyType({})
) -> CheckedRows:
    """Return the checked columns that a model takes, with those that it takes beside audio and text."""
    taken = [name for name in raw.column_names if name in (*AUDIO, *TEXT, *further)]
    return check_rows(arrow_frame(raw.select(taken)), out_of_range, further)
