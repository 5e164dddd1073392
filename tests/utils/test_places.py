"""Tests of what a store is told of this machine: names, and paths from the checkout on."""

from pathlib import Path

import pytest

from spotify_ml.utils.paths import PROJECT
from spotify_ml.utils.places import folder_of, paths_in, shared_folder, shared_overrides, shared_text, shared_value


@pytest.mark.parametrize(
    ("setting", "shared"),
    [
        ("/mnt/a b/tracks (1).csv", "tracks (1).csv"),
        (f"{PROJECT}/data/raw/dataset.csv", "data/raw/dataset.csv"),
        ("data/tracks.csv", "data/tracks.csv"),
        ("sqlite:////home/me/mlflow.db", "sqlite:///mlflow.db"),
        (f"sqlite:///{PROJECT}/mlruns/mlflow.db", "sqlite:///mlruns/mlflow.db"),
        ("sqlite:///mlruns/mlflow.db", "sqlite:///mlruns/mlflow.db"),
        ("http://user:secret@host/a/b", "http://user:***@host/a/b"),
        ("models:/name/3", "models:/name/3"),
        ("s3://bucket/folder/file", "s3://bucket/folder/file"),
        (7, 7),
        (None, None),
    ],
)
def test_a_setting_is_told_from_the_checkout_on_or_by_its_name(setting: object, shared: object):
    assert shared_value(setting) == shared


@pytest.mark.parametrize(
    ("typed", "shared"),
    [
        ("data.path=/mnt/a b/tracks.csv", "data.path=tracks.csv"),
        ("+data.path='/mnt/a, b/tracks.csv'", "+data.path='tracks.csv'"),
        ("data.path=/a/one.csv,/b/two.csv", "data.path=one.csv,two.csv"),
        ("tune.space={low: 1, file: /a/b}", "tune.space={low: 1, file: b}"),
        ("tracking.uri=sqlite:////home/me/mlflow.db", "tracking.uri=sqlite:///mlflow.db"),
        (r"tracking.uri=sqlite\:////home/me/mlflow.db", r"tracking.uri=sqlite\:///mlflow.db"),
        ("tracking.uri=http://user:secret@host/a/b", "tracking.uri=http://user:***@host/a/b"),
        ("model.max_depth=4", "model.max_depth=4"),
    ],
)
def test_what_was_typed_is_told_without_folders(typed: str, shared: str):
    assert shared_overrides([typed]) == [shared]


def test_a_message_is_told_without_folders():
    said = "'/mnt/x/t.csv' is not in sqlite:////a/b.db (/e/f/): models:/name/3, http://host/a/b, AC/DC and /ping stay"
    assert shared_text(said) == (
        "'t.csv' is not in sqlite:///b.db (f): models:/name/3, http://host/a/b, AC/DC and /ping stay"
    )
    # A blank in a path is known of those that were given.
    assert shared_text("/a b/c d.csv is gone", paths_in(["file", "/a b/c d.csv", 7])) == "c d.csv is gone"


def test_the_folder_of_a_run_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    folders = {PROJECT / "outputs" / "run": "outputs/run", tmp_path / "me" / "run": "~/run"}
    assert {folder: shared_folder(folder) for folder in folders} == folders
    assert [folder_of(told) for told in folders.values()] == list(folders)
    # Elsewhere the name alone would find nothing.
    assert folder_of(shared_folder(tmp_path / "run")) == tmp_path / "run"
