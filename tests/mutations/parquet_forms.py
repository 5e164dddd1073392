"""Forms of a Parquet file."""

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.mutations.case import FLAG, WHOLE, Right
from tests.mutations.csv_forms import with_wide

SAME, REFUSED, EITHER, ANSWERED = Right.SCORED, Right.REFUSED, Right.EITHER, Right.ANSWERED
# A file: its bytes, what is right, the rows that it is equal to, and what a refusal names.
Made = tuple[bytes, Right, pd.DataFrame | None, str]


def as_parquet(table: pa.Table | pd.DataFrame, **options: Any) -> bytes:
    """Return rows as Parquet."""
    written = pa.BufferOutputStream()
    given = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table)
    pq.write_table(given, written, **options)
    return written.getvalue().to_pybytes()


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    **{f"by {codec}": {"compression": codec} for codec in ("none", "gzip", "zstd", "lz4", "brotli", "snappy")},
    **{f"version {version}": {"version": version} for version in ("1.0", "2.4", "2.6")},
    "pages of version 2": {"data_page_version": "2.0"},
    "small pages": {"data_page_size": 1},
    "a row a group": {"row_group_size": 1},
    "without dictionaries": {"use_dictionary": False},
    "delta": {
        "use_dictionary": False,
        "column_encoding": {"artists": "DELTA_BYTE_ARRAY", "tempo": "BYTE_STREAM_SPLIT"},
    },
    "with checksums": {"write_page_checksum": True},
    "with checksums and pages of version 2": {"write_page_checksum": True, "data_page_version": "2.0"},
    "with an index of pages": {"write_page_index": True},
    "without statistics": {"write_statistics": False},
    "without the schema of Arrow": {"store_schema": False},
    "sorted": {"sorting_columns": [pq.SortingColumn(0)]},
}


def _with_schema(rows: pd.DataFrame, metadata: dict[str, str]) -> bytes:
    return as_parquet(pa.Table.from_pandas(rows).replace_schema_metadata(metadata))


FORMS: dict[str, Callable[[pd.DataFrame], Made]] = {
    "of typed columns": lambda rows: (
        as_parquet(rows.astype(dict.fromkeys(WHOLE, "int64")).astype({FLAG: bool})),
        SAME,
        rows,
        "",
    ),
    "with an index": lambda rows: (as_parquet(rows.set_index("tempo")), SAME, rows, ""),
    "with an index of flags and text": lambda rows: (as_parquet(rows.set_index([FLAG, "artists"])), SAME, rows, ""),
    "with an index twice": lambda rows: (
        as_parquet(rows.set_index("tempo", drop=False).rename_axis("x")),
        SAME,
        rows,
        "",
    ),
    "with another index": lambda rows: (as_parquet(rows.set_axis([3] * len(rows))), SAME, rows, ""),
    "with damaged metadata": lambda rows: (_with_schema(rows, {"pandas": "{broken"}), SAME, rows, ""),
    "with metadata of a list": lambda rows: (_with_schema(rows, {"pandas": "[1]"}), SAME, rows, ""),
    "with metadata of null": lambda rows: (_with_schema(rows, {"pandas": "null"}), SAME, rows, ""),
    "with metadata of an index": lambda rows: (
        _with_schema(rows, {"pandas": json.dumps({"index_columns": ["nowhere"], "columns": [], "column_indexes": []})}),
        SAME,
        rows,
        "",
    ),
    "with metadata that is no text": lambda rows: (
        as_parquet(pa.Table.from_pandas(rows).replace_schema_metadata({b"\xff": b"\xfe", b"pandas": b"\xff"})),
        SAME,
        rows,
        "",
    ),
    "with a column twice": lambda rows: (_twice(rows, "tempo"), REFUSED, None, "tempo"),
    "with another column twice": lambda rows: (_twice(rows.assign(note="x"), "note"), EITHER, rows, "note"),
    "of no rows": lambda rows: (as_parquet(rows.head(0)), REFUSED, None, ""),
    "of no columns": lambda rows: (as_parquet(pa.table({})), REFUSED, None, ""),
    "of one column": lambda rows: (as_parquet(rows[["tempo"]]), REFUSED, None, "energy"),
    "of 3,000 columns": lambda rows: (as_parquet(with_wide(rows, 3_000)), SAME, rows, ""),
    "with nested columns": lambda rows: (
        as_parquet(_arrow(rows).append_column("n", pa.array([{"a": [{"b": None}]}] * len(rows)))),
        SAME,
        rows,
        "",
    ),
    "with maps": lambda rows: (
        as_parquet(
            _arrow(rows).append_column("m", pa.array([[("a", 1)]] * len(rows), pa.map_(pa.string(), pa.int64())))
        ),
        SAME,
        rows,
        "",
    ),
    "with bytes": lambda rows: (
        as_parquet(_arrow(rows).append_column("b", pa.array([b"\xff"] * len(rows)))),
        SAME,
        rows,
        "",
    ),
    "with times": lambda rows: (
        as_parquet(_arrow(rows).append_column("t", pa.array([2**62] * len(rows), pa.timestamp("us", "UTC")))),
        SAME,
        rows,
        "",
    ),
    "with lists of times": lambda rows: (
        as_parquet(_arrow(rows).append_column("t", pa.array([[2**62]] * len(rows), pa.list_(pa.timestamp("us"))))),
        SAME,
        rows,
        "",
    ),
    "with nanoseconds": lambda rows: (
        as_parquet(_arrow(rows).append_column("t", pa.array([7] * len(rows), pa.timestamp("ns")))),
        SAME,
        rows,
        "",
    ),
    "with durations": lambda rows: (
        as_parquet(_arrow(rows).append_column("d", pa.array([7] * len(rows), pa.duration("ns")))),
        SAME,
        rows,
        "",
    ),
    "with times of a day": lambda rows: (
        as_parquet(_arrow(rows).append_column("d", pa.array([7] * len(rows), pa.time64("ns")))),
        SAME,
        rows,
        "",
    ),
    "with nulls": lambda rows: (as_parquet(_arrow(rows).append_column("z", pa.nulls(len(rows)))), SAME, rows, ""),
    "with decimals": lambda rows: (
        as_parquet(_arrow(rows).append_column("d", pa.nulls(len(rows), pa.decimal256(70, 5)))),
        SAME,
        rows,
        "",
    ),
    "with odd names": lambda rows: (as_parquet(rows.assign(**{'a"b\n,': 1, "": 2, "\0": 3})), SAME, rows, ""),
    "encrypted": lambda rows: (b"PARE" + as_parquet(rows)[4:-4] + b"PARE", REFUSED, None, ""),
    "twice": lambda rows: (as_parquet(rows) * 2, ANSWERED, None, ""),
    "with bytes after it": lambda rows: (as_parquet(rows) + b"\n", REFUSED, None, ""),
    "with bytes before it": lambda rows: (b"\n" + as_parquet(rows), REFUSED, None, ""),
    "zeroed within": lambda rows: (as_parquet(rows)[:100] + bytes(400) + as_parquet(rows)[500:], ANSWERED, None, ""),
    "its magic alone": lambda rows: (b"PAR1", REFUSED, None, ""),
    "its magic twice": lambda rows: (b"PAR1PAR1", REFUSED, None, ""),
    "its magic and a length": lambda rows: (b"PAR1\xff\xff\xff\x7fPAR1", REFUSED, None, ""),
    "text that is no UTF-8": lambda rows: (
        as_parquet(_arrow(rows).set_column(0, _arrow(rows).column_names[0], _invalid(len(rows)))),
        REFUSED,
        None,
        "",
    ),
    "other text that is no UTF-8": lambda rows: (
        as_parquet(_arrow(rows).append_column("note", _invalid(len(rows)))),
        EITHER,
        rows,
        "",
    ),
}


def _arrow(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows, preserve_index=False)


def _twice(rows: pd.DataFrame, name: str) -> bytes:
    return as_parquet(_arrow(rows).append_column(name, _arrow(rows)[name]))


def _invalid(n_rows: int) -> pa.Array:
    return pa.Array.from_buffers(pa.string(), n_rows, pa.array([b"\xff"] * n_rows).buffers())
