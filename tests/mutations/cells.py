"""Cells: what one may hold as text, in JSON and in Python, and what that means."""

import datetime as dt
import uuid
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from tests.mutations.case import FLAG, RANGES, SHARES, TEXT, WHOLE, Meaning, Missing

EMPTY, REFUSED = Meaning(Missing.EMPTY), Meaning(Missing.REFUSED)
# Spellings that no plain reader takes for a number.
_NO_NUMBERS = (
    *("NA", "N/A", "n/a", "null", "NULL", "None", "none", "-", "--", ".", "+", "?", "#N/A", "#DIV/0!", "#REF!", "abc"),
    *("0x1", "0X1P3", "0b1", "0o7", "1_0", "1__0", "1 0", "1,0", "1.0.0", "--1", "+-1", "1-", "(1)", "$1", "1€", "50%"),
    *("120 BPM", "-5 dB", "1e", "e5", "1e5.5", "1d0", "1f", "1L", "1j", "1+0j", "0.5u", "1/2", "1:1", "3:20", "1;2"),
    *("[1]", "{1}", "{}", "[]", '{"a": 1}', "=1", "=1+1", "+A1", "@SUM(1)", "'1'", '"1"', "1\n2", "1\t2"),
    *("2022-01-01", "2022-01-01T00:00:00Z", "00:03:20", "1 days", "½", "Ⅷ", "²", "一", "NaT", "<NA>", "nan(1)", "nanx"),
    *(
        "yes",
        "no",
        "y",
        "t",
        "on",
        "off",
        "truee",
        "T",
        "F",
        "\u200b",
        "\u202e1",
        "−1",
        "1\u0001",
        "\x1b[31m1",
        "1" * 400,
    ),
    *(
        "inf",
        "-inf",
        "+inf",
        "Infinity",
        "-INFINITY",
        "1e400",
        "-1e400",
        "1e999999999999",
        "\ufffd",
        "😀",
        "x" * 100_000,
    ),
)
# Spellings that some readers take for a number, and others do not.
_MAYBE = ("\u00a0{0}", "\u2009{0}\u3000", "\ufeff{0}", "{0}\v", "\f{0}", "\x1f{0}", "{0}\r\n", "\n{0}")
_SPELT = {
    0.5: (
        *("0.5", ".5", "+0.5", "5e-1", "5E-1", "0.50", " 0.5", "0.5 ", "\t0.5", "00.5", "500e-3", "0.05e+1", "5.e-1"),
        *("0.50000000000000000000000000000001", "0." + "0" * 300 + "5e300", "0.5" + "0" * 1000, "0005e-001"),
    ),
    1.0: ("1", "01", "+1", "1.0", "1e0", "10e-1", " 1 ", "1.", "1.000", "1E+0", "0001.0", "1e00000", "\t1"),
}
_DIGITS = {0.5: ("０.５", "٠.٥"), 1.0: ("１", "١", "१", "𝟏")}

TEXTS = (
    *(
        "NA",
        "N/A",
        "null",
        "None",
        "nan",
        "NaN",
        "inf",
        "true",
        "False",
        "0",
        "25",
        "25.0",
        "01953",
        "1e5",
        "0x10",
        "-",
    ),
    *(
        "#N/A",
        "=1+1",
        "=HYPERLINK(0)",
        "@SUM(A1)",
        "+1",
        " ",
        "  x  ",
        "\t",
        " lead",
        "trail ",
        ";",
        ";;",
        "a;b",
        "a; b",
    ),
    *(";a", "a;", "A" * 2, "a,b", 'a "b" c', '"', '""', '"""', "'", "a\nb", "a\r\nb", "a\rb", "\n", "\\", "\\n", "a\\"),
    *("['A', 'B']", '["A"]', "{'a': 1}", "[]", "[object Object]", "<b>x</b>", "%s%d", "{0}", "${x}", "; DROP TABLE"),
    *(
        "ﬁ",
        "İ",
        "ß",
        "e\u0301",
        "Beyoncé",
        "夜",
        "\ufeffx",
        "x\ufeff",
        "\u200b",
        "\u202eabc",
        "\u2028",
        "\x85",
        "😀👩‍👩‍👧",
    ),
    *("\x01", "\x1b[31m", "\x7f", "\ufffd", "\uffff", "\U0010ffff", "2022-01-01", "00:03:20", "a" * 300, "é" * 70_000),
    *("x" * 1_000_000, ";".join(map(str, range(5_000))), "pop", "rock;pop", "POP", " pop"),
)


def of_text(column: str) -> Iterator[tuple[str, str, Meaning]]:
    """Yield what a cell of a column may hold as text: a label, the text, and what it means."""
    if column in TEXT:
        yield "", "", EMPTY
        yield "zero byte", "a\0b", Meaning("a\0b", is_sure=False)
        yield from ((repr(text[:20]), text, Meaning(text)) for text in TEXTS)
        return
    value = 1.0 if column in WHOLE or column == FLAG else 0.5
    yield from ((repr(text[:20]), text, Meaning(value)) for text in _SPELT[value])
    for text in (*_DIGITS[value], *(form.format(f"{value:g}") for form in _MAYBE)):
        yield repr(text), text, Meaning(value, is_sure=False)
    yield from ((repr(text), text, EMPTY) for text in ("", "nan", "NaN", "NAN", " nan "))
    for text in ("-nan", "+nan", " ", "\t", "\u00a0"):
        yield repr(text), text, Meaning(Missing.EMPTY, is_sure=False)
    # Underflow: to most readers it is 0.
    yield "'1e-400'", "1e-400", Meaning(0.0, is_sure=False)
    for text in ("-0", "-0.0", "0e5", "0"):
        yield repr(text), text, Meaning(0.0)
    yield "'5e-324'", "5e-324", Meaning(5e-324) if value == 0.5 else REFUSED
    yield from ((repr(text[:20]), text, REFUSED) for text in _NO_NUMBERS)
    yield "'0.5\\0'", f"{value:g}\0", REFUSED
    if column == FLAG:
        for text, flag in (("true", 1.0), ("True", 1.0), ("TRUE", 1.0), ("tRUE ", 1.0), ("false", 0.0), ("FALSE", 0.0)):
            yield repr(text), text, Meaning(flag)
        yield from ((repr(text), text, REFUSED) for text in ("2", "-1", "0.5", "1e30"))
    else:
        yield from ((repr(text), text, REFUSED) for text in ("true", "True", "FALSE", "false"))
        yield from ((f"{number!r}", f"{number!r}", meaning) for number, meaning in _beyond(column))
        if column in WHOLE:
            yield from ((repr(text), text, REFUSED) for text in ("0.5", "1.5", "1.0000001", "0.9999999999"))


def _beyond(column: str) -> Iterator[tuple[float, Meaning]]:
    lowest, highest = RANGES[column]
    for number in (highest + 1, 1e30, 1e308, 2**53 + 2, 10**25):
        yield number, Meaning(Missing.REFUSED, clipped=highest)
    for number in (lowest - 1, -1e30, -1e308, -(10**25)):
        yield number, Meaning(Missing.REFUSED, clipped=lowest)
    if column in SHARES:
        for number in (np.nextafter(1, 2).item(), 100.0):
            yield number, Meaning(Missing.REFUSED, clipped=1)
        yield -5e-324, Meaning(Missing.REFUSED, clipped=0)


class _Told:
    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class _Untold:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def of_json(column: str) -> Iterator[tuple[str, Any, Meaning]]:
    """Yield what a cell may hold in JSON, beside text; a token that Python's writer would not write stands as bytes."""
    yield "null", None, EMPTY
    yield from ((f"{value!r}", value, REFUSED) for value in ({}, {"name": "A"}, [["A"]], [{"a": 1}], [None], [True]))
    if column in TEXT:
        yield "true", True, REFUSED
        yield "25", 25, Meaning("25")
        yield "25.0", 25.0, Meaning("25", is_sure=False)
        yield "2.5", 2.5, Meaning("2.5")
        yield "a huge integer", 10**30, Meaning(str(10**30))
        yield "NaN", b"NaN", Meaning(Missing.EMPTY, is_sure=False)
        yield "Infinity", b"Infinity", Meaning("inf", is_sure=False)
        yield "a surrogate", "a\ud800", Meaning(Missing.REFUSED)
        yield "an escaped zero", "a\0b", Meaning("a\0b", is_sure=False)
        is_list = column in ("artists", "track_genre")
        yield "a list of names", ["A", "B"], Meaning("A;B") if is_list else REFUSED
        yield "a list of one name", ["A"], Meaning("A") if is_list else REFUSED
        yield "no names", [], Meaning(Missing.EMPTY, is_sure=False)
        yield "an empty name", ["A", ""], REFUSED
        yield "a list of numbers", [1, 2], REFUSED
        yield "a name with the separator", ["A;B", "C"], Meaning("A;B;C", is_sure=False) if is_list else REFUSED
        return
    value: float = 1 if column in WHOLE or column == FLAG else 0.5
    yield "a number", value, Meaning(value)
    yield "a surrogate", "\ud800", REFUSED
    yield "a number with an exponent", b"%de-1" % (value * 10), Meaning(value)
    yield "a float", float(value), Meaning(value)
    yield "a list of a number", [value], REFUSED
    yield "no list", [], Meaning(Missing.EMPTY, is_sure=False)
    yield "NaN", b"NaN", Meaning(Missing.EMPTY, is_sure=False)
    yield from ((token.decode(), token, REFUSED) for token in (b"Infinity", b"-Infinity", b"1e400", b"-1e400"))
    yield "an integer of 400 digits", b"1" * 400, REFUSED
    yield "an integer of 5,000 digits", b"1" * 5_000, REFUSED
    yield "true", True, Meaning(1.0) if column == FLAG else REFUSED
    yield "false", False, Meaning(0.0) if column == FLAG else REFUSED
    if column != FLAG:
        yield from ((f"{number!r}", number, meaning) for number, meaning in _beyond(column))
        yield "64 bit", 2**63, Meaning(Missing.REFUSED, clipped=RANGES[column][1])
        yield "unsigned 64 bit", 2**64, Meaning(Missing.REFUSED, clipped=RANGES[column][1])


def of_python(column: str) -> Iterator[tuple[str, Any, Meaning]]:
    """Yield what a cell may hold in Python, beside text and what JSON has."""
    for value in (pd.NA, np.nan, np.float32("nan"), pd.NaT, np.datetime64("NaT"), Decimal("NaN"), np.ma.masked):
        yield f"{type(value).__name__} {value}", value, Meaning(Missing.EMPTY, is_sure=False)
    odd = (
        *(1 + 2j, np.complex128(1), object(), _Untold(), int, len, range(1), iter(()), {1}, frozenset(), Ellipsis),
        *(dt.date(2022, 1, 1), dt.time(1), dt.datetime(2022, 1, 1), dt.timedelta(1), np.datetime64("2022", "s")),
        *(
            pd.Timestamp("2022"),
            pd.Timedelta("1s"),
            pd.Period("2022"),
            pd.Interval(0, 1),
            np.void(b"1"),
            memoryview(b"1"),
        ),
        *(pd.Series([1]), pd.DataFrame(), np.zeros((1, 1)), b"\xff\xfe", bytearray(b"\xff"), pd.Categorical([1])),
    )
    yield from ((f"{type(value).__name__}", value, REFUSED) for value in odd)
    if column in TEXT:
        yield "bytes", "Björk".encode(), Meaning("Björk", is_sure=False)
        yield "bytearray", bytearray(b"A"), Meaning("A", is_sure=False)
        yield "np.str_", np.str_("A"), Meaning("A")
        yield "a decimal", Decimal("1.50"), Meaning("1.50", is_sure=False)
        yield "np.int64", np.int64(25), Meaning("25")
        yield "np.float32", np.float32(0.5), Meaning("0.5", is_sure=False)
        yield "np.bool_", np.True_, REFUSED
        yield "a path", PurePosixPath("A"), Meaning("A", is_sure=False)
        yield "a uuid", uuid.UUID(int=1), Meaning(str(uuid.UUID(int=1)), is_sure=False)
        yield "a tuple", ("A", "B"), Meaning("A;B") if column in ("artists", "track_genre") else REFUSED
        yield "a tuple of surrogates", ("\ud800",), REFUSED
        return
    value = 1.0 if column in WHOLE or column == FLAG else 0.5
    for kind in (np.float16, np.float32, np.float64, np.longdouble, Decimal, Fraction, np.array, Meaning):
        made = kind(value) if kind is not Meaning else np.array([value])
        sure = kind in (np.float32, np.float64, Decimal)
        yield f"{getattr(kind, '__name__', kind)}", made, Meaning(value, is_sure=sure)
    for text in ("1" if value == 1 else "0.5",):
        yield "bytes", text.encode(), Meaning(value, is_sure=False)
        yield "told", _Told(text), Meaning(value, is_sure=False)
        yield "np.str_", np.str_(text), Meaning(value)
    yield "Decimal infinity", Decimal("Infinity"), REFUSED
    yield "np.inf", -np.inf, REFUSED
    yield "Decimal sNaN", Decimal("sNaN"), Meaning(Missing.EMPTY, is_sure=False)
    yield "np.bool_", np.True_, Meaning(1.0) if column == FLAG else REFUSED
    yield "a huge integer", 10**400, REFUSED
    if value == 1:
        yield "np.uint8", np.uint8(1), Meaning(1.0)
        yield "int", 1, Meaning(1.0)
