"""Tests of pages: whole, self-contained, and deaf to what their text says in HTML."""

import base64
import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from spotify_ml.reports.page import render, write_page
from spotify_ml.utils.errors import OutputError
from spotify_ml.utils.markdown import code, inlined, named, table

PNG = b"\x89PNG\r\n\x1a\n" + b"not really a picture"


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.sources: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.sources += [value for name, value in attrs if name in {"src", "href"}]
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_data(self, data):
        if self.cells and self.elements[-1] in {"td", "th"}:
            self.cells[-1] += data


def test_a_page_has_the_tables_and_pictures_of_its_text_and_asks_for_no_file(tmp_path: Path):
    text = "# A & B\n\n" + table(["one", "two"], [["1", "2"]]) + "\n\n" + inlined(PNG, "a picture") + "\n"
    write_page(tmp_path / "page.html", text)
    content = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(content)
    assert "<title>A &amp; B</title>" in content
    assert {"h1", "table", "img"} <= set(page.elements)
    assert [cell.strip() for cell in page.cells] == ["one", "two", "1", "2"]
    (source,) = page.sources
    kind, _, picture = source.partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(picture) == PNG


def test_what_stands_in_a_cell_stays_there_and_is_never_obeyed(tmp_path: Path):
    hostile = "<script>alert(1)</script> | a\nb"
    write_page(tmp_path / "page.html", "# title\n\n" + table(["genre", "n"], [[hostile, "2"]]))
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "script" not in page.elements
    assert [cell.strip() for cell in page.cells] == ["genre", "n", "<script>alert(1)</script> | a b", "2"]


def test_a_page_that_cannot_be_written_is_one_clear_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_page(tmp_path / "file" / "page.html", "# title")


def test_a_page_escapes_what_is_no_markup_of_its_own():
    page = render("page.html.j2", title="</title><script>", body="<h1>", width="1rem")
    assert "<title>&lt;/title&gt;&lt;script&gt;</title>" in page
    assert "&lt;h1&gt;" in page


def test_a_template_without_one_of_its_values_is_an_error():
    with pytest.raises(UndefinedError, match="body"):
        render("page.html.j2", title="a", width="1rem")


HOSTILE = [
    "![x](http://evil.example/pixel.png)",
    "[x](http://evil.example)",
    "<img src=http://evil.example/pixel.png>",
    "<script>alert(1)</script>",
    "a `tick` b",
    "``` fence",
    "*bold* and _more_",
    "http://evil.example",
    "www.evil.example",
    "&lt;b&gt; & co",
    "a | b",
    "a | ![x](http://evil.example/pixel.png) | b",
    "a\\| ![x](http://evil.example/pixel.png)",
    "$\\href{http://evil.example}{x}$",
    "someone@evil.example",
    "# a #",
    "back\\slash",
    "two\nlines",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_it_is_and_nothing_else(name: str, tmp_path: Path):
    text = f"# {named(name)}\n\n{table(['genre', 'n'], [[named(name), '1']])}\n\n- **{named(name)}** and {code(name)}"
    write_page(tmp_path / "page.html", text)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    body = page[page.index("<body>") :]
    assert not re.search(r"<(img|a|script|em)\b", body)
    shown = html.unescape(re.sub(r"<[^>]+>", "", body))
    assert shown.count(" ".join(name.split())) == 4
    assert html.unescape(page.partition("<title>")[2].partition("</title>")[0]) == " ".join(name.split())


@pytest.mark.parametrize("name", ["r-n-b", "drum_and_bass", "xgboost-recording-6cb211df", "models:/a@b", "pop/film"])
def test_an_ordinary_name_needs_no_code_span(name: str):
    assert named(name) == name
