"""Whether a tracking store can be used at all: looked at before mlflow is imported, or anything read or written."""

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from spotify_ml.utils.errors import StoreError, without_passwords
from spotify_ml.utils.paths import STORE_VARIABLE, database_path

_REGISTRY_VARIABLE = "MLFLOW_REGISTRY_URI"
_HTTP = ("http://", "https://")
_DATABASES = ("postgresql", "mysql", "mssql")
# What to install for a driver's module, where that has another name.
_DRIVERS = {"psycopg2": "-e '.[postgresql]'", "MySQLdb": "mysqlclient"}
# What else MLflow takes for a store, and speaks of itself.
_OTHERS = ("databricks", "uc:")
_MAGIC = b"SQLite format 3\0"
# A command says within five seconds that a store does not answer; it takes some of them to start.
ANSWER_WITHIN_S = 3.0


def check_store(uri: str, *, must_exist: bool = True) -> None:
    """See that a store answers, and that a SQLite store is there, where it must exist; training makes it.

    Raises `StoreError` if it does not answer in a few seconds, is no store, or is not there; or if
    ``MLFLOW_REGISTRY_URI`` asks for versions to be kept in another one, which no command could find by their runs.
    """
    registry = os.environ.get(_REGISTRY_VARIABLE, "").strip()
    if registry not in ("", uri):
        raise StoreError(
            f"{_REGISTRY_VARIABLE}={without_passwords(registry)} names another store than {named(uri)}, but runs and "
            f"versions are kept in one; unset it, or name that store by {STORE_VARIABLE} or tracking.uri=…"
        )
    database = database_path(uri)
    if database is not None:
        _check_database(uri, database, must_exist)
    elif uri.startswith(_HTTP):
        _in_time(uri, lambda: _ask_server(uri))
    elif uri.startswith(_DATABASES):
        _in_time(uri, lambda: _ask_database(uri))
    elif not uri.startswith(_OTHERS):
        raise StoreError(
            f"the tracking store {named(uri)} is none: give sqlite:///file.db, http://host:port or postgresql://… by "
            f"tracking.uri=… or {STORE_VARIABLE}"
        )


def announce(uri: str) -> None:
    """Say on stderr which store a command uses."""
    sys.stderr.write(f"store    {named(uri)}\n")


def named(uri: str) -> str:
    """Return a store's address without passwords, and where it comes from if that is the environment."""
    from_environment = os.environ.get(STORE_VARIABLE, "").strip() == uri
    return without_passwords(uri) + f" ({STORE_VARIABLE})" * from_environment


def _check_database(uri: str, database: Path, must_exist: bool) -> None:
    if database.is_dir():
        raise StoreError(f"the tracking store {named(uri)} is a folder; name a file, as {uri.rstrip('/')}/mlflow.db")
    if not database.exists():
        if must_exist:
            raise StoreError(f"there is no tracking store {named(uri)}; name another, or train first")
        return
    with database.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start not in (b"", _MAGIC):
        raise StoreError(f"the tracking store {named(uri)} is no SQLite database; mend tracking.uri=…")


def _ask_server(uri: str) -> None:
    import requests

    requests.get(f"{uri.rstrip('/')}/health", timeout=ANSWER_WITHIN_S).raise_for_status()


def use_psycopg2() -> None:
    """Let ``postgresql://`` mean psycopg2, which the extra brings, unless what SQLAlchemy takes for it is installed."""
    from sqlalchemy.dialects import registry

    if find_spec("psycopg") is None:
        registry.register("postgresql", "sqlalchemy.dialects.postgresql.psycopg2", "dialect")


def _ask_database(uri: str) -> None:
    from sqlalchemy import create_engine

    use_psycopg2()
    engine = create_engine(uri)
    engine.connect().close()
    engine.dispose()


def _in_time(uri: str, ask: Callable[[], None]) -> None:
    """Ask a store, and wait for so long in all: looking up a name and a slow answer have no time limit of their own."""
    failures: list[Exception] = []

    def work() -> None:
        try:
            ask()
        except Exception as error:
            failures.append(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(ANSWER_WITHIN_S)
    if thread.is_alive():
        raise StoreError(_no_answer(uri, f"nothing within {ANSWER_WITHIN_S:g} s"))
    if failures:
        error = failures[0]
        if isinstance(error, ImportError):
            module = error.name or str(error)
            raise StoreError(
                f"the tracking store {named(uri)} needs a driver that is not installed ({module}); "
                f"add it with `pip install {_DRIVERS.get(module, module)}`"
            ) from error
        # Of a long chain of causes the name says enough; a database says its own in the first line.
        own = getattr(error, "orig", None)
        reason = type(error).__name__ if own is None else str(own).strip().splitlines()[0]
        raise StoreError(_no_answer(uri, without_passwords(reason))) from error


def _no_answer(uri: str, reason: str) -> str:
    return (
        f"the tracking store {named(uri)} does not answer ({reason}); start it, or name another by tracking.uri=… or "
        f"{STORE_VARIABLE}"
    )
