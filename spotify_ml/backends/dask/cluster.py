"""The connection to a Dask cluster, and what can go wrong with one."""

import gc
import logging
import os
import warnings
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Event, Thread
from time import monotonic
from typing import Any, TypeVar

from spotify_ml.config.run import DaskEngineConfig
from spotify_ml.data.cache import code_digest
from spotify_ml.utils.errors import ConfigError, EngineError, SpotifyMLError, without_passwords
from spotify_ml.utils.stops import left_to_this_process
from spotify_ml.utils.version import library_version

log = logging.getLogger(__name__)

Value = TypeVar("Value")

# Seconds until a scheduler, or the first or last of its workers, counts as not there.
_CONNECT, _NO_WORKERS = 10, 60
# What XGBoost says where a worker is no longer there.
_LOST = ("/collective/", "Invalid worker address", "Missing required workers")
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
    where = "the local cluster" if config.address is None else f"the cluster at {without_passwords(config.address)}"
    opening = _local_client if config.address is None else _remote_client
    with opening(distributed, config) as client, _watched(distributed, client, where), warnings.catch_warnings():
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
        distributed = import_module("distributed")
    except ImportError as error:
        raise ConfigError(
            f"engine=dask needs Dask, which is not installed ({error}); add it with `pip install -e '.[dask]'`"
        ) from error
    # It tells of every connection; what matters to a run is raised.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    return distributed


@contextmanager
def _local_client(distributed: Any, config: DaskEngineConfig) -> Iterator[Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_workers = config.n_workers or cores
    threads = config.threads_per_worker or max(cores // n_workers, 1)
    with left_to_this_process():
        local = distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        )
    with local, distributed.Client(local) as client:
        yield client


@contextmanager
def _remote_client(distributed: Any, config: DaskEngineConfig) -> Iterator[Any]:
    address = str(config.address)
    shown, reason = without_passwords(address), None
    try:
        client = distributed.Client(config.address, timeout=_CONNECT)
    except (OSError, ValueError) as error:
        # Dask repeats the address without its protocol.
        reason = str(error).splitlines()[0].replace(address.partition("//")[2], shown.partition("//")[2])
    if reason is not None:
        # Dask closes a client that it could not connect when that is collected. Left to chance, that may come while the
        # next one starts, and both wait for the same lock; the error would keep it.
        gc.collect()
        raise ConfigError(
            f"engine.address={shown}: no Dask scheduler answers there ({reason}); "
            "start one with `dask scheduler`, or leave the address out for a cluster on this machine"
        )
    with client:
        try:
            client.wait_for_workers(1, timeout=_NO_WORKERS)
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
    # What a worker cannot import, Dask raises as a bare Exception.
    except Exception as error:
        raise EngineError(
            f"a worker cannot run this package ({error}); install it, as here, on every worker"
        ) from error
    for worker, found in theirs.items():
        differing = [f"{name} {found[name]} in place of {own[name]}" for name in own if found[name] != own[name]]
        if differing:
            raise EngineError(
                f"worker {worker} has {', '.join(differing)}; install the same package and versions everywhere"
            )


def code_and_versions() -> dict[str, str]:
    """Return what decides the numbers of a task: a digest of this package's code, and the libraries' versions."""
    return {"spotify_ml code": code_digest(), **{name: library_version(name) for name in _VERSIONS}}


@contextmanager
def _watched(distributed: Any, client: Any, where: str) -> Iterator[None]:
    """Turn what Dask raises of a cluster that is no longer there into an `EngineError`; it would wait for workers."""
    ended, deserted = Event(), Event()

    def watch() -> None:
        seen = monotonic()
        while not ended.wait(1):
            # Without a scheduler, the client gives up by itself.
            with suppress(Exception):
                if workers_of(client):
                    seen = monotonic()
            if monotonic() - seen > _NO_WORKERS:
                deserted.set()
                client.close()
                return

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except SpotifyMLError:
        raise
    except distributed.KilledWorker as error:
        raise EngineError(
            f"{where} lost worker after worker at the same task; they may lack memory: give them more, or use more"
        ) from error
    # asyncio's cancellation is no Exception.
    except (Exception, CancelledError) as error:
        if deserted.is_set():
            raise EngineError(f"{where} has lost all its workers; see their logs, and run again") from error
        if client.status == "running" and not isinstance(error, CancelledError | distributed.CancelledError):
            raise
        raise EngineError(f"{where} was lost while it was working; see its log, and run again") from error
    finally:
        ended.set()
        watcher.join()


def with_lost_workers(task: Callable[[], Value]) -> Value:
    """Do what all workers do together, and again with those that are left where one was lost meanwhile.

    XGBoost's workers wait for each other after every level of a tree: where one dies, all end with an error. What the
    lost one held, Dask makes again.

    Parameters
    ----------
    task : callable
        What to do; may be called several times.

    Raises
    ------
    EngineError
        If workers are lost each time.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return task()
        except Exception as error:
            if not any(sign in str(error) for sign in _LOST):
                raise
            log.warning("a worker was lost while fitting; attempt %d of %d failed", attempt, _ATTEMPTS)
    try:
        return task()
    except Exception as error:
        if not any(sign in str(error) for sign in _LOST):
            raise
        raise EngineError(
            f"workers were lost in {_ATTEMPTS} attempts to fit; they may lack memory: give them more, or use more"
        ) from error


def workers_of(client: Any) -> list[str]:
    """Return the addresses of the workers that are there now, in the order in which XGBoost ranks them."""
    workers = client.scheduler_info()["workers"]
    return sorted(workers, key=lambda address: f"[xgboost.dask-{workers[address]['name']}]:{address}")
