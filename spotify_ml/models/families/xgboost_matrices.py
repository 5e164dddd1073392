"""XGBoost's own matrices, of features in memory or, batch by batch, of features in files."""

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

# Of every value where some are missing: its bin, its row, and its bin by columns once more (13 as of XGBoost 3.2).
_PAGE_BYTES = 14


class Batches(DataIter):
    """Rows of a part as XGBoost asks for them: from the first batch on, as often as it wants.

    Parameters
    ----------
    part : Subset
        The features.
    target : ndarray, shape (n_rows,)
        What is predicted.
    weights : ndarray of float, shape (n_rows,), optional
        How much each row counts.
    pages : Path, optional
        How the names of XGBoost's own files begin, where it is to keep what it makes of the batches in files.
    """

    def __init__(
        self,
        part: Subset,
        target: np.ndarray,
        weights: np.ndarray | None = None,
        pages: Path | None = None,
    ) -> None:
        self._part, self._target, self._weights = part, target, weights
        self.reset()
        super().__init__(cache_prefix=None if pages is None else str(pages))

    def reset(self) -> None:
        """Begin again."""
        self._start, self._batches = 0, self._part.batches()

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Hand over the next batch, and say whether there was one."""
        if requested():
            raise InterruptedError
        batch = next(self._batches, None)
        if batch is None:
            return False
        own = slice(self._start, self._start + len(batch))
        weights = None if self._weights is None else self._weights[own]
        names = list(self._part.features.columns)
        # As XGBoost calls the columns of a DataFrame.
        types = ["float"] * len(names)
        input_data(data=batch, label=self._target[own], weight=weights, feature_names=names, feature_types=types)
        self._start = own.stop
        return True


@contextmanager
def xgboost_matrices(n_threads: int | None) -> Iterator[Callable[..., DMatrix]]:
    """Give what makes a matrix of features, target, weights and, for one that trees are to be grown on, ``max_bin``.

    Parameters
    ----------
    n_threads : int or None
        How many to make it with; None: all.

    Yields
    ------
    callable
        Subsets of features in files are of use within the block alone, and have to be gone when it ends.
    """
    with ExitStack() as opened:
        try:
            yield partial(_matrix, opened, n_threads)
        except BaseException as error:
            # Its frames would hold the matrices until their files are gone.
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
    # What is made here is asked for by C code in callbacks, and what is raised in those is dropped: hence `deferred`.
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
        # XGBoost would end the process in the middle.
        raise OutputError(
            f"{place.parent} has {free / 1e9:,.1f} GB left, and XGBoost's files of {len(features.target):,} rows take "
            f"up to {needed / 1e9:,.1f} GB; name a larger disk with cache.folder=…, or use matrices=memory"
        )
