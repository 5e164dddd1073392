"""Tests of pages and Markdown in a real browser: names that others chose are text there, and nothing is asked for."""

import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from mlflow import MlflowClient

from spotify_ml.data.csv_text import write_csv
from spotify_ml.reports.page import write_page
from spotify_ml.utils.markdown import code, named, table
from spotify_ml.utils.paths import PROJECT
from tests.browser import Browser, Page, browser
from tests.commands import python, train_each
from tests.conftest import SAMPLE
from tests.servers import mlflow_server

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
    assert page.title != HACKED
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


def visit_mlflow(opened: Browser, server: str, place: str, awaited: str) -> Page:
    """Open one of MLflow's pages; its scripts may take longer than the browser waits."""
    deadline = time.monotonic() + PATIENCE_S
    while awaited not in (page := opened.visit(f"http://{server}/#/{place}", beside=server)).text:
        assert time.monotonic() < deadline, page.text
    # MLflow asks for some of its own.
    page.asked = [each for each in page.asked if opened.url in each or "evil" in each]
    return page


# --- all that the project writes, of a file whose names are hostile

QUICK = ["model.n_estimators=30", "model.learning_rate=0.1", "model.n_jobs=1", "baselines=quick", "cache=off"]
NOTEBOOKS = ("01_ETL_Validation", "03_ML_XGBoost_Model", "04_Compare_Runs")


def quoted(text: str) -> str:
    """A text as Hydra's grammar quotes it."""
    return "'" + re.sub(r"(\\*)'", r"\1\1\'", text) + "'"


def genres_of(url: str) -> list[str]:
    """Few enough for each to have the tracks that figures by genre ask for; none has the separator of genres."""
    names = [name for name in hostile(url) if ";" not in name]
    names += [f"<img src={url}/e onerror=document.title='{HACKED}'>", f"<svg onload=document.title='{HACKED}'>"]
    return [" ".join(names[start::6]) for start in range(6)]


def tracks_of(url: str) -> pd.DataFrame:
    """The sample with a hostile name in every cell of text."""
    rows, names, genres = pd.read_parquet(SAMPLE), hostile(url), genres_of(url)
    texts = pd.Series(names * (len(rows) // len(names) + 1))[: len(rows)].to_numpy()
    for column in ("track_id", "artists", "album_name", "track_name"):
        rows[column] = texts + " " + rows[column].astype(str).to_numpy()
    known = {genre: genres[number % len(genres)] for number, genre in enumerate(rows["track_genre"].unique())}
    return rows.assign(track_genre=rows["track_genre"].map(known))


def settings_of(written: Path) -> list[str]:
    """What a command is given to read the hostile tracks and to record in the store."""
    (path,) = written.glob("*.csv")
    store = [f"tracking.uri=sqlite:///{written / 'mlflow.db'}", f"tracking.artifact_location={written / 'artifacts'}"]
    return ["data=file", f"data.path={quoted(str(path))}", *store]


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [python(), *command], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode in (0, 2), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(opened: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all commands were run in."""
    folder, url = tmp_path_factory.mktemp("hostile"), opened.url
    tracks = tracks_of(url)
    # A name of a file has no slash.
    image = f"<img src=x onerror=document.title='{HACKED}'>"
    path = folder / f"{image} `![x](y.png).csv"
    write_csv(tracks, path)
    (folder / "unsound").mkdir()
    broken = tracks.astype({"energy": str})
    broken.loc[:99, "energy"] = hostile(url)[0]
    write_csv(broken, folder / "unsound" / path.name)
    data_file, _, *store = settings = settings_of(folder)
    named_as = [name for name in hostile(url) if "$" not in name and "\n" not in name]
    names = [f"name={quoted(' '.join(named_as[start::4])[:150])}" for start in range(4)]
    study = ["tune=optuna", "tune.n_trials=3", "tune.storage=sqlite:///study.db"]
    runs = [
        [*names[:1], "hydra.run.dir=first", "model.max_depth=4"],
        [*names[1:2], "hydra.run.dir=second", "features=audio"],
        [*names[2:3], "hydra.run.dir=study", *study],
        ["-m", *names[3:4], "hydra.sweep.dir=sweep", "model.max_depth=2,3"],
    ]
    for done in train_each([[*each, *QUICK, *settings] for each in runs], folder):
        assert done.returncode == 0, done.stderr
    ids = [json.loads((folder / each / "summary.json").read_text())["run_id"] for each in ("first", "second")]
    for output in ("compared.html", "compared.md"):
        run(folder, str(PROJECT / "scripts" / "compare.py"), *ids, f"output={output}", *store[:1])
    for source in (path, folder / "unsound" / path.name):
        output = f"output={source.parent.name}.html"
        run(folder, str(PROJECT / "scripts" / "profile.py"), data_file, f"data.path={quoted(str(source))}", output)
    for version in ("1", "2"):
        run(folder, "-m", "spotify_ml.promote", f"version={version}", "force=true", *store)
    return folder


def descriptions(folder: Path) -> list[str]:
    """What MLflow shows as Markdown."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    notes = [each.data.tags.get("mlflow.note.content") for each in client.search_runs(experiments)]
    models = [each.description for each in client.search_registered_models()]
    versions = [each.description for each in client.search_model_versions()]
    return [each for each in (*notes, *models, *versions) if each]


def test_every_page_shows_names_as_text_and_asks_for_nothing(opened: Browser, written: Path):
    pages = {path: path.read_text(encoding="utf-8") for path in written.rglob("*.html") if path.is_file()}
    assert len(pages) > 10
    texts = {path: path.read_text(encoding="utf-8") for path in written.rglob("*.md") if path.is_file()}
    texts |= dict(enumerate(descriptions(written)))
    assert len(texts) > 10
    pages |= {path: rendered(text) for path, text in texts.items()}
    genres, n_shown = genres_of(opened.url), 0
    # What is written twice is looked at once.
    for content in set(pages.values()):
        page = opened.open(content)
        assert_only_text(page, [], opened.url)
        n_shown += sum(as_read(genre) in page.text for genre in genres)
    assert n_shown > 20


@pytest.fixture(scope="module")
def server(written: Path) -> Iterator[str]:
    with mlflow_server(f"sqlite:///{written / 'mlflow.db'}", written) as address:
        yield address


def test_mlflow_shows_the_card_of_a_version_and_the_table_of_a_sweep_as_text(
    opened: Browser, written: Path, server: str
):
    client = MlflowClient(f"sqlite:///{written / 'mlflow.db'}")
    (sweep,) = [each for each in client.search_runs(["1"]) if each.info.run_name.startswith("sweep-")]
    page = visit_mlflow(opened, server, "models/spotify-popularity/versions/1", "Prediction intervals")
    assert_only_text(page, [], opened.url)
    assert any(as_read(genre) in page.text for genre in genres_of(opened.url))
    page = visit_mlflow(opened, server, f"experiments/1/runs/{sweep.info.run_id}", "Ranked by validation")
    assert_only_text(page, [], opened.url)


def test_names_are_text_in_mlflow_s_own_pages(opened: Browser, written: Path, server: str):
    names, client = hostile(opened.url), MlflowClient(f"sqlite:///{written / 'mlflow.db'}")
    experiment = client.create_experiment("e", str(written / "artifacts"))
    # A description has 8,000 characters.
    for some in (names[::2], names[1::2]):
        run = client.create_run(experiment, run_name=some[1]).info.run_id
        client.set_tag(run, "mlflow.note.content", as_markdown(some))
        page = visit_mlflow(opened, server, f"experiments/{experiment}/runs/{run}", as_read(some[-1]))
        assert_only_text(page, some, opened.url)


def test_pages_of_notebooks_show_names_as_text_and_ask_for_nothing(opened: Browser, written: Path):
    typed = ["make", "--no-print-directory", "--just-print", "--old-file=.venv/installed-notebooks", "notebooks"]
    printed = subprocess.run(typed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    command = shlex.split(printed.replace("\\\n", " "))
    assert command[0].endswith("/jupyter")
    assert command[-1] == "notebooks/*.ipynb"
    folder = written / "notebooks"
    folder.mkdir()
    overrides = [*settings_of(written), *QUICK, f"hydra.run.dir={folder}/runs/${{now:%H-%M-%S-%f}}"]
    for name in NOTEBOOKS:
        notebook = nbformat.read(PROJECT / "notebooks" / f"{name}.ipynb", as_version=4)
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        first.source += f"\nOVERRIDES = [*OVERRIDES, *{overrides}]"
        nbformat.write(notebook, folder / f"{name}.ipynb")
    run(folder, "-m", "jupyter", *command[1:-1], *(f"{name}.ipynb" for name in NOTEBOOKS))
    names, text = [*genres_of(opened.url), *hostile(opened.url)], ""
    for name in NOTEBOOKS:
        page = opened.open((folder / "outputs" / "notebooks" / f"{name}.html").read_text(encoding="utf-8"))
        assert_only_text(page, [], opened.url)
        text += page.text
    assert sum(as_read(name) in text for name in names) > 5
