"""Tests of files that are whole or not there, and of what is said of those that cannot be written."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spotify_ml import files
from spotify_ml.errors import OutputError
from spotify_ml.files import partial_name, reason_of, remove_abandoned, staged, temporary_folder


def test_the_next_start_removes_what_a_killed_process_was_writing(tmp_path: Path):
    program = "import os, sys; from pathlib import Path; from spotify_ml.files import staged\n"
    program += "with staged(Path(sys.argv[1])) as file: file.write_text('half'); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "scored.csv")], check=False)
    assert killed.returncode == -9
    assert len(list(tmp_path.glob(".scored.csv.*.partial"))) == 1
    files._remove_abandoned_once.cache_clear()
    with staged(tmp_path / "other.csv") as file:
        file.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other.csv"]


def test_a_temporary_folder_holds_those_of_libraries_and_goes_with_a_process_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert Path(tempfile.mkdtemp()).parent == folder
        assert folder.parent == tmp_path
        remove_abandoned(tmp_path)
        assert folder.is_dir()
    assert tempfile.gettempdir() == str(tmp_path)
    program = "import os, tempfile; from spotify_ml.files import lasting_folder, temporary_folder\n"
    program += "lasting_folder()\nif not os.fork(): raise SystemExit\nos.wait(); assert lasting_folder().is_dir()\n"
    for end, left in (("", 0), ("\nwith temporary_folder(): tempfile.mkdtemp(); os.kill(os.getpid(), 9)", 2)):
        subprocess.run([sys.executable, "-c", program + end], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
        assert len(list(tmp_path.iterdir())) == left
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_process_s_own_half_written_file_is_its_own(tmp_path: Path):
    with staged(tmp_path / "a") as first, staged(tmp_path / "b") as second:
        assert first == partial_name(tmp_path / "a", int(first.name.split(".")[2].split("-")[0]))
        first.touch()
        second.touch()
        files._remove_abandoned_once.cache_clear()
        with staged(tmp_path / "c") as third:
            third.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device", "x"), "No space left on device (x)"),
        (OSError("said"), "said"),
        (shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]), "No space left on device (a)"),
        (
            shutil.Error([(f"a{number}", "b", "[Errno 28] No space left on device: 'b'") for number in range(99)]),
            "No space left on device (a0 and 98 others)",
        ),
        (shutil.Error("`a` and `b` are the same file"), "`a` and `b` are the same file"),
    ],
)
def test_the_reason_is_one_line(error: OSError, reason: str, tmp_path: Path):
    assert reason_of(error) == reason
    with pytest.raises(OutputError) as caught, staged(tmp_path / "x"):
        raise error
    assert str(caught.value) == f"{tmp_path / 'x'} cannot be written: {reason}"
