"""Tests of the page about a file of raw tracks."""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from spotify_ml.data.sources import RawTracks
from spotify_ml.utils.paths import PROJECT
from tests.commands import python

SCRIPT = PROJECT / "scripts" / "profile.py"
LARGEST_BYTES = 5 * 2**20

pytestmark = pytest.mark.slow


def profile(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [python(), str(SCRIPT), *overrides]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_page_of_any_file_needs_no_other(sample: RawTracks, tmp_path: Path):
    rows = pd.concat([sample.frame.head(500)] * 2).assign(tempo=[0.0] * 3 + [120.5] * 997)
    broken = sample.frame.head(2).assign(energy=2.0, tempo=[None, 120.0], track_name="<b> | bold")
    pd.concat([rows, broken]).to_csv(tmp_path / "mine.csv", index=False)
    done = profile(tmp_path, "data=file", "data.path=mine.csv", "output=reports/mine.html")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    path = tmp_path / "reports" / "mine.html"
    page = path.read_text(encoding="utf-8")
    assert str(path) in done.stdout
    assert path.stat().st_size < LARGEST_BYTES
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 10
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert re.search(r"<td>tempo 0</td>\s*<td>3</td>\s*<td>0\.3%</td>", page)
    assert re.search(r"<td>rows</td>\s*<td>1,000</td>", page)
    assert re.search(r"<td>energy</td>\s*<td>outside 0 to 1</td>\s*<td>2</td>\s*<td>row 1001: .*, row 1002: ", page)
    assert re.search(r"<td>tempo</td>\s*<td>empty or NaN</td>\s*<td>1</td>\s*<td>row 1001: ", page)
    assert str(tmp_path) not in page
    assert {entry.name for entry in tmp_path.iterdir()} == {"mine.csv", "reports"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=file", "data.path=none.csv"], "error: none.csv does not exist"),
        (["dta=full"], "did you mean 'data'?"),
        (["output=."], "output=. is no name of a page"),
        (["output=mine.csv"], "output=mine.csv is no name of a page"),
    ],
)
def test_mistakes_are_one_clear_error(overrides: list[str], message: str, tmp_path: Path):
    done = profile(tmp_path, *overrides)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_data_is_not_written_over(sample: RawTracks, tmp_path: Path):
    data, link = tmp_path / "raw.html", tmp_path / "page.html"
    sample.frame.head(20).to_csv(data, index=False)
    link.symlink_to(data)
    before = data.read_bytes()
    for output in (data, link):
        done = profile(tmp_path, "data=file", f"data.path={data}", f"output={output}")
        assert done.returncode == 1
        assert "is read and would be written over; name another output=…" in done.stderr
    assert data.read_bytes() == before
