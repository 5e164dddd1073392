"""Tests of runs on files in other layouts: what is recorded of them, and that their models score such files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from spotify_ml import load_model
from spotify_ml.config.run import DataConfig
from spotify_ml.data.sources import RawTracks, inspect_tracks
from spotify_ml.reports.profile import profile
from spotify_ml.scoring.files import score_file
from spotify_ml.scoring.rows import Scorer, Tally
from spotify_ml.tracking.training import train
from tests.layouts import LAYOUTS, WITH_POPULARITY, as_csv, as_raw, written
from tests.support import configured, new_store

ABSENT = {
    "exportify": None,
    "exportify_watsonbox": None,
    "tidytuesday_2020": "explicit, time_signature",
    "tracks_1921_2020": "album_name, track_genre",
    "tracks_1m": "album_name, explicit",
    "spotify_features": "album_name, explicit",
}


@pytest.mark.parametrize("layout", WITH_POPULARITY)
def test_a_run_on_a_file_says_its_layout_and_what_it_lacks(sample: RawTracks, tmp_path: Path, layout: str):
    tracks = sample.frame.sample(1500, random_state=4, ignore_index=True)
    path, folder, uri = tmp_path / "tracks.csv", tmp_path / "run", new_store(tmp_path)
    path.write_bytes(as_csv(written(tracks, layout)))
    folder.mkdir()
    (folder / "train.log").touch()
    overrides = ["data=file", f"data.path={path}", "model.n_estimators=5", "model.n_jobs=1", "cache=off"]
    overrides += [f"tracking.uri={uri}", f"tracking.artifact_location={tmp_path / 'artifacts'}"]
    summary = train(configured(*overrides), folder, overrides)
    run = MlflowClient(uri).get_run(summary.run_id)
    assert run.data.params["data.layout"] == layout
    assert run.data.params.get("data.absent") == ABSENT[layout]
    card = (folder / "model_card" / "model_card.md").read_text(encoding="utf-8")
    assert f"read as `layout={layout}`" in card
    assert ("Its data has no" in card) == (ABSENT[layout] is not None)
    if ABSENT[layout] is not None:
        assert f"Its data has no {ABSENT[layout]}:" in card
    model = load_model(f"models:/spotify-popularity/{summary.version}", uri)
    scorer = Scorer(model.predict, 1, (), "fail", "refuse", further=model.further)
    score_file(path, tmp_path / "scored.csv", scorer, Tally(), lambda _: None)
    predicted = pd.read_csv(tmp_path / "scored.csv")["popularity_predicted"]
    np.testing.assert_allclose(predicted, model.predict(as_raw(tracks, layout).drop(columns="popularity")), atol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_file_can_be_looked_at(sample: RawTracks, tmp_path: Path, layout: str):
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv(written(sample.frame.head(1500), layout)))
    page = profile(*inspect_tracks(DataConfig(name="file", path=str(path))))
    assert f"| layout | {layout} |" in page.replace("\\", "")
    assert ("## Popularity by mood" in page) == (layout in WITH_POPULARITY)
