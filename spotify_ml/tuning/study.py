"""A study that several processes, here or elsewhere, work on: who takes which trial, and what became of the dead."""

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

# The run says what happens, in its own words.
optuna.logging.set_verbosity(optuna.logging.WARNING)

_POSTGRESQL_OPTIONS: dict[str, Any] = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 5}}
_JOURNAL, _SQLITE, _POSTGRESQL = "journal:///", "sqlite:///", "postgresql"
_OF_MLFLOW = "experiment_tags"
_LOCKED_FOR_S = 60
# A worker on another machine is taken for dead when it has been silent for so long.
BEAT_S, SILENT_S = 10.0, 90.0
_WORKER, _IDENTITY, _FINISHER = "worker", "spotify_ml", "finisher"
# What a trial sets, under dotted keys.
VALUES = "values"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Storage:
    """Where studies are kept, and a lock that one process at a time holds on them.

    Parameters
    ----------
    url : str
        ``sqlite:///file``, ``postgresql://…`` or ``journal:///file``.

    Raises
    ------
    ConfigError
        If it is none of these, or its driver is not installed.
    TrackingError
        If it cannot be reached or written.
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
            # Processes that make the same tables at once break each other.
            with self.lock():
                self._refuse_store(url)
                self.backend = self._open(url)

    def _refuse_store(self, url: str) -> None:
        """Refuse a database with MLflow's tables: both note their version in the same table, and neither opens then."""
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
        """Return the lock; it is gone with the process that holds it."""
        if self._engine is None:
            return FileLock(f"{self._file}.study.lock")
        return _advisory_lock(self._engine)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what a database raises into one error that names it."""
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
            # A port that is no number; a file that is no journal.
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
    """A process that works on a study, as the others see it: alive as long as its beat is.

    Parameters
    ----------
    study : Study
        Where its beat is kept.
    """

    def __init__(self, study: Study) -> None:
        self.name = f"{_WORKER}:{uuid.uuid4().hex[:12]}"
        self._study = study
        self._end = Event()
        self._thread = Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Worker":
        """Start to beat."""
        self._say()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Say that it is gone."""
        self.retire()

    def retire(self) -> None:
        """Stop, and say so: a trial that is still under way is nobody's now."""
        self._end.set()
        self._thread.join()
        with suppress(SQLAlchemyError, StorageInternalError, OSError):
            self._study.set_user_attr(self.name, None)

    def _say(self) -> None:
        self._study.set_user_attr(self.name, {"host": socket.gethostname(), "pid": os.getpid(), "beat": time.time()})

    def _beat(self) -> None:
        while not self._end.wait(BEAT_S):
            # A missed beat is no reason to end: several must be missed.
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
        return True
    return True


class SharedStudy:
    """A study, and the rules by which several workers share it.

    Parameters
    ----------
    storage : Storage
        Where it is kept.
    name : str
        Its name.
    config : OptunaConfig
        Sampler, pruner and the number of trials.
    seed : int
        Seeds the sampler and the pruner.
    objectives : list of Objective
        What it optimises.
    identity : dict of str to str
        What all trials of the study have in common, each under a name that a user knows.
    first : dict
        Values of the first trial, as far as it is not for the sampler to choose them.

    Raises
    ------
    ConfigError
        If there is a study of that name that differs in any of it; nothing is written then.
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
            # A start that was killed in between may have made it, and no more.
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
        """Keep every other worker from taking or ending trials for a moment."""
        with self._storage.errors(), self._storage.lock():
            yield

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in some states, in their order."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def take(self, worker: Worker) -> Trial | None:
        """Start the next trial; None where as many as are wanted are finished or under way. Call it under the lock."""
        running = self.trials(*FINISHED, TrialState.RUNNING)
        if len(running) >= self._n_trials:
            return None
        # By its number alone: the same state of the study gives the same trial, whatever was run before it and where.
        number = len(self.trials())
        if number == 0:
            self.study.enqueue_trial(self._first)
        self.study.sampler = build_sampler(self._sampler, self._seed + number)
        trial = self.study.ask()
        trial.set_user_attr(_WORKER, worker.name)
        return trial

    def is_complete(self) -> bool:
        """Say whether as many trials as are wanted are finished."""
        return len(self.trials(*FINISHED)) >= self._n_trials

    def has_abandoned(self) -> bool:
        """Say whether a trial is under way whose worker is gone."""
        return any(not self.is_in_hand(trial) for trial in self.trials(TrialState.RUNNING))

    def fail_abandoned(self) -> list[int]:
        """Mark trials failed whose worker is gone, and return their numbers. Call it under the lock."""
        abandoned = []
        for trial in self.trials(TrialState.RUNNING):
            if not self.is_in_hand(trial):
                # Its worker may have ended it in this very moment.
                with suppress(UpdateFinishedTrialError, ValueError):
                    self.study.tell(trial.number, state=TrialState.FAIL)
                    abandoned.append(trial.number)
        return abandoned

    def is_in_hand(self, trial: FrozenTrial) -> bool:
        """Say whether the worker of a trial is alive."""
        return _is_alive(self.study.user_attrs.get(trial.user_attrs.get(_WORKER, "")))

    def has_other_workers(self, worker: Worker) -> bool:
        """Say whether another worker is alive."""
        others = {name: state for name, state in self.study.user_attrs.items() if name.startswith(f"{_WORKER}:")}
        return any(_is_alive(state) for name, state in others.items() if name != worker.name)

    def is_being_finished(self) -> bool:
        """Say whether a worker is ending the study."""
        attributes = self.study.user_attrs
        return _is_alive(attributes.get(attributes.get(_FINISHER, "")))

    def finish(self, worker: Worker) -> bool:
        """Say whether it falls to this worker to end the study, which one alone does. Call it under the lock."""
        attributes = self.study.user_attrs
        finisher = attributes.get(_FINISHER)
        if finisher is not None and finisher != worker.name and _is_alive(attributes.get(finisher)):
            return False
        self.study.set_user_attr(_FINISHER, worker.name)
        return True

    def equal_trial(self, values: dict[str, Any]) -> FrozenTrial | None:
        """Return a finished trial of the same values, which are not always what the sampler knows."""
        return next((other for other in self.trials(*FINISHED) if other.user_attrs.get(VALUES) == values), None)


def _check_identity(name: str, stored: dict[str, str] | None, identity: dict[str, str]) -> None:
    if stored is None:
        raise ConfigError(f"config: tune.study_name={name}: there is a study of that name that is not from here")
    different = [what for what, value in identity.items() if stored.get(what) != value]
    if different:
        raise ConfigError(
            f"config: tune.study_name={name}: the study of that name has another {', another '.join(different)}; "
            "choose another name, or run what it was begun with"
        )


def build_sampler(config: SamplerConfig, seed: int) -> BaseSampler:
    """Return Optuna's sampler of a configuration."""
    if isinstance(config, TPEConfig):
        return TPESampler(n_startup_trials=config.n_startup_trials, multivariate=True, group=True, seed=seed)
    return RandomSampler(seed=seed)


class SeededHyperband(HyperbandPruner):
    """Hyperband that divides trials among its brackets by a seed; Optuna's own takes the name of the study for that."""

    def __init__(self, seed: int, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._seed = seed

    def _get_bracket_id(self, study: Study, trial: FrozenTrial) -> int:
        # Optuna's samplers ask for it as well, by this name.
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
