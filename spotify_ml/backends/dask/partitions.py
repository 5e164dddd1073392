"""Tasks for partitions: made, kept on the workers, or collected."""

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
    """Run tasks and keep the results on the workers; return them as tasks, which run again if results are lost."""
    return list(client.persist(tasks))


def ranks_of(counts: Sequence[int], n_workers: int) -> list[int]:
    """Return the rank of the worker for each partition: each worker gets consecutive partitions of about as many rows.

    `counts` are the rows to fit on in each partition. A partition without any goes to a worker that has some; if there
    are fewer partitions with rows than workers, some get none.
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
    """Do the same as `kept`, each task on the worker of its rank if that is still there."""
    done = list(tasks)
    for rank, address in enumerate(workers):
        own = [position for position, each in enumerate(ranks) if each == rank]
        if own:
            sent = client.persist([tasks[position] for position in own], workers=[address], allow_other_workers=True)
            for position, task in zip(own, sent, strict=True):
                done[position] = task
    return done


def gathered(client: Any, tasks: list[Any]) -> list[Any]:
    """Run tasks on the workers, and return the results."""
    return list(client.gather(client.compute(tasks)))


def as_dask_frame(client: Any, tasks: list[Any]) -> Any:
    """Return the DataFrames of tasks as one of Dask's."""
    import dask.dataframe as dd

    (meta,) = gathered(client, mapped(pd.DataFrame.head, tasks[:1], [0]))
    return dd.from_delayed(tasks, meta=meta, verify_meta=False)
