"""Tests of the command that compares runs, under its earlier name; run reports are tested with the run reader."""

import subprocess
from pathlib import Path

import pytest

from spotify_ml.compare import as_overrides
from spotify_ml.utils.paths import PROJECT
from tests.commands import python

SCRIPT = PROJECT / "scripts" / "compare.py"


@pytest.mark.parametrize(
    ("arguments", "overrides"),
    [
        (["3f2a", "9c81"], ["runs=['3f2a','9c81']"]),
        (["3f2a", "output=x.md", "models:/a@b"], ["output=x.md", "runs=['3f2a','models:/a@b']"]),
        (["--cfg", "job", "3f2a", "~tracking"], ["--cfg", "job", "~tracking", "runs=['3f2a']"]),
        (["it's", "a\\b"], ["runs=['it\\'s','a\\\\b']"]),
        (["--help"], ["--help"]),
        ([], []),
    ],
)
def test_what_is_no_setting_and_no_option_is_a_run(arguments: list[str], overrides: list[str]):
    assert as_overrides(arguments) == overrides


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["3f2a"], "error: name two runs or more"),
        (["3f2a", "9c81", "output=x.pdf"], "output=x.pdf: name a page to write that ends in .html or .md"),
        (["3f2a", "9c81", "otput=x.html"], "did you mean 'output'?"),
        (["3f2a", "9c81", "tracking.uri=sqlite:///none.db"], "error: there is no tracking store sqlite:///none.db"),
    ],
)
def test_mistakes_are_one_clear_error(arguments: list[str], message: str, tmp_path: Path):
    command = [python(), str(SCRIPT), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
