"""Composed configurations for tests: each is composed once, which takes Hydra a tenth of a second."""

from copy import deepcopy
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from spotify_ml.config.check import validate
from spotify_ml.config.run import RunConfig
from spotify_ml.utils.paths import CONF


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
    """Return the checked configuration of a run, with what the environment says at this moment."""
    return validate(composed("train", *overrides, conf=conf))


@cache
def _composed(command: str, overrides: tuple[str, ...]) -> DictConfig:
    return _compose(command, overrides, CONF)


def _compose(command: str, overrides: tuple[str, ...], conf: Path) -> DictConfig:
    with initialize_config_dir(str(conf), version_base="1.3"):
        return compose(command, list(overrides))
