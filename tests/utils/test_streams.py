"""Tests of standard streams that are closed, full or broken: what needs none of them goes on to its end."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from tests.tracking import conftest
from tests.tracking.conftest import CHAMPION, Store

PATIENCE_S = 120
store = conftest.store
FULL = Path("/dev/full")

PROGRAM = """
import os, sys
from spotify_ml.utils import streams
streams.make_lenient()
opened = os.open("opened.txt", os.O_CREAT | os.O_WRONLY)
for number in range(20000):
    print("line", number)
    print("trouble", number, file=sys.stderr)
os.write(opened, b"own")
sys.exit(5)
"""


def _run(command: str, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a line of bash in which "$@" is Python with its arguments."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}", "bash", sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize(
    "redirected",
    ['"$@" >&-', '"$@" 2>&-', '"$@" <&- >&- 2>&-', '"$@" > /dev/full', '"$@" 2> /dev/full', '"$@" | head -1'],
)
def test_what_cannot_be_printed_stops_nothing_and_goes_nowhere_else(redirected: str, tmp_path: Path):
    if "/dev/full" in redirected and not FULL.exists():
        pytest.skip("this system has no /dev/full")
    done = _run(redirected, "-c", PROGRAM, cwd=tmp_path)
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    # A closed descriptor is the next one that is opened.
    assert (tmp_path / "opened.txt").read_bytes() == b"own"


def test_what_can_be_printed_is_all_printed(tmp_path: Path):
    done = _run('"$@"', "-c", PROGRAM, cwd=tmp_path)
    assert done.stdout.splitlines() == [f"line {number}" for number in range(20000)]
    assert done.stderr.splitlines() == [f"trouble {number}" for number in range(20000)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, sample_rows: pd.DataFrame) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    sample_rows.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def sample_rows() -> pd.DataFrame:
    from spotify_ml.utils.paths import PACKAGE

    return pd.read_parquet(PACKAGE / "data" / "sample" / "spotify_by_genre.parquet").head(2000)


def _predict(store: Store, source: str, target: str) -> list[str]:
    return ["-m", "spotify_ml.predict", f"tracking.uri={store.uri}", f"model={CHAMPION}", f"input={source}", target]


@pytest.mark.slow
@pytest.mark.parametrize(
    "redirected",
    ['"$@" >&-', '"$@" <&-', '"$@" 2>&-', '"$@" 2> /dev/full', '"$@" <&- >&- 2>&-', '"$@" > /dev/full 2>&1'],
)
def test_a_file_is_scored_whatever_the_streams_are(redirected: str, store: Store, rows: Path, tmp_path: Path):
    done = _run(redirected, *_predict(store, str(rows), "output=scored.csv"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(pd.read_csv(tmp_path / "scored.csv")) == 2000


# What is typed, its exit code, and what it says.
NEEDED = {
    "output is closed": ('"$@" >&-', "-", "standard output is closed; give it a place: > file"),
    "output is full": ('"$@" > /dev/full', "-", "standard output cannot be written: No space left on device"),
    "input is closed": ('"$@" <&-', "scored.csv", "standard input is closed; name a file: input=…"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDED)
def test_a_stream_that_is_needed_is_named_in_one_line(name: str, store: Store, rows: Path, tmp_path: Path):
    redirected, target, message = NEEDED[name]
    source = "-" if "input" in name else str(rows)
    done = _run(redirected, *_predict(store, source, f"output={target}"), cwd=tmp_path)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if not line.startswith("store ")] == [f"error: {message}"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked", [["--help"], ["--version"], ["--cfg", "job"], ["--hydra-help"], ["-sc", "install=bash"]]
)
def test_an_answer_that_cannot_be_printed_is_an_error(asked: list[str], tmp_path: Path):
    command = ["-m", "spotify_ml.train", *asked]
    full, closed = (_run(redirected, *command, cwd=tmp_path) for redirected in ('"$@" > /dev/full', '"$@" >&-'))
    assert (full.returncode, closed.returncode) == (1, 1)
    assert full.stderr == "error: standard output cannot be written: No space left on device\n"
    assert closed.stderr == "error: standard output is closed; give it a place: > file\n"


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_gets_no_complaint(store: Store, rows: Path, tmp_path: Path):
    many = tmp_path / "many.csv"
    lines = rows.read_text().splitlines(keepends=True)
    many.write_text("".join([lines[0], *lines[1:] * 10]))
    done = _run('"$@" | head -1', *_predict(store, str(many), "output=-"), cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert [line for line in done.stderr.splitlines() if not line.startswith("store ")] == []


@pytest.mark.slow
@pytest.mark.parametrize("redirected", ['"$@" | head -1', '"$@" >&- 2> /dev/full'])
def test_a_run_goes_on_to_its_end_for_it_is_recorded(redirected: str, store: Store, tmp_path: Path):
    experiment = f"streams-{len(redirected)}"
    options = [f"tracking.uri={store.uri}", f"tracking.experiment={experiment}", f"hydra.run.dir={tmp_path / 'run'}"]
    done = _run(redirected, "-m", "spotify_ml.train", "model.n_estimators=5", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    client = MlflowClient(store.uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    assert run.info.status == "FINISHED"
    assert (tmp_path / "run" / "summary.json").is_file()
