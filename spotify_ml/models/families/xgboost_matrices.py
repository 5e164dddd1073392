"""XGBoost's matrices of features in memory or, batch by batch, in files."""

import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from xgboost import DataIter, DMatrix, ExtMemQuantileDMatrix, QuantileDMatrix

from spotify_ml.features.subsets import Subset
from spotify_ml.utils.errors import OutputError
from spotify_ml.utils.files import temporary_folder
from spotify_ml.utils.stops import deferred, requested

# Bytes per value in XGBoost's files if some are missing (13 in XGBoost 3.2).
_PAGE_BYTES = 14


class Batches(DataIter):
    """Batches of a subset for XGBoost, which reads them from the first on as often as it wants.

    If `pages` is given, XGBoost keeps its own data in files whose names begin with it.
    """

    def __init__(self, subset: Subset, target: np.ndarray, weights: np.ndarray | None, pages: Path | None) -> None:
        self._subset, self._target, self._weights = subset, target, weights
        self.reset()
        super().__init__(cache_prefix=None if pages is None else str(pages))

    def reset(self) -> None:
        """Start again from the first batch."""
        self._start, self._batches = 0, self._subset.batches()

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Pass the next batch to XGBoost, and return whether there was one."""
        if requested():
            raise InterruptedError
        batch = next(self._batches, None)
        if batch is None:
            return False
        own = slice(self._start, self._start + len(batch))
        weights = None if self._weights is None else self._weights[own]
        names = list(self._subset.features.columns)
        # XGBoost's type of a DataFrame's columns.
        types = ["float"] * len(names)
        input_data(data=batch, label=self._target[own], weight=weights, feature_names=names, feature_types=types)
        self._start = own.stop
        return True


@contextmanager
def xgboost_matrices(n_threads: int | None) -> Iterator[Callable[..., DMatrix]]:
    """Yield a function that makes a matrix of features, target, weights and, for rows to grow trees on, ``max_bin``.

    Matrices of features in files are valid within the block only, and must be deleted before it ends. None means all
    threads.
    """
    with ExitStack() as opened:
        try:
            yield partial(_matrix, opened, n_threads)
        except BaseException as error:
            # The frames would keep the matrices longer than their files.
            traceback.clear_frames(error.__traceback__)
            raise


def _matrix(
    opened: ExitStack,
    n_threads: int | None,
    features: Any,
    target: np.ndarray,
    weights: np.ndarray | None,
    max_bin: int | None = None,
) -> DMatrix:
    # C code calls `Batches` and drops exceptions, hence `deferred`.
    options: dict[str, Any] = {"nthread": n_threads} if max_bin is None else {"nthread": n_threads, "max_bin": max_bin}
    if not isinstance(features, Subset):
        kind = DMatrix if max_bin is None else QuantileDMatrix
        with deferred():
            return kind(features, target, weight=weights, **options)
    storage = features.storage
    place = None
    if storage.kind == "external" or max_bin is None:
        place = opened.enter_context(temporary_folder(storage.folder)) / "page"
        _check_room(place.parent, features)
    with deferred():
        batches = Batches(features, target, weights, place)
        if max_bin is None:
            return DMatrix(batches, **options)
        return (QuantileDMatrix if place is None else ExtMemQuantileDMatrix)(batches, **options)


def _check_room(place: Path, features: Subset) -> None:
    needed, free = features.features.size * _PAGE_BYTES, shutil.disk_usage(place).free
    if free < needed:
        # XGBoost would abort the process.
        raise OutputError(
            f"{place.parent} has {free / 1e9:,.1f} GB left, and XGBoost's files of {len(features.target):,} rows take "
            f"up to {needed / 1e9:,.1f} GB; name a larger disk with cache.folder=…, or use matrices=memory"
        )
