"""Forms of a CSV: as other programs write it, and what only looks like one."""

import bz2
import csv
import gzip
import io
import lzma
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
from pyarrow import feather, orc

from tests.mutations.case import AUDIO, FLAG, WHOLE


def as_csv(rows: pd.DataFrame, **options: Any) -> bytes:
    """Return plain rows as another program would write them."""
    written = rows.astype(dict.fromkeys([name for name in WHOLE if name in rows and _is_whole(rows[name])], "Int64"))
    return written.to_csv(index=False, **{"lineterminator": "\n", **options}).encode()


def _is_whole(values: pd.Series) -> bool:
    return values.dtype == np.float64 and bool((values.dropna() % 1 == 0).all())


def _short(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _packed_zip(content: bytes, name: str = "tracks.csv") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(name, content)
    return written.getvalue()


def with_wide(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    return pd.concat([rows, pd.DataFrame("x", rows.index, [f"column {number}" for number in range(count)])], axis=1)


def _arrow_csv(rows: pd.DataFrame) -> bytes:
    written = pa.BufferOutputStream()
    pacsv.write_csv(pa.Table.from_pandas(rows, preserve_index=False), written)
    return written.getvalue().to_pybytes()


def _ragged(rows: pd.DataFrame, extra: bytes) -> bytes:
    return as_csv(rows) + extra


WRITTEN: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "plain": as_csv,
    "CRLF": lambda rows: as_csv(rows, lineterminator="\r\n"),
    "byte order mark": lambda rows: b"\xef\xbb\xbf" + as_csv(rows),
    "byte order mark, quoted, CRLF": lambda rows: (
        b"\xef\xbb\xbf" + as_csv(rows, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    ),
    "every field quoted": lambda rows: as_csv(rows, quoting=csv.QUOTE_ALL),
    "all but numbers quoted": lambda rows: as_csv(rows, quoting=csv.QUOTE_NONNUMERIC),
    "with an index": lambda rows: rows.to_csv(lineterminator="\n").encode(),
    "by Arrow": _arrow_csv,
    "no line end at the end": lambda rows: as_csv(rows).rstrip(b"\n"),
    "blank lines": lambda rows: as_csv(rows).replace(b"\n", b"\n\n\n"),
    "blank lines at the end": lambda rows: as_csv(rows) + b"\n" * 50,
    "blank CRLF lines": lambda rows: as_csv(rows, lineterminator="\r\n") + b"\r\n\r\n",
    "mixed line ends": lambda rows: as_csv(rows).replace(b"\n", b"\r\n", 2),
    "floats": lambda rows: rows.to_csv(index=False, float_format="%.17e").encode(),
    "short floats": lambda rows: rows.to_csv(index=False, float_format=_short).encode(),
    "flags as words": lambda rows: as_csv(rows.assign(explicit=rows[FLAG].map({1.0: "TRUE", 0.0: "False"}))),
    "1,000 columns": lambda rows: as_csv(with_wide(rows, 1_000)),
    "10,000 columns": lambda rows: (
        as_csv(with_wide(rows.head(2), 10_000).reindex(range(len(rows))).ffill())
        if len(rows) < 3
        else as_csv(with_wide(rows, 10_000))
    ),
    "two columns of one other name": lambda rows: as_csv(
        pd.concat([rows, pd.DataFrame("x", rows.index, ["note", "note"])], axis=1)
    ),
    "a trailing comma in every line": lambda rows: as_csv(rows).replace(b"\n", b",\n"),
    "a title of 1 MB beside": lambda rows: as_csv(rows.assign(note="x" * 1_000_000)),
    "lines within quotes beside": lambda rows: as_csv(rows.assign(note='a\n"b"\r\nc,d\n')),
    "bytes of a BOM within": lambda rows: as_csv(rows.assign(note="\ufeff")),
    "odd text beside": lambda rows: as_csv(rows.assign(note="\x01\u2028\x85\x0b\x0c\x1c")),
}
REFUSED: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "semicolons": lambda rows: as_csv(rows, sep=";"),
    "semicolons and decimal commas": lambda rows: as_csv(rows, sep=";", decimal=","),
    "tabs": lambda rows: as_csv(rows, sep="\t"),
    "bars": lambda rows: as_csv(rows, sep="|"),
    "carets": lambda rows: as_csv(rows, sep="^"),
    "single quotes": lambda rows: as_csv(rows, quotechar="'", quoting=csv.QUOTE_ALL),
    "returns alone": lambda rows: as_csv(rows, lineterminator="\r"),
    "Excel's first line": lambda rows: b"sep=,\n" + as_csv(rows),
    "a comment first": lambda rows: b"# tracks\n" + as_csv(rows),
    "a blank line first": lambda rows: b",\n" + as_csv(rows),
    "no header": lambda rows: as_csv(rows, header=False),
    "header only": lambda rows: as_csv(rows.head(0)),
    "header only, without an end": lambda rows: as_csv(rows.head(0)).rstrip(),
    "header and blank lines": lambda rows: as_csv(rows.head(0)) + b"\n\n\n",
    "nothing": lambda rows: b"",
    "a line end": lambda rows: b"\n",
    "blanks": lambda rows: b"   \n  ",
    "zero bytes": lambda rows: b"\0" * 5_000,
    "one column": lambda rows: as_csv(rows[["tempo"]]),
    "one line of 2 MB": lambda rows: b"x" * 2_000_000,
    "one open quote": lambda rows: b'"' + as_csv(rows),
    "UTF-16": lambda rows: as_csv(rows).decode().encode("utf-16"),
    "UTF-16 without a mark": lambda rows: as_csv(rows).decode().encode("utf-16-le"),
    "UTF-16, big end first": lambda rows: as_csv(rows).decode().encode("utf-16-be"),
    "UTF-32": lambda rows: as_csv(rows).decode().encode("utf-32"),
    "Latin-1": lambda rows: as_csv(rows.assign(track_name="Café")).decode().encode("latin-1", "replace"),
    "EBCDIC": lambda rows: as_csv(rows).decode().encode("cp500", "replace"),
    "gzip": lambda rows: gzip.compress(as_csv(rows)),
    "bzip2": lambda rows: bz2.compress(as_csv(rows)),
    "xz": lambda rows: lzma.compress(as_csv(rows)),
    "zip": lambda rows: _packed_zip(as_csv(rows)),
    "xlsx": lambda rows: _packed_zip(b"<xml/>", "xl/workbook.xml"),
    "gzip, cut off": lambda rows: gzip.compress(as_csv(rows))[:10],
    "JSON": lambda rows: rows.to_json(orient="records").encode(),
    "JSON lines": lambda rows: rows.to_json(orient="records", lines=True).encode(),
    "JSON of columns": lambda rows: rows.to_json().encode(),
    "HTML": lambda rows: b"<!DOCTYPE html><html>" + rows.to_html().encode(),
    "XML": lambda rows: b'<?xml version="1.0"?><a/>',
    "Markdown": lambda rows: b"| tempo | key |\n|---|---|\n| 1 | 2 |\n",
    "a pickle": lambda rows: pickle.dumps(rows),
    "NumPy": lambda rows: _saved(rows),
    "a LFS pointer": lambda rows: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "Feather": lambda rows: _feather(rows),
    "ORC": lambda rows: _orc(rows),
    "an Arrow stream": lambda rows: _stream(rows),
    "a row cut short": lambda rows: _ragged(rows, b"a,b,c\n"),
    "a row too long": lambda rows: _ragged(rows, as_csv(rows).splitlines()[1] + b",,,\n"),
    "a quote left open": lambda rows: _ragged(rows, b'x,"a\n'),
    "a row of text": lambda rows: _ragged(rows, b"-- 5 rows selected --\n"),
    "a header in the middle": lambda rows: _ragged(rows, as_csv(rows)),
}
EITHER: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "a blank line before the header": lambda rows: b"\n" + as_csv(rows),
    "two byte order marks": lambda rows: b"\xef\xbb\xbf" * 2 + as_csv(rows),
    "Ctrl-Z at the end": lambda rows: as_csv(rows) + b"\x1a",
    "zero bytes at the end": lambda rows: as_csv(rows) + b"\0" * 10,
    "blank line of blanks": lambda rows: as_csv(rows) + b"   \n",
    "a line of a BOM": lambda rows: as_csv(rows) + b"\xef\xbb\xbf\n",
    "blanks after commas": lambda rows: as_csv(rows[list(AUDIO)]).replace(b",", b", "),
    "backslashes for quotes": lambda rows: as_csv(
        rows.assign(note='a "b" c'), doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL
    ),
    "quotes not doubled": lambda rows: as_csv(rows.assign(note="q")).replace(b",q\n", b',"a "b" c"\n'),
    "a quote within a field": lambda rows: as_csv(rows.assign(note="q")).replace(b",q\n", b',7" single\n'),
    "blanks after quotes": lambda rows: as_csv(rows.assign(note="q")).replace(b",q\n", b',"q" \n'),
}


def _saved(rows: pd.DataFrame) -> bytes:
    written = io.BytesIO()
    np.save(written, rows[list(AUDIO)].to_numpy())
    return written.getvalue()


def _feather(rows: pd.DataFrame) -> bytes:
    written = io.BytesIO()
    feather.write_feather(rows, written, compression="uncompressed")
    return written.getvalue()


def _orc(rows: pd.DataFrame) -> bytes:
    written = io.BytesIO()
    orc.write_table(pa.Table.from_pandas(rows, preserve_index=False), written)
    return written.getvalue()


def _stream(rows: pd.DataFrame) -> bytes:
    written = io.BytesIO()
    table = pa.Table.from_pandas(rows, preserve_index=False)
    with pa.ipc.new_stream(written, table.schema) as stream:
        stream.write_table(table)
    return written.getvalue()
