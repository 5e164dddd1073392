"""A Markdown text as a page that needs no other file."""

import re
from pathlib import Path

from spotify_ml.utils.files import staged

_HEADING = re.compile("<h1>(.*?)</h1>")
_TAG = re.compile("<[^>]+>")
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.55 system-ui, sans-serif; color: #222; margin: 2.5rem auto; padding: 0 1.2rem; }}
body {{ max-width: {width}; }}
h1 {{ font-size: 1.6rem; color: #1f5fa8; }}
h2 {{ font-size: 1.15rem; margin-top: 2.2rem; padding-bottom: .2rem; border-bottom: 1px solid #ddd; }}
h3 {{ font-size: 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem 1.4rem .3rem 0; border-bottom: 1px solid #eee; text-align: left; }}
th {{ color: #666; font-weight: 600; }}
img {{ max-width: 100%; }}
code {{ font-size: .88em; background: #f4f4f4; padding: .1em .3em; overflow-wrap: anywhere; }}
pre {{ background: #f4f4f4; padding: .8rem 1rem; overflow-x: auto; }}
pre code {{ padding: 0; background: none; overflow-wrap: normal; }}
</style>
</head>
<body>
{body}</body>
</html>
"""


def write_page(path: Path, markdown: str, width: str = "54rem") -> None:
    """Write Markdown as an HTML page, whose title is the first heading.

    Parameters
    ----------
    path : Path
        Where to; it is whole or not there.
    markdown : str
        With tables; HTML in it is shown as text, not obeyed. Images that are to be seen are `inlined`.
    width : str
        The most that the page takes of the window, in CSS's terms.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    # Imported where it is needed: a run is registered by the same process that trains.
    import mistune

    body = str(mistune.create_markdown(plugins=["table"])(markdown))
    heading = _HEADING.search(body)
    title = "" if heading is None else _TAG.sub("", heading[1])
    with staged(path) as file:
        file.write_text(_PAGE.format(title=title, body=body, width=width), encoding="utf-8")
