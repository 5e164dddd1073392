"""The stage cache: what is used again, what never is, and what a folder in a bad state does to a run: nothing."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from spotify_ml.config.run import LocalCacheConfig
from spotify_ml.data import cache as module
from spotify_ml.data.cache import StageCache, code_digest
from spotify_ml.utils.errors import DataError, OutputError
from spotify_ml.utils.files import temporary_folder
from spotify_ml.utils.process import machine_token
from spotify_ml.utils.version import LOADED_AT

ROOM = 10**6
ORIGIN = {"data": "0af1", "split": {"name": "album", "test_size": 0.2}, "seed": 42}


class Stage:
    """A stage whose result is a text, and that counts how often it was made."""

    def __init__(self, cache: StageCache, name: str = "tracks") -> None:
        self.cache, self.name, self.made = cache, name, 0

    def get(self, text: str = "some tracks", **decided_by: object) -> str:
        def make() -> str:
            self.made += 1
            return text

        return self.cache.get(self.name, {**ORIGIN, **decided_by}, make, write, read)


def write(text: str, folder: Path) -> None:
    (folder / "text").write_text(text)
    (folder / "length").write_text(str(len(text)))


def read(folder: Path) -> str:
    text = (folder / "text").read_text()
    assert len(text) == int((folder / "length").read_text())
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "cache"


@pytest.fixture
def stage(folder: Path) -> Stage:
    return Stage(StageCache(folder, ROOM))


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_what_was_made_is_used_again(stage: Stage, folder: Path, caplog: pytest.LogCaptureFixture):
    assert [stage.get(), stage.get()] == ["some tracks", "some tracks"]
    assert Stage(StageCache(folder, ROOM)).get("never made") == "some tracks"
    assert stage.made == 1
    assert not caplog.records


@pytest.mark.parametrize(
    "change", [{"data": "0af2"}, {"seed": 43}, {"split": {"name": "album", "test_size": 0.25}}, {"features": "full"}]
)
def test_whatever_decides_a_result_is_part_of_its_entry(stage: Stage, change: dict[str, object]):
    stage.get()
    assert stage.get("others", **change) == "others"
    assert stage.get("never made") == "some tracks"


def test_stages_of_equal_origin_are_kept_apart(stage: Stage):
    stage.get()
    assert Stage(stage.cache, "features").get("a matrix") == "a matrix"


def test_other_code_makes_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    stage.get()
    monkeypatch.setattr(module, "code_digest", lambda: "another")
    assert stage.get("as the new code makes it") == "as the new code makes it"


def test_the_code_digest_knows_sources_libraries_and_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    digests = []

    def take() -> None:
        code_digest.cache_clear()
        digests.append(code_digest())

    take()
    with monkeypatch.context() as patched:
        patched.setattr(module, "PACKAGE", tmp_path)
        for source in ("data/etl.py", "features/transformers/names.py"):
            (tmp_path / source).parent.mkdir(parents=True)
            (tmp_path / source).write_text("")
        take()
        (tmp_path / "features" / "transformers" / "names.py").write_text("WORDS = {}")
        take()
        patched.setattr(module, "library_version", lambda name: "999")
        take()
        patched.setattr(module.platform, "python_version", lambda: "3.99")
        take()
    take()
    assert digests[0] == digests[-1]
    assert len(set(digests)) == len(digests) - 1


def test_code_that_was_changed_while_the_process_runs_is_no_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    for package in ("data", "features"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "code.py").write_text("")
        os.utime(tmp_path / package / "code.py", (LOADED_AT - 1, LOADED_AT - 1))
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    config = LocalCacheConfig(name="local", folder=str(tmp_path / "cache"), max_gb=1)

    def get_twice() -> list[str]:
        code_digest.cache_clear()
        return [Stage(StageCache.of(config)).get(text) for text in ("once", "twice")]

    assert get_twice() == ["once", "once"]
    (tmp_path / "data" / "code.py").touch()
    assert get_twice() == ["once", "twice"]
    assert "changed since it was loaded" in lines(caplog)[0]
    code_digest.cache_clear()


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "changed": flip,
    "cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "removed": Path.unlink,
}


@pytest.mark.parametrize("file", ["text", "length", "entry.json"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_entry_is_made_again(
    stage: Stage, folder: Path, file: str, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
):
    stage.get()
    (entry,) = entries(folder)
    damage(entry / file)
    assert stage.get("made again") == "made again"
    assert [line for line in lines(caplog) if str(entry) in line and "damaged" in line] == lines(caplog)
    assert len(lines(caplog)) == 1
    assert stage.get("never made") == "made again"
    assert entries(folder) == [entry]


def test_an_entry_under_a_wrong_name_is_not_used(stage: Stage, folder: Path):
    stage.get("of seed 1", seed=1)
    (entry,) = entries(folder)
    stage.get("of seed 2", seed=2)
    (other,) = set(entries(folder)) - {entry}
    for path in other.iterdir():
        path.unlink()
    entry.rename(other)
    assert stage.get("made again", seed=2) == "made again"


def test_the_least_recently_used_goes_first(folder: Path):
    stage = Stage(StageCache(folder, ROOM))
    for seed in (1, 2, 3):
        stage.get("x" * 1000, seed=seed)
    ages = {json.loads((entry / "entry.json").read_text())["origin"]["seed"]: entry for entry in entries(folder)}
    for age, seed in enumerate((3, 2, 1)):
        os.utime(ages[seed], (age, age))
    # Used, and so the youngest.
    stage.get(seed=3)
    size = sum(path.stat().st_size for path in ages[1].iterdir())
    Stage(StageCache(folder, int(size * 3.5))).get("x" * 1000, seed=4)
    assert [seed for seed in (1, 2, 3) if ages[seed].is_dir()] == [1, 3]
    assert len(entries(folder)) == 3


def test_what_is_larger_than_the_cache_leaves_the_others_alone(folder: Path):
    small = Stage(StageCache(folder, ROOM))
    small.get()
    assert Stage(StageCache(folder, 5000)).get("x" * 10_000, seed=1) == "x" * 10_000
    assert small.get("never made") == "some tracks"
    assert len(entries(folder)) == 1


def test_what_a_killed_process_left_behind_ages(folder: Path):
    stage = Stage(StageCache(folder, 5000))
    left = folder / ".tracks-1.999999.partial"
    left.mkdir(parents=True)
    (left / "text").write_bytes(bytes(4900))
    os.utime(left, (0, 0))
    stage.get()
    assert not left.exists()
    assert stage.get("never made") == "some tracks"


def test_what_another_process_writes_is_left_to_it(folder: Path):
    stage = Stage(StageCache(folder, 5000))
    stage.get()
    folders = []
    for process_id in (os.getppid(), 999999):
        folders.append(folder / f".tracks-1.x1.{process_id}-{machine_token()}.partial")
        (folders[-1] / "tracks-1").mkdir(parents=True)
        (folders[-1] / "tracks-1" / "text").write_bytes(bytes(4900))
        os.utime(folders[-1], (0, 0))
    stage.get("other tracks", seed=2)
    assert [path.exists() for path in folders] == [True, False]


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("in the way")
    cache = StageCache(tmp_path / "file" / "cache", ROOM)
    assert Stage(cache).get() == "some tracks"
    assert Stage(cache, "features").get("a matrix") == "a matrix"
    assert len(lines(caplog)) == 1
    assert str(tmp_path / "file" / "cache") in lines(caplog)[0]


def test_a_folder_that_can_only_be_read_is_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    stage.get()

    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(module.os, "utime", refuse)
    assert stage.get("never made") == "some tracks"
    assert not caplog.records


def test_a_full_disk_costs_the_entry_alone(folder: Path, caplog: pytest.LogCaptureFixture):
    def write_to_a_full_disk(text: str, into: Path) -> None:
        write(text, into)
        Path("/dev/full").write_text(text)

    cache = StageCache(folder, ROOM)
    assert cache.get("tracks", ORIGIN, lambda: "made", write_to_a_full_disk, read) == "made"
    assert entries(folder) == []
    (line,) = lines(caplog)
    assert "No space left" in line


def test_what_was_kept_may_be_returned_instead_of_what_was_made(folder: Path, caplog: pytest.LogCaptureFixture):
    def upper(into: Path) -> str:
        return read(into).upper()

    cache = StageCache(folder, ROOM)
    assert cache.get("tracks", ORIGIN, lambda: "made", write, upper, reread=True) == "MADE"
    assert cache.get("split", ORIGIN, lambda: "made", write, upper) == "made"
    # What cannot be kept is returned as it was made.
    (folder.parent / "file").write_text("in the way")
    cache = StageCache(folder.parent / "file" / "cache", ROOM)
    assert cache.get("tracks", ORIGIN, lambda: "made", write, upper, reread=True) == "made"
    assert StageCache(None).get("tracks", ORIGIN, lambda: "made", write, upper, reread=True) == "made"


def in_files(cache: StageCache, text: str) -> str:
    return cache.get_from_files("tracks", ORIGIN, partial(write, text), read)


def test_what_goes_through_files_is_kept_like_everything_else(folder: Path, caplog: pytest.LogCaptureFixture):
    cache = StageCache(folder, ROOM)
    assert [in_files(cache, text) for text in ("some tracks", "never made")] == ["some tracks"] * 2
    assert cache.get("tracks", ORIGIN, lambda: "never made", write, read) == "some tracks"
    (entry,) = entries(folder)
    (entry / "text").write_text("damaged")
    assert in_files(cache, "made again") == "made again"
    assert len(lines(caplog)) == 1


def test_what_goes_through_files_is_read_before_it_makes_room(folder: Path):
    assert in_files(StageCache(folder, 10), "some tracks") == "some tracks"
    assert entries(folder) == []


def test_what_goes_through_files_needs_a_place(folder: Path, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        in_files(StageCache(tmp_path / "file" / "cache", ROOM), "some tracks")

    def write_to_a_full_disk(into: Path) -> None:
        write("some", into)
        Path("/dev/full").write_text("tracks")

    for cache in (StageCache(folder, ROOM), StageCache(None)):
        with pytest.raises(OutputError, match="No space left"):
            cache.get_from_files("tracks", ORIGIN, write_to_a_full_disk, read)
    assert not folder.exists() or entries(folder) == []


def test_what_another_run_put_there_first_is_no_error(folder: Path):
    def write_slowly(into: Path) -> None:
        write("some tracks", into)
        shutil.copytree(into, folder / into.name)

    assert StageCache(folder, ROOM).get_from_files("tracks", ORIGIN, write_slowly, read) == "some tracks"
    assert len(entries(folder)) == 1


def test_a_temporary_folder_is_nobody_else_s_while_its_process_lives(folder: Path):
    small = StageCache(folder, 10)
    with temporary_folder(folder) as place:
        (place / "page").write_bytes(bytes(1000))
        Stage(small).get("some tracks")
        assert entries(folder) == [place]
        # Of a process that was killed, or of another machine.
        (ended := subprocess.Popen(["true"])).wait()
        name = place.name.replace(f".{os.getpid()}-", f".{ended.pid}-")
        abandoned, remote = folder / name, folder / name.replace(machine_token(), "0000ab")
        for left in (abandoned, remote):
            left.mkdir()
        (abandoned / "page").write_bytes(bytes(1000))
        Stage(small).get("other tracks", seed=1)
        assert set(entries(folder)) == {place, remote}
    assert entries(folder) == [remote]


def test_a_temporary_folder_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(OutputError, match=r"file/cache cannot be written"),
        temporary_folder(tmp_path / "file" / "cache"),
    ):
        raise AssertionError("there is none")


def test_ctrl_c_leaves_nothing_behind(folder: Path):
    def interrupted(text: str, into: Path) -> None:
        write(text, into)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StageCache(folder, ROOM).get("tracks", ORIGIN, lambda: "made", interrupted, read)
    assert entries(folder) == []


def test_a_stage_that_fails_is_not_kept(folder: Path):
    def fail() -> str:
        raise DataError("broken")

    with pytest.raises(DataError, match="broken"):
        StageCache(folder, ROOM).get("tracks", ORIGIN, fail, write, read)
    assert entries(folder) == []


def test_of_two_runs_at_once_both_go_well(folder: Path, caplog: pytest.LogCaptureFixture):
    first, second = (StageCache(folder, ROOM) for _ in range(2))

    def make_slowly() -> str:
        Stage(second).get()
        return "some tracks"

    assert first.get("tracks", ORIGIN, make_slowly, write, read) == "some tracks"
    assert first.get("tracks", ORIGIN, lambda: "never made", write, read) == "some tracks"
    assert len(entries(folder)) == 1
    assert not caplog.records


def test_an_entry_that_another_run_removes_is_made_again(stage: Stage):
    stage.get()

    def read_too_late(into: Path) -> str:
        for path in into.iterdir():
            path.unlink()
        return read(into)

    assert stage.cache.get("tracks", ORIGIN, lambda: "made again", write, read_too_late) == "made again"


def test_without_a_cache_everything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    stage = Stage(StageCache(None))
    assert [stage.get("once"), stage.get("twice")] == ["once", "twice"]
    assert entries(tmp_path) == []
