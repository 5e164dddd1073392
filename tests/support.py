"""What many tests need, made once: composed configurations, an empty store, and runs that draw nothing."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from mlflow import MlflowClient
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from spotify_ml.config.check import validate
from spotify_ml.config.run import RunConfig
from spotify_ml.reports.figures import figure_process
from spotify_ml.utils.paths import CONF

# No choice of a group, but a number, a truth value, a name or a place.
_VALUE = re.compile(r"(?!hydra)\w+(\.\w+)+=[\w./:-]+$|seed=\d+$")


def composed(command: str, *overrides: str, conf: Path = CONF) -> DictConfig:
    """Return a configuration as Hydra composes it, for the caller to change; nothing in it is resolved yet.

    Parameters
    ----------
    command : str
        Whose configuration: ``train``, ``predict`` and so on.
    *overrides : str
        As they are typed.
    conf : Path
        The folder of configurations; one of a test's own may change, and is read anew each time.
    """
    return deepcopy(_composed(command, overrides)) if conf == CONF else _compose(command, overrides, conf)


def configured(*overrides: str, conf: Path = CONF) -> RunConfig:
    """Return the checked configuration of a run, with what the environment says at this moment.

    Plain values are set on what Hydra composed of the other overrides, in the way that Hydra sets them; tests of the
    composing itself take `composed`. There is no model of incomplete rows unless it is asked for: it costs seconds.
    """
    if not any(each.startswith("incomplete=") for each in overrides):
        overrides = (*overrides, "incomplete=false")
    choices = tuple(each for each in overrides if not _VALUE.match(each))
    config = composed("train", *choices, conf=conf)
    try:
        for override in OverridesParser.create().parse_overrides([each for each in overrides if _VALUE.match(each)]):
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    except OmegaConfBaseException:
        # Hydra says what is wrong.
        config = composed("train", *overrides, conf=conf)
    return validate(config)


class _ParsedOnce(CachingConfigRepository):
    """The files of a folder of configurations, of which Hydra would parse some twenty for each."""

    def load_config(self, config_path: str) -> Any:
        return deepcopy(super().load_config(config_path))

    def __deepcopy__(self, memo: object) -> Self:
        return self


@cache
def _parsed() -> _ParsedOnce:
    return _ParsedOnce(GlobalHydra.instance().config_loader().repository)


@cache
def _composed(command: str, overrides: tuple[str, ...]) -> DictConfig:
    return _compose(command, overrides, CONF)


def _compose(command: str, overrides: tuple[str, ...], conf: Path) -> DictConfig:
    with initialize_config_dir(str(conf), version_base="1.3"):
        if conf == CONF:
            GlobalHydra.instance().config_loader().repository = _parsed()
        return compose(command, list(overrides))


def new_store(folder: Path) -> str:
    """Make a store with MLflow's tables and nothing of ours in a folder, and return its address.

    Parameters
    ----------
    folder : Path
        Of the database ``mlflow.db``.
    """
    path = folder / "mlflow.db"
    path.write_bytes(_empty_store())
    return f"sqlite:///{path}"


@cache
def _empty_store() -> bytes:
    """MLflow takes more than a second for its tables, one migration after the other."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{path}").search_experiments(max_results=1)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


class _NoFigures:
    """In the place of the process that draws a run's figures, which takes as long as the run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def draw(self, data: Any) -> None: ...

    def wait(self) -> None:
        self._folder.mkdir()


@contextmanager
def without_figures() -> Iterator[None]:
    """Let the runs of this process draw nothing, for tests that look at no figure."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(figure_process, "FigureProcess", _NoFigures)
        yield
