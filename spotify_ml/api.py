"""Runs from Python: a configuration as the command line composes it, and a run as the command records it."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from spotify_ml.cli.messages import explain, is_mendable
from spotify_ml.config.check import validate
from spotify_ml.config.run import RunConfig
from spotify_ml.reports.summary import Summary
from spotify_ml.tracking.training import train
from spotify_ml.utils.errors import ConfigError
from spotify_ml.utils.paths import CONF, register_resolvers


def configure(*overrides: str) -> RunConfig:
    """Return the configuration of a run; see `spotify_ml.configure`."""
    return _checked(_compose(overrides))


def run(*overrides: str) -> Summary:
    """Train a model and record the run; see `spotify_ml.run`."""
    composed = _compose(overrides)
    config = _checked(composed)
    if config.tune.name != "none":
        raise ConfigError("a study is begun on the command line: python -m spotify_ml.train tune=optuna")
    folder = Path(composed.hydra.run.dir)
    folder.mkdir(parents=True)
    return train(config, folder, list(overrides))


def _checked(composed: DictConfig) -> RunConfig:
    return validate(OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]))


def _compose(overrides: Sequence[str]) -> DictConfig:
    if not all(isinstance(each, str) for each in overrides):
        raise ConfigError('give each override as a text of its own: configure("split=album", "seed=1")')
    register_resolvers()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", list(overrides), return_hydra_config=True)
    except Exception as error:
        if not is_mendable(error):
            raise
        raise ConfigError(explain(error, "train")) from error
