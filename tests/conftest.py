"""Real tracks for the tests: the bundled sample, and the full dataset where it is."""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Every process would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The tests run in as many processes as there are cores: further threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Whoever runs the tests may have a store; a test that wants one names it.
os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.pop("MLFLOW_REGISTRY_URI", None)

import pytest

from spotify_ml.utils.paths import PACKAGE, PROJECT, register_resolvers
from tests.commands import end_interpreters
from tests.postgresql import database, new_database, postgresql_server  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from spotify_ml.data.sources import RawTracks

# As every command does.
register_resolvers()

sys.dont_write_bytecode = False
# A collection walks all that was imported, and finds next to nothing.
gc.disable()

SAMPLE = PACKAGE / "data" / "sample" / "spotify_by_genre.parquet"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep in one process the tests that share runs: those of a file, or of a folder with fixtures of its own."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = Path(nodeid.partition("::")[0])
            shared = path.parent.name != "tests" and (PROJECT / path.parent / "conftest.py").is_file()
            return str(path.parent if shared else path)

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _level_of_the_log() -> Iterator[None]:
    # A command that runs in this process may set it, and the next test reads the log.
    log = logging.getLogger("spotify_ml")
    level = log.level
    yield
    log.setLevel(level)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()


def pytest_sessionfinish() -> None:
    # What a run froze is to be gone before the libraries are.
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a test makes is not kept for the runs of whoever tests."""
    os.environ["SPOTIFY_CACHE_PATH"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _no_interpreter_is_left() -> Iterator[None]:
    yield
    end_interpreters()


@pytest.fixture(scope="session")
def sample() -> "RawTracks":
    """The 6,000 bundled tracks."""
    from spotify_ml.config.run import DataConfig
    from spotify_ml.data.sources import read_tracks

    return read_tracks(DataConfig(name="sample", path=str(SAMPLE)))


@pytest.fixture(scope="session")
def full_path() -> Path:
    """The full dataset's file."""
    path = Path(os.environ.get("SPOTIFY_TRACKS_PATH", PROJECT.parent / "shared" / "data" / "spotify_tracks.parquet"))
    if not path.is_file():
        pytest.skip("the full dataset is not here; name it with SPOTIFY_TRACKS_PATH")
    return path


@pytest.fixture(scope="session")
def full(full_path: Path) -> "RawTracks":
    """The 114,000 rows of the full dataset."""
    from spotify_ml.config.run import DataConfig
    from spotify_ml.data.sources import read_tracks

    return read_tracks(DataConfig(name="full", path=str(full_path)))


@pytest.fixture(scope="session")
def full_csv(full_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The full dataset as the public CSV, byte for byte."""
    import pandas as pd

    if full_path.suffix == ".csv":
        return full_path
    path = tmp_path_factory.mktemp("full") / "dataset.csv"
    frame = pd.read_parquet(full_path).rename(columns={"Unnamed: 0": ""})
    frame.to_csv(path, index=False, lineterminator="\n")
    return path
