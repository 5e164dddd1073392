"""Tests of the record of one real run on the sample: what stands in MLflow, and the models that come out of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from spotify_ml import __version__
from spotify_ml.config.run import RunConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.schema import AUDIO, NAMES, REQUIRED_AUDIO, TEXT
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, split_tracks
from spotify_ml.reports.summary import Summary
from spotify_ml.tracking.model import log_model
from spotify_ml.tracking.training import train
from spotify_ml.tracking.versions import code_digest
from spotify_ml.utils.paths import PROJECT
from spotify_ml.utils.version import library_version
from tests.support import configured, new_store

pytestmark = pytest.mark.slow

MODEL = "spotify-popularity"
AGREEMENT = 1e-5
PATIENCE_S = 120
OVERRIDES = ["outputs.data=true", "model.n_jobs=1", "model.n_estimators=80", "model.probe_rate=null"]
JOBLIB = "xgboost_popularity_model.joblib"
JSON = "xgboost_popularity_model.json"
DECIDING = ("seed", "cleaning", "split", "features", "task", "model", "tune")
SHARED_PATH = "spotify_ml/data/sample/spotify_by_genre.parquet"


@dataclass(frozen=True)
class Recorded:
    """A finished run, and the rows that it was judged on."""

    config: RunConfig
    summary: Summary
    folder: Path
    client: MlflowClient
    run: Run
    split: Split
    tracks: pd.DataFrame

    @property
    def test_rows(self) -> pd.DataFrame:
        """The raw rows of the test part, without what is to be predicted."""
        columns = [name for name in NAMES if name != "popularity"]
        return self.tracks.iloc[self.split.test][columns].reset_index(drop=True)


@pytest.fixture(scope="module")
def recorded(sample: RawTracks, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """One run through the whole of `train`."""
    root = tmp_path_factory.mktemp("recorded")
    uri = new_store(root)
    overrides = [*OVERRIDES, f"tracking.uri={uri}", f"tracking.artifact_location={root / 'artifacts'}"]
    config = configured(*overrides)
    folder = root / "run"
    folder.mkdir()
    (folder / "train.log").write_text("what the run logged\n", encoding="utf-8")
    summary = train(config, folder, overrides)
    client = MlflowClient(uri)
    tracks = clean(sample.frame, config.cleaning.name).frame
    split = split_tracks(tracks, config.split, config.seed)
    return Recorded(config, summary, folder, client, client.get_run(summary.run_id), split, tracks)


@pytest.fixture(scope="module")
def model_folder(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the logged model, away from the store."""
    logged = recorded.client.get_logged_model(recorded.summary.model_uri.removeprefix("models:/"))
    copy = tmp_path_factory.mktemp("elsewhere") / "model"
    return Path(shutil.copytree(logged.artifact_location.removeprefix("file://"), copy))


@pytest.fixture(scope="module")
def registered(recorded: Recorded) -> Callable[[pd.DataFrame], np.ndarray]:
    """The registered model, as a user loads it."""
    mlflow.set_tracking_uri(recorded.summary.tracking_uri)
    return mlflow.pyfunc.load_model(f"models:/{MODEL}@challenger").predict


@pytest.fixture(scope="module")
def predictions(recorded: Recorded, registered: Callable[[pd.DataFrame], np.ndarray]) -> np.ndarray:
    """What the registered model says of the test rows."""
    return registered(recorded.test_rows)


# --- what stands in the store


def test_experiment_and_run_name(recorded: Recorded):
    experiment = recorded.client.get_experiment(recorded.run.info.experiment_id)
    assert experiment.name == "spotify-popularity"
    assert recorded.run.info.run_name == f"xgboost-recording-{recorded.run.info.run_id[:8]}"
    assert recorded.run.info.status == "FINISHED"


def test_params_are_the_whole_configuration(recorded: Recorded):
    settings = recorded.config.flat()
    # Of paths, what others can use.
    shared = {
        "data.path": SHARED_PATH,
        "cache.folder": Path(settings["cache.folder"]).name,
        "tracking.uri": "sqlite:///mlflow.db",
        "tracking.artifact_location": "artifacts",
    }
    assert recorded.run.data.params == {key: str(value) for key, value in {**settings, **shared}.items()}


def test_tags_say_what_the_result_was_made_from(recorded: Recorded, sample: RawTracks):
    tags = recorded.run.data.tags
    assert tags["data.sha256"] == sample.sha256
    assert tags["config.sha256"] == recorded.config.digest()
    assert tags["code.sha256"] == code_digest()
    for override in OVERRIDES:
        assert override in tags["hydra.overrides"].split()
    for library in ("mlflow", "xgboost", "scikit-learn", "pandas", "numpy", "skops"):
        assert tags[f"version.{library}"] == library_version(library)
    assert tags["version.spotify_ml"] == __version__
    assert "error" not in tags


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="not a git checkout")
def test_tags_name_the_commit_and_whether_it_was_changed(recorded: Recorded):
    tags = recorded.run.data.tags
    assert re.fullmatch(r"[0-9a-f]{40}", tags["git.commit"])
    assert tags["mlflow.source.git.commit"] == tags["git.commit"]
    assert tags["git.dirty"] in ("true", "false")


def test_metrics_have_the_promised_names(recorded: Recorded):
    metrics = recorded.run.data.metrics
    scores = ("r2", "rmse", "mae", "adj_r2", "spearman")
    promised = {f"{part}/{score}" for part in ("train", "val", "test") for score in scores}
    promised |= {f"{part}/{score}" for part in ("baseline_mean", "baseline_genre") for score in ("r2", "rmse", "mae")}
    promised |= {f"time/{stage}_s" for stage in ("etl", "split", "features", "fit", "evaluate", "total")}
    assert promised <= set(metrics)
    assert np.isfinite(list(metrics.values())).all()


def test_counts_are_those_of_the_split(recorded: Recorded):
    metrics, split = recorded.run.data.metrics, recorded.split
    assert metrics["rows/test"] == len(split.test)
    assert metrics["rows/val"] == len(split.validation)
    assert metrics["rows/train"] == len(split.train) + len(split.validation)


def test_times_of_the_stages_make_up_the_total(recorded: Recorded):
    times = {name: value for name, value in recorded.run.data.metrics.items() if name.startswith("time/")}
    total = times.pop("time/total_s")
    assert min(times.values()) >= 0
    assert sum(times.values()) <= total


@pytest.mark.parametrize("part", ["train", "val"])
def test_learning_curve_is_a_metric_history(recorded: Recorded, part: str):
    history = recorded.client.get_metric_history(recorded.run.info.run_id, f"learning_curve/{part}_rmse")
    steps = [point.step for point in history]
    # 80 trees at this rate do not overfit: no early stop, and no need to thin.
    assert steps == list(range(1, 81))
    assert history[-1].value < history[0].value


def test_learning_curve_is_lowest_at_the_chosen_number_of_trees(recorded: Recorded):
    history = recorded.client.get_metric_history(recorded.run.info.run_id, "learning_curve/val_rmse")
    assert min(history, key=lambda point: point.value).step == recorded.run.data.metrics["model/trees"]


def test_inputs_are_the_three_parts_with_source_and_digest(recorded: Recorded):
    inputs = recorded.run.inputs.dataset_inputs
    context = {tag.value: entry.dataset for entry in inputs for tag in entry.tags if tag.key == "mlflow.data.context"}
    assert set(context) == {"train", "validation", "test"}
    assert len({dataset.digest for dataset in context.values()}) == 3
    for part, rows in {"train": recorded.split.train, "validation": recorded.split.validation}.items():
        assert json.loads(context[part].profile)["num_rows"] == len(rows)
    for dataset in context.values():
        assert json.loads(dataset.source)["uri"] == SHARED_PATH
        assert {column["name"] for column in json.loads(dataset.schema)["mlflow_colspec"]} == set(NAMES)


def _artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    listed = client.list_artifacts(run_id, folder)
    return {entry.path for entry in listed if not entry.is_dir}.union(
        *(_artifacts(client, run_id, entry.path) for entry in listed if entry.is_dir)
    )


def test_artifacts_are_the_files_of_the_run_folder(recorded: Recorded):
    artifacts = _artifacts(recorded.client, recorded.run.info.run_id)
    promised = {
        "config.json",
        "train.log",
        "data/data_quality_report.txt",
        "data/data_quality_report.json",
        "data/feature_info.csv",
        f"models/{JOBLIB}",
        f"models/{JSON}",
        "models/model_metadata.json",
        "models/feature_importance.csv",
        "models/intervals.json",
        "models/interval_coverage.csv",
        "figures/learning_curve.png",
        "figures/predicted_vs_actual.png",
        "figures/feature_importance.png",
    }
    assert promised <= artifacts
    # The settings have paths of this machine in the folder.
    for name in promised - {"config.json"}:
        copy = Path(recorded.client.download_artifacts(recorded.run.info.run_id, name))
        assert copy.read_bytes() == (recorded.folder / name).read_bytes()


def test_recorded_configuration_is_the_one_that_ran(recorded: Recorded):
    composed = json.loads((recorded.folder / "config.json").read_text(encoding="utf-8"))
    assert RunConfig.model_validate(composed) == recorded.config
    copy = Path(recorded.client.download_artifacts(recorded.run.info.run_id, "config.json"))
    shared = json.loads(copy.read_text(encoding="utf-8"))
    assert shared["data"]["path"] == SHARED_PATH
    assert {key: shared[key] for key in DECIDING} == {key: composed[key] for key in DECIDING}


def test_version_is_registered_as_challenger_and_never_as_champion(recorded: Recorded):
    model = recorded.client.get_registered_model(MODEL)
    assert {alias: int(number) for alias, number in model.aliases.items()} == {"challenger": 1}
    challenger = recorded.client.get_model_version_by_alias(MODEL, "challenger")
    assert challenger.run_id == recorded.summary.run_id
    assert int(challenger.version) == recorded.summary.version == 1


def test_logged_model_has_signature_and_input_example(recorded: Recorded, model_folder: Path):
    info = mlflow.models.get_model_info(str(model_folder))
    assert set(info.signature.inputs.input_names()) == set(NAMES) - {"popularity"}
    assert set(info.signature.inputs.required_input_names()) == set(REQUIRED_AUDIO)
    example = mlflow.models.Model.load(str(model_folder)).load_input_example(str(model_folder))
    pd.testing.assert_frame_equal(example, recorded.test_rows.head(len(example)), check_dtype=False)


def test_the_model_in_the_store_has_the_settings_and_figures_of_its_run(recorded: Recorded):
    model = recorded.client.get_logged_model(recorded.summary.model_uri.removeprefix("models:/"))
    assert (model.name, model.status, model.source_run_id) == ("model", "READY", recorded.summary.run_id)
    assert model.params == recorded.run.data.params
    figures = {metric.key: metric.value for metric in model.metrics}
    assert figures["test/r2"] == recorded.run.data.metrics["test/r2"]
    assert figures.items() <= recorded.run.data.metrics.items()
    assert [output.model_id for output in recorded.run.outputs.model_outputs] == [model.model_id]


def test_a_model_that_cannot_be_saved_is_marked_so(recorded: Recorded, tmp_path: Path):
    run = recorded.run.info
    logged = recorded.client.create_logged_model(run.experiment_id, source_run_id=run.run_id)
    with pytest.raises(ValueError, match="unpack"):
        log_model(recorded.client, logged, recorded.config, tmp_path / "no files", recorded.test_rows)
    assert recorded.client.get_logged_model(logged.model_id).status == "FAILED"


def test_metadata_and_importance_speak_of_the_same_run(recorded: Recorded):
    models = recorded.folder / "models"
    metadata = json.loads((models / "model_metadata.json").read_text(encoding="utf-8"))
    assert metadata["n_trees"] == recorded.run.data.metrics["model/trees"]
    assert metadata["metrics"].items() <= recorded.run.data.metrics.items()
    importance = pd.read_csv(models / "feature_importance.csv")
    assert sorted(importance["feature"]) == sorted(metadata["features"])
    assert importance["importance"].is_monotonic_decreasing
    assert importance["importance"].sum() == pytest.approx(1, abs=1e-4)


def test_code_of_the_model_is_code_alone(model_folder: Path):
    files = [path for path in (model_folder / "code").rglob("*") if path.is_file()]
    assert files
    assert {path.suffix for path in files} == {".py"}


def test_model_folder_holds_no_pickle(model_folder: Path):
    assert not [path for path in model_folder.rglob("*") if path.suffix in {".pkl", ".joblib", ".pickle"}]


# --- the files of the run folder


def test_usage_of_the_specification_holds_on_the_run_folder(recorded: Recorded):
    model = joblib.load(recorded.folder / "models" / JOBLIB)
    X_test = pd.read_parquet(recorded.folder / "data" / "X_test.parquet")
    y_test = pd.read_parquet(recorded.folder / "data" / "y_test.parquet")["popularity"]
    predicted = model.predict(X_test).clip(0, 100)
    metrics = recorded.run.data.metrics
    assert r2_score(y_test, predicted) == pytest.approx(metrics["test/r2"], abs=1e-6)
    assert root_mean_squared_error(y_test, predicted) == pytest.approx(metrics["test/rmse"], abs=1e-5)
    assert mean_absolute_error(y_test, predicted) == pytest.approx(metrics["test/mae"], abs=1e-5)


def test_data_files_fit_together(recorded: Recorded):
    data = recorded.folder / "data"
    X_train, X_test, y_train, y_test, ready, cleaned = (
        pd.read_parquet(data / f"{name}.parquet")
        for name in ("X_train", "X_test", "y_train", "y_test", "ml_ready_data", "cleaned_spotify_data")
    )
    metrics = recorded.run.data.metrics
    assert len(X_train) == len(y_train) == metrics["rows/train"]
    assert len(X_test) == len(y_test) == metrics["rows/test"]
    assert len(ready) == len(cleaned) == metrics["rows/clean"]
    assert list(X_train.columns) == list(X_test.columns) == [name for name in ready.columns if name != "popularity"]
    info = pd.read_csv(data / "feature_info.csv")
    assert list(info.columns) == ["feature", "dtype", "missing", "unique", "mean", "std"]
    assert list(info["feature"]) == list(X_train.columns)
    np.testing.assert_allclose(info["mean"], X_train.mean(), rtol=1e-4, atol=1e-6)
    assert len(pd.read_csv(data / "cleaned_spotify_data.csv")) == len(cleaned)


# --- the three formats, each loaded alone


WITHOUT_PROJECT = """
import importlib.util, sys
from pathlib import Path
# An editable installation is a path or a finder.
sys.path = [entry for entry in sys.path if not Path(entry, "spotify_ml", "__init__.py").exists()]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
found = importlib.util.find_spec("spotify_ml")
assert found is None or found.origin is None, found
"""


def _in_a_process_of_its_own(script: str, folder: Path, *arguments: Path | str, **environment: str) -> str:
    """Run a script from `folder`, in a Python that can import the libraries but not this project."""
    command = [sys.executable, "-c", WITHOUT_PROJECT + script, *map(str, arguments)]
    isolated = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**isolated, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FILES_ALONE = """
import joblib, numpy as np, pandas as pd, xgboost
models, features, answers = map(Path, sys.argv[1:])
X = pd.read_parquet(features)
np.save(answers / "joblib.npy", joblib.load(models / "xgboost_popularity_model.joblib").predict(X))
booster = xgboost.Booster(model_file=models / "xgboost_popularity_model.json")
np.save(answers / "json.npy", booster.predict(xgboost.DMatrix(X)))
assert "spotify_ml" not in sys.modules
"""


def test_the_formats_agree_on_the_test_rows(recorded: Recorded, predictions: np.ndarray, tmp_path: Path):
    features = recorded.folder / "data" / "X_test.parquet"
    _in_a_process_of_its_own(FILES_ALONE, tmp_path, recorded.folder / "models", features, tmp_path)
    for name in ("joblib", "json"):
        alone = np.load(tmp_path / f"{name}.npy").clip(0, 100)
        assert np.abs(alone - predictions).max() <= AGREEMENT
    assert 0 <= recorded.run.data.metrics["formats/largest_difference"] <= AGREEMENT


MODEL_ALONE = """
import mlflow, numpy as np, pandas as pd
uri, home, rows, answer = sys.argv[1:]
predicted = mlflow.pyfunc.load_model(uri).predict(pd.read_parquet(rows))
import spotify_ml
assert Path(spotify_ml.__file__).is_relative_to(home), spotify_ml.__file__
np.save(answer, predicted)
"""


@pytest.mark.parametrize("source", ["registry", "folder"])
def test_registered_model_loads_alone_with_pickle_switched_off(
    source: str, recorded: Recorded, model_folder: Path, predictions: np.ndarray, tmp_path: Path
):
    rows, answer = tmp_path / "rows.parquet", tmp_path / "answer.npy"
    recorded.test_rows.to_parquet(rows)
    if source == "registry":
        uri = f"models:/{MODEL}@challenger"
        home = recorded.client.get_logged_model(recorded.summary.model_uri.removeprefix("models:/")).artifact_location
    else:
        uri = home = str(model_folder)
    environment = {
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_TRACKING_URI": recorded.summary.tracking_uri
        if source == "registry"
        else f"sqlite:///{tmp_path}/none.db",
    }
    _in_a_process_of_its_own(MODEL_ALONE, tmp_path, uri, home, rows, answer, **environment)
    np.testing.assert_array_equal(np.load(answer), predictions)


# --- raw rows in, popularity out


def test_registered_model_scores_as_recorded(recorded: Recorded, predictions: np.ndarray):
    actual = recorded.tracks["popularity"].to_numpy()[recorded.split.test]
    assert r2_score(actual, predictions) == pytest.approx(recorded.run.data.metrics["test/r2"], abs=1e-6)


def _valid(predictions: Any, n_rows: int) -> np.ndarray:
    """One float from 0 to 100 per row."""
    values = np.asarray(predictions)
    assert values.shape == (n_rows,)
    assert values.dtype == np.float64
    assert ((values >= 0) & (values <= 100)).all()
    return values


def test_predictions_are_one_float_in_range_per_row(recorded: Recorded, predictions: np.ndarray):
    assert np.ptp(_valid(predictions, len(recorded.test_rows))) > 10


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: rows.assign(extra="x", popularity=99.0), id="extra columns"),
        pytest.param(lambda rows: rows.assign(**{"Unnamed: 0": range(len(rows))}), id="the index column"),
        pytest.param(lambda rows: rows[rows.columns[::-1]], id="columns in another order"),
        pytest.param(lambda rows: rows.set_index(np.arange(len(rows)) * 7 - 3), id="another index"),
        pytest.param(lambda rows: rows.set_index(np.zeros(len(rows), dtype=int)), id="an index that repeats"),
        pytest.param(lambda rows: rows.drop(columns="track_id"), id="no track id"),
        pytest.param(lambda rows: rows.assign(track_id=None), id="None as track id"),
        pytest.param(lambda rows: rows.assign(explicit=rows["explicit"].astype(int)), id="a flag as 0 and 1"),
        pytest.param(lambda rows: rows.astype({"key": float, "duration_ms": float}), id="floats as integers"),
        pytest.param(lambda rows: rows.astype(dict.fromkeys(TEXT, object)), id="text as objects"),
    ],
)
def test_what_the_model_does_not_use_changes_nothing(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    recorded: Recorded,
    registered: Callable[[pd.DataFrame], np.ndarray],
    predictions: np.ndarray,
):
    np.testing.assert_array_equal(registered(change(recorded.test_rows)), predictions)


@pytest.mark.parametrize(
    "change",
    [
        *(pytest.param(lambda rows, name=name: rows.drop(columns=name), id=f"no {name}") for name in TEXT),
        pytest.param(lambda rows: rows[list(AUDIO)], id="no text at all"),
        pytest.param(lambda rows: rows.assign(artists="Nobody", track_name="Nothing"), id="an unseen artist"),
        pytest.param(lambda rows: rows.assign(artists=None, track_name=None), id="None as names"),
        pytest.param(lambda rows: rows.assign(album_name=np.nan), id="NaN as album"),
        pytest.param(lambda rows: rows.assign(track_genre="unheard-of"), id="an unseen genre"),
        pytest.param(lambda rows: rows.assign(track_genre=""), id="an empty genre"),
        pytest.param(lambda rows: rows.assign(track_genre=None), id="None as genre"),
        pytest.param(lambda rows: rows.assign(track_genre=np.nan), id="NaN as genre"),
        pytest.param(lambda rows: rows.assign(**dict.fromkeys(TEXT, None)), id="None as all text"),
        pytest.param(lambda rows: rows.assign(**dict.fromkeys(TEXT, np.nan)), id="NaN as all text"),
        pytest.param(
            lambda rows: rows.assign(track_genre=rows["track_genre"].where(rows.index % 2 == 0)),
            id="some genres missing",
        ),
    ],
)
def test_text_is_optional(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    recorded: Recorded,
    registered: Callable[[pd.DataFrame], np.ndarray],
):
    rows = recorded.test_rows
    _valid(registered(change(rows)), len(rows))


def test_integers_are_taken_where_floats_are_usual(
    recorded: Recorded, registered: Callable[[pd.DataFrame], np.ndarray]
):
    usual = ["tempo", "loudness", "energy", "valence"]
    rounded = recorded.test_rows.assign(**{name: recorded.test_rows[name].round() for name in usual})
    np.testing.assert_array_equal(registered(rounded.astype(dict.fromkeys(usual, int))), registered(rounded))


def test_no_rows_give_no_predictions(recorded: Recorded, registered: Callable[[pd.DataFrame], np.ndarray]):
    _valid(registered(recorded.test_rows.head(0)), 0)


def test_a_row_alone_is_scored_as_in_a_batch(
    recorded: Recorded, registered: Callable[[pd.DataFrame], np.ndarray], predictions: np.ndarray
):
    alone = [registered(recorded.test_rows.iloc[[row]]) for row in range(10)]
    np.testing.assert_array_equal(np.concatenate(alone), predictions[:10])


def test_a_row_as_plain_values_is_scored(
    recorded: Recorded, registered: Callable[[pd.DataFrame], np.ndarray], predictions: np.ndarray
):
    records = json.loads(recorded.test_rows.head(5).to_json(orient="records", double_precision=15))
    np.testing.assert_allclose(registered(pd.DataFrame(records)), predictions[:5], atol=AGREEMENT)


@pytest.mark.parametrize("name", REQUIRED_AUDIO)
def test_a_missing_audio_column_is_named(
    name: str, recorded: Recorded, registered: Callable[[pd.DataFrame], np.ndarray]
):
    with pytest.raises(Exception, match=rf"\b{name}\b"):
        registered(recorded.test_rows.drop(columns=name))


def test_text_in_an_audio_column_is_named(recorded: Recorded, registered: Callable[[pd.DataFrame], np.ndarray]):
    with pytest.raises(Exception, match=r"\btempo\b"):
        registered(recorded.test_rows.assign(tempo="fast"))
