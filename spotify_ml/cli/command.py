"""A command: its signals and streams are looked after before anything that takes time is imported."""

import gc
import os
import sys
from collections.abc import Callable
from typing import Any

from spotify_ml.utils import stops, streams

_FULL_ERROR = "HYDRA_FULL_ERROR"
_FAILED = 1
# What these ask for is on standard output alone.
_QUESTIONS = frozenset(
    {"--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"}
)


def run_command(task: Callable[[Any], Any], name: str) -> None:
    """Compose the configuration of a command, named as its file in ``conf``, call a function with it, and exit.

    Mistakes that a user can mend end in one message and exit code 1, Ctrl-C in exit code 130, SIGTERM in 143, SIGHUP
    in 129; anything else is a defect and keeps its traceback. ``HYDRA_FULL_ERROR=1`` keeps every traceback.
    """
    stops.listen()
    streams.make_lenient()
    # A third of the start and of the exit of a short run would go into collecting garbage that is none.
    gc.disable()
    full_error = os.environ.get(_FULL_ERROR) == "1"
    # Hydra would print errors its own way and hide their type, and repeat what was typed, passwords and all.
    os.environ[_FULL_ERROR] = "1"
    try:
        from spotify_ml.cli.hydra_app import ask_hydra

        is_question = bool(_QUESTIONS & set(sys.argv[1:]))
        try:
            ask_hydra(task, name)
        except SystemExit as end:
            # So Hydra ends some of its answers.
            if end.code or not is_question:
                raise
        if is_question:
            streams.check_printed()
    except (Exception, KeyboardInterrupt) as error:
        _exit(error, name, full_error=full_error)
    finally:
        stops.finish()
        gc.freeze()


def _exit(error: BaseException, name: str, *, full_error: bool) -> None:
    """Exit as an error demands, or raise it again if it is a defect."""
    # What a stop breaks off in a library may come out of it as another error.
    if isinstance(error, KeyboardInterrupt) or stops.requested():
        sys.stderr.write(f"stopped by {stops.name()}\n")
        sys.exit(stops.exit_code())
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe (`| head`) has seen enough.
        sys.exit(_FAILED)
    from spotify_ml.cli.messages import explain, is_mendable
    from spotify_ml.utils.errors import without_passwords

    if full_error or not is_mendable(error):
        raise error from error.__cause__
    # What was typed may be repeated in it.
    sys.stderr.write(f"error: {without_passwords(explain(error, name))}\n")
    if isinstance(error, MemoryError):
        # There is none to tidy up with either: every object would complain.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_FAILED)
    sys.exit(_FAILED)
