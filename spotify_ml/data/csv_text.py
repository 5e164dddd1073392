"""Tables as text of a CSV that every reader reads back unchanged, and formulas of spreadsheets in it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from spotify_ml.data.arrow import listed, plain

_QUOTE, _END = b'"', b"\n"
# Splits after a line end of any kind.
_LINE_END = re.compile(rb"(?<=\n)|(?<=\r)(?!\n)")
# The characters in OWASP's "CSV injection", and their full-width forms, which some spreadsheets accept.
_BEGINS = r"[=+\-@\t\r\n＝＋－＠]"
# A number is no formula.
_NUMBER = r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan) *"
_PLAIN_NUMBER = re.compile(_NUMBER, re.IGNORECASE)
_FORMULA = re.compile(_BEGINS)
# As in Arrow, only a quote at the start of a field opens it.
_FIELD = re.compile(r'(?P<before>(?:\A|,)"?)(?P<content>(?:(?<=")(?:[^"]|"")*")?[^,]*)')


def write_csv(frame: pd.DataFrame, target: Path, *, index: bool = False) -> None:
    """Write a table as CSV.

    Rows end in CR LF, as in RFC 4180: before version 3.13, Python quotes only line ends of the chosen kind, and readers
    would take a single carriage return in a title for the end of a row.
    """
    frame.to_csv(target, index=index, lineterminator="\r\n")


def csv_header(names: list[str]) -> bytes:
    """Return names as the first line of a CSV, without its line end."""
    return b",".join(_QUOTE + name.encode().replace(_QUOTE, _QUOTE * 2) + _QUOTE for name in names)


def csv_lines(table: pa.Table) -> list[bytes]:
    """Return the rows of a table as lines of CSV, without their line ends; nested values as JSON.

    Bytes become text if they are UTF-8, else hexadecimal digits.
    """
    columns = [column if _is_single(column.type) else _as_json(column) for column in map(plain, table.columns)]
    written = pa.BufferOutputStream()
    pacsv.write_csv(pa.table(columns, names=table.column_names), written, pacsv.WriteOptions(include_header=False))
    return split_rows(written.getvalue().to_pybytes())


def _is_single(kind: pa.DataType) -> bool:
    """Return whether Arrow can write values of a type to a CSV."""
    types = pa.types
    others = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    return not (isinstance(kind, pa.BaseExtensionType) or any(is_other(kind) for is_other in others))


def _as_json(values: pa.ChunkedArray) -> pa.Array:
    return pa.array([None if value is None else _json(value) for value in listed(values)], pa.string())


def _json(value: Any) -> str:
    """Return a value as JSON; single values without a form in JSON, such as a UUID, as plain text."""
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
    # Arrow also ends a row at a single carriage return.
    has_bare_return = b"\r" in content and content.count(b"\r") != content.count(b"\r\n")
    lines, between = (_LINE_END.split(content), b"") if has_bare_return else (content.split(_END), _END)
    rows: list[bytes] = []
    unfinished: list[bytes] = []
    for line in lines:
        ends_or_begins = line.count(_QUOTE) % 2
        if unfinished or ends_or_begins:
            unfinished.append(line)
            if ends_or_begins and len(unfinished) > 1:
                rows.append(between.join(unfinished))
                unfinished = []
        else:
            rows.append(line)
    rows += [between.join(unfinished)] if unfinished else []
    if has_bare_return:
        rows = [row.removesuffix(_END) for row in rows]
    return [row for row in (row.removesuffix(b"\r") for row in rows) if row]


def escaped_rows(lines: list[bytes]) -> list[bytes]:
    """Return rows of CSV with an apostrophe before each text that a spreadsheet would run as a formula.

    The rows have equally many fields in UTF-8, without line ends. Numbers and all other text stay unchanged.
    """
    escaped = list(lines)
    for row in np.flatnonzero(_hold_formulas(lines)) if lines else ():
        escaped[row] = escaped_row(lines[row])
    return escaped


def escaped_row(line: bytes) -> bytes:
    """Return one row, with any number of fields, as in `escaped_rows`."""
    return _FIELD.sub(_escaped, line.decode()).encode()


def _escaped(field: re.Match[str]) -> str:
    content = field["content"]
    is_formula = _FORMULA.match(content) and not _PLAIN_NUMBER.fullmatch(content.removesuffix('"'))
    return field["before"] + "'" * bool(is_formula) + content


def _hold_formulas(lines: list[bytes]) -> np.ndarray:
    """Return which rows contain formulas, shape (n_rows,)."""
    content = b"\n".join(lines)
    names = [str(number) for number, _ in enumerate(_FIELD.finditer(lines[0].decode()))]
    fields = pacsv.read_csv(
        pa.BufferReader(content),
        # One block holds a row of any length.
        pacsv.ReadOptions(column_names=names, block_size=len(content) + 1),
        pacsv.ParseOptions(newlines_in_values=True),
        pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    found = np.zeros(fields.num_rows, dtype=bool)
    for values in fields.columns:
        begins = pc.match_substring_regex(values, rf"\A{_BEGINS}")
        found |= pc.and_not(begins, pc.match_substring_regex(values, rf"(?i)\A(?:{_NUMBER})\z")).to_numpy()
    return found
