"""The script that measures release dates and several catalogues, on the sample."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from scripts import catalogues
from tests.conftest import SAMPLE
from tests.layouts import as_csv, dated, written


@pytest.mark.slow
def test_every_table_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    tracks = dated(pd.read_parquet(SAMPLE).drop_duplicates("track_id").sample(2400, random_state=0))
    # A date tells half of the popularity.
    years = tracks["release_date"].str[:4].astype(int)
    own = tracks.head(1200).assign(popularity=tracks["popularity"] / 2 + (years - 1990) * 1.5)
    (tmp_path / "songs.csv").write_bytes(as_csv(written(own, "tidytuesday_2020")))
    tracks.tail(1300).drop(columns=["release_date", "label"]).to_parquet(tmp_path / "tracks.parquet")
    monkeypatch.setenv("SPOTIFY_TIDYTUESDAY_PATH", str(tmp_path / "songs.csv"))
    monkeypatch.setenv("SPOTIFY_TRACKS_PATH", str(tmp_path / "tracks.parquet"))
    monkeypatch.setattr(sys, "argv", ["catalogues.py", "--seeds", "42"])
    catalogues.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    found = {row[0]: row[1:] for row in (line.strip("| ").split(" | ") for line in lines)}
    for split in ("recording", "artist", "release"):
        assert float(found[split][4]) > 0
    assert float(found["songs, catalogue=own"][0]) == 1200
    assert float(found["tracks, catalogue=other"][0]) >= 1200
    # A hundred tracks are in both.
    assert float(found["recording, both"][0]) < float(found["recording, alone"][0]) + 60
    assert {"artist, both", "artist, alone"} <= set(found)
