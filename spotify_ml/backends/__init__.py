"""Backends that carry out the steps of a run: this process, or a Dask cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

from spotify_ml.backends.base import Backend
from spotify_ml.backends.local import LocalBackend
from spotify_ml.config.run import RunConfig
from spotify_ml.utils.timing import Stopwatch


@contextmanager
def open_backend(config: RunConfig, clock: Stopwatch) -> Iterator[Backend]:
    """Open the backend that ``engine`` names; `clock` takes the times of its stages.

    Raises `EngineError` if the cluster cannot be reached.
    """
    if config.engine.name == "local":
        yield LocalBackend(config, clock)
        return
    # Dask is an extra.
    from spotify_ml.backends.dask.run import open_cluster

    with open_cluster(config, clock) as backend:
        yield backend
