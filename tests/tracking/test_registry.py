"""Tests of loading a registered version: what is found, what is refused, and what it predicts."""

import inspect
import logging
import marshal
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from packaging.requirements import Requirement

import spotify_ml
from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.schema import REQUIRED_AUDIO
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.tracking.registry import ScoringModel, parameters
from spotify_ml.tracking.training import train
from spotify_ml.utils.errors import DataError, ModelError, TrackingError
from spotify_ml.utils.paths import PROJECT
from spotify_ml.utils.version import distribution
from tests.support import configured
from tests.tracking.conftest import CHAMPION, MODEL, Store


@pytest.fixture(scope="module")
def model(store: Store) -> ScoringModel:
    return spotify_ml.load_model(tracking_uri=store.uri)


@pytest.fixture(scope="module")
def predictions(store: Store, model: ScoringModel) -> np.ndarray:
    return model.predict(store.rows)


# --- what is found


def test_load_model_gives_the_champion_and_says_which_version_that_is(store: Store, model: ScoringModel):
    assert (model.version.name, model.version.number) == (MODEL, 1)
    assert model.version.run_id == store.summary.run_id


def test_load_model_takes_the_store_that_the_environment_names(
    store: Store, predictions: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    np.testing.assert_array_equal(spotify_ml.load_model(f"models:/{MODEL}/1").predict(store.rows), predictions)


def test_load_model_leaves_mlflow_set_to_what_it_was(store: Store):
    before = mlflow.get_tracking_uri()
    spotify_ml.load_model(CHAMPION, store.uri)
    assert mlflow.get_tracking_uri() == before


def test_plain_mlflow_gives_the_same(store: Store, predictions: np.ndarray):
    mlflow.set_tracking_uri(store.uri)
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(CHAMPION).predict(store.rows), predictions)


def test_the_running_package_stays_the_one_that_is_imported(store: Store, model: ScoringModel):
    loaded = type(model.model.unwrap_python_model().model)
    assert (loaded.__module__, loaded.__name__) == (PopularityModel.__module__, PopularityModel.__name__)
    assert loaded is not PopularityModel
    assert sys.modules[PopularityModel.__module__].PopularityModel is PopularityModel


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (f"models:/{MODEL}@nobody", r"aliases @challenger \(version 1\), @champion \(version 1\)"),
        (f"models:/{MODEL}/7", "versions up to 1"),
        ("models:/popularity@champion", f"there are {MODEL}"),
        ("popularity", "models:/name@alias"),
    ],
)
def test_a_version_that_is_not_there_is_answered_with_what_is(store: Store, uri: str, said: str):
    with pytest.raises(TrackingError, match=said):
        spotify_ml.load_model(uri, store.uri)


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path):
    with pytest.raises(TrackingError, match="train first"):
        spotify_ml.load_model(tracking_uri=f"sqlite:///{tmp_path / 'none.db'}")
    assert list(tmp_path.iterdir()) == []


def test_versions_are_searched_by_what_they_were_made_with(store: Store):
    found = store.client.search_model_versions(
        f"name = '{MODEL}' and tags.split = 'recording' and tags.features = 'full' and tags.model = 'xgboost' "
        "and tags.cleaning = 'tracks' and tags.task = 'regression' and tags.seed = '42'"
    )
    assert [version.run_id for version in found] == [store.summary.run_id]
    tags, run = found[0].tags, store.client.get_run(store.summary.run_id).data
    assert tags["data.sha256"] == run.tags["data.sha256"]
    assert tags.get("git.commit") == run.tags.get("git.commit")
    for metric in ("r2", "rmse"):
        assert float(tags[f"test.{metric}"]) == pytest.approx(run.metrics[f"test/{metric}"], abs=1e-4)


def test_compiled_code_beside_a_version_is_neither_run_nor_written(store: Store, tmp_path: Path):
    source, sentinel = store.model / "code" / "spotify_ml" / "models" / "popularity.py", tmp_path / "it ran"
    state = source.stat()
    planted = compile(f"open({str(sentinel)!r}, 'w').close()\n" + source.read_text(), str(source), "exec")
    compiled = Path(cache_from_source(str(source)))
    header = MAGIC_NUMBER + bytes(4) + int(state.st_mtime).to_bytes(4, "little") + state.st_size.to_bytes(4, "little")
    try:
        compiled.parent.mkdir(exist_ok=True)
        compiled.write_bytes(header + marshal.dumps(planted))
        # Python itself would take it.
        command = f"import sys; sys.path.insert(0, {str(store.model / 'code')!r}); import spotify_ml.models.popularity"
        subprocess.run([sys.executable, "-c", command], cwd=tmp_path, check=True)
        assert sentinel.is_file()
        sentinel.unlink()
        for path in (store.model / "code").rglob("__pycache__"):
            if path != compiled.parent:
                shutil.rmtree(path)
        assert len(spotify_ml.load_model(CHAMPION, store.uri).predict(store.rows)) == len(store.rows)
        assert not sentinel.exists()
        assert list((store.model / "code").rglob("__pycache__")) == [compiled.parent]
    finally:
        for path in list((store.model / "code").rglob("__pycache__")):
            shutil.rmtree(path)


@pytest.mark.slow
def test_a_version_that_does_not_beat_its_baselines_is_no_challenger(store: Store, tmp_path: Path):
    place = [f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}", f"tracking.artifact_location={tmp_path / 'artifacts'}"]
    client = MlflowClient(place[0].removeprefix("tracking.uri="))
    summaries = []
    for name, rate in (("weak", 0.001), ("strong", 0.1), ("weak again", 0.001)):
        few = ["model.n_jobs=1", "model.max_depth=4", "model.n_estimators=40", f"model.learning_rate={rate}"]
        (tmp_path / name).mkdir()
        summaries.append(train(configured(*place, *few), tmp_path / name, few))
    assert [summary.version for summary in summaries] == [1, 2, 3]
    assert [summary.unbeaten for summary in summaries] == ["baseline_genre", "", "baseline_genre"]
    assert {name: int(number) for name, number in client.get_registered_model(MODEL).aliases.items()} == {
        "challenger": 2
    }


# --- what is predicted


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: rows.to_dict("records"), id="a list of mappings"),
        pytest.param(lambda rows: rows[rows.columns[::-1]].assign(more="x"), id="more columns, in another order"),
        pytest.param(lambda rows: rows.to_dict("list"), id="a mapping of columns"),
        pytest.param(pl.from_pandas, id="Polars"),
        pytest.param(lambda rows: pa.Table.from_pandas(rows.set_index("track_genre")), id="Arrow"),
        pytest.param(lambda rows: rows.set_index(["artists", "tempo"]), id="columns in an index"),
        pytest.param(lambda rows: rows.assign(artists=rows["artists"].str.split(";")), id="lists of artists"),
    ],
)
def test_rows_may_come_in_many_shapes(
    store: Store,
    model: ScoringModel,
    predictions: np.ndarray,
    change: Callable[[pd.DataFrame], object],
    caplog: pytest.LogCaptureFixture,
):
    np.testing.assert_allclose(model.predict(change(store.rows)), predictions, atol=1e-6)
    assert not caplog.records


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda rows: rows.assign(artists=[[{"name": "A"}]] * len(rows)), "artists is not text", id="objects"
        ),
        pytest.param(lambda rows: rows.assign(album_name=[["A"]] * len(rows)), "album_name is not text", id="lists"),
        pytest.param(lambda rows: rows.assign(key=True), "key is not numeric", id="flags"),
    ],
)
def test_what_is_refused_is_refused_by_plain_mlflow(
    store: Store, model: ScoringModel, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
):
    with pytest.raises(DataError, match=message):
        model.predict(change(store.rows))
    mlflow.set_tracking_uri(store.uri)
    with pytest.raises(MlflowException, match=message):
        mlflow.pyfunc.load_model(CHAMPION).predict(change(store.rows))


def test_a_missing_column_is_named_with_what_it_may_be_called(store: Store, model: ScoringModel):
    with pytest.raises(DataError, match=r"lack the columns tempo \(did you mean 'temp'\?\)") as caught:
        model.predict(store.rows.rename(columns={"tempo": "temp"}))
    assert store.rows["track_name"].iloc[0] not in str(caught.value)


def test_text_in_an_audio_column_is_named(store: Store, model: ScoringModel):
    with pytest.raises(DataError, match=r"\btempo\b"):
        model.predict(store.rows.assign(tempo="fast"))


def test_a_parameter_that_the_version_does_not_know_is_not_passed_over(store: Store, model: ScoringModel):
    with pytest.raises(
        DataError, match="knows no intervall: it takes out_of_range, interval, explain, known, catalogue; a version"
    ):
        model.predict(store.rows, {"intervall": 0.9})


@pytest.mark.parametrize("params", [{"interval": 0.9}, {"explain": 5}, {"interval": 0.5, "explain": 2}])
def test_intervals_and_reasons_are_the_same_by_plain_mlflow(
    store: Store, model: ScoringModel, params: dict[str, float]
):
    mlflow.set_tracking_uri(store.uri)
    expected = mlflow.pyfunc.load_model(CHAMPION).predict(store.rows, params=params)
    pd.testing.assert_frame_equal(model.predict(store.rows, params), expected)


@pytest.mark.parametrize("params", [{"interval": 1.2}, {"interval": "high"}, {"explain": 0}, {"explain": 500}])
def test_a_parameter_with_no_such_value_is_refused_by_name(
    store: Store, model: ScoringModel, params: dict[str, object]
):
    (name,) = params
    with pytest.raises(DataError, match=f"{name}={params[name]}: give"):
        model.predict(store.rows, params)
    mlflow.set_tracking_uri(store.uri)
    with pytest.raises(MlflowException, match=name):
        mlflow.pyfunc.load_model(CHAMPION).predict(store.rows, params=params)


def test_intervals_hold_as_often_as_the_run_says(store: Store, model: ScoringModel, sample: RawTracks):
    tracks = clean(sample.frame, "tracks").frame
    split = split_tracks(tracks, SplitConfig(name="recording", test_size=0.2, val_size=0.12), 42)
    test = tracks.iloc[split.test]
    given = model.predict(test.drop(columns="popularity"), {"interval": 0.9})
    held = (given["lower"] <= test["popularity"]) & (test["popularity"] <= given["upper"])
    assert held.mean() == pytest.approx(store.summary.metrics["interval/coverage_90"], abs=2e-3)
    assert (given["upper"] - given["lower"]).mean() == pytest.approx(
        store.summary.metrics["interval/width_90"], abs=1e-2
    )


# --- files that were changed


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """Give a file another content for a while."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    "name",
    [
        "artifacts/features.skops",
        "artifacts/xgboost_popularity_model.json",
        "code/spotify_ml/features/transformers/names.py",
        "MLmodel",
        "requirements.txt",
    ],
)
def test_a_changed_file_is_refused_by_name(store: Store, name: str):
    path = store.model / name
    with (
        changed(path, path.read_bytes() + b"\n"),
        pytest.raises(ModelError, match=rf"{name} was changed"),
    ):
        spotify_ml.load_model(CHAMPION, store.uri)
    spotify_ml.load_model(CHAMPION, store.uri)


def test_plain_mlflow_refuses_a_changed_file_too(store: Store):
    mlflow.set_tracking_uri(store.uri)
    path = store.model / "artifacts" / "features.skops"
    with changed(path, path.read_bytes() + b"\n"), pytest.raises(Exception, match=r"features\.skops was changed"):
        mlflow.pyfunc.load_model(CHAMPION)


def test_a_version_without_hashes_loads_with_a_warning(store: Store, caplog: pytest.LogCaptureFixture):
    client, tag = store.client, "model.sha256"
    digest = client.get_model_version(MODEL, "1").tags[tag]
    client.delete_model_version_tag(MODEL, "1", tag)
    try:
        with caplog.at_level(logging.WARNING):
            spotify_ml.load_model(CHAMPION, store.uri)
    finally:
        client.set_model_version_tag(MODEL, "1", tag, digest)
    assert "not checked" in caplog.text


# --- what it takes to load


def test_requirements_are_pinned_and_few(store: Store):
    lines = (store.model / "requirements.txt").read_text(encoding="utf-8").split()
    required = {(each := Requirement(line)).name: str(each.specifier) for line in lines}
    libraries = {
        "mlflow-skinny",
        "numpy",
        "pandas",
        "pyarrow",
        "scikit-learn",
        "scipy",
        "skops",
        distribution("xgboost"),
    }
    assert set(required) == libraries
    assert all(specifier.startswith("==") for specifier in required.values())


def test_importing_the_package_costs_nothing():
    script = "import sys, spotify_ml; print('mlflow' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_scoring_code_needs_nothing_that_only_training_needs():
    script = """
import sys
for name in ("hydra", "omegaconf", "pydantic", "yaml", "mlflow", "optuna", "matplotlib", "requests"):
    sys.modules[name] = None
import spotify_ml.models.combined, spotify_ml.models.integrity, spotify_ml.models.popularity
from spotify_ml.features.transformers import catalogue, columns, genres, names, statistics
"""
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True)


def test_the_signature_marks_what_is_required(store: Store):
    mlflow.set_tracking_uri(store.uri)
    signature = mlflow.models.get_model_info(CHAMPION).signature
    assert set(signature.inputs.required_input_names()) == set(REQUIRED_AUDIO)
    with pytest.raises(MlflowException, match=r"missing inputs \['tempo'\]"):
        mlflow.pyfunc.load_model(CHAMPION).predict(store.rows.drop(columns="tempo"))


def test_the_parameters_of_a_version_are_read_from_its_files(store: Store, model: ScoringModel):
    assert parameters(store.model) == model.params == ["out_of_range", "interval", "explain", "known", "catalogue"]


def test_the_signature_offers_every_keyword_of_the_prediction(store: Store):
    mlflow.set_tracking_uri(store.uri)
    params = mlflow.models.get_model_info(CHAMPION).signature.params
    keywords = inspect.signature(PopularityModel.predict).parameters.values()
    defaults = {keyword.name: keyword.default for keyword in keywords if keyword.default is not keyword.empty}
    assert {param.name: param.default for param in (params or ())} == defaults


def test_a_mistyped_alias_or_name_is_answered_with_the_nearest(store: Store):
    with pytest.raises(TrackingError, match=r"\(did you mean 'champion'\?\)"):
        spotify_ml.load_model(f"models:/{MODEL}@champoin", store.uri)
    with pytest.raises(TrackingError, match=rf"no model 'spotify-populrity' \(did you mean '{MODEL}'\?\)"):
        spotify_ml.load_model("models:/spotify-populrity@champion", store.uri)
