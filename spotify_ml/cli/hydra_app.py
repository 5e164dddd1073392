"""Hydra, asked to compose the configuration of a command and to run it; see `spotify_ml.cli.command`."""

import re
import sys
from collections.abc import Callable
from typing import Any

import hydra

from spotify_ml.cli.help import command_help
from spotify_ml.config.typed import arguments_in_order
from spotify_ml.tracking.compat import let_hydra_raise, let_mlflow_import_less
from spotify_ml.tracking.sweep import SweepCallback
from spotify_ml.utils import paths
from spotify_ml.utils.errors import Refused, hide_passwords_in_logs
from spotify_ml.utils.memory import keep_freed
from spotify_ml.utils.stops import status_of
from spotify_ml.utils.threads import be_considerate
from spotify_ml.utils.version import __version__, library_version

_LIBRARIES = ("mlflow", "xgboost", "scikit-learn", "pandas", "pyarrow", "optuna")


def ask_hydra(task: Callable[[Any], Any], name: str) -> None:
    """Call a function with the composed configuration of a command, or answer what was asked instead."""
    be_considerate()
    keep_freed()
    hide_passwords_in_logs()
    paths.register_resolvers()
    arguments = sys.argv[1:]
    if "--version" in arguments:
        libraries = ", ".join(f"{name} {library_version(name)}" for name in _LIBRARIES)
        sys.stdout.write(f"spotify_ml {__version__} (Hydra {library_version('hydra-core')}, {libraries})\n")
        return
    if {"--help", "-h"} & set(arguments) and "--hydra-help" not in arguments:
        sys.stdout.write(command_help(name, arguments))
        return
    # Beside `train`, where `model` is a group, Hydra would look for models:/… in conf/model.
    if name != "train":
        arguments = [re.sub("^model=", "model_uri=", argument) for argument in arguments]
    sys.argv[1:] = arguments_in_order(arguments)
    let_hydra_raise()
    let_mlflow_import_less()
    try:
        hydra.main(version_base="1.3", config_path=str(paths.CONF), config_name=name)(task)()
    except BaseException as error:
        SweepCallback.end(status_of(error))
        if isinstance(error, Refused):
            raise error.error from error.error.__cause__
        raise
