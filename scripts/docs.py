"""Build the documentation site in ``build/site``: generate the reference, build strictly, and check every built page.

::

    python scripts/docs.py                # or make docs
    python scripts/docs.py --serve        # look at it at http://127.0.0.1:8000; pages are built again when they change

The tables of configuration, commands and targets come from the schema, the files of ``conf/`` and the Makefile. A key
without a comment, a broken link or anchor, and anything that a page would fetch from elsewhere end it with exit code 1.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from reference import write_reference

from spotify_ml.utils.errors import SpotifyMLError
from spotify_ml.utils.paths import PROJECT

GENERATED, SITE = PROJECT / "build" / "docs", PROJECT / "build" / "site"
# What a browser fetches by itself, by tag and attribute; of a link only some kinds.
_FETCHED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("audio", "src")}
_FETCHED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "manifest"}
_TRACE = re.compile(r"^(Traceback|During handling|The above exception| +File ).*\n(    .*\n)*", re.MULTILINE)
_CSS_FETCH = re.compile(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", re.IGNORECASE)


@dataclass
class _Page(HTMLParser):
    """The anchors of a page, and what it links to and fetches."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names, links to or fetches."""
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        is_link = tag == "link" and bool(_FETCHED_LINKS & set(found.get("rel", "").split()))
        self.fetched += [found["href"]] if is_link else []
        self.fetched += [found[name] for name in found if (tag, name) in _FETCHED]


def read_pages(site: Path) -> dict[Path, _Page]:
    """Return every page of a built site, by its file."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    return pages


def faults(site: Path) -> Iterator[str]:
    """Yield each broken link or anchor of a built site, and whatever it would fetch from elsewhere.

    Parameters
    ----------
    site : Path
        The folder of the built site.
    """
    pages = read_pages(site)
    for path, page in pages.items():
        name = path.relative_to(site)
        # The page for addresses that are not there is shown at any of them.
        inside = [] if name.name == "404.html" else [*page.links, *page.fetched]
        yield from (f"{name}: fetches {each}" for each in page.fetched if urlsplit(each).netloc)
        yield from (f"{name}: broken link {each}" for each in inside if not _leads_somewhere(each, path, pages))
    for path in sorted(site.rglob("*.css")):
        if _CSS_FETCH.search(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: fetches from elsewhere"


def _leads_somewhere(link: str, path: Path, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not parts.fragment:
        return target.is_file()
    return target in pages and unquote(parts.fragment) in pages[target].anchors


def _zensical(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("zensical")), *arguments]
    return subprocess.run(command, cwd=PROJECT, text=True, check=False, **options)


def build() -> int:
    """Build and check the site, and return an exit code."""
    built = _zensical("build", "--strict", "--clean", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if built.returncode:
        # Of a traceback only the errors are of interest; colours are drawn whatever reads them.
        lines = re.sub(_TRACE, "", re.sub(r"\x1b\[[\d;]*m", "", built.stdout))
        sys.stderr.write(f"{lines.strip()}\nerror: the site is not built\n")
        return 1
    found = list(faults(SITE))
    if found:
        sys.stderr.write("\n".join([*found, f"error: the site has {len(found)} faults"]) + "\n")
        return 1
    print(f"{len(read_pages(SITE))} pages: {SITE / 'index.html'}")
    return 0


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Build the documentation site in build/site.")
    parser.add_argument("--serve", action="store_true", help="serve it at http://127.0.0.1:8000 instead")
    options = parser.parse_args()
    try:
        write_reference(GENERATED)
    except SpotifyMLError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    try:
        return _zensical("serve").returncode if options.serve else build()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
