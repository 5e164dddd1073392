"""Tests of whole runs on a scheduler and workers that are processes of their own, some of which are killed."""

import signal
import threading
from pathlib import Path
from typing import Any

import joblib
import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from spotify_ml.backends.dask import cluster
from spotify_ml.config.run import RunConfig
from spotify_ml.data.sources import RawTracks
from spotify_ml.reports.summary import Summary
from spotify_ml.tracking.training import train
from spotify_ml.utils.errors import EngineError
from tests.support import configured

from .conftest import Processes, waited_for

pytestmark = pytest.mark.slow

JOBLIB = "xgboost_popularity_model.joblib"


def stored(folder: Path, *overrides: str) -> RunConfig:
    store = [f"tracking.uri=sqlite:///{folder}/mlflow.db", f"tracking.artifact_location={folder}/artifacts"]
    return configured(*store, "cache=off", "model.learning_rate=0.1", "model.max_depth=6", "model.n_jobs=1", *overrides)


def run(config: RunConfig, folder: Path) -> Summary:
    folder.mkdir()
    return train(config, folder, ["engine=dask"])


def runs_of(config: RunConfig) -> list[Any]:
    client = MlflowClient(config.tracking.uri)
    experiment = client.get_experiment_by_name(config.tracking.experiment)
    return client.search_runs([experiment.experiment_id])


def killed_while_fitting(processes: Processes, *victims: Any) -> threading.Thread:
    def kill() -> None:
        waited_for(processes.is_fitting)
        for victim in victims:
            victim.send_signal(signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_run_is_recorded_and_registered_as_one_in_this_process(
    processes: Processes, tmp_path: Path, sample: RawTracks
):
    few = ["model.n_estimators=40", "model.subsample=1", "model.colsample_bytree=1"]
    config = stored(tmp_path, "engine=dask", f"engine.address={processes.address}", *few)
    summary = run(config, tmp_path / "dask")
    local = run(stored(tmp_path, *few, "register=false"), tmp_path / "local")
    (recorded,) = [each for each in runs_of(config) if each.info.run_id == summary.run_id]
    assert len(runs_of(config)) == 2
    assert recorded.info.status == "FINISHED"
    # Nothing is drawn by chance: only the edges of bins and the last digits of sums differ.
    assert summary.metrics["test/r2"] == pytest.approx(local.metrics["test/r2"], abs=0.01)
    same = [name for name in local.metrics if name.startswith(("rows/", "groups/", "features/", "baseline_"))]
    assert len(same) > 10
    assert {name: summary.metrics[name] for name in same} == pytest.approx({name: local.metrics[name] for name in same})
    assert not set(local.metrics) - set(summary.metrics)
    for name in ("data", "figures", "models", "predictions"):
        files = [sorted(path.name for path in (tmp_path / engine / name).iterdir()) for engine in ("dask", "local")]
        assert files[0] == files[1]
    mlflow.set_tracking_uri(config.tracking.uri)
    model = mlflow.pyfunc.load_model(f"models:/{summary.registered_model}@challenger")
    rows = sample.frame.drop(columns="popularity").head(50)
    predicted = model.predict(rows)
    assert np.ptp(predicted) > 10
    estimators = [joblib.load(tmp_path / engine / "models" / JOBLIB) for engine in ("dask", "local")]
    parameters = [estimator.get_params() | {"n_estimators": None} for estimator in estimators]
    np.testing.assert_equal(*parameters)
    assert predicted == pytest.approx(mlflow.pyfunc.load_model(local.model_uri).predict(rows), abs=15)


# As many trees as a kill needs time for.
MANY = ("model.n_estimators=150", "model.early_stopping_rounds=150", "features=audio")


def test_the_loss_of_a_worker_while_fitting_is_made_good(processes: Processes, tmp_path: Path):
    config = stored(tmp_path, "engine=dask", f"engine.address={processes.address}", *MANY)
    thread = killed_while_fitting(processes, processes.workers[0])
    summary = run(config, tmp_path / "run")
    thread.join()
    assert processes.workers[0].wait() == -signal.SIGKILL
    (recorded,) = runs_of(config)
    assert recorded.info.status == "FINISHED"
    assert summary.metrics["learning_curve/train_rmse"] < summary.metrics["baseline_mean/rmse"]


@pytest.mark.parametrize("lost", ["workers", "scheduler"])
def test_a_lost_cluster_is_one_error_and_a_failed_run(processes: Processes, tmp_path: Path, monkeypatch, lost: str):
    monkeypatch.setattr(cluster, "_NO_WORKERS", 3)
    monkeypatch.setattr(cluster, "_CONNECT", 3)
    config = stored(tmp_path, "engine=dask", f"engine.address={processes.address}", *MANY)
    victims = processes.workers if lost == "workers" else [processes.scheduler]
    thread = killed_while_fitting(processes, *victims)
    message = "has lost all its workers" if lost == "workers" else "was lost while it was working"
    with pytest.raises(EngineError, match=rf"^the cluster at {processes.address} {message}.*; .* run again$"):
        run(config, tmp_path / "run")
    thread.join()
    (recorded,) = runs_of(config)
    assert recorded.info.status == "FAILED"
    assert message in recorded.data.tags["error"]
    assert not (tmp_path / "run" / "models").exists()


def test_two_runs_on_as_many_workers_are_equal_and_their_number_is_in_the_hash(tmp_path: Path):
    """The default draws four rows in five for a tree, by their place on a worker."""
    few = ["engine=dask", "engine.threads_per_worker=1", "model.n_estimators=30", "features=audio", "register=false"]
    runs = {
        name: run(stored(tmp_path, *few, f"engine.n_workers={name[0]}"), tmp_path / name)
        for name in ("2 first", "2 again", "1")
    }
    figures = [
        {name: value for name, value in each.metrics.items() if "time/" not in name and "importance/" not in name}
        for each in runs.values()
    ]
    assert figures[0] == figures[1]
    assert figures[0] != figures[2]
    client = MlflowClient(runs["1"].tracking_uri)
    tags = [client.get_run(each.run_id).data.tags for each in runs.values()]
    assert [each["cluster.n_workers"] for each in tags] == ["2, 2", "2, 2", "1, 1"]
    hashes = [each["config.sha256"] for each in tags]
    assert hashes[0] == hashes[1] != hashes[2]
