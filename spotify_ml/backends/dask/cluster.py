"""The connection to a Dask cluster, and its errors."""

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

# Seconds without a scheduler, or without workers, until the cluster counts as lost.
_CONNECT, _NO_WORKERS = 10, 60
# Parts of XGBoost's messages about a lost worker.
_LOST = ("/collective/", "Invalid worker address", "Missing required workers")
# Attempts of a task whose workers were lost.
_ATTEMPTS = 3
_VERSIONS = ("numpy", "pandas", "pyarrow", "scikit-learn", "xgboost")


@contextmanager
def cluster(config: DaskEngineConfig) -> Iterator[Any]:
    """Connect to a cluster by its address, or start one; yields a ``distributed.Client``.

    Raises `ConfigError` if Dask is not installed, or no scheduler answers. Raises `EngineError` if the cluster has no
    workers or other code than this process, or is lost later.
    """
    distributed = import_dask()
    where = "the local cluster" if config.address is None else f"the cluster at {without_passwords(config.address)}"
    opening = _local_client if config.address is None else _remote_client
    with opening(distributed, config) as client, _watched(distributed, client, where), warnings.catch_warnings():
        # Positions and folds are sent with the tasks, so that a lost worker does not lose them.
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        yield client


def import_dask() -> Any:
    """Return ``distributed``, and import what a run needs of Dask; raise ConfigError if it is not installed."""
    try:
        import_module("dask.dataframe")
        distributed = import_module("distributed")
    except ImportError as error:
        raise ConfigError(
            f"engine=dask needs Dask, which is not installed ({error}); add it with `pip install -e '.[dask]'`"
        ) from error
    # It logs every connection; errors that matter are raised.
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
        # A client that could not connect closes when it is garbage-collected. If that happens while the next one
        # starts, both wait for the same lock forever; the exception would keep the client alive.
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
    """Refuse workers with other code or versions than this process."""
    own = code_and_versions()
    try:
        theirs = client.run(code_and_versions)
    # Dask raises a worker's import errors as Exception.
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
    """Return a digest of this package's code, and the versions of libraries that decide the numbers of a task."""
    return {"spotify_ml code": code_digest(), **{name: library_version(name) for name in _VERSIONS}}


@contextmanager
def _watched(distributed: Any, client: Any, where: str) -> Iterator[None]:
    """Turn Dask's errors about a lost cluster into an `EngineError`; by itself Dask would wait for workers."""
    ended, deserted = Event(), Event()

    def watch() -> None:
        seen = monotonic()
        while not ended.wait(1):
            # Without a scheduler, the client closes by itself.
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
    # CancelledError is not an Exception.
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
    """Call a task of all workers, and call it again with the remaining ones if one was lost.

    XGBoost's workers wait for each other after every level of a tree: if one is lost, all fail. Dask computes the lost
    worker's data again.

    Raises `EngineError` if workers are lost each time.
    """
    lost: Exception | None = None
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return task()
        except Exception as error:
            if not any(sign in str(error) for sign in _LOST):
                raise
            log.warning("a worker was lost while fitting; attempt %d of %d failed", attempt, _ATTEMPTS)
            lost = error
    raise EngineError(
        f"workers were lost in {_ATTEMPTS} attempts to fit; they may lack memory: give them more, or use more"
    ) from lost


def workers_of(client: Any) -> list[str]:
    """Return the addresses of the current workers, in XGBoost's order of ranks."""
    workers = client.scheduler_info()["workers"]
    return sorted(workers, key=lambda address: f"[xgboost.dask-{workers[address]['name']}]:{address}")
