"""A Hydra command that answers every mistake with one clear error and the right exit code."""

import gc
import os
import re
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from spotify_ml import __version__
from spotify_ml.command_errors import explain, is_mendable
from spotify_ml.errors import Refused, hide_passwords_in_logs, without_passwords
from spotify_ml.memory import keep_freed
from spotify_ml.threads import be_considerate
from spotify_ml.tracking.sweep import SweepCallback
from spotify_ml.typed import arguments_in_order

_FULL_ERROR = "HYDRA_FULL_ERROR"
_FAILED, _INTERRUPTED = 1, 130
_RUN = "RunConfig"


def run_command(task: Callable[[], Any], schema: str = _RUN) -> None:
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
    be_considerate()
    keep_freed()
    hide_passwords_in_logs()
    if schema != _RUN:
        sys.argv[1:] = [re.sub("^model=", "model_uri=", argument) for argument in sys.argv[1:]]
    full_error = os.environ.get(_FULL_ERROR) == "1"
    # Hydra would print errors its own way and hide their type, and repeat what was typed, passwords and all.
    os.environ[_FULL_ERROR] = "1"
    quiet = JobReturn.return_value.getter(_value_or_error)  # type: ignore[attr-defined]
    JobReturn.return_value = quiet  # type: ignore[method-assign]
    try:
        if not _answered(schema):
            sys.argv[1:] = arguments_in_order(sys.argv[1:])
            task()
    except KeyboardInterrupt:
        SweepCallback.end("KILLED")
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has seen enough; nothing more is to be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_FAILED)
    except (Exception, Refused) as raised:
        error = raised.error if isinstance(raised, Refused) else raised
        SweepCallback.end("FAILED")
        if full_error or not is_mendable(error):
            raise error from error.__cause__
        # What was typed may be repeated in it.
        sys.stderr.write(f"error: {without_passwords(explain(error, schema))}\n")
        if isinstance(error, MemoryError):
            # There is none to tidy up with either: every object would complain.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(_FAILED)
        sys.exit(_FAILED)
    finally:
        gc.freeze()


def _answered(schema: str) -> bool:
    """Answer a question that is not Hydra's to answer; say whether one was asked."""
    arguments = sys.argv[1:]
    if "--version" in arguments:
        sys.stdout.write(f"spotify_ml {__version__} (Hydra {version('hydra-core')})\n")
        return True
    if {"--help", "-h"} & set(arguments) and "--hydra-help" not in arguments:
        from spotify_ml.command_help import command_help

        command = "train" if schema == _RUN else schema.removesuffix("Config").lower()
        sys.stdout.write(command_help(command, arguments))
        return True
    return False


def _value_or_error(result: Any) -> Any:
    if result.status is JobStatus.FAILED:
        raise result._return_value
    return result._return_value
