"""A study that several processes share, on one or more machines."""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from spotify_ml.config.tuning import (
    ASHAConfig,
    HyperbandConfig,
    MedianPrunerConfig,
    OptunaConfig,
    PercentilePrunerConfig,
    PrunerConfig,
    SamplerConfig,
    TPEConfig,
    WilcoxonConfig,
)
from spotify_ml.tracking.store_address import use_psycopg2
from spotify_ml.tuning.journal import Journal
from spotify_ml.tuning.objectives import Objective
from spotify_ml.utils.errors import ConfigError, TrackingError, without_passwords

# This package logs the trials itself.
optuna.logging.set_verbosity(optuna.logging.WARNING)

_POSTGRESQL_OPTIONS: dict[str, Any] = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 5}}
_JOURNAL, _SQLITE, _POSTGRESQL = "journal:///", "sqlite:///", "postgresql"
_OF_MLFLOW = "experiment_tags"
_LOCKED_FOR_S = 60
# Seconds between a worker's updates, and without one until other machines count it as gone.
BEAT_S, SILENT_S = 10.0, 90.0
_WORKER, _IDENTITY, _FINISHER = "worker", "spotify_ml", "finisher"
# The attribute of a trial with its values, by dotted key.
VALUES = "values"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Storage:
    """The storage of studies, and a lock that one process at a time holds.

    Raises `ConfigError` if it is none of these, or its driver is not installed. Raises `TrackingError` if it cannot be
    reached or written.

    Parameters
    ----------
    url : str
        ``sqlite:///file``, ``postgresql://…`` or ``journal:///file``.
    """

    def __init__(self, url: str) -> None:
        self.name = without_passwords(url)
        self._file: Path | None = None
        self._engine: Engine | None = None
        with self._opening():
            if url.startswith((_JOURNAL, _SQLITE)):
                self._file = Path(url.removeprefix(_JOURNAL).removeprefix(_SQLITE)).absolute()
                self._file.parent.mkdir(parents=True, exist_ok=True)
            elif url.startswith(_POSTGRESQL):
                use_psycopg2()
                self._engine = create_engine(url, **_POSTGRESQL_OPTIONS)
            else:
                raise ConfigError(
                    f"config: tune.storage={self.name}: give sqlite:///file, postgresql://… or journal:///file"
                )
            # Processes that create the same tables at once fail.
            with self.lock():
                self._refuse_store(url)
                self.backend = self._open(url)

    def _refuse_store(self, url: str) -> None:
        """Refuse MLflow's database: both keep a version in the same table, and neither could open it then."""
        if self._file is not None and (url.startswith(_JOURNAL) or not self._file.is_file()):
            return
        engine = self._engine or create_engine(f"{_SQLITE}{self._file}")
        is_store = inspect(engine).has_table(_OF_MLFLOW)
        engine.dispose()
        if is_store:
            raise ConfigError(
                f"config: tune.storage={self.name} is the store of MLflow's runs; studies need a database of their own"
            )

    def _open(self, url: str) -> BaseStorage:
        if url.startswith(_JOURNAL):
            return JournalStorage(Journal(str(self._file)))
        if url.startswith(_SQLITE):
            options = {"connect_args": {"timeout": _LOCKED_FOR_S, "check_same_thread": False}}
            return RDBStorage(f"{_SQLITE}{self._file}", engine_kwargs=options)
        return RDBStorage(url, engine_kwargs=_POSTGRESQL_OPTIONS)

    def lock(self) -> AbstractContextManager[Any]:
        """Return the lock, which the system releases when its holder ends."""
        if self._engine is None:
            return FileLock(f"{self._file}.study.lock")
        return _advisory_lock(self._engine)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn a database's errors into one error that names it."""
        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            raise self._refusal(str(getattr(error, "orig", None) or error.__cause__ or error)) from error

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            with self.errors():
                yield
        except ImportError as error:
            raise ConfigError(
                f"config: tune.storage={self.name} needs a driver that is not installed; "
                "add it with `pip install -e '.[postgresql]'`"
            ) from error
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from error
        except ValueError as error:
            # An invalid port, or a file that is not a journal.
            raise self._refusal(str(error)) from error

    def _refusal(self, cause: str) -> TrackingError:
        first = cause.strip().splitlines()[0]
        return TrackingError(f"the study's storage {self.name} cannot be used: {first}; mend tune.storage=…")


@contextmanager
def _advisory_lock(engine: Engine) -> Iterator[None]:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(hashtext('spotify_ml'))"))
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(hashtext('spotify_ml'))"))


class Worker:
    """A process that works on a study: other workers count it as alive while it updates a time in the study."""

    def __init__(self, study: Study) -> None:
        self.name = f"{_WORKER}:{uuid.uuid4().hex[:12]}"
        self._study = study
        self._end = Event()
        self._thread = Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Worker":
        """Start updating."""
        self._say()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Retire."""
        self.retire()

    def retire(self) -> None:
        """Stop updating, and remove the entry: other workers may end its trials."""
        self._end.set()
        self._thread.join()
        with suppress(SQLAlchemyError, StorageInternalError, OSError):
            self._study.set_user_attr(self.name, None)

    def _say(self) -> None:
        self._study.set_user_attr(self.name, {"host": socket.gethostname(), "pid": os.getpid(), "beat": time.time()})

    def _beat(self) -> None:
        while not self._end.wait(BEAT_S):
            # A worker counts as gone only after several missed updates.
            with suppress(SQLAlchemyError, StorageInternalError, OSError):
                self._say()


def _is_alive(worker: dict[str, Any] | None) -> bool:
    if worker is None:
        return False
    if worker["host"] == socket.gethostname() and not _process_exists(int(worker["pid"])):
        return False
    return time.time() - float(worker["beat"]) < SILENT_S


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def stored_identity(storage: Storage, name: str) -> dict[str, str]:
    """Return the identity of a study that has begun; empty if there is none."""
    for each in optuna.get_all_study_summaries(storage.backend):
        if each.study_name == name:
            return dict(each.user_attrs.get(_IDENTITY) or {})
    return {}


class SharedStudy:
    """A study, and the rules by which workers share it.

    `identity` is what all its trials have in common, by descriptions for error messages; `first` has values of the
    first trial, whose others the sampler chooses. Raises `ConfigError` if a study of that name has another identity;
    nothing is written then.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        config: OptunaConfig,
        seed: int,
        objectives: list[Objective],
        identity: dict[str, str],
        first: dict[str, Any],
    ) -> None:
        self._storage = storage
        self._first = first
        self._n_trials = config.n_trials
        self._sampler, self._seed = config.sampler, seed
        with storage.lock():
            existing = {each.study_name: each for each in optuna.get_all_study_summaries(storage.backend)}.get(name)
            # An empty study is left by a start that was killed.
            is_new = existing is None or not (existing.n_trials or existing.user_attrs)
            if existing is not None and not is_new:
                _check_identity(name, existing.user_attrs.get(_IDENTITY), identity)
            self.study = optuna.create_study(
                storage=storage.backend,
                study_name=name,
                directions=[each.direction for each in objectives],
                load_if_exists=True,
                pruner=build_pruner(config.pruner, seed),
            )
            if is_new:
                self.study.set_user_attr(_IDENTITY, identity)
                self.study.set_metric_names([each.metric for each in objectives])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock: no other worker starts or ends trials."""
        with self._storage.errors(), self._storage.lock():
            yield

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in some states, in order."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def take(self, worker: Worker) -> Trial | None:
        """Start the next trial; None if enough are finished or running. Needs the lock."""
        running = self.trials(*FINISHED, TrialState.RUNNING)
        if len(running) >= self._n_trials:
            return None
        # Seeded by the number of the trial, so that the same state of a study gives the same trial in any process.
        number = len(self.trials())
        if number == 0:
            self.study.enqueue_trial(self._first)
        self.study.sampler = build_sampler(self._sampler, self._seed + number)
        trial = self.study.ask()
        trial.set_user_attr(_WORKER, worker.name)
        return trial

    def is_complete(self) -> bool:
        """Return whether enough trials are finished."""
        return len(self.trials(*FINISHED)) >= self._n_trials

    def has_abandoned(self) -> bool:
        """Return whether a running trial's worker is gone."""
        return any(not self.is_in_hand(trial) for trial in self.trials(TrialState.RUNNING))

    def fail_abandoned(self) -> list[int]:
        """Mark running trials as failed if their worker is gone, and return their numbers. Needs the lock."""
        abandoned = []
        for trial in self.trials(TrialState.RUNNING):
            if not self.is_in_hand(trial):
                # Its worker may end it at the same time.
                with suppress(UpdateFinishedTrialError, ValueError):
                    self.study.tell(trial.number, state=TrialState.FAIL)
                    abandoned.append(trial.number)
        return abandoned

    def is_in_hand(self, trial: FrozenTrial) -> bool:
        """Return whether the worker of a trial is alive."""
        return _is_alive(self.study.user_attrs.get(trial.user_attrs.get(_WORKER, "")))

    def has_other_workers(self, worker: Worker) -> bool:
        """Return whether another worker is alive."""
        others = {name: state for name, state in self.study.user_attrs.items() if name.startswith(f"{_WORKER}:")}
        return any(_is_alive(state) for name, state in others.items() if name != worker.name)

    def is_being_finished(self) -> bool:
        """Return whether a worker is ending the study."""
        attributes = self.study.user_attrs
        return _is_alive(attributes.get(attributes.get(_FINISHER, "")))

    def finish(self, worker: Worker) -> bool:
        """Return whether this worker, and no other, shall end the study. Needs the lock."""
        attributes = self.study.user_attrs
        finisher = attributes.get(_FINISHER)
        if finisher is not None and finisher != worker.name and _is_alive(attributes.get(finisher)):
            return False
        self.study.set_user_attr(_FINISHER, worker.name)
        return True

    def equal_trial(self, values: dict[str, Any]) -> FrozenTrial | None:
        """Return a finished trial with the same values, which the sampler may not know."""
        return next((other for other in self.trials(*FINISHED) if other.user_attrs.get(VALUES) == values), None)


def _check_identity(name: str, stored: dict[str, str] | None, identity: dict[str, str]) -> None:
    if stored is None:
        raise ConfigError(f"config: tune.study_name={name}: there is a study of that name that is not from here")
    different = [what for what, value in identity.items() if stored.get(what) != value]
    if different:
        raise ConfigError(
            f"config: tune.study_name={name}: the study of that name has another {', another '.join(different)}; "
            "choose another name, or use its settings"
        )


def build_sampler(config: SamplerConfig, seed: int) -> BaseSampler:
    """Return Optuna's sampler of a configuration."""
    if isinstance(config, TPEConfig):
        return TPESampler(n_startup_trials=config.n_startup_trials, multivariate=True, group=True, seed=seed)
    return RandomSampler(seed=seed)


class SeededHyperband(HyperbandPruner):
    """Hyperband that assigns trials to brackets by a seed; Optuna's own uses the name of the study."""

    def __init__(self, seed: int, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._seed = seed

    def _get_bracket_id(self, study: Study, trial: FrozenTrial) -> int:
        # Optuna's samplers call this method too.
        seeded: Any = SimpleNamespace(study_name=f"seed {self._seed}")
        return int(super()._get_bracket_id(seeded, trial))


def build_pruner(config: PrunerConfig, seed: int) -> BasePruner:
    """Return Optuna's pruner of a configuration."""
    if isinstance(config, PercentilePrunerConfig):
        return PercentilePruner(config.percentile, config.n_startup_trials, config.n_warmup_steps)
    if isinstance(config, MedianPrunerConfig):
        return MedianPruner(config.n_startup_trials, config.n_warmup_steps)
    if isinstance(config, ASHAConfig):
        return SuccessiveHalvingPruner(config.min_resource, config.reduction_factor)
    if isinstance(config, HyperbandConfig):
        return SeededHyperband(seed, **config.model_dump(exclude={"name"}))
    if isinstance(config, WilcoxonConfig):
        return WilcoxonPruner(p_threshold=config.p_threshold, n_startup_steps=config.n_startup_steps)
    return NopPruner()
