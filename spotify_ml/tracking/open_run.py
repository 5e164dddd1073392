"""A run from its beginning to its end, as FINISHED, FAILED or KILLED, however its command ends."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mlflow import MlflowClient

from spotify_ml.tracking.abandoned import end_broken
from spotify_ml.tracking.store import store_errors
from spotify_ml.utils.errors import TrackingError
from spotify_ml.utils.places import shared_text
from spotify_ml.utils.stops import deferred, if_stuck, status_of

log = logging.getLogger(__name__)


@contextmanager
def open_run(
    client: MlflowClient, uri: str, create: Callable[[], str], logs: Path | None = None, paths: Sequence[str] = ()
) -> Iterator[str]:
    """Open a run that is closed as ``FINISHED``, or as ``FAILED`` or ``KILLED`` with the reason as the tag ``error``.

    `create` makes the run and returns its id, which is yielded; a log file is attached at the end. Of `paths` that
    stand in it, or in an error, the store is told the names only. Raises `TrackingError` if the store does not answer
    or cannot be written.
    """
    run_id, is_finished = "", False
    try:
        with store_errors(uri):
            with deferred():
                run_id = create()
            with if_stuck(partial(end_broken, client, run_id, "KILLED", "stopped")):
                yield run_id
                with deferred():
                    _attach(client, run_id, logs, paths)
                    client.set_terminated(run_id, "FINISHED")
                    is_finished = True
    except BaseException as error:
        if run_id and not is_finished:
            _end(client, uri, run_id, error, logs, paths)
        raise


def _end(
    client: MlflowClient, uri: str, run_id: str, error: BaseException, logs: Path | None, paths: Sequence[str]
) -> None:
    status = status_of(error)
    try:
        with store_errors(uri):
            end_broken(client, run_id, status, shared_text(str(error), paths) or type(error).__name__)
            _attach(client, run_id, logs, paths)
    except TrackingError as unreachable:
        log.warning("run %s could not be marked %s: %s", run_id, status, unreachable)


def _attach(client: MlflowClient, run_id: str, logs: Path | None, paths: Sequence[str]) -> None:
    for handler in logging.getLogger().handlers:
        handler.flush()
    if logs is not None and logs.is_file():
        client.log_text(run_id, shared_text(logs.read_text(encoding="utf-8", errors="replace"), paths), logs.name)
