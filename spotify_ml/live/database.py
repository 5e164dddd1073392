"""The database of live traffic: its tables, its address, and what is said when it cannot be used."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from spotify_ml.tracking.store_address import use_psycopg2
from spotify_ml.utils.errors import ConfigError, StoreError, TrackingError, without_passwords
from spotify_ml.utils.paths import database_path

SCHEMA_VERSION = "1"
# How long a writer waits for another one.
_PATIENCE_S = 5
_METADATA = sa.MetaData()

META = sa.Table(
    "live_meta", _METADATA, sa.Column("key", sa.String(50), primary_key=True), sa.Column("value", sa.String(200))
)
EXPERIMENTS = sa.Table(
    "live_experiments",
    _METADATA,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("mode", sa.String(10), nullable=False),
    sa.Column("share", sa.Float),
    sa.Column("salt", sa.String(200)),
    sa.Column("started", sa.Float, nullable=False),
)
PREDICTIONS = sa.Table(
    "live_predictions",
    _METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("experiment", sa.String(200), nullable=False),
    sa.Column("request", sa.String(32), nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    # What the request was assigned by, and what an outcome names this row by.
    sa.Column("unit", sa.String(200), nullable=False),
    sa.Column("key", sa.String(200), nullable=False, index=True),
    # The group of the unit, and whose prediction this is: champion, challenger, or expected (of the champion's error).
    sa.Column("arm", sa.String(10), nullable=False),
    sa.Column("role", sa.String(10), nullable=False),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("answered", sa.Boolean, nullable=False),
    sa.Column("prediction", sa.Float),
    sa.Column("lower", sa.Float),
    sa.Column("upper", sa.Float),
    sa.Column("expected", sa.Float),
    sa.Column("error", sa.String(200)),
    sa.Column("latency_ms", sa.Float),
    sa.Column("missing", sa.String(300)),
    sa.Column("out_of_range", sa.String(300)),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("numbers", sa.Text),
    sa.Column("genre", sa.String(200)),
    sa.Column("artist_group", sa.String(32)),
    sa.Column("inputs", sa.Text),
    sa.UniqueConstraint("request", "row", "role"),
    sa.Index("live_predictions_by_experiment", "experiment", "at"),
)
OUTCOMES = sa.Table(
    "live_outcomes",
    _METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("unit", sa.String(200), nullable=False, index=True),
    sa.Column("popularity", sa.Float, nullable=False),
    sa.Column("observed_at", sa.Float, nullable=False),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.UniqueConstraint("unit", "observed_at", "popularity"),
)


@dataclass(frozen=True)
class Experiment:
    """An experiment, as each server that takes part in it must know it; share and salt are those of split traffic."""

    name: str
    mode: str
    share: float | None = None
    salt: str | None = None


def log_address(given: str | None, store: str) -> str:
    """Return the address of the log: the given one, or of a file beside a store that is a file.

    Raises `ConfigError` if there is none.
    """
    if given is not None:
        return given
    database = database_path(store)
    if database is None:
        raise ConfigError("config: the store is a server, beside which there is no place; name the log with log=…")
    return f"sqlite:///{database.absolute().with_name('live.db')}"


@contextmanager
def log_errors(address: str) -> Iterator[None]:
    """Turn what the database raises into a `TrackingError` that names it."""
    try:
        yield
    except ImportError as error:
        raise StoreError(
            f"the log {without_passwords(address)} needs a driver that is not installed ({error.name}); "
            "add it with `pip install -e '.[postgresql]'`"
        ) from error
    except SQLAlchemyError as error:
        raise TrackingError(f"the log {without_passwords(address)} cannot be used: {cause_of(error)}") from error


def cause_of(error: Exception) -> str:
    """Return in a line why a database failed."""
    return without_passwords(str(getattr(error, "orig", None) or error).strip().splitlines()[0])


class Database:
    """The log in SQLite or PostgreSQL; nothing is connected to before it is used.

    Parameters
    ----------
    address : str
        ``sqlite:///file.db`` or ``postgresql://…``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._file = database_path(address)
        options: dict[str, Any] = {"connect_args": {"timeout": _PATIENCE_S}} if self._file else {"pool_pre_ping": True}
        if self._file is None:
            use_psycopg2()
            options["connect_args"] = {"connect_timeout": _PATIENCE_S}
        with log_errors(address):
            self.engine = sa.create_engine(address, **options)
        if self._file is not None:
            sa.event.listen(self.engine, "connect", _tune_sqlite)

    @property
    def file(self) -> Path | None:
        """The file of a SQLite log."""
        return self._file

    def check_there(self) -> None:
        """Raise `TrackingError` if nothing was ever logged here, or the tables are of another version of this code."""
        if self._file is not None and not self._file.is_file():
            raise TrackingError(
                f"there is no log {self.address}; serve with traffic=shadow or traffic=split first, or name it by log=…"
            )
        with log_errors(self.address):
            if not sa.inspect(self.engine).has_table(META.name):
                raise TrackingError(f"{without_passwords(self.address)} is no log of live traffic; name it by log=…")
            self._check_version()

    def prepare(self, experiment: Experiment | None = None) -> None:
        """Make the tables where they are missing, and note the experiment.

        Raises
        ------
        ConfigError
            If the tables are of another version of this code, or the experiment was started with other settings.
        SQLAlchemyError
            If the database cannot be used.
        """
        for attempt in range(3):
            try:
                _METADATA.create_all(self.engine)
                break
            except (OperationalError, IntegrityError, sa.exc.ProgrammingError):
                # Another process makes them at the same moment.
                if attempt == 2:
                    raise
                time.sleep(0.2)
        self.insert(META, [{"key": "schema", "value": SCHEMA_VERSION}])
        self._check_version()
        if experiment is not None:
            self._join(experiment)

    def insert(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        """Insert rows, all with the same keys, in one transaction; those that are there already are left out."""
        if not rows:
            return
        dialect = sqlite if self._file is not None else postgresql
        with self.engine.begin() as connection:
            connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)

    def forget(self, before: float) -> int:
        """Remove the predictions from before a moment, and return how many there were."""
        with self.engine.begin() as connection:
            return connection.execute(sa.delete(PREDICTIONS).where(PREDICTIONS.c.at < before)).rowcount

    def _check_version(self) -> None:
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(META.c.value).where(META.c.key == "schema")).scalar()
        if found != SCHEMA_VERSION:
            raise ConfigError(
                f"the log {without_passwords(self.address)} is of version {found}, and this code knows "
                f"{SCHEMA_VERSION}; name another with log=…"
            )

    def _join(self, experiment: Experiment) -> None:
        own = {key: getattr(experiment, key) for key in ("name", "mode", "share", "salt")}
        self.insert(EXPERIMENTS, [{**own, "started": time.time()}])
        with self.engine.connect() as connection:
            query = sa.select(EXPERIMENTS).where(EXPERIMENTS.c.name == experiment.name)
            found = connection.execute(query).one()
        other = [f"{key}={getattr(found, key)}" for key in own if getattr(found, key) != own[key]]
        if other:
            raise ConfigError(
                f"config: the experiment '{experiment.name}' was started with traffic.{', traffic.'.join(other)}: "
                "units would change sides; serve with the same, or start another with traffic.name=…"
            )


def _tune_sqlite(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
    except Exception as error:
        # A read-only file stays as it is, and is said when it is written to.
        if "readonly" not in str(error):
            raise
    finally:
        cursor.close()
