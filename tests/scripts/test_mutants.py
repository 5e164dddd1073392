"""Tests of the script that breaks lines of the features."""

import shutil
from pathlib import Path

import pytest

from scripts import mutants
from spotify_ml.utils.paths import PACKAGE

FEATURES = Path("spotify_ml", "features")


@pytest.mark.parametrize("name", mutants.MUTANTS)
def test_every_mutant_changes_one_line_of_code_that_still_compiles(tmp_path: Path, name: str):
    shutil.copytree(PACKAGE / "features", tmp_path / FEATURES)
    before = {path: path.read_text() for path in (tmp_path / FEATURES).rglob("*.py")}
    mutants.mutate(tmp_path, *mutants.MUTANTS[name])
    (changed,) = (path for path, text in before.items() if path.read_text() != text)
    compile(changed.read_text(), str(changed), "exec")


def test_a_line_that_is_not_there_is_an_error(tmp_path: Path):
    (tmp_path / FEATURES).mkdir(parents=True)
    with pytest.raises(ValueError, match="does not stand once"):
        mutants.mutate(tmp_path, "no such line", "")


@pytest.mark.parametrize(("test", "passes"), [("assert True", True), ("assert False", False)])
def test_a_mutant_is_noticed_by_a_test_that_fails(tmp_path: Path, test: str, passes: bool):
    folder = tmp_path / mutants.TESTS[0]
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["slow", "full"]\n')
    (folder / "test_it.py").write_text(f"def test_it():\n    {test}\n")
    assert mutants.tests_pass(tmp_path) is passes
