"""Tests of files that are whole or not there, and of what is said of those that cannot be written."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotify_ml.utils import files
from spotify_ml.utils.errors import OutputError
from spotify_ml.utils.files import reason_of, remove_abandoned, staged, temporary_folder
from spotify_ml.utils.process import machine_token


def test_the_next_start_removes_what_a_killed_process_was_writing(tmp_path: Path):
    program = "import os, sys; from pathlib import Path; from spotify_ml.utils.files import staged\n"
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
    program = "import os, tempfile; from spotify_ml.utils.files import lasting_folder, temporary_folder\n"
    program += "lasting_folder()\nif not os.fork(): raise SystemExit\nos.wait(); assert lasting_folder().is_dir()\n"
    for end, left in (("", 0), ("\nwith temporary_folder(): tempfile.mkdtemp(); os.kill(os.getpid(), 9)", 2)):
        subprocess.run([sys.executable, "-c", program + end], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
        assert len(list(tmp_path.iterdir())) == left
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_process_s_own_half_written_file_is_its_own(tmp_path: Path):
    with staged(tmp_path / "a") as first, staged(tmp_path / "b") as second:
        assert first.parent.name.endswith(f".{os.getpid()}-{machine_token()}.partial")
        first.touch()
        second.touch()
        files._remove_abandoned_once.cache_clear()
        with staged(tmp_path / "c") as third:
            third.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.fixture
def umask() -> Iterator[int]:
    """An unusual one."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def write(path: Path, kind: str, text: str) -> None:
    if kind == "folder":
        path.mkdir()
        path = path / "content"
    path.write_text(text)


def content(path: Path, kind: str) -> str:
    return (path / "content" if kind == "folder" else path).read_text()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_written_has_the_permissions_of_a_plain_file_and_nobody_else_sees_it_before(
    kind: str, umask: int, tmp_path: Path
):
    with staged(tmp_path / "new") as place:
        write(place, kind, "whole")
        assert place.parent.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new").stat().st_mode & 0o777 == (0o777 if kind == "folder" else 0o666) & ~umask
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_under_a_name_that_can_be_guessed_is_not_followed(kind: str, tmp_path: Path):
    kept = tmp_path / "kept"
    write(kept, kind, "not to be touched")
    here = tmp_path / "here"
    here.mkdir()
    links = [here / f".new.{os.getpid()}-{machine_token()}.partial", here / ".new.partial"]
    for link in links:
        link.symlink_to(kept)
    with staged(here / "new") as place:
        write(place, kind, "whole")
    assert content(kept, kind) == "not to be touched"
    assert content(here / "new", kind) == "whole"
    assert sorted(here.iterdir()) == sorted([*links, here / "new"])


def test_the_name_is_another_each_time(tmp_path: Path):
    names = set()
    for _ in range(20):
        with staged(tmp_path / "new") as place:
            names.add(place.parent)
            place.touch()
    assert len(names) == 20


def test_two_writers_at_once_write_two_files_and_the_last_one_stays(tmp_path: Path):
    with staged(tmp_path / "new") as first:
        first.write_text("first")
        with staged(tmp_path / "new") as second:
            second.write_text("second")
        assert (tmp_path / "new").read_text() == "second"
    assert (tmp_path / "new").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_ends_early_leaves_nothing_and_the_file_before_as_it_was(
    error: type[BaseException], kind: str, tmp_path: Path
):
    (tmp_path / "new").write_text("before")

    def end_early() -> None:
        with staged(tmp_path / "new") as place:
            write(place, kind, "half")
            raise error

    with pytest.raises(error):
        end_early()
    assert (tmp_path / "new").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_name_as_long_as_a_file_system_takes_can_be_written(tmp_path: Path):
    target = tmp_path / ("é" * 125 + ".csv")
    with staged(target) as place:
        place.write_text("whole")
    assert list(tmp_path.iterdir()) == [target]


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
