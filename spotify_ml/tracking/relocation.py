"""A local store whose folder was moved or copied: MLflow keeps absolute locations of artifacts in the database."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from spotify_ml.config.run import TrackingConfig
from spotify_ml.tracking.store import artifacts_of, open_store, store_errors
from spotify_ml.tracking.store_address import named
from spotify_ml.utils.errors import TrackingError
from spotify_ml.utils.paths import database_path

# Every column of MLflow's tables that says where files are; what a run was made from and with is history and stays.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_WITH_FILES = (("runs", "artifact_uri"), ("logged_models", "artifact_location"))
_WAIT_S = 10


@dataclass(frozen=True)
class Relocation:
    """How many locations were rewritten from a folder to another, and how many runs and models are in neither."""

    old: str
    new: str
    rewritten: int
    elsewhere: int


def relocate(config: TrackingConfig, old: str | None = None) -> Relocation:
    """Rewrite the locations in a store's database to where its folder is now, all of them or none.

    The folder of the artifacts before is by default what the experiment says. Raises `TrackingError` if it is no local
    store, the files are not there, or the database cannot be written.
    """
    database = database_path(config.uri)
    artifacts = artifacts_of(config)
    if database is None or artifacts is None:
        raise TrackingError(f"{named(config.uri)} is no local store; name one: tracking.uri=sqlite:///…/mlflow.db")
    open_store(config.uri)
    new = Path(artifacts).absolute()
    if not new.is_dir():
        raise TrackingError(f"there are no artifacts in {new}; move or copy the whole folder of the store")
    with store_errors(config.uri), closing(sqlite3.connect(database, timeout=_WAIT_S)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            before = old or _recorded(connection, config)
            return _rewrite(connection, *_roots(before, new, database.absolute().parent))


def _recorded(connection: sqlite3.Connection, config: TrackingConfig) -> str:
    row = connection.execute(
        "SELECT artifact_location FROM experiments WHERE name = ?", (config.experiment,)
    ).fetchone()
    if row is None:
        raise TrackingError(f"{named(config.uri)} has no experiment '{config.experiment}'; set tracking.experiment=…")
    return str(row[0])


def _roots(old: str, new: Path, store: Path) -> tuple[str, str]:
    """Return the folders to rewrite from and to: that of the whole store, where the artifacts are in it."""
    below = f"/{new.relative_to(store).as_posix()}" if new.is_relative_to(store) else ""
    return (old.removesuffix(below), str(store)) if below and old.endswith(below) else (old.rstrip("/"), str(new))


def _rewrite(connection: sqlite3.Connection, old: str, new: str) -> Relocation:
    moved, elsewhere = [], 0
    for table, column in _WITH_FILES:
        for (location,) in connection.execute(f"SELECT {column} FROM {table}").fetchall():  # noqa: S608
            if _is_below(location, old):
                moved.append(location)
            elif not _is_below(location, new):
                elsewhere += 1
    left_behind = [each for each in moved if Path(each).exists() and not Path(new + each.removeprefix(old)).exists()]
    if left_behind:
        raise TrackingError(
            f"{len(left_behind)} folders of artifacts are in {old} but not in {new}, the first {left_behind[0]}; "
            "move or copy the whole folder of the store"
        )
    rewritten = 0
    for table, column in _LOCATIONS if old != new else ():
        done = connection.execute(
            f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "  # noqa: S608
            f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
            {"old": old, "new": new},
        )
        rewritten += done.rowcount
    return Relocation(old, new, rewritten, elsewhere)


def _is_below(location: str, folder: str) -> bool:
    return location == folder or location.startswith(f"{folder}/")
