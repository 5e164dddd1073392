"""The connection to a Dask cluster, and what can go wrong with one."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any, TypeVar

from spotify_ml.config import DaskEngineConfig
from spotify_ml.data.cache import code_digest
from spotify_ml.errors import ConfigError, EngineError, SpotifyMLError, without_passwords

log = logging.getLogger(__name__)

Value = TypeVar("Value")

# Seconds until a scheduler, or its first worker, counts as not there.
_CONNECT, _FIRST_WORKER = 10, 60
# How often what a lost worker took with it is done again by the others.
_ATTEMPTS = 3
_VERSIONS = ("numpy", "pandas", "pyarrow", "scikit-learn", "xgboost")


@contextmanager
def cluster(config: DaskEngineConfig) -> Iterator[Any]:
    """Connect to the cluster of an address, or start one for as long as the block lasts.

    Parameters
    ----------
    config : DaskEngineConfig
        Where it is, or how many workers to start.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ConfigError
        If Dask is not installed, or no scheduler answers.
    EngineError
        If the cluster has no workers or other code than this process, or is lost on the way.
    """
    distributed = import_dask()
    with ExitStack() as opened, _lost_cluster(config):
        if config.address is None:
            client = opened.enter_context(_local_client(distributed, config))
        else:
            client = opened.enter_context(_remote_client(distributed, config.address))
        with warnings.catch_warnings():
            # Positions and folds go with the tasks, where a lost worker cannot lose them.
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            yield client


def import_dask() -> Any:
    """Return ``distributed``, with all that a run needs of Dask.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        import_module("dask.dataframe")
        return import_module("distributed")
    except ImportError as error:
        raise ConfigError(
            f"engine=dask needs Dask, which is not installed ({error}); add it with `pip install '.[dask]'`"
        ) from error


@contextmanager
def _local_client(distributed: Any, config: DaskEngineConfig) -> Iterator[Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_workers = config.n_workers or cores
    threads = config.threads_per_worker or max(cores // n_workers, 1)
    with (
        distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=logging.ERROR,
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


@contextmanager
def _remote_client(distributed: Any, address: str) -> Iterator[Any]:
    shown = without_passwords(address)
    try:
        client = distributed.Client(address, timeout=_CONNECT)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"engine.address={shown}: no Dask scheduler answers there ({str(error).splitlines()[0]}); "
            "start one with `dask scheduler`, or leave the address out for a cluster on this machine"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_FIRST_WORKER)
        except TimeoutError as error:
            raise EngineError(
                f"engine.address={shown}: the scheduler has no workers; start some with `dask worker {shown}`"
            ) from error
        _check_workers(client)
        yield client


def _check_workers(client: Any) -> None:
    """Refuse workers that would do something else than this process."""
    own = code_and_versions()
    try:
        theirs = client.run(code_and_versions)
    except ModuleNotFoundError as error:
        raise EngineError(f"a worker cannot import {error.name}; install this package on every worker") from error
    for worker, found in theirs.items():
        differing = [f"{name} {found[name]} in place of {own[name]}" for name in own if found[name] != own[name]]
        if differing:
            raise EngineError(
                f"worker {worker} has {', '.join(differing)}; install the same package and versions everywhere"
            )


def code_and_versions() -> dict[str, str]:
    """Return what decides the numbers of a task: a digest of this package's code, and the libraries' versions."""
    from importlib.metadata import version

    return {"spotify_ml code": code_digest(), **{name: version(name) for name in _VERSIONS}}


@contextmanager
def _lost_cluster(config: DaskEngineConfig) -> Iterator[None]:
    """Turn what Dask raises of a cluster that is no longer there into an `EngineError`."""
    distributed = import_dask()
    from asyncio import CancelledError as AsyncCancelledError
    from concurrent.futures import CancelledError

    where = "the local cluster" if config.address is None else f"the cluster at {without_passwords(config.address)}"
    try:
        yield
    except SpotifyMLError:
        raise
    except distributed.KilledWorker as error:
        raise EngineError(
            f"{where} lost {error.allowed_failures + 1} workers at the same task; they may lack memory: "
            "give them more, or use more workers"
        ) from error
    except (
        CancelledError,
        AsyncCancelledError,
        distributed.client.FuturesCancelledError,
        distributed.comm.CommClosedError,
    ) as error:
        raise EngineError(f"{where} was lost while it was working; see its log, and run again") from error


def with_lost_workers(client: Any, task: Callable[[], Value]) -> Value:
    """Do what all workers do together, and again with those that are left where one was lost meanwhile.

    XGBoost's workers wait for each other after every level of a tree: where one dies, all end with an error. What the
    lost one held, Dask makes again.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster.
    task : callable
        What to do; may be called several times.

    Raises
    ------
    EngineError
        If workers are lost each time.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        before = workers_of(client)
        try:
            return task()
        except Exception as error:
            lost = before - workers_of(client)
            if not lost:
                raise
            log.warning("lost %s while fitting (attempt %d of %d)", ", ".join(sorted(lost)), attempt, _ATTEMPTS)
            reason = error
        try:
            client.wait_for_workers(1, timeout=_FIRST_WORKER)
        except TimeoutError as error:
            raise EngineError("the cluster lost its last worker while fitting; start workers, and run again") from error
    raise EngineError(
        f"workers were lost in each of {_ATTEMPTS} attempts to fit; they may lack memory: give them more, or use more"
    ) from reason


def workers_of(client: Any) -> set[str]:
    """Return the addresses of the workers that are there now."""
    return set(client.scheduler_info(n_workers=-1)["workers"])
