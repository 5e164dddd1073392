"""Tests of runs on tracks with release dates: what is recorded, and what their models take."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from spotify_ml import load_model
from spotify_ml.data.sources import RawTracks
from spotify_ml.scoring.files import score_file
from spotify_ml.scoring.requests import read_request
from spotify_ml.scoring.rows import Scorer, Tally
from spotify_ml.tracking.registry import ScoringModel
from spotify_ml.tracking.training import train
from spotify_ml.utils.errors import DataError
from tests.layouts import dated
from tests.support import configured, new_store


class Trained(NamedTuple):
    model: ScoringModel
    metrics: dict[str, float]
    card: str
    rows: pd.DataFrame


@pytest.fixture(scope="module")
def trained(sample: RawTracks, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("dates")
    tracks = dated(sample.frame.sample(2500, random_state=4, ignore_index=True))
    path, folder, uri = place / "tracks.csv", place / "run", new_store(place)
    tracks.to_csv(path, index=False)
    folder.mkdir()
    (folder / "train.log").touch()
    overrides = ["data=file", f"data.path={path}", "data.collected=2023-01-01", "split=release", "split.cut=2015-01-01"]
    overrides += ["model.n_estimators=40", "model.n_jobs=1", "cache=off", "incomplete=true"]
    overrides += [f"tracking.uri={uri}", f"tracking.artifact_location={place / 'artifacts'}"]
    summary = train(configured(*overrides), folder, overrides)
    metrics = MlflowClient(uri).get_run(summary.run_id).data.metrics
    card = (folder / "model_card" / "model_card.md").read_text(encoding="utf-8")
    model = load_model(f"models:/spotify-popularity/{summary.version}", uri)
    return Trained(model, metrics, card, tracks.drop(columns="popularity").head(200))


def test_the_signature_names_dates_and_labels_as_optional(trained: Trained):
    inputs = trained.model.model.metadata.get_input_schema()
    assert {"release_date", "label"} <= set(inputs.optional_input_names())
    assert set(trained.model.further) == {"release_date", "label"}


def test_a_run_tells_of_rows_without_a_date(trained: Trained):
    assert "test_without_release/r2" in trained.metrics
    assert "importance/release" in trained.metrics
    assert "no release date and label" in trained.card
    assert "came out after all tracks" in trained.card


def test_dates_count_and_may_be_absent(trained: Trained):
    predict, rows = trained.model.predict, trained.rows
    scored = np.asarray(predict(rows))
    assert not np.allclose(scored, predict(rows.assign(release_date="1991")))
    without = np.asarray(predict(rows.drop(columns=["release_date", "label"])))
    assert np.isfinite(without).all()
    np.testing.assert_array_equal(without, predict(rows.assign(release_date=None, label="")))
    np.testing.assert_array_equal(without, predict(rows.assign(release_date="0000", label=np.nan)))
    np.testing.assert_allclose(scored, predict(rows.assign(release_date=pd.to_datetime(rows["release_date"]))))
    wide = predict(rows.drop(columns=["release_date"]), {"interval": 0.9, "explain": 2})
    assert (wide["lower"] <= wide["upper"]).all()


def test_a_value_that_is_no_date_is_refused_by_its_row(trained: Trained, tmp_path: Path):
    rows = trained.rows.copy()
    rows.loc[[3, 7], "release_date"] = "next week"
    with pytest.raises(DataError, match=r"release_date is not a date such as .* in 2 rows \(row 4: next week"):
        trained.model.predict(rows)
    path, tally = tmp_path / "rows.csv", Tally()
    rows.to_csv(path, index=False)
    scorer = Scorer(trained.model.predict, 1, (), "skip", "refuse", further=trained.model.further)
    score_file(path, tmp_path / "scored.csv", scorer, tally, lambda _: None)
    assert (tally.n_rows, tally.n_bad) == (200, 2)
    assert "release_date is not a date" in (tmp_path / "scored.csv.rejected.csv").read_text(encoding="utf-8")
    expected = trained.model.predict(rows.drop(index=[3, 7]))
    np.testing.assert_allclose(pd.read_csv(tmp_path / "scored.csv")["popularity_predicted"], expected, atol=1e-9)


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_requests_carry_dates(trained: Trained, kind: str):
    rows = trained.rows.head(20)
    content = rows.to_csv(index=False).encode()
    content_type = "text/csv"
    if kind == "json":
        records = rows.astype(object).where(rows.notna(), None).to_dict("records")
        content, content_type = json.dumps({"dataframe_records": records}).encode(), "application/json"
    read, _ = read_request(content, content_type, further=trained.model.further)
    np.testing.assert_allclose(trained.model.predict(read), trained.model.predict(rows), atol=1e-9)
