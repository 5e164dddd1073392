"""Files: what may become of the bytes of a CSV or Parquet file, and what that means."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.mutations import csv_forms, parquet_forms
from tests.mutations.case import AUDIO, FLAG, RANGES, TEXT, WHOLE, Right
from tests.mutations.csv_forms import as_csv
from tests.mutations.parquet_forms import Made, as_parquet
from tests.mutations.tables import arrow_types, of_columns

SAME, REFUSED, EITHER, ANSWERED = Right.SCORED, Right.REFUSED, Right.EITHER, Right.ANSWERED
Change = tuple[str, Callable[[pd.DataFrame, np.random.Generator], Made]]
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def of_csv() -> Iterator[Change]:
    """Yield changes of a CSV as a whole."""
    for label, change in csv_forms.WRITTEN.items():
        yield f"CSV {label}", lambda rows, rng, change=change: (change(rows), SAME, rows, "")
    for label, change in csv_forms.REFUSED.items():
        yield f"CSV {label}", lambda rows, rng, change=change: (change(rows), REFUSED, None, "")
    for label, change in csv_forms.EITHER.items():
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
    for label, options in parquet_forms.OPTIONS.items():
        yield f"Parquet {label}", lambda rows, rng, options=options: (as_parquet(rows, **options), SAME, rows, "")
    for label, change in parquet_forms.FORMS.items():
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
    # No header of a CSV holds these.
    given = given.drop(columns=["\0", "\n"], errors="ignore")
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
