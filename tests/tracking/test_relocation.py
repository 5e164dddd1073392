"""Tests of a local store that was moved or copied: one command, and runs and models load again."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import spotify_ml
from spotify_ml.config.run import TrackingConfig
from spotify_ml.tracking.relocation import relocate
from spotify_ml.tracking.store import connect
from spotify_ml.utils.errors import ModelError, TrackingError
from tests.commands import python
from tests.tracking.conftest import CHAMPION, Store


@pytest.fixture
def moved(store: Store, tmp_path: Path) -> Store:
    """The store after it was copied to one folder, made to load there, and moved to another."""
    first = store.at(tmp_path / "first")
    shutil.copytree(store.folder, first.folder)
    relocate(first.tracking)
    return store.at(first.folder.rename(tmp_path / "second"))


def _locations(store: Store) -> set[str]:
    """Every path in the database where files are; MLflow's own first experiment never holds any."""
    query = """
        SELECT artifact_location FROM experiments WHERE name != 'Default'
        UNION SELECT artifact_uri FROM runs
        UNION SELECT artifact_location FROM logged_models
        UNION SELECT storage_location FROM model_versions
    """
    with closing(sqlite3.connect(store.folder / "mlflow.db")) as connection:
        return {location for (location,) in connection.execute(query)}


def test_a_moved_store_says_what_to_do_and_then_loads(store: Store, moved: Store):
    with pytest.raises(ModelError, match=r"python -m spotify_ml\.relocate"):
        spotify_ml.load_model(CHAMPION, moved.uri)
    done = relocate(moved.tracking)
    assert done.rewritten == 4
    assert all(Path(location).is_relative_to(moved.folder) for location in _locations(moved))
    expected = spotify_ml.load_model(CHAMPION, store.uri).predict(store.rows)
    np.testing.assert_array_equal(spotify_ml.load_model(CHAMPION, moved.uri).predict(store.rows), expected)
    assert "config.json" in [entry.path for entry in moved.client.list_artifacts(moved.summary.run_id)]


def test_a_copy_leaves_the_original_as_it_was(store: Store, tmp_path: Path):
    before = (store.folder / "mlflow.db").read_bytes()
    copy = store.at(tmp_path / "copy")
    shutil.copytree(store.folder, copy.folder)
    relocate(copy.tracking)
    assert (store.folder / "mlflow.db").read_bytes() == before
    assert copy.model.is_relative_to(copy.folder)
    assert store.model.is_relative_to(store.folder)


def test_a_second_time_there_is_nothing_to_do(moved: Store):
    relocate(moved.tracking)
    database = (moved.folder / "mlflow.db").read_bytes()
    assert relocate(moved.tracking).rewritten == 0
    assert (moved.folder / "mlflow.db").read_bytes() == database


def test_files_that_were_left_behind_are_refused_and_nothing_is_rewritten(store: Store, tmp_path: Path):
    copy = store.at(tmp_path / "copy")
    shutil.copytree(store.folder, copy.folder, ignore=shutil.ignore_patterns("models"))
    before = _locations(copy)
    with pytest.raises(TrackingError, match=rf"{store.model}.*move or copy the whole folder"):
        relocate(copy.tracking)
    assert _locations(copy) == before


def test_what_lies_elsewhere_is_left_as_it_is(moved: Store):
    # A folder whose name begins like that of the old one is another folder.
    elsewhere = f"{moved.folder.with_name('first')}-aid/run"
    with closing(sqlite3.connect(moved.folder / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE runs SET artifact_uri = ?", (elsewhere,))
    assert relocate(moved.tracking).elsewhere == 1
    assert elsewhere in _locations(moved)


def test_a_run_in_a_moved_store_is_refused_before_it_writes_to_the_old_place(moved: Store):
    with pytest.raises(TrackingError, match=r"python -m spotify_ml\.relocate"):
        connect(moved.tracking)
    relocate(moved.tracking)
    connect(moved.tracking)


def test_a_relative_folder_of_artifacts_is_known_again(moved: Store, monkeypatch: pytest.MonkeyPatch):
    relocate(moved.tracking)
    monkeypatch.chdir(moved.folder)
    connect(moved.tracking.model_copy(update={"artifact_location": "artifacts"}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"uri": "http://127.0.0.1:5000"}, "no local store"),
        ({"uri": "sqlite:////nowhere/mlflow.db"}, "no tracking store"),
        ({"artifact_location": "/nowhere"}, "no artifacts in /nowhere"),
        ({"experiment": "another"}, "no experiment 'another'"),
    ],
)
def test_what_is_no_store_is_refused(store: Store, change: dict[str, str], said: str):
    with pytest.raises(TrackingError, match=said):
        relocate(TrackingConfig(**(store.tracking.model_dump() | change)))


@pytest.mark.slow
def test_the_command_says_what_it_did(moved: Store, tmp_path: Path):
    overrides = [f"tracking.uri={moved.uri}", f"tracking.artifact_location={moved.folder / 'artifacts'}"]
    command = [python(), "-m", "spotify_ml.relocate", *overrides]
    (tmp_path / "elsewhere").mkdir()
    for said in (f"locations now begin with {moved.folder}", "nothing to do"):
        done = subprocess.run(
            command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False, env=os.environ
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    assert list((tmp_path / "elsewhere").iterdir()) == []
