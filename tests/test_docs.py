"""Tests of the documentation: the site is built strictly, is whole and fetches nothing; its tables are the code's."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from spotify_ml.utils.paths import CONF, PACKAGE, PROJECT, register_resolvers
from tests.browser import browser
from tests.checkout import clone, commands
from tests.commands import python

DOCS = PROJECT / "docs"
ROOMS = {path.name for path in PACKAGE.iterdir() if path.is_dir()}

PATIENCE_S = 120
MOST_LINES = 160
VARIABLE = re.compile(r"\b(?:SPOTIFY|MLFLOW|OMP|GOMP|ARROW|HYDRA)_[A-Z_]+[A-Z]\b")


def build(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Build the site of a checkout as ``make docs`` does."""
    return subprocess.run(
        [sys.executable, "scripts/docs.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    clone(folder)
    return folder


@pytest.fixture(scope="module")
def site(checkout: Path) -> Path:
    done = build(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout / "build" / "site"


def test_the_readme_is_short_and_its_links_lead_to_files():
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert len(links) > 20
    assert [link for link in links if not (PROJECT / link).is_file()] == []


def named_files() -> dict[str, set[str]]:
    """Return the files and folders of the project that each page names in its text, by the name of the page."""
    folders = "spotify_ml|conf|scripts|tests|docs|findings|notebooks"
    named = re.compile(rf"`((?:{folders})/[\w./-]*)`")
    # The map of the package names files from the package on.
    of_package = re.compile(r"`((?:{})/[\w./-]*|(?!spotify_ml/)[\w/]+\.py)`".format("|".join(sorted(ROOMS))))
    found = {page.name: set(named.findall(page.read_text())) for page in [PROJECT / "README.md", *DOCS.rglob("*.md")]}
    found["architecture.md"] |= {
        f"spotify_ml/{path}" for path in of_package.findall((DOCS / "architecture.md").read_text())
    }
    return found


def test_files_that_pages_name_are_there():
    named = named_files()
    assert len(named["architecture.md"]) > 30
    # What commands write is not there yet.
    made = re.compile(r"docs/(images|benchmarks)|conf/experiment/|conf/data/|notebooks/\w+\.html|tests/\w*<")
    missing = {
        page: sorted(path for path in paths if not (PROJECT / path).exists() and not made.match(path))
        for page, paths in named.items()
    }
    assert {page: paths for page, paths in missing.items() if paths} == {}


def test_the_map_names_every_module():
    page = (DOCS / "architecture.md").read_text()
    rows = {row.split("`")[1].rstrip("/"): row for row in page.splitlines() if row.startswith("| `")}
    unnamed = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("[!_]*.py")
        if (folder := path.parent.relative_to(PACKAGE).as_posix()) in rows and f"`{path.stem}`" not in rows[folder]
    ]
    assert len(rows) > 10
    assert unnamed == []


def test_every_variable_that_is_read_or_set_is_on_the_page():
    page = (PROJECT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    files = [*(PROJECT / "spotify_ml").rglob("*.py"), *CONF.rglob("*.yaml")]
    used = {name for path in files for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    assert "SPOTIFY_CACHE_PATH" in used
    assert used - set(VARIABLE.findall(page)) == set()


@pytest.mark.slow
def test_the_site_is_whole_and_fetches_nothing(site: Path):
    assert len(list(site.rglob("index.html"))) == len(list((PROJECT / "docs").rglob("*.md")))
    with browser() as opened:
        for page in ("index.html", "reference/configuration/index.html", "how-to/compare/index.html"):
            seen = opened.visit((site / page).as_uri())
            assert "spotify_ml" in seen.title
            assert seen.asked == []


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key, value in config.items_ex(resolve=False):
        if isinstance(value, DictConfig):
            yield from _keys(value, f"{prefix}{key}.")
        elif key not in ("name", "mode") or not prefix:
            yield f"{prefix}{key}"


@pytest.mark.slow
def test_every_key_and_every_choice_is_in_the_reference(site: Path):
    text = (site / "reference" / "configuration" / "index.html").read_text(encoding="utf-8")
    told = set(re.findall(r"<td><code>([\w./]+)</code></td>", text))
    headings = set(re.findall(r'<h4 id="[^"]+">([^<]+)<', text))
    assert headings == {f"{path.parent.relative_to(CONF).as_posix()}={path.stem}" for path in CONF.rglob("*/*.yaml")}
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for command in sorted(path.stem for path in CONF.glob("*.yaml")):
            assert set(_keys(compose(command))) - told == set()
        for model in ("catboost", "linear"):
            assert set(_keys(compose("train", [f"model={model}", "tune=optuna", "~tune.space"]))) - told == set()


@pytest.mark.slow
def test_a_key_has_its_type_range_default_and_comment(site: Path):
    text = (site / "reference" / "configuration" / "index.html").read_text(encoding="utf-8")
    rows = [re.sub(r"<[^>]+>", "", row).split("\n") for row in re.findall(r"<tr>\n(.*?)\n</tr>", text, re.DOTALL)]
    assert ["port", "whole number, ≥ 1, ≤ 65,535", "5001", "the port; an error if it is taken"] in rows
    assert [
        "input",
        "text",
        "required",
        "a CSV (also .csv.gz, .csv.zst) or Parquet file, a folder or a pattern of them, a .zip of CSV files, or - "
        "for CSV from standard input",
    ] in rows
    assert ["tune.folds", "whole number, ≥ 2; or null", "null"] in [row[:3] for row in rows]


@pytest.mark.slow
def test_the_reference_of_python_has_parameters_and_errors(site: Path):
    text = (site / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    for name in ("load_model", "tracks_from_web_api", "tracking_uri", "out_of_range", "ModelError", "audio_features"):
        assert f"{name}</" in text


def _appended(text: str) -> Any:
    return lambda path: path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def _without(pattern: str) -> Any:
    return lambda path: path.write_text(re.sub(pattern, "", path.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "messages"),
    [
        (
            "docs/index.md",
            _appended("\n[there](no-such-page.md), [there](glossary.md#no-such-word)\n"),
            ["page does not exist", "anchor does not exist"],
        ),
        (
            "docs/index.md",
            _appended("\n![it](https://example.org/it.png) <a href='no-such-file.txt'>it</a>\n"),
            ["fetches https://example.org/it.png", "broken link no-such-file.txt"],
        ),
        ("docs/index.md", _appended("\n--8<-- 'no-such-table.md'\n"), ["no-such-table.md"]),
        ("docs/reference/python.md", _appended("\n::: spotify_ml.no_such_function\n"), ["no_such_function"]),
        ("conf/serve.yaml", _without(r" +# the port.*"), ["conf/serve.yaml: port"]),
        ("conf/model/linear.yaml", _without(r" +# L2 penalty.*"), ["conf/model/linear.yaml: alpha"]),
        ("conf/model/linear.yaml", _appended("beta: 5  # new\n"), ["model.beta: the schema knows no such key"]),
    ],
)
def test_what_is_wrong_ends_the_build_with_its_name(
    site: Path, checkout: Path, name: str, change: Any, messages: list[str]
):
    before = (checkout / name).read_bytes()
    try:
        change(checkout / name)
        done = build(checkout)
    finally:
        (checkout / name).write_bytes(before)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert [message for message in messages if message not in done.stderr] == []


@pytest.mark.slow
def test_examples_of_help_are_composed(site: Path, checkout: Path):
    """They name files and runs of their reader: only the configuration is composed."""
    page = (checkout / "build" / "docs" / "commands.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    examples = [each for block in blocks for each in commands(block)]
    assert len(examples) == 2 * len(list(CONF.glob("*.yaml")))
    for example in examples:
        typed = [python(), *shlex.split(example)[1:], "--cfg", "job"]
        done = subprocess.run(typed, cwd=checkout, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert (done.returncode, done.stderr) == (0, ""), example
