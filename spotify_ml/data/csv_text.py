"""Rows as text of a CSV, which every reader reads back as they were."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from spotify_ml.data.arrow import listed, plain

_QUOTE, _END = b'"', b"\n"
# Splits after a line end of any kind.
_LINE_END = re.compile(rb"(?<=\n)|(?<=\r)(?!\n)")


def write_csv(frame: pd.DataFrame, target: Path, *, index: bool = False) -> None:
    """Write a table as CSV.

    Rows end as RFC 4180 has it: Python before 3.13 quotes only the line ends that rows have, and readers take a bare
    carriage return in a title for the end of a row.
    """
    frame.to_csv(target, index=index, lineterminator="\r\n")


def csv_header(names: list[str]) -> bytes:
    """Return names as the first line of a CSV, without its line end."""
    return b",".join(_QUOTE + name.encode().replace(_QUOTE, _QUOTE * 2) + _QUOTE for name in names)


def csv_lines(table: pa.Table) -> list[bytes]:
    """Return the rows of a table as lines of CSV, without their line ends; what is no single value, as JSON.

    Bytes are text where they are UTF-8, and hexadecimal elsewhere.
    """
    columns = [column if _is_single(column.type) else _as_json(column) for column in map(plain, table.columns)]
    written = pa.BufferOutputStream()
    pacsv.write_csv(pa.table(columns, names=table.column_names), written, pacsv.WriteOptions(include_header=False))
    return split_rows(written.getvalue().to_pybytes())


def _is_single(kind: pa.DataType) -> bool:
    """Tell whether Arrow writes values of a type into a CSV."""
    return not (pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType) or _is_binary(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _as_json(values: pa.ChunkedArray) -> pa.Array:
    texts = (value if value is None or isinstance(value, str) else _json(value) for value in listed(values))
    return pa.array(texts, pa.string())


def _json(value: Any) -> str:
    """Return a value as JSON, and a single one that JSON has no form for, such as a UUID, as its text."""
    written = json.dumps(value, ensure_ascii=False, default=_text)
    return json.loads(written) if written.startswith('"') else written


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def split_rows(content: bytes) -> list[bytes]:
    """Return the rows of a CSV; a line end within quotes is part of a row."""
    # For Arrow a carriage return alone ends a row as well.
    has_bare_return = b"\r" in content and content.count(b"\r") != content.count(b"\r\n")
    lines, between = (_LINE_END.split(content), b"") if has_bare_return else (content.split(_END), _END)
    rows: list[bytes] = []
    parts: list[bytes] = []
    for line in lines:
        if line.count(_QUOTE) % 2:
            parts.append(line)
            if len(parts) > 1:
                rows.append(between.join(parts))
                parts = []
        elif parts:
            parts.append(line)
        else:
            rows.append(line)
    rows += [between.join(parts)] if parts else []
    if has_bare_return:
        rows = [row.removesuffix(_END) for row in rows]
    return [row for row in (row.removesuffix(b"\r") for row in rows) if row]
