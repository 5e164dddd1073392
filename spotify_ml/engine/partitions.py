"""Tasks of partitions: made, kept on the workers, or gathered here."""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd


def mapped(function: Callable[..., Any], *columns: Iterable[Any]) -> list[Any]:
    """Return tasks that call a function with the elements of each partition, which may be tasks themselves."""
    from dask import delayed

    task = delayed(function)
    return [task(*arguments) for arguments in zip(*columns, strict=True)]


def kept(client: Any, tasks: list[Any]) -> list[Any]:
    """Let the workers do tasks and keep what they give; return that as tasks, which are done again if it is lost."""
    return list(client.persist(tasks))


def gathered(client: Any, tasks: list[Any]) -> list[Any]:
    """Let the workers do tasks, and return what they give."""
    return list(client.gather(client.compute(tasks)))


def as_dask_frame(client: Any, tasks: list[Any]) -> Any:
    """Return the DataFrames that tasks give as one of Dask's."""
    import dask.dataframe as dd

    (meta,) = gathered(client, mapped(pd.DataFrame.head, tasks[:1], [0]))
    return dd.from_delayed(tasks, meta=meta, verify_meta=False)
