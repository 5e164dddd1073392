"""A Hydra command that answers every mistake with one clear error and the right exit code."""

import gc
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from spotify_ml.errors import SpotifyMLError, did_you_mean
from spotify_ml.memory import keep_freed
from spotify_ml.tracking.sweep import SweepCallback

_FULL_ERROR = "HYDRA_FULL_ERROR"
_FAILED, _INTERRUPTED = 1, 130
_SPACE = "tune.space."
_MENDABLE = (SpotifyMLError, HydraException, OmegaConfBaseException, OSError)


def run_command(task: Callable[[], Any], schema: str = "RunConfig") -> None:
    """Run a function decorated by ``hydra.main`` and exit.

    Parameters
    ----------
    task : callable
        The decorated function.
    schema : str
        The name of the schema of its configuration in `spotify_ml.config` or `spotify_ml.command_config`, where it is
        looked up when a key is unknown.
        Beside that of a run, where ``model`` is a group, ``model=models:/…`` may be written for ``model_uri=…``: Hydra
        would look for such a choice in ``conf/model``.

    Mistakes that a user can mend end in one message and exit code 1, Ctrl-C in exit code 130; anything else is a
    defect and keeps its traceback. ``HYDRA_FULL_ERROR=1`` keeps every traceback.
    """
    # A third of the start and of the exit of a short run would go into collecting garbage that is none.
    gc.disable()
    # XGBoost's threads wait for each other by spinning; where another process wants the cores, that multiplies the
    # time of a fit. A thirtieth of the usual spins costs a lone fit a few per cent and keeps shared cores usable.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    keep_freed()
    if schema != "RunConfig":
        sys.argv[1:] = [re.sub("^model=", "model_uri=", argument) for argument in sys.argv[1:]]
    full_error = os.environ.get(_FULL_ERROR) == "1"
    # Hydra would print errors its own way and hide their type, and repeat what was typed, passwords and all.
    os.environ[_FULL_ERROR] = "1"
    quiet = JobReturn.return_value.getter(_value_or_error)  # type: ignore[attr-defined]
    JobReturn.return_value = quiet  # type: ignore[method-assign]
    try:
        task()
    except KeyboardInterrupt:
        SweepCallback.end("KILLED")
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has seen enough; nothing more is to be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_FAILED)
    except Exception as error:
        SweepCallback.end("FAILED")
        if full_error or not (isinstance(error, _MENDABLE) or _raised_by_hydra(error)):
            raise
        sys.stderr.write(f"error: {_explain(error, schema)}\n")
        sys.exit(_FAILED)
    finally:
        gc.freeze()


def _value_or_error(result: Any) -> Any:
    if result.status is JobStatus.FAILED:
        raise result._return_value
    return result._return_value


def _raised_by_hydra(error: Exception) -> bool:
    """Tell Hydra's own complaint about an override (data=5 is a bare ValueError) from a defect."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError) and "hydra" in Path(frames[-1].filename).parts


def _explain(error: Exception, schema: str) -> str:
    """Return the message of an error, with the nearest valid name where a name is unknown."""
    message = str(error).strip()
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        there_are = ", ".join(error.options)
        return f"{group}={choice}: no such choice{did_you_mean(choice, error.options)}; there are: {there_are}"
    unknown = re.match(r"Could not override '([^']+)'", message)
    if isinstance(error, ConfigCompositionException) and unknown:
        from spotify_ml import command_config, config
        from spotify_ml.config_check import known_keys

        # "experiment" is a group that leaves no key behind.
        key, keys = unknown[1], [*known_keys({**vars(config), **vars(command_config)}[schema]), "experiment"]
        if key in keys:
            return f"the key '{key}' belongs to another choice of '{key.partition('.')[0]}'"
        if key.startswith(_SPACE):
            return f"{key} is not in the space yet; put a '+' before it to add it, or two to take the place of what is"
        return f"unknown key '{key}'{did_you_mean(key, keys)}"
    return message
