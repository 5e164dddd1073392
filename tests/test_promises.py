"""What users rely on is as it was recorded before: figures, hashes, files, and what was saved then."""

import subprocess

import pytest

from spotify_ml.utils.paths import PROJECT
from tests.commands import python

PATIENCE_S = 600


@pytest.mark.slow
@pytest.mark.parametrize("names", [["default", "artist"], ["classification", "study", "refused"], ["before"]])
def test_nothing_that_users_rely_on_has_changed(names: list[str]):
    """Some of the commands that ``scripts/promises.py check`` goes through, which takes ten minutes."""
    done = subprocess.run(
        [
            python(),
            str(PROJECT / "scripts" / "promises.py"),
            "check",
            "--portable",
            "--data",
            "sample",
            "--only",
            *names,
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stdout == "nothing differs\n"
    assert done.returncode == 0, done.stderr
