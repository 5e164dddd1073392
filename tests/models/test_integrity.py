"""Tests of the hashes of a saved model: every change that matters is found and named."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spotify_ml.models.integrity import SUMS_FILE, check_files, write_sums
from spotify_ml.utils.errors import ModelError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder as MLflow lays it out."""
    for name in ("MLmodel", "artifacts/features.skops", "artifacts/model.json", "code/package/module.py"):
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}\n", encoding="utf-8")
    return tmp_path / "model"


def linked(path: Path) -> None:
    """Put a link to the same content in the place of a file."""
    elsewhere = next(each.parent for each in path.parents if each.name == "model") / path.name
    path.symlink_to(path.rename(elsewhere))


def test_the_list_is_in_the_format_of_sha256sum(model: Path):
    digest = write_sums(model)
    text = (model / SUMS_FILE).read_bytes()
    assert digest == hashlib.sha256(text).hexdigest()
    assert text.decode() == "".join(
        f"{hashlib.sha256((model / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("MLmodel", "artifacts/features.skops", "artifacts/model.json", "code/package/module.py")
    )


def test_an_unchanged_model_passes(model: Path):
    check_files(model, write_sums(model))
    check_files(model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            lambda model: (model / "artifacts/model.json").write_text("other"),
            "artifacts/model.json was changed",
            id="a file",
        ),
        pytest.param(
            lambda model: (model / "artifacts/features.skops").unlink(),
            "artifacts/features.skops is missing",
            id="a file that is gone",
        ),
        pytest.param(
            lambda model: (model / "code/numpy.py").write_text("hidden"), "code/numpy.py was added", id="more code"
        ),
        *(
            pytest.param(lambda model, name=name: (model / name).write_bytes(b"hidden"), f"{name} was added", id=name)
            for name in (
                "code/package/module.pyc",
                "code/package/module.so",
                "model_card.md",
                "code/registered_model_meta",
            )
        ),
        pytest.param(
            lambda model: (model / "code/lightgbm").symlink_to(model.parent), "code/lightgbm was added", id="a link"
        ),
        pytest.param(
            lambda model: linked(model / "artifacts/model.json"), "artifacts/model.json was changed", id="a linked file"
        ),
        pytest.param(lambda model: linked(model / SUMS_FILE), f"{SUMS_FILE} was changed", id="a linked list"),
        pytest.param(lambda model: os.mkfifo(model / "code/pipe"), "code/pipe was added", id="a pipe"),
        pytest.param(lambda model: (model / SUMS_FILE).unlink(), f"{SUMS_FILE} is missing", id="the list that is gone"),
    ],
)
def test_every_change_is_named(model: Path, change: Callable[[Path], object], said: str):
    digest = write_sums(model)
    change(model)
    for expected in (digest, None):
        with pytest.raises(ModelError, match=said):
            check_files(model, expected)


def test_all_changes_are_named_at_once(model: Path):
    digest = write_sums(model)
    (model / "MLmodel").write_text("other", encoding="utf-8")
    (model / "artifacts/model.json").unlink()
    with pytest.raises(ModelError, match=r"MLmodel was changed, artifacts/model\.json is missing"):
        check_files(model, digest)


def test_a_list_written_anew_does_not_hide_a_change(model: Path):
    digest = write_sums(model)
    (model / "artifacts/model.json").write_text("other", encoding="utf-8")
    write_sums(model)
    check_files(model)
    with pytest.raises(ModelError, match=f"{SUMS_FILE} was changed"):
        check_files(model, digest)


@pytest.mark.parametrize("name", ["code/package/__pycache__/module.pyc", "registered_model_meta"])
def test_what_use_leaves_behind_does_no_harm(model: Path, name: str):
    digest = write_sums(model)
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("by use", encoding="utf-8")
    check_files(model, digest)
