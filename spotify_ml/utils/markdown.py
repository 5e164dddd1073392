"""Markdown that shows names, and any other foreign text, unchanged."""

import base64
import re
from collections.abc import Iterable

# Underscores within words are no markup; some readers show $…$ as mathematics and :words: as pictures.
_MARKUP = re.compile(r"[\\`*\[\]<>~&#$]|://|www\.|(?<!\w)_|_(?!\w)|\w@[\w-]+\.\w|:[\w+-]+:")
# The text between bars, without outer spaces.
_BETWEEN_BARS = re.compile(r"[^|\s](?:[^|]*[^|\s])?")
_FENCES = re.compile("`+")


def inlined(png: bytes, description: str) -> str:
    """Return a PNG as a Markdown image that contains its data."""
    return f"![{description}](data:image/png;base64,{base64.b64encode(png).decode()})"


def named(text: str) -> str:
    """Return a name, or any foreign text, as Markdown that shows it unchanged: no image, link or tag.

    Parts that could be read as markup become code spans. Bars stay outside: readers differ on bars in code spans of a
    table.
    """

    def without_markup(between: re.Match[str]) -> str:
        return code(between[0]) if _MARKUP.search(between[0]) else between[0]

    return _BETWEEN_BARS.sub(without_markup, " ".join(text.split()))


def code(text: str) -> str:
    """Return a text as a code span, with a fence that the text does not contain."""
    fence = "`" * (max(map(len, _FENCES.findall(text)), default=0) + 1)
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{' '.join(text.split())}{padding}{fence}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; bars and line ends in cells are escaped."""
    return "\n".join(map(table_row, [header, ["---"] * len(header), *rows]))


def table_row(cells: Iterable[str]) -> str:
    """Return one line of a Markdown table; bars and line ends in cells are escaped."""
    escaped = (" ".join(text.split()).replace("|", r"\|") for text in cells)
    return f"| {' | '.join(escaped)} |"
