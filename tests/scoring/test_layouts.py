"""Tests of scoring files in other layouts: as the raw rows that they hold, with their own columns kept."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.data import batches
from spotify_ml.data.sources import RawTracks
from spotify_ml.evaluation.metrics import regression_metrics
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.scoring.files import rejected_path, score_file
from spotify_ml.scoring.rows import Agreement, Scorer, Tally
from spotify_ml.utils.errors import DataError
from tests.layouts import LAYOUTS, WITH_POPULARITY, as_csv, as_raw, written

N_ROWS = 300


@pytest.fixture(autouse=True)
def _many_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "_BLOCK", 20_000)


@pytest.fixture
def scorer(model: PopularityModel) -> Scorer:
    return Scorer(model.predict, 7, (), "fail", "refuse")


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return sample.frame.sample(N_ROWS, random_state=2, ignore_index=True)


def score(source: Path, target: Path, scorer: Scorer) -> tuple[pd.DataFrame, Tally]:
    tally = Tally()
    score_file(source, target, scorer, tally, lambda _: None)
    if target.suffix == ".csv":
        return pd.read_csv(target, keep_default_na=False, na_values=[""]), tally
    return pd.read_parquet(target), tally


@pytest.mark.parametrize("target", ["scored.csv", "scored.parquet"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_is_scored_as_its_raw_rows_and_keeps_its_columns(
    tracks: pd.DataFrame, scorer: Scorer, tmp_path: Path, layout: str, target: str
):
    frame = written(tracks, layout)
    content = as_csv(frame)
    (tmp_path / "tracks.csv").write_bytes(content)
    scored, tally = score(tmp_path / "tracks.csv", tmp_path / target, scorer)
    assert [name.replace("Unnamed: 0", "") for name in scored] == [*frame, "popularity_predicted", "model_version"]
    raw = scorer.predict(as_raw(tracks, layout).drop(columns="popularity"))
    np.testing.assert_allclose(scored["popularity_predicted"], raw, atol=1e-9, rtol=0)
    assert (tally.n_rows, tally.n_bad) == (N_ROWS, 0)
    assert [name.partition(";")[0] for name in tally.layouts] == [f"layout={layout}"]
    if target == "scored.csv":
        lines = zip(content.splitlines(), (tmp_path / target).read_bytes().splitlines(), strict=True)
        assert all(line.replace(b'"', b"") in mine.replace(b'"', b"") for line, mine in lines)
    else:
        own = next(name for name in frame if name.casefold() in ("tempo", "bpm"))
        np.testing.assert_array_equal(scored[own], tracks["tempo"])


def test_bad_rows_are_set_aside_as_they_are_in_the_file(tracks: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    frame = written(tracks, "spotify_features").astype(object)
    frame.loc[[3, 7], "key"] = "H"
    (tmp_path / "tracks.csv").write_bytes(as_csv(frame))
    with pytest.raises(DataError, match=r"key is not numeric in 2 rows \(row 4: H, row 8: H\)"):
        score(tmp_path / "tracks.csv", tmp_path / "scored.csv", scorer)
    skipping = Scorer(scorer.predict, 7, (), "skip", "refuse")
    scored, tally = score(tmp_path / "tracks.csv", tmp_path / "scored.csv", skipping)
    assert (len(scored), tally.n_bad) == (N_ROWS - 2, 2)
    aside = pd.read_csv(rejected_path(tmp_path / "scored.csv"))
    assert list(aside) == ["row", "reason", *frame]
    assert list(aside["row"]) == [4, 8]
    assert set(aside["key"]) == {"H"}


@pytest.mark.parametrize("layout", ["raw", *LAYOUTS])
def test_a_file_with_popularity_is_told_how_well_it_is_predicted(
    tracks: pd.DataFrame, scorer: Scorer, tmp_path: Path, layout: str
):
    (tmp_path / "tracks.csv").write_bytes(as_csv(tracks if layout == "raw" else written(tracks, layout)))
    scored, tally = score(tmp_path / "tracks.csv", tmp_path / "scored.csv", scorer)
    if layout not in ("raw", *WITH_POPULARITY):
        assert str(tally.agreement) == ""
        return
    figures = regression_metrics(tracks["popularity"].to_numpy(), scored["popularity_predicted"].to_numpy(), 0)
    expected = f"R² {figures['r2']:.3f}, Spearman {figures['spearman']:.3f} (n=300)"
    assert str(tally.agreement) == f"against the file's own popularity: {expected}"


def test_rows_without_popularity_or_prediction_are_not_compared():
    agreement = Agreement()
    assert str(agreement) == ""
    agreement.add(np.array([50.0, np.nan, 10.0, 101.0]), np.array([40.0, 1.0, np.nan, 1.0]))
    assert str(agreement) == ""
    agreement.add(np.array([50.0]), np.array([40.0]))
    assert str(agreement) == ""
    agreement.add(np.array([10.0]), np.array([20.0]))
    assert str(agreement).endswith("R² 0.719, Spearman 1.000 (n=3)")
