"""The store as it is created: whole, or not at all."""

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from spotify_ml.config.run import TrackingConfig
from spotify_ml.tracking import store
from spotify_ml.tracking.store import connect
from spotify_ml.utils.errors import StoreError
from spotify_ml.utils.paths import PROJECT
from tests.support import new_store


def configured(folder: Path, experiment: str = "popularity") -> TrackingConfig:
    return TrackingConfig(
        uri=f"sqlite:///{folder / 'mlflow.db'}",
        experiment=experiment,
        artifact_location=str(folder / "artifacts"),
        registered_model="popularity",
    )


def interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_new_store_that_is_broken_off_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        # By then its tables are there, and nothing in them.
        patched.setattr(store, "_experiment_id", interrupt)
        with pytest.raises(KeyboardInterrupt):
            connect(configured(tmp_path))
    assert not (tmp_path / "mlflow.db").exists()


def test_a_new_store_whose_process_was_killed_is_made_anew(tmp_path: Path):
    program = """
import os, sys
from pathlib import Path
from sqlalchemy import Engine, event
from spotify_ml.tracking.store import connect
from tests.tracking.test_store import configured
made = []
@event.listens_for(Engine, "before_cursor_execute")
def kill(connection, cursor, statement, *_):
    # SQLite has the table by now, and not that the migration which makes it is done.
    made.append(statement.strip().startswith("CREATE TABLE datasets"))
    if any(made) and statement.startswith("UPDATE alembic_version"):
        os.kill(os.getpid(), 9)
connect(configured(Path(sys.argv[1])))
"""
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=PROJECT, check=False)
    assert killed.returncode == -9
    client, experiment = connect(configured(tmp_path))
    assert client.get_experiment(experiment).name == "popularity"
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_a_store_that_was_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    new_store(tmp_path)
    _, first = connect(configured(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(store, "_experiment_id", interrupt)
        with pytest.raises(KeyboardInterrupt):
            connect(configured(tmp_path))
    client, again = connect(configured(tmp_path, "another"))
    assert again != first
    assert isinstance(client, MlflowClient)
    assert client.get_experiment(first).name == "popularity"


def test_a_database_of_studies_is_no_store_and_stays_as_it_is(tmp_path: Path):
    studies = f"sqlite:///{tmp_path / 'mlflow.db'}"
    optuna.create_study(storage=studies, study_name="night")
    with pytest.raises(StoreError, match=r"its tables are those of studies.*name another: tracking\.uri="):
        connect(configured(tmp_path))
    assert optuna.get_all_study_names(studies) == ["night"]
