"""What a run is refused for before anything is imported or read, or a folder made for it."""

import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from spotify_ml.cli.checks import use_store
from spotify_ml.config.check import validate
from spotify_ml.config.combinations import refuse_unsupported
from spotify_ml.config.models import EnsembleConfig, TwoPartConfig
from spotify_ml.config.run import DaskEngineConfig, RunConfig
from spotify_ml.config.tuning import OptunaConfig
from spotify_ml.data.parts import source_names
from spotify_ml.data.place import check_data
from spotify_ml.utils.errors import ConfigError, Refused, did_you_mean, hide_passwords_in_logs, without_passwords
from spotify_ml.utils.version import distribution, library_version

_EXTRAS = {"lightgbm": ("lightgbm",), "catboost": ("catboost",), "dask": ("dask", "distributed")}
_STORAGES = ("sqlite:///", "postgresql", "journal:///")
_BASIC_SWEEPER = "BasicSweeper"
# What a run, or a study, leaves in its folder.
_RESULTS = ("summary.json", "data", "models", "study", "best")
# Hydra's own files in a run folder: the configuration and the log.
_HYDRA_FILES = (".hydra", "train.log")


class CheckCallback(Callback):
    """Check a run, or every job of a sweep, before Hydra makes a folder for it."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a run that cannot come to its end."""
        try:
            run = check_run(_without_hydra(config), Path(config.hydra.run.dir))
            use_store(run.tracking.uri, must_exist=False)
        except Exception as error:
            raise Refused(error) from error

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a sweep one of whose jobs cannot come to its end."""
        try:
            for job in _jobs(config):
                check_run(_without_hydra(job))
            _check_unused("hydra.sweep.dir", Path(config.hydra.sweep.dir), ["*/summary.json"])
            use_store(str(config.tracking.uri), must_exist=False)
        except Exception as error:
            raise Refused(error) from error

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Take passwords out of what Hydra has just written down of a job, and of its sweep, and out of logs."""
        # The jobs of a sweep may have processes of their own.
        hide_passwords_in_logs()
        files = list(Path(config.hydra.runtime.output_dir, str(config.hydra.output_subdir)).glob("*.yaml"))
        if config.hydra.mode == RunMode.MULTIRUN:
            files.append(Path(config.hydra.sweep.dir, "multirun.yaml"))
        for path in files:
            written = path.read_text(encoding="utf-8") if path.is_file() else ""
            if (told := without_passwords(written)) != written:
                path.write_text(told, encoding="utf-8")


def check_run(composed: DictConfig, folder: Path | None = None) -> RunConfig:
    """Return the composed configuration of a run if nothing speaks against it that can be known before data is read.

    A folder is where the run's files are to be written. Raises `ConfigError`, naming every key with a wrong value, or
    choices that do not go together, or a library that is not installed; `DataError` if there is no file of tracks.
    """
    config = validate(composed)
    refuse_unsupported(config)
    if isinstance(config.model, TwoPartConfig) and config.task.name != "regression":
        raise ConfigError("config: model=two_part predicts popularity itself; use it with task=regression")
    _check_split(config)
    _check_libraries(config)
    if folder is not None:
        _check_unused("hydra.run.dir", folder, _RESULTS)
    location = config.tracking.artifact_location
    if location is not None and "://" not in location:
        _check_folder("tracking.artifact_location", Path(location.removeprefix("file:")))
    check_data(config.data)
    return config


def _check_split(config: RunConfig) -> None:
    """See that the catalogue of ``split=source`` is one of several, and that no folds mix the times of ``release``."""
    if config.split.name == "release" and (config.cv is not None or getattr(config.tune, "folds", None)):
        key = "cv" if config.cv is not None else "tune.folds"
        raise ConfigError(
            f"config: {key} with split=release: folds are drawn at random, later releases among earlier ones; use "
            f"{key}=null, or split=recording"
        )
    names = source_names(config.data.path)
    if config.split.name == "source" and config.split.source not in names:
        there = ", ".join(names) or "only one; name several: data.path=[a.csv,b.csv]"
        hint = did_you_mean(str(config.split.source), names)
        raise ConfigError(
            f"config: split.source={config.split.source}: no catalogue has that name{hint}; there are {there}"
        )


def discard_if_empty(folder: Path) -> None:
    """Remove the folder of a run that was refused: one with nothing in it but Hydra's own files, and an empty log."""
    files = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    log = files.get("train.log")
    if set(files) - set(_HYDRA_FILES) or (log is not None and log.stat().st_size):
        return
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    # The folder of the day, if this was its only run.
    for empty in (folder, folder.parent):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _jobs(config: DictConfig) -> Iterator[DictConfig]:
    """Compose each job of a grid, as Hydra's own sweeper will; what others try is not known before."""
    if not str(config.hydra.sweeper.get("_target_", "")).endswith(_BASIC_SWEEPER):
        return
    hydra = GlobalHydra.instance().hydra
    if hydra is None:
        return
    loader = hydra.config_loader
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(
        [*params, *map(str, config.hydra.overrides.task)]
    )
    choices = [
        [f"{each.get_key_element()}={value}" for value in each.sweep_string_iterator()]
        if each.is_discrete_sweep()
        else [str(each.input_line)]
        for each in overrides
    ]
    for job in product(*choices):
        yield loader.load_sweep_config(config, list(job))


def _check_libraries(config: RunConfig) -> None:
    members = config.model.members.values() if isinstance(config.model, EnsembleConfig) else [config.model]
    wanted: dict[str, str] = {member.name: f"model={member.name}" for member in members}
    if isinstance(config.engine, DaskEngineConfig):
        wanted["dask"] = "engine=dask"
    for extra, key in wanted.items():
        absent = [library for library in _EXTRAS.get(extra, ()) if find_spec(library) is None]
        if absent:
            raise ConfigError(
                f"config: {key} needs {' and '.join(absent)}, which is not installed; add it with "
                f"`pip install -e '.[{extra}]'`"
            )
    for key, device in config.flat().items():
        if key.endswith(".device") and device != "cpu" and distribution("xgboost") != "xgboost":
            raise ConfigError(
                f"config: {key}={device}: XGBoost is installed without its parts for GPUs; replace it: `pip uninstall "
                f"xgboost-cpu`, then `pip install xgboost=={library_version('xgboost')}`"
            )
    if isinstance(config.tune, OptunaConfig) and not config.tune.storage.startswith(_STORAGES):
        storage = without_passwords(config.tune.storage)
        raise ConfigError(f"config: tune.storage={storage}: give sqlite:///file, postgresql://… or journal:///file")


def _check_unused(key: str, folder: Path, results: Iterable[str]) -> None:
    """See that a folder can be written, and holds nothing yet that would be written over."""
    _check_folder(key, folder)
    held = next((path for pattern in results for path in folder.glob(pattern)), None)
    if held is not None:
        raise ConfigError(f"config: {key}={folder} holds another run ({held.relative_to(folder)}); name another")


def _check_folder(key: str, folder: Path) -> None:
    """See that a folder is there and can be written, or can be made."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "cannot be written" if there.is_dir() else "is no folder"
        raise ConfigError(f"config: {key}={folder}: {there} {reason}; name another")
