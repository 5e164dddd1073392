"""Tests of how a trained model behaves: what must not move it, what it must know, and what it must not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.run import RunConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.evaluation.evaluate import evaluate
from spotify_ml.features.builder import build_subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.tracking.training import train
from tests import support

pytestmark = pytest.mark.slow


def configured(*overrides: str) -> RunConfig:
    return support.configured("model.n_jobs=1", *overrides)


@dataclass(frozen=True)
class Trained:
    """A fitted model, the rows it was not fitted on, and its figures."""

    model: PopularityModel
    rows: pd.DataFrame
    metrics: dict[str, float]


def trained(config: RunConfig, tracks: pd.DataFrame) -> Trained:
    """Fit and judge a model as a run does, without the record of it."""
    split = split_tracks(tracks, config.split, config.seed)
    subsets = build_subsets(config.features.name, tracks, split, config.seed)
    fitted = fit_estimators(config.model, config.task, subsets, config.seed)
    model = PopularityModel(subsets.transformer, fitted.refit.get_booster())
    return Trained(model, tracks.iloc[split.test], evaluate(fitted, subsets, tracks, config.task).metrics)


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame


@pytest.fixture(scope="module", params=["full", "audio", "reference"])
def model(request: pytest.FixtureRequest, tracks: pd.DataFrame) -> Trained:
    """The default model on every feature set."""
    return trained(configured(f"features={request.param}"), tracks)


# --- invariance


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: rows.assign(track_id="0" * 22), id="track_id"),
        pytest.param(lambda rows: rows.assign(**{"Unnamed: 0": np.arange(len(rows))}), id="index column"),
        pytest.param(lambda rows: rows.assign(Tempo=1.0, ENERGY=2.0, popularity=0.0), id="extra columns, in any case"),
        pytest.param(lambda rows: rows.reset_index(drop=True), id="index"),
        pytest.param(lambda rows: rows.sample(frac=1, random_state=0), id="order of rows"),
    ],
)
def test_predictions_do_not_change_with(change: Callable[[pd.DataFrame], pd.DataFrame], model: Trained):
    rows = model.rows.assign(position=np.arange(len(model.rows)))
    changed = change(rows)
    expected = model.model.predict(rows)[changed["position"]]
    np.testing.assert_array_equal(model.model.predict(changed), expected)


NAMES = {"artists": "Somebody;Else", "album_name": "Another", "track_name": "Another"}


@pytest.mark.parametrize(("features", "blind"), [("audio", {**NAMES, "track_genre": "unheard"}), ("reference", NAMES)])
def test_predictions_do_not_change_with_what_the_features_leave_out(
    features: str, blind: dict[str, str], tracks: pd.DataFrame
):
    blinded = trained(configured(f"features={features}", "model.n_estimators=50"), tracks)
    expected = blinded.model.predict(blinded.rows)
    for column, other in blind.items():
        np.testing.assert_array_equal(blinded.model.predict(blinded.rows.assign(**{column: other})), expected)


@pytest.mark.parametrize("column", NAMES)
def test_predictions_of_full_features_change_with_every_name(column: str, tracks: pd.DataFrame):
    full = trained(configured("model.n_estimators=50"), tracks)
    expected = full.model.predict(full.rows)
    changed = full.model.predict(full.rows.assign(**{column: NAMES[column]}))
    assert np.isfinite(changed).all()
    assert (changed != expected).any()


@pytest.mark.parametrize("features", ["full", "reference"])
def test_predictions_change_with_the_genre_and_the_sound(features: str, tracks: pd.DataFrame):
    """The counterpart of the invariances: what the model does use moves it."""
    knowing = trained(configured(f"features={features}", "model.n_estimators=50"), tracks)
    before = knowing.model.predict(knowing.rows)
    other_genre = np.roll(np.sort(knowing.rows["track_genre"].to_numpy(dtype=str)), len(before) // 2)
    for changed in (knowing.rows.assign(track_genre=other_genre), knowing.rows.assign(loudness=-40.0, energy=0.01)):
        assert np.abs(knowing.model.predict(changed) - before).mean() > 0.5


# --- direction


def test_genres_are_ranked_as_their_means_are(tracks: pd.DataFrame):
    """The same recordings, said to be a newcomer's of another genre, are ranked as newcomers of that genre are."""
    newcomers = trained(configured("split=artist"), tracks)
    # Of a genre's known artists, compilations decide the mean.
    is_new = ~tracks["artists"].duplicated(keep=False) & ~tracks["album_name"].duplicated(keep=False)
    means = tracks[is_new].groupby("track_genre")["popularity"].mean()
    single = means[~means.index.str.contains(";")].sort_values()
    # Of an unheard artist the genre is what is left to go by.
    rows = newcomers.rows.assign(artists="Nobody", album_name="Unheard", track_name="Unheard")
    lowest, highest = (newcomers.model.predict(rows.assign(track_genre=single.index[end])).mean() for end in (0, -1))
    # By less than the means, which differ in sound as well.
    assert highest - lowest > 2


# --- minimum quality


def test_default_model_beats_the_baselines(tracks: pd.DataFrame):
    metrics = trained(configured(), tracks).metrics
    assert metrics["test/r2"] > metrics["baseline_genre/r2"] > metrics["baseline_mean/r2"]
    assert metrics["test/rmse"] < metrics["baseline_genre/rmse"] < metrics["baseline_mean/rmse"]
    assert metrics["test/mae"] < metrics["baseline_mean/mae"]
    assert metrics["test/spearman"] > metrics["baseline_genre/spearman"]


@pytest.mark.parametrize("split", ["recording", "album", "artist", "random"])
@pytest.mark.parametrize("features", ["full", "reference"])
def test_a_permuted_target_cannot_be_predicted(split: str, features: str, tracks: pd.DataFrame):
    permuted = tracks.assign(popularity=np.random.default_rng(0).permutation(tracks["popularity"].to_numpy()))
    metrics = trained(configured(f"split={split}", f"features={features}"), permuted).metrics
    assert metrics["test/r2"] <= 0.02
    assert metrics["val/r2"] <= 0.05


# --- the reference result


@pytest.mark.full
def test_reference_experiment_gives_the_reference_result(
    full_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SPOTIFY_TRACKS_PATH", str(full_csv))
    store = [f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", f"tracking.artifact_location={tmp_path}/artifacts"]
    overrides = ["experiment=reference", "data=full", "outputs.data=true"]
    config = configured(*overrides, *store)
    metrics = train(config, tmp_path / "run", overrides).metrics
    assert metrics["rows/raw"] == metrics["rows/clean"] == 114_000
    assert (metrics["rows/train"], metrics["rows/test"], metrics["features/count"]) == (91_200, 22_800, 37)
    assert 0.381 <= metrics["test/r2"] <= 0.391
    assert 17.3 <= metrics["test/rmse"] <= 17.5
    assert 12.9 <= metrics["test/mae"] <= 13.1
    data = tmp_path / "run" / "data"
    assert pd.read_parquet(data / "X_train.parquet").shape == (91_200, 37)
    assert pd.read_parquet(data / "X_test.parquet").shape == (22_800, 37)
