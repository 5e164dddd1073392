"""The script that measures a calibration to another catalogue, on the sample."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from spotify_ml.utils.paths import PROJECT
from tests.conftest import SAMPLE
from tests.layouts import as_csv, written

sys.path.insert(0, str(PROJECT / "scripts"))
calibrate_figures: Any = import_module("calibrate_figures")


@pytest.mark.slow
def test_figures_are_measured_before_and_after(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    """Tracks of elsewhere are those of the sample under other names, a little louder, and half as popular."""
    tracks = pd.read_parquet(SAMPLE).drop_duplicates("track_id").sample(600, random_state=0)
    tracks = tracks.assign(
        track_id=tracks["track_id"] + "x",
        track_name=tracks["track_name"] + " (elsewhere)",
        loudness=tracks["loudness"] + 0.001,
        popularity=tracks["popularity"] // 2,
    )
    (tmp_path / "songs.csv").write_bytes(as_csv(written(tracks, "tidytuesday_2020")))
    monkeypatch.setenv("SPOTIFY_TIDYTUESDAY_PATH", str(tmp_path / "songs.csv"))
    line = ["calibrate_figures.py", "--seeds", "42", "--known", "150", "300", "--draws", "2", "--data", "sample"]
    monkeypatch.setattr(sys, "argv", line)
    calibrate_figures.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    found = {row[0].removeprefix("| "): row[1:] for row in rows}
    assert {"none", "150", "300"} <= set(found)
    assert float(found["none"][1]) > 10
    for size in ("150", "300"):
        r2, bias, coverage = (float(value.rstrip("%")) for value in found[size][:3])
        assert r2 > float(found["none"][0])
        assert abs(bias) < 3
        assert 80 < coverage < 98


def test_the_table_has_a_row_by_size_and_the_lowest_draw():
    names = [f"{when}_{name}" for when in ("before", "after", "told") for name in calibrate_figures.NAMES]
    draws = [{"known": known, **dict.fromkeys(names, value)} for known, value in ((100, 0.2), (100, 0.4), (500, 0.5))]
    table = calibrate_figures.as_markdown(pd.DataFrame(draws)).splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| none", "| 100", "| 500"]
    assert "| 100 | 0.300 | +0.30 | 30.0% | 0.200 |" in table[3]
