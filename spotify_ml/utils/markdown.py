"""Markdown in which names, and any other text that is not ours, stand as they are."""

import base64
import re
from collections.abc import Iterable

# An underscore within a word is none of Markdown's; to some readers dollars are mathematics, and :words: pictures.
_MARKUP = re.compile(r"[\\`*\[\]<>~&#$]|://|www\.|(?<!\w)_|_(?!\w)|\w@[\w-]+\.\w|:[\w+-]+:")
# What stands between bars, without the spaces beside these.
_BETWEEN_BARS = re.compile(r"[^|\s](?:[^|]*[^|\s])?")
_FENCES = re.compile("`+")


def inlined(png: bytes, description: str) -> str:
    """Return a PNG as Markdown that holds the picture itself."""
    return f"![{description}](data:image/png;base64,{base64.b64encode(png).decode()})"


def named(text: str) -> str:
    """Return a name, or any text that is not ours, as Markdown that shows it as it is: no image, link or tag.

    What Markdown, or a page that shows it, could take for more than text stands in a code span, but for bars: readers
    differ in what ends a cell of a table within one.
    """
    return _BETWEEN_BARS.sub(lambda between: _without_markup(between[0]), " ".join(text.split()))


def _without_markup(text: str) -> str:
    return code(text) if _MARKUP.search(text) else text


def code(text: str) -> str:
    """Return a text as a code span, within which only its own fence means anything."""
    fence = "`" * (max(map(len, _FENCES.findall(text)), default=0) + 1)
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{' '.join(text.split())}{padding}{fence}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; what is in a cell stays in it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(map(table_row, lines))


def table_row(cells: Iterable[str]) -> str:
    """Return a line of a Markdown table; what is in a cell stays in it."""
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
