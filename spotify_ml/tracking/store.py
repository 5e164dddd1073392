"""The MLflow store: reached, created once, and spoken of in one clear sentence when it fails."""

import errno
import logging
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import mlflow
import requests
from alembic.util import CommandError
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from sqlalchemy.exc import SQLAlchemyError

from spotify_ml.config.run import TrackingConfig
from spotify_ml.tracking.store_address import check_store, named
from spotify_ml.utils.errors import StoreError, TrackingError, without_passwords
from spotify_ml.utils.files import reason_of, remove_abandoned, temporary_folder
from spotify_ml.utils.paths import STORE_VARIABLE, database_path

# mlflow imports polars where that is installed, whose handler lets a read that waits go on after Ctrl-C.
if hasattr(signal, "siginterrupt"):
    signal.siginterrupt(signal.SIGINT, True)

# A bar for every small local file, a line for every migration and every version: noise.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# It prints the address of a server as it is, passwords and all.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
for _noisy in ("mlflow", "alembic"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)
# It logs the traceback of what it raises; what it raises is said below, once.
logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)

# No memory, no further process: no fault of the store.
_OF_THE_MACHINE = (errno.ENOMEM, errno.EAGAIN)
# Another process may be creating the store.
_LOCKED_FOR_S = 60


def connect(config: TrackingConfig) -> tuple[MlflowClient, str]:
    """Return a client of the store and the id of the experiment, both of which are made where they are missing.

    Raises `StoreError` if the store does not answer or cannot be written.
    """
    check_store(config.uri, must_exist=False)
    try:
        with store_errors(config.uri):
            database = database_path(config.uri)
            if database is None:
                return _open(config)
            _check_writable(database)
            # Processes that create the same SQLite store at once break each other.
            with FileLock(f"{database}.lock"), _whole_or_gone(database):
                if database.stat().st_size == 0:
                    _create(database)
                return _open(config)
    except TrackingError as error:
        raise StoreError(str(error)) from error


def open_store(uri: str) -> MlflowClient:
    """Reach a store that is there, without creating anything; `StoreError` if there is none, or it does not answer."""
    check_store(uri)
    with store_errors(uri):
        return MlflowClient(uri)


def artifacts_of(config: TrackingConfig) -> str | None:
    """Return where a new experiment keeps its artifacts; of a SQLite store beside the database if nothing is said."""
    database = database_path(config.uri)
    if config.artifact_location is not None or database is None:
        return config.artifact_location
    return str(database.absolute().parent / "artifacts")


def _open(config: TrackingConfig) -> tuple[MlflowClient, str]:
    _set_store(config.uri)
    client = MlflowClient()
    return client, _experiment_id(client, config)


def _set_store(uri: str) -> None:
    """Let MLflow use a store, without leaving it in the environment: there it names what the user chose."""
    before = os.environ.get(STORE_VARIABLE)
    mlflow.set_tracking_uri(uri)
    if before is None:
        os.environ.pop(STORE_VARIABLE, None)
    else:
        os.environ[STORE_VARIABLE] = before


def _check_writable(database: Path) -> None:
    """Fail at once where MLflow and the lock would try again and again."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database, timeout=_LOCKED_FOR_S)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("PRAGMA user_version")
        connection.rollback()
    if not os.access(database.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(database.parent))


@contextmanager
def _whole_or_gone(database: Path) -> Iterator[None]:
    """Remove a new store that was broken off while it was created; MLflow would refuse it ever after."""
    is_new = database.stat().st_size == 0
    try:
        yield
    except BaseException:
        if is_new:
            for path in (database, database.with_name(f"{database.name}-journal")):
                with suppress(OSError):
                    path.unlink()
        raise


def _create(database: Path) -> None:
    """Make the tables of a store elsewhere: one whose process is killed meanwhile could never be used again."""
    remove_abandoned(database.parent)
    with temporary_folder(database.parent) as folder:
        made = folder / database.name
        MlflowClient(f"sqlite:///{made}").search_experiments(max_results=1)
        made.replace(database)


def _experiment_id(client: MlflowClient, config: TrackingConfig) -> str:
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is None:
        return str(client.create_experiment(config.experiment, artifact_location=artifacts_of(config)))
    if experiment.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the experiment '{config.experiment}' was deleted; restore it with "
            f"`mlflow experiments restore -x {experiment.experiment_id}` or set tracking.experiment=…"
        )
    if config.artifact_location is not None and not _same_place(experiment.artifact_location, config.artifact_location):
        raise TrackingError(
            f"the experiment '{config.experiment}' keeps its artifacts in {experiment.artifact_location}, not in "
            f"{config.artifact_location}; if the checkout was moved or copied, `python -m spotify_ml.relocate` mends "
            "that, else set tracking.artifact_location=…"
        )
    return str(experiment.experiment_id)


def _same_place(recorded: str, configured: str) -> bool:
    paths = {os.path.realpath(local_file_uri_to_path(each)) for each in (recorded, configured)}
    return len(paths) == 1


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn what the store raises into a `TrackingError` that names it."""
    try:
        yield
    except requests.RequestException as error:
        raise TrackingError(
            f"the tracking server {named(uri)} does not answer ({type(error).__name__}); start it, or name another: "
            "tracking.uri=…"
        ) from error
    except (MlflowException, SQLAlchemyError, sqlite3.Error) as error:
        cause = without_passwords(str(getattr(error, "orig", None) or error).strip().splitlines()[0])
        raise TrackingError(f"the tracking store {named(uri)} cannot be used: {cause}") from error
    except CommandError as error:
        raise TrackingError(
            f"the tracking store {named(uri)} cannot be used: its tables are those of studies, of another program or "
            "of a newer MLflow; name another: tracking.uri=…"
        ) from error
    except OSError as error:
        if error.errno in _OF_THE_MACHINE:
            raise
        raise TrackingError(f"the tracking store {named(uri)} cannot be written: {reason_of(error)}") from error
