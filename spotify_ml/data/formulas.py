"""Cells of a CSV that a spreadsheet would calculate, and how they are kept from it."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

# The characters that OWASP names for "CSV injection", and those of full width that some spreadsheets take for them.
_BEGINS = r"[=+\-@\t\r\n＝＋－＠]"
# What is a number alone is no formula.
_NUMBER = r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan) *"
_PLAIN_NUMBER = re.compile(_NUMBER, re.IGNORECASE)
_FORMULA = re.compile(_BEGINS)
# As Arrow reads fields: quotes mean something at the begin of one alone.
_FIELD = re.compile(r'(?P<before>(?:\A|,)"?)(?P<content>(?:(?<=")(?:[^"]|"")*")?[^,]*)')


def escaped_rows(lines: list[bytes]) -> list[bytes]:
    """Return rows of CSV with an apostrophe before each text that a spreadsheet would calculate.

    Parameters
    ----------
    lines : list of bytes
        Rows of equally many fields in UTF-8, without their line ends. All else in them stays as it is, and so do
        numbers.
    """
    if not lines:
        return lines
    escaped = list(lines)
    for row in np.flatnonzero(_hold_formulas(lines)):
        escaped[row] = escaped_row(lines[row])
    return escaped


def escaped_row(line: bytes) -> bytes:
    """Return what `escaped_rows` does, of a row with any number of fields."""
    return _FIELD.sub(_escaped, line.decode()).encode()


def _escaped(field: re.Match[str]) -> str:
    content = field["content"]
    is_formula = _FORMULA.match(content) and not _PLAIN_NUMBER.fullmatch(content.removesuffix('"'))
    return field["before"] + "'" * bool(is_formula) + content


def _hold_formulas(lines: list[bytes]) -> np.ndarray:
    """Return which rows hold one, shape (n_rows,)."""
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
