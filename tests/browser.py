"""A real browser, and a server on loopback that everything it asks for reaches."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest

_PATIENCE_S = 120
# What Chromium asks for by itself, whatever the page.
_OWN = re.compile(r"(.*\.)?(google\.com|gvt1\.com)|.*-pa\.googleapis\.com")
# No address that Chromium asks for by itself, and a clock that runs as fast as the page has nothing to do.
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--virtual-time-budget=10000",
)


@dataclass
class Page(HTMLParser):
    """What a browser has made of a page once its scripts had their time.

    Attributes
    ----------
    dom : str
        The page.
    asked : list of str
        What it asked for from elsewhere.
    text : str
        What is to be read on it, a space for each white space.
    elements : list of (str, dict)
        Names and attributes.
    """

    dom: str
    asked: list[str]
    text: str = ""
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._within: list[str] = []
        self.feed(self.dom)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._within and self._within[-1] == tag:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if not self._within:
            self.text += data

    @property
    def title(self) -> str:
        return self.dom.partition("<title>")[2].partition("</title>")[0]

    @property
    def addresses(self) -> list[str]:
        """Where its links, pictures and frames lead, but for what it holds itself."""
        found = [attributes.get(name) for _, attributes in self.elements for name in ("href", "src")]
        return [address for address in found if address and not address.startswith(("#", "data:"))]


@dataclass
class Browser:
    """Opens pages, each in a browser of its own, behind a proxy that is the listener itself.

    Attributes
    ----------
    port : int
        Of the listener on loopback.
    """

    port: int
    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self, html: str) -> Page:
        """Open a page that the listener serves."""
        place = f"/pages/{len(self.pages)}.html"
        self.pages[place] = html.encode()
        return self.visit(self.url + place)

    def visit(self, address: str, *, beside: str = "") -> Page:
        """Open an address; `beside` is a host and port whose pages are not asked for through the listener."""
        self.asked.clear()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            proxy = (f"--proxy-server=http://127.0.0.1:{self.port}", f"--proxy-bypass-list=<-loopback>;{beside}")
            command = [program(), *_OPTIONS, *proxy, f"--user-data-dir={folder}", "--dump-dom", address]
            done = subprocess.run(command, capture_output=True, check=True, timeout=_PATIENCE_S)
        return Page(done.stdout.decode(), list(self.asked))


def program() -> str:
    """Return Chromium, under any of its names."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium; install it")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Start the listener; a test without a browser is skipped."""
    program()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            at = urlsplit(self.path if self.command != "CONNECT" else f"//{self.path}")
            is_here = at.netloc in ("", f"127.0.0.1:{opened.port}")
            page = opened.pages.get(at.path) if is_here else None
            if page is None:
                if not (_OWN.fullmatch(at.hostname or "") or (is_here and at.path == "/favicon.ico")):
                    opened.asked.append(f"{self.command} {self.path}")
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_POST = do_HEAD = do_CONNECT = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        opened = Browser(server.server_address[1])
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield opened
        finally:
            server.shutdown()
            thread.join()
