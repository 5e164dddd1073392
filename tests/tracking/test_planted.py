"""Tests of saved versions that somebody changed, each file once: no code that was planted in one ever runs."""

import marshal
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from pathlib import Path

import mlflow
import numpy as np
import pytest

import spotify_ml
from spotify_ml.models.integrity import SUMS_FILE
from spotify_ml.tracking.relocation import relocate
from spotify_ml.utils.errors import ModelError
from tests.tracking.conftest import CHAMPION, Store

PATIENCE_S = 120
N_ADDED, N_COMPILED = 50, 50
# What hides a package, or is run by Python itself, where the folder is on its path.
ADDED_CODE = (
    "code/numpy.py",
    "code/numpy/__init__.py",
    "code/xgboost.py",
    "code/lightgbm.py",
    "code/sitecustomize.py",
    "code/usercustomize.py",
    "code/planted.pth",
    "code/spotify_ml.py",
    "code/spotify_ml/json.py",
    "code/spotify_ml/planted.py",
    "code/spotify_ml/models/Popularity.py",
    "code/spotify_ml/models/popularity/__init__.py",
    "code/spotify_ml/models/popularity.cpython-311-x86_64-linux-gnu.so",
    "code/spotify_ml/models/popularity.abi3.so",
    "code/spotify_ml/models/popularity.pyc",
    "code/spotify_ml/models/popularity.pyd",
    "code/spotify_ml/.hidden.py",
    "code/.hidden/planted.py",
    "planted.py",
    "PYFUNC.PY",
    "mlmodel",
    "MLmodel ",
    "sha256sums",
    "artifacts/planted.skops",
    "artifacts/.planted",
    "artifacts/registered_model_meta",
)
Change = Callable[[Path, Path, random.Random], None]


def running(sentinel: Path) -> str:
    """Code that leaves a file where it is run."""
    return f"open({str(sentinel)!r}, 'w').close()\n"


def listed(model: Path) -> list[Path]:
    lines = (model / SUMS_FILE).read_text(encoding="utf-8").splitlines()
    return [model / SUMS_FILE, *(model / line.partition("  ")[2] for line in lines)]


# --- a file of the list


def flip(path: Path, model: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes() or b"\0")
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, model: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))] if content else b"\n")


def empty(path: Path, model: Path, chance: random.Random) -> None:
    path.write_bytes(b"" if path.stat().st_size else b"\0")


def swap(path: Path, model: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    other = chance.choice([each for each in listed(model) if each.read_bytes() != content])
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def remove(path: Path, model: Path, chance: random.Random) -> None:
    path.unlink()


def link(path: Path, model: Path, chance: random.Random) -> None:
    path.symlink_to(path.rename(model.with_name("elsewhere")))


def link_folder(path: Path, model: Path, chance: random.Random) -> None:
    folder = path.parent if path.parent != model else model / "artifacts"
    folder.symlink_to(folder.rename(model.with_name("elsewhere")))


def plant(path: Path, model: Path, chance: random.Random) -> None:
    path.write_text(running(model.with_name("ran")) + path.read_text(errors="replace"))


CHANGES: tuple[Change, ...] = (flip, truncate, empty, swap, remove, link, link_folder, plant)


def changed(model: Path, number: int, chance: random.Random) -> str:
    path = listed(model)[number]
    change = CHANGES[number % len(CHANGES)]
    change(path, model, chance)
    return f"{change.__name__} {path.relative_to(model)}"


# --- a file more


def added(model: Path, number: int, chance: random.Random) -> str:
    place = model / ADDED_CODE[number % len(ADDED_CODE)]
    kind = ("file", "link", "folder that is a link")[number // len(ADDED_CODE)]
    content = running(model.with_name("ran"))
    if place.suffix == ".pth":
        content = f"import sys; {content}"
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        place.write_text(content)
        return f"{kind} {place.relative_to(model)}"
    elsewhere = model.with_name("elsewhere") / "__init__.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text(content)
    place.symlink_to(elsewhere if kind == "link" else elsewhere.parent)
    return f"{kind} {place.relative_to(model)}"


# --- compiled code beside a source, which says something else


def compiled(model: Path, number: int, chance: random.Random) -> str:
    sources = [path for path in listed(model) if path.suffix == ".py"]
    imported = [path for path in sources if path.parent.name in ("models", "spotify_ml") or path.parent == model]
    source = chance.choice(imported if number % 2 else sources)
    text, state = source.read_bytes(), source.stat()
    code = marshal.dumps(compile(running(model.with_name("ran")).encode() + text, str(source), "exec"))
    dated = int(state.st_mtime).to_bytes(4, "little") + (state.st_size & 0xFFFFFFFF).to_bytes(4, "little")
    header = {
        "by date": bytes(4) + dated,
        "by hash": (3).to_bytes(4, "little") + source_hash(text),
        "unchecked": (1).to_bytes(4, "little") + source_hash(text),
        "of zeros": (1).to_bytes(4, "little") + bytes(8),
    }
    kind = chance.choice(list(header))
    place = Path(cache_from_source(str(source), optimization=chance.choice(["", "", "1"])))
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(MAGIC_NUMBER + header[kind] + code)
    return f"{kind} {place.relative_to(model)}"


@pytest.fixture
def copy(store: Store, tmp_path: Path) -> Store:
    """A store of its own, whose files may be changed."""
    copied = store.at(tmp_path / "store")
    shutil.copytree(store.folder, copied.folder)
    relocate(copied.tracking)
    return copied


def state(folder: Path) -> dict[str, tuple[int, int]]:
    found = {path.relative_to(folder).as_posix(): path.lstat() for path in folder.rglob("*")}
    return {name: (each.st_size, each.st_mtime_ns) for name, each in found.items()}


@pytest.fixture
def versions(copy: Store, tmp_path: Path) -> Callable[[], Path]:
    """What puts the version's files back as they were saved, and gives their folder."""
    kept = tmp_path / "kept"
    shutil.copytree(copy.model, kept)

    def restored() -> Path:
        model, elsewhere = copy.model, copy.model.with_name("elsewhere")
        shutil.rmtree(model)
        for path in (elsewhere, model.with_name("ran")):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.copytree(kept, model)
        return model

    return restored


@pytest.mark.slow
def test_of_hundreds_of_changed_versions_none_runs_what_was_planted(copy: Store, versions: Callable[[], Path]):
    expected = spotify_ml.load_model(CHAMPION, copy.uri).predict(copy.rows)
    chance = random.Random(5)
    cases = [
        *((changed, number) for number in range(len(listed(versions())))),
        *((added, number) for number in range(N_ADDED)),
        *((compiled, number) for number in range(N_COMPILED)),
    ]
    assert len(cases) >= 200
    wrong = []
    for make, number in cases:
        model = versions()
        told = f"{make.__name__}: {make(model, number, chance)}"
        before = state(model)
        try:
            predicted = spotify_ml.load_model(CHAMPION, copy.uri).predict(copy.rows)
        except ModelError as error:
            if make is compiled or "is not as it was saved" not in str(error) or "\n" in str(error):
                wrong.append(f"{told}: refused with {error}")
        else:
            if make is not compiled or not np.array_equal(predicted, expected):
                wrong.append(f"{told}: loaded")
        if model.with_name("ran").exists():
            wrong.append(f"{told}: ran")
        if state(model) != before:
            wrong.append(f"{told}: something was written beside it")
    assert wrong == []


@pytest.mark.slow
def test_what_plain_mlflow_leaves_does_no_harm(copy: Store):
    mlflow.set_tracking_uri(copy.uri)
    program = f"import mlflow; mlflow.set_tracking_uri({copy.uri!r}); mlflow.pyfunc.load_model({CHAMPION!r})"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=PATIENCE_S)
    left = [path.name for path in copy.model.rglob("*")]
    assert "__pycache__" in left
    expected = spotify_ml.load_model(CHAMPION, copy.uri).predict(copy.rows)
    np.testing.assert_array_equal(expected, mlflow.pyfunc.load_model(CHAMPION).predict(copy.rows))
