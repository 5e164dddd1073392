"""Tests of cells that a spreadsheet would calculate: an apostrophe stands before each, and all else is as it was."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ml.data.csv_text import escaped_row, escaped_rows

FIRST = "=+-@\t\r\n＝＋－＠"
PIECES = [*FIRST, '"', ",", ";", "'", " ", "a", "é", "🎵", "1", ".", "e", "inf", "NaN", "-5.3", "=1+1", "\r\n"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
NUMBERS = st.floats().map(str) | st.integers().map(str)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text[0] not in "\t\r\n" and "_" not in text and text.rstrip(" ") == text.rstrip()


def expected(cell: str) -> str:
    return "'" + cell if cell and cell[0] in FIRST and not is_number(cell) else cell


def lines_of(rows: list[list[str]], quoting: int) -> list[bytes]:
    lines = []
    for row in rows:
        written = io.StringIO(newline="")
        csv.writer(written, quoting=quoting).writerow(row)
        lines.append(written.getvalue().removesuffix("\r\n").encode())
    return lines


def cells_of(lines: list[bytes]) -> list[list[str]]:
    return [next(csv.reader(io.StringIO(line.decode(), newline=""))) for line in lines]


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL], ids=["quoted", "as needed"])
@given(rows=st.lists(st.lists(TEXT | NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_an_apostrophe_stands_before_each_formula_and_all_else_is_as_it_was(rows: list[list[str]], quoting: int):
    rows = [["first", *row] for row in rows]
    lines = lines_of(rows, quoting)
    escaped = escaped_rows(lines)
    assert cells_of(escaped) == [[expected(cell) for cell in row] for row in rows]
    assert escaped == [escaped_row(line) for line in lines]
    for before, after in zip(lines, escaped, strict=True):
        assert after.replace(b"'", b"") == before.replace(b"'", b"")


@given(numbers=st.lists(st.floats(allow_nan=False) | st.integers(-(10**9), 10**9), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_columns_of_numbers_are_read_back_as_they_were(numbers: list[float]):
    frame = pd.DataFrame({"name": ["=1"] * len(numbers), "number": numbers})
    lines = frame.to_csv(index=False).encode().splitlines()
    read = pd.read_csv(io.BytesIO(b"\n".join(escaped_rows(lines))))
    pd.testing.assert_frame_equal(read, frame.assign(name="'=1"), check_dtype=False)


@pytest.mark.parametrize(
    ("line", "escaped"),
    [
        (b'=HYPERLINK("x"),1', b'\'=HYPERLINK("x"),1'),
        (b'"=HYPERLINK(""x"",1)",-1.5', b'"\'=HYPERLINK(""x"",1)",-1.5'),
        (b'a "=1, =2,"b,=3"', b'a "=1, =2,"b,=3"'),
        (b",,-,", b",,'-,"),
        (b"-5,3", b"-5,3"),
        (b'"-5,3"', b'"\'-5,3"'),
        (b"", b""),
    ],
)
def test_what_is_escaped_in_a_line(line: bytes, escaped: bytes):
    assert escaped_row(line) == escaped


def test_no_rows_are_no_rows():
    assert escaped_rows([]) == []
