"""What a command says of an error, and of which errors it says no more than that."""

import errno
import re
import traceback
from pathlib import Path
from typing import Any

from hydra import errors
from omegaconf.errors import OmegaConfBaseException

from spotify_ml.config.typed import misread, quoted
from spotify_ml.utils.errors import SpotifyMLError, did_you_mean, says_no_memory

_MENDABLE = (SpotifyMLError, errors.HydraException, OmegaConfBaseException, OSError, MemoryError)
_SPACE = "tune.space."
_AMBIGUOUS = re.compile(r"Ambiguous value for argument '([^=]+)=(.*)'")
_NO_THREAD = re.compile(
    r"can't start new thread|pthread_create|Resource temporarily unavailable|Thread creation failed", re.IGNORECASE
)
_MORE_MEMORY = "free some, or ask for less: matrices=external, a smaller data.path, tune.n_trials or model"
_MORE_THREADS = "allow more (ulimit -u), or ask for fewer: model.n_jobs=1 and OMP_NUM_THREADS=1"


def is_mendable(error: BaseException) -> bool:
    """Say whether a user can mend what an error says; anything else is a defect of the code."""
    return isinstance(error, _MENDABLE) or _raised_by_hydra(error) or lacks(error) is not None


def lacks(error: BaseException) -> str | None:
    """Return what the machine lacks, and what to do, where an error says that it lacks something."""
    message = str(error).strip()
    number = getattr(error, "errno", None)
    if isinstance(error, MemoryError) or number == errno.ENOMEM or (_is_of_library(error) and says_no_memory(message)):
        # NumPy says how much; a MemoryError that was made again from its text begins with its own name.
        detail = message.removeprefix("MemoryError:").strip().splitlines()
        return f"there is not enough memory{f' ({detail[0]})' if detail else ''}; {_MORE_MEMORY}"
    is_thread = isinstance(error, RuntimeError) or _is_of_library(error)
    if number == errno.EAGAIN or (is_thread and _NO_THREAD.search(message)):
        return f"no more threads or processes can be started; {_MORE_THREADS}"
    return None


def _is_of_library(error: BaseException) -> bool:
    """Say whether a library raised an error of its own type; one of this package says itself what it means."""
    return type(error).__module__.partition(".")[0] not in {"builtins", "spotify_ml"}


def _raised_by_hydra(error: BaseException) -> bool:
    """Tell Hydra's own complaint about an override (data=5 is a bare ValueError) from a defect."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError) and bool(frames) and "hydra" in Path(frames[-1].filename).parts


def explain(error: BaseException, command: str) -> str:
    """Return the message of a command's mendable error, with the nearest valid name where a name is unknown."""
    message = str(error).strip()
    if isinstance(error, errors.OverrideParseException):
        return misread(error.override)
    if isinstance(error, errors.MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        there_are = ", ".join(error.options)
        return f"{group}={choice}: no such choice{did_you_mean(choice, error.options)}; there are: {there_are}"
    if isinstance(error, errors.ConfigCompositionException):
        return _explain_composition(message, command)
    return lacks(error) or message


def _explain_composition(message: str, command: str) -> str:
    ambiguous = _AMBIGUOUS.match(message)
    if ambiguous:
        key, value = ambiguous.groups()
        typed = quoted(key, value)
        return f"{key}={value}: commas separate the jobs of a sweep, with -m; if it is one value, type {typed}"
    unknown = re.match(r"Could not override '([^']+)'", message)
    if not unknown:
        return message
    from spotify_ml.config.check import known_keys

    # "experiment" is a group that leaves no key behind.
    key, keys = unknown[1], [*known_keys(_schema(command)), "experiment"]
    if key in keys:
        return f"the key '{key}' belongs to another choice of '{key.partition('.')[0]}'"
    if key.startswith(_SPACE):
        return f"{key} is not in the space yet; put a '+' before it to add it, or two to take the place of what is"
    return f"unknown key '{key}'{did_you_mean(key, keys)}"


def _schema(command: str) -> Any:
    from spotify_ml.config import commands
    from spotify_ml.config.run import RunConfig

    return RunConfig if command == "train" else getattr(commands, f"{command.capitalize()}Config")
