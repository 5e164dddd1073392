"""What people read, rendered: Markdown, in which names stay names, and pages that need no other file."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from spotify_ml.utils.files import staged
from spotify_ml.utils.markdown import code, named, table_row

_TEMPLATES = Path(__file__).with_name("templates")
_HEADING = re.compile("<h1>(.*?)</h1>")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"named": named, "code": code, "row": table_row}
    return environment


def render(template: str, **values: Any) -> str:
    """Return a template of ``templates/``, filled in.

    Pages escape what stands in them. Markdown shows a name by the filter ``named`` or ``code``, and a list of cells by
    ``row``; of several empty lines one is left.
    """
    text = _environment().get_template(template).render(values)
    return text if template.endswith("html.j2") else re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def write_page(path: Path, markdown: str, width: str = "54rem") -> None:
    """Write Markdown as an HTML page; see `as_page`.

    Raises `OutputError` if the file, which is whole or not there, cannot be written.
    """
    page = as_page(markdown, width)
    with staged(path) as file:
        file.write_text(page, encoding="utf-8")


def as_page(markdown: str, width: str = "54rem") -> str:
    """Return Markdown as an HTML page, whose title is the first heading and which is at most so wide (CSS).

    HTML in the text is shown, not obeyed. Images that are to be seen are `inlined`.
    """
    # Imported where it is needed: a run is registered by the same process that trains.
    import mistune

    body = Markup(str(mistune.create_markdown(plugins=["table"])(markdown)))  # noqa: S704 - mistune escapes the text
    heading = _HEADING.search(body)
    title = "" if heading is None else Markup(heading[1]).striptags()  # noqa: S704
    return render("page.html.j2", title=title, body=body, width=width)
