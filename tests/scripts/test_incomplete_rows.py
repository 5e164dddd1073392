"""The script that measures tracks of which something is not known, on the sample."""

import sys

import numpy as np
import pandas as pd
import pytest

from scripts import incomplete_rows
from tests.conftest import SAMPLE


@pytest.mark.slow
def test_every_pattern_is_measured_beside_its_specialist_and_tracks_of_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
):
    sample = pd.read_parquet(SAMPLE).head(200)
    theirs = sample.rename(columns=incomplete_rows.COLUMNS)
    theirs = theirs.rename(columns={"popularity": "track_popularity"}).drop(columns=["explicit", "time_signature"])
    theirs = theirs.assign(playlist_genre="rap", track_id=theirs["track_id"] + "x")
    theirs.to_csv(tmp_path / "songs.csv", index=False)
    monkeypatch.setenv("SPOTIFY_TIDYTUESDAY_PATH", str(tmp_path / "songs.csv"))
    line = ["incomplete_rows.py", "--seeds", "42", "--splits", "recording", "--data", "sample"]
    monkeypatch.setattr(sys, "argv", line)
    incomplete_rows.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    found = {row[0].removeprefix("| "): row[1:] for row in rows}
    assert float(found["no genre"][0]) == pytest.approx(float(found["no genre"][1]), abs=0.1)
    assert found["unknown artist and album"][1] == "–"
    assert {"as they are", "catalogue=other", "catalogue=other, no genre"} <= set(found)


def test_means_keep_the_order_of_rows():
    tables = [pd.DataFrame({"r2": {"b": 1.0, "a": np.nan}}), pd.DataFrame({"r2": {"b": 2.0, "a": np.nan}})]
    means = incomplete_rows.mean_of(tables)
    assert list(means.index) == ["b", "a"]
    assert means["r2"].iloc[0] == 1.5
    assert "–" in incomplete_rows.as_markdown(means)
