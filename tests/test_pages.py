"""Tests of pages and Markdown in a real browser: names that others chose are text there, and nothing is asked for."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import nbformat
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from mlflow import MlflowClient

from spotify_ml.data.csv_text import write_csv
from spotify_ml.evaluation.page import code, named, table, write_page
from spotify_ml.paths import PROJECT
from tests.browser import Browser, Page, browser
from tests.commands import train_each
from tests.conftest import SAMPLE

pytestmark = pytest.mark.slow
PATIENCE_S = 300
HACKED = "hacked"
HACK = f"document.title=&quot;{HACKED}&quot;"


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


def hostile(url: str) -> list[str]:
    """Names that are more than text to one reader or another."""
    return [
        f"![x]({url}/image.png)",
        f"[x]({url}/link)",
        f"<img src={url}/b onerror={HACK}>",
        f"<script src={url}/c.js></script>",
        f"</script><script>document.title='{HACKED}'</script>",
        f"</title><iframe src={url}/frame></iframe>",
        f"<svg onload={HACK}>",
        f"<a href=javascript:{HACK}>x</a>",
        f"<{url}/auto>",
        f"{url}/bare",
        "www.evil.example/bare",
        "someone@evil.example",
        f"x\n\n[r]: {url}/reference.png\n\n![r]",
        f"![x][r] [r]: {url}/reference.png",
        f"`![x]({url}/tick.png)`",
        f"a `b`` c ``` ![x]({url}/ticks.png)",
        f"a | ![x]({url}/bar.png)",
        f"a\\| ![x]({url}/backslash.png)",
        f"a\\\\| ![x]({url}/backslashes.png) \\",
        f"` | ![x]({url}/tick_and_bar.png) | `",
        f"&lt;img src={url}/entity&gt; &#33;[x]({url}/entity.png)",
        "${a} $$b$$ \\(c\\) $\\href{javascript:0}{d}$",
        ":octocat: :+1:",
        "# a #",
        "- a\n- b\n\n---\n",
        "*a* __b__ ~~c~~ ^d^ ==e==",
        "<!-- a",
        "<![CDATA[ a",
        "<pre><code> a",
        "    a",
    ]


def as_read(name: str) -> str:
    """A name as it is shown: on one line."""
    return " ".join(name.split())


def rendered(markdown: str) -> str:
    """Markdown as a page, as many readers make it: links for addresses, and HTML as it stands."""
    return f"<title>page</title>{MarkdownIt('gfm-like').render(markdown)}"


def assert_only_text(page: Page, names: list[str], url: str) -> None:
    """Assert that names made no request, script, link, picture or frame, and are to be read as they are."""
    assert page.asked == []
    assert HACKED not in page.title
    assert [address for address in page.addresses if url in address or "evil" in address] == []
    assert [name for name in names if as_read(name) not in page.text] == []


def as_markdown(names: list[str]) -> str:
    parts = [f"# {named(names[0])}"]
    for name in names:
        parts += [f"## {named(name)}", f"- **{named(name)}**\n- ({named(name)}), {code(name)}"]
        parts += [table([named(name), "n"], [[named(name), "1"], ["a", named(name)]])]
        parts += [f"[{named(name)}](#/experiments/1)"]
    return "\n\n".join(parts) + "\n"


def test_names_are_text_wherever_they_stand_in_a_page(opened: Browser, tmp_path: Path):
    names = hostile(opened.url)
    write_page(tmp_path / "page.html", as_markdown(names))
    assert_only_text(opened.open((tmp_path / "page.html").read_text(encoding="utf-8")), names, opened.url)


def test_names_are_text_to_other_readers_of_the_markdown(opened: Browser):
    names = hostile(opened.url)
    assert_only_text(opened.open(rendered(as_markdown(names))), names, opened.url)


@contextmanager
def mlflow_server(uri: str, folder: Path) -> Iterator[str]:
    """MLflow's own pages of a store; gives their host and port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen([*command, "--workers", "1"], cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, (folder / "server.log").read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def visit_mlflow(opened: Browser, server: str, place: str, awaited: str) -> Page:
    """Open one of MLflow's pages; its scripts may take longer than the browser waits."""
    deadline = time.monotonic() + PATIENCE_S
    while awaited not in (page := opened.visit(f"http://{server}/#/{place}", beside=server)).text:
        assert time.monotonic() < deadline, page.text
    # MLflow asks for some of its own.
    page.asked = [each for each in page.asked if opened.url in each or "evil" in each]
    return page


def test_names_are_text_in_mlflow_s_own_pages(opened: Browser, tmp_path: Path):
    names, uri = hostile(opened.url), f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("e", str(tmp_path / "artifacts"))
    with mlflow_server(uri, tmp_path) as server:
        # A description has 8,000 characters.
        for some in (names[::2], names[1::2]):
            run = client.create_run(experiment, run_name=some[1]).info.run_id
            client.set_tag(run, "mlflow.note.content", as_markdown(some))
            page = visit_mlflow(opened, server, f"experiments/{experiment}/runs/{run}", as_read(some[-1]))
            assert_only_text(page, some, opened.url)
