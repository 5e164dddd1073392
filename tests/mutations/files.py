"""Files: what may become of the bytes of a CSV or Parquet file, and what that means."""

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.orc as orc
import pyarrow.parquet as pq

from tests.mutations.case import AUDIO, FLAG, RANGES, TEXT, WHOLE, Right
from tests.mutations.tables import arrow_types, of_columns

SAME, REFUSED, EITHER, ANSWERED = Right.SCORED, Right.REFUSED, Right.EITHER, Right.ANSWERED
# A file: its bytes, what is right, the rows that it is equal to, and what a refusal names.
Made = tuple[bytes, Right, pd.DataFrame | None, str]
Change = tuple[str, Callable[[pd.DataFrame, np.random.Generator], Made]]
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def as_csv(rows: pd.DataFrame, **options: Any) -> bytes:
    """Return plain rows as another program would write them."""
    written = rows.astype(dict.fromkeys([name for name in WHOLE if name in rows and _is_whole(rows[name])], "Int64"))
    return written.to_csv(index=False, **{"lineterminator": "\n", **options}).encode()


def _is_whole(values: pd.Series) -> bool:
    return values.dtype == np.float64 and bool((values.dropna() % 1 == 0).all())


def as_parquet(table: pa.Table | pd.DataFrame, **options: Any) -> bytes:
    """Return rows as Parquet."""
    written = pa.BufferOutputStream()
    given = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table)
    pq.write_table(given, written, **options)
    return written.getvalue().to_pybytes()


def of_csv() -> Iterator[Change]:
    """Yield changes of a CSV as a whole."""
    for label, change in _WRITTEN.items():
        yield f"CSV {label}", lambda rows, rng, change=change: (change(rows), SAME, rows, "")
    for label, change in _REFUSED.items():
        yield f"CSV {label}", lambda rows, rng, change=change: (change(rows), REFUSED, None, "")
    for label, change in _EITHER.items():
        yield f"CSV {label}", lambda rows, rng, change=change: (change(rows), EITHER, rows, "")
    for label, make in of_columns():
        if "zero" not in label and "\0" not in label:
            yield f"CSV {label}", lambda rows, rng, make=make: _columns_as_csv(rows, make)
    for part in ("start", "end", "anywhere", "line end", "header"):
        yield f"CSV cut at the {part}", lambda rows, rng, part=part: _by_csv(_cut(as_csv(rows), part, rng), rows)
    for number in range(40):
        yield f"CSV flipped {number}", lambda rows, rng: _by_csv(_flipped(as_csv(rows), rng), rows)
    for number in range(30):
        yield f"CSV inserted {number}", lambda rows, rng: _by_csv(_inserted(as_csv(rows), rng), rows)
    for number in range(10):
        yield f"CSV a line repeated or lost {number}", lambda rows, rng: _by_csv(_shuffled(as_csv(rows), rng), rows)


def of_parquet() -> Iterator[Change]:
    """Yield changes of a Parquet file."""
    for label, options in _OPTIONS.items():
        yield f"Parquet {label}", lambda rows, rng, options=options: (as_parquet(rows, **options), SAME, rows, "")
    for label, change in _PARQUET.items():
        yield f"Parquet {label}", lambda rows, rng, change=change: change(rows)
    for label, make in of_columns():
        yield f"Parquet {label}", lambda rows, rng, make=make: _columns_as_parquet(rows, make)
    for name in (*AUDIO, *TEXT):
        for position, (label, *_) in enumerate(arrow_types(name, ["x"])):
            yield (
                f"Parquet {name} as {label}",
                lambda rows, rng, name=name, position=position: _typed(rows, name, position),
            )
    for part in ("start", "end", "anywhere", "footer"):
        yield (
            f"Parquet cut at the {part}",
            lambda rows, rng, part=part: (_cut(as_parquet(rows), part, rng), REFUSED, None, ""),
        )
    # Without checksums nobody can tell another value from the right one.
    for number in range(60):
        yield f"Parquet flipped {number}", lambda rows, rng: (_flipped(as_parquet(rows), rng), ANSWERED, None, "")
    for number in range(40):
        yield f"Parquet flipped in the footer {number}", lambda rows, rng: _flipped_footer(rows, rng)
    for number in range(20):
        yield f"Parquet flipped in a page with a checksum {number}", _flipped_page


def _columns_as_csv(rows: pd.DataFrame, make: Callable[[pd.DataFrame], Any]) -> Made:
    given, right, plain, tells = make(rows)
    if right is not REFUSED and any(not isinstance(name, str) for name in given.columns):
        return as_csv(given), EITHER, plain, tells
    return as_csv(given), right, plain, tells


def _columns_as_parquet(rows: pd.DataFrame, make: Callable[[pd.DataFrame], Any]) -> Made:
    given, right, plain, tells = make(rows)
    return as_parquet(pa.Table.from_pandas(given, preserve_index=False)), right, plain, tells


def _typed(rows: pd.DataFrame, name: str, position: int) -> Made:
    _, values, right, plain = list(arrow_types(name, rows[name].tolist()))[position]
    table = pa.Table.from_pandas(rows, preserve_index=False)
    given = table.set_column(table.schema.get_field_index(name), name, values)
    if plain is None:
        return as_parquet(given), right, None, name
    typed = pd.Series(plain, dtype="str" if name in TEXT else "float64")
    return as_parquet(given), right, rows.assign(**{name: typed}), ""


# --- damage


def _cut(content: bytes, part: str, rng: np.random.Generator) -> bytes:
    if part == "start":
        return content[: rng.integers(0, 12)]
    if part == "end":
        return content[: -int(rng.integers(1, 40))]
    if part == "footer":
        return content[: -int(rng.integers(1, 12))]
    if part == "header":
        return content[: rng.integers(1, content.find(b"\n") + 2)]
    if part == "line end":
        ends = [place for place, byte in enumerate(content) if byte == 10]
        return content[: int(rng.choice(ends))]
    return content[: rng.integers(1, len(content))]


_BYTES = b"\"\n\r,;\0\xff\xc3\xe9 \tx0-.e\xef'\\"


def _flipped(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(0, len(changed), rng.integers(1, 4)):
        changed[place] = (
            _BYTES[rng.integers(len(_BYTES))] if rng.random() < 0.6 else changed[place] ^ (1 << rng.integers(8))
        )
    return bytes(changed)


def _inserted(content: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(0, len(content)))
    return content[:place] + bytes(rng.choice(list(_BYTES), rng.integers(1, 4)).tolist()) + content[place:]


def _shuffled(content: bytes, rng: np.random.Generator) -> bytes:
    lines = content.splitlines(keepends=True)
    place = int(rng.integers(0, len(lines)))
    return b"".join(
        lines[:place] + lines[place + 1 :] if rng.random() < 0.5 else [*lines[:place], lines[place], *lines[place:]]
    )


def _flipped_footer(rows: pd.DataFrame, rng: np.random.Generator) -> Made:
    content = bytearray(as_parquet(rows))
    length = int.from_bytes(content[-8:-4], "little")
    for place in rng.integers(len(content) - 8 - length, len(content), rng.integers(1, 4)):
        content[place] ^= int(rng.integers(1, 256))
    return bytes(content), ANSWERED, None, ""


def _flipped_page(rows: pd.DataFrame, rng: np.random.Generator) -> Made:
    """Change a byte of a column's pages that have checksums: the rows are the same, or the file is refused."""
    content = bytearray(as_parquet(rows, write_page_checksum=True, compression="none", use_dictionary=False))
    column = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(int(rng.integers(rows.shape[1])))
    end = column.data_page_offset + column.total_compressed_size
    content[end - int(rng.integers(1, 9))] ^= int(rng.integers(1, 256))
    return bytes(content), EITHER, rows, ""


def _by_csv(content: bytes, rows: pd.DataFrame) -> Made:
    """Say what a damaged CSV is, by Python's own reader: nothing where that is in doubt."""
    known = _read(content, list(rows.columns))
    return (content, ANSWERED, None, "") if known is None else (content, EITHER, known, "")


def _read(content: bytes, names: list[str]) -> pd.DataFrame | None:
    try:
        text = content.decode("utf-8-sig")
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError):
        return None
    # A quote within a field, a bare return and a zero byte are read in more than one way.
    if re.search(r'[^,\n"]"[^,\r\n"]|\r(?!\n)|\0|(^|[,\n])"[^"]*"[^,"\r\n]', text) or '"' in text:
        return None
    lines = [line for line in lines if line]
    if (
        len(set(header)) < len(header)
        or any(len(line) != len(header) for line in lines)
        or not set(AUDIO) <= set(header)
    ):
        return None
    frame = pd.DataFrame(lines, columns=header).reindex(columns=names)
    for name in names:
        if name in TEXT:
            frame[name] = frame[name].replace("", None).astype("str")
        else:
            numbers = [_number(name, text) for text in frame[name]]
            if None in numbers:
                return None
            frame[name] = numbers
    return frame if len(frame) else None


def _number(name: str, text: Any) -> float | None:
    if not isinstance(text, str):
        return np.nan
    text = text.strip(" \t").lower()
    if text in ("", "nan"):
        return np.nan
    if name == FLAG:
        return {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}.get(text)
    if not _NUMBER.fullmatch(text) or not text.isascii():
        return None
    lowest, highest = RANGES.get(name, (0, 100))
    value = float(text)
    is_fit = lowest <= value <= highest and (name not in WHOLE or value.is_integer())
    return value if is_fit else None


# --- forms of a CSV


def _short(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _packed_zip(content: bytes, name: str = "tracks.csv") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(name, content)
    return written.getvalue()


def _with_wide(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    return pd.concat([rows, pd.DataFrame("x", rows.index, [f"column {number}" for number in range(count)])], axis=1)


def _arrow_csv(rows: pd.DataFrame) -> bytes:
    written = pa.BufferOutputStream()
    pacsv.write_csv(pa.Table.from_pandas(rows, preserve_index=False), written)
    return written.getvalue().to_pybytes()


def _ragged(rows: pd.DataFrame, extra: bytes) -> bytes:
    return as_csv(rows) + extra


_WRITTEN: dict[str, Callable[[pd.DataFrame], bytes]] = {
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
    "1,000 columns": lambda rows: as_csv(_with_wide(rows, 1_000)),
    "10,000 columns": lambda rows: (
        as_csv(_with_wide(rows.head(2), 10_000).reindex(range(len(rows))).ffill())
        if len(rows) < 3
        else as_csv(_with_wide(rows, 10_000))
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
_REFUSED: dict[str, Callable[[pd.DataFrame], bytes]] = {
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
_EITHER: dict[str, Callable[[pd.DataFrame], bytes]] = {
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


# --- forms of Parquet

_OPTIONS: dict[str, dict[str, Any]] = {
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


_PARQUET: dict[str, Callable[[pd.DataFrame], Made]] = {
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
    "of 3,000 columns": lambda rows: (as_parquet(_with_wide(rows, 3_000)), SAME, rows, ""),
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
