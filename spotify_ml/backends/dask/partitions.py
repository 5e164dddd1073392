"""Tasks of partitions: made, kept on the workers, or gathered here."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd


def mapped(function: Callable[..., Any], *columns: Iterable[Any]) -> list[Any]:
    """Return tasks that call a function with the elements of each partition, which may be tasks themselves."""
    from dask import delayed

    task = delayed(function)
    return [task(*arguments) for arguments in zip(*columns, strict=True)]


def kept(client: Any, tasks: list[Any]) -> list[Any]:
    """Let the workers do tasks and keep what they give; return that as tasks, which are done again if it is lost."""
    return list(client.persist(tasks))


def ranks_of(counts: Sequence[int], n_workers: int) -> list[int]:
    """Return which worker each partition is for, by its position alone: each gets a stretch of about as many rows.

    Parameters
    ----------
    counts : sequence of int
        The rows of each partition that a model is fitted on. A partition without any goes to a worker that has some.
    n_workers : int
        How many there are; more than there are partitions with rows have nothing to do.
    """
    rows = np.asarray(counts)
    middles = (rows.cumsum() - rows / 2) / max(rows.sum(), 1)
    ranks = np.minimum(middles * n_workers, n_workers - 1).astype(int)
    filled = np.flatnonzero(rows)
    if len(filled):
        before = np.maximum(np.searchsorted(filled, np.arange(len(rows)), side="right") - 1, 0)
        ranks = ranks[filled[before]]
    return ranks.tolist()


def placed(client: Any, tasks: list[Any], ranks: Sequence[int], workers: Sequence[str]) -> list[Any]:
    """Do as `kept`, each task on the worker of its rank as long as that is there."""
    done = list(tasks)
    for rank, address in enumerate(workers):
        own = [position for position, each in enumerate(ranks) if each == rank]
        if own:
            there = client.persist([tasks[position] for position in own], workers=[address], allow_other_workers=True)
            for position, task in zip(own, there, strict=True):
                done[position] = task
    return done


def gathered(client: Any, tasks: list[Any]) -> list[Any]:
    """Let the workers do tasks, and return what they give."""
    return list(client.gather(client.compute(tasks)))


def as_dask_frame(client: Any, tasks: list[Any]) -> Any:
    """Return the DataFrames that tasks give as one of Dask's."""
    import dask.dataframe as dd

    (meta,) = gathered(client, mapped(pd.DataFrame.head, tasks[:1], [0]))
    return dd.from_delayed(tasks, meta=meta, verify_meta=False)
