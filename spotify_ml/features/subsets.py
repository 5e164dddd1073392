"""Features and popularity of the subsets of a split, in memory or in files."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer

if TYPE_CHECKING:
    from spotify_ml.features.builder import FeatureBuilder

# About 100 MB of the widest features.
BATCH_ROWS = 2**17
# Half a gigabyte.
_BLOCK_VALUES = 2**27


@dataclass(frozen=True)
class Storage:
    """Where features are.

    Attributes
    ----------
    kind : {"memory", "disk", "external"}
        ``disk``: in files, which XGBoost reads batch by batch and bins in memory. ``external``: the bins are in files.
    folder : Path or None
        Where the files of bins may be; None: the system's temporary folder.
    """

    kind: Literal["memory", "disk", "external"] = "memory"
    folder: Path | None = None


IN_MEMORY = Storage()


@dataclass(frozen=True)
class Subset:
    """Features and popularity of some rows.

    `features` has named float32 columns, indexed by the position of the row in the clean tracks; it may be a mapped
    file.
    """

    features: pd.DataFrame
    target: np.ndarray
    storage: Storage = IN_MEMORY

    def matrix(self) -> np.ndarray:
        """Return a copy of the features as an array; some libraries refuse the read-only view of pandas."""
        return self.features.to_numpy(copy=True)

    def batches(self) -> Iterator[np.ndarray]:
        """Yield the rows of `matrix` in batches that need little memory."""
        matrix = self.features.to_numpy()
        for start in range(0, len(matrix), BATCH_ROWS):
            yield matrix[start : start + BATCH_ROWS].copy()
            _let_go(matrix)

    def blocks(self) -> Iterator[pd.DataFrame]:
        """Yield the columns of `features` in blocks that need little memory."""
        n_rows, n_columns = self.features.shape
        width = max(1, _BLOCK_VALUES // max(n_rows, 1))
        if width >= n_columns:
            yield self.features
            return
        matrix = self.features.to_numpy()
        for first in range(0, n_columns, width):
            columns = slice(first, first + width)
            block = np.empty_like(matrix[:, columns])
            for start in range(0, n_rows, BATCH_ROWS):
                rows = slice(start, start + BATCH_ROWS)
                block[rows] = matrix[rows, columns]
                _let_go(matrix)
            yield pd.DataFrame(block, columns=self.features.columns[columns], copy=False)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of `matrix` by their positions in this subset."""
        matrix = self.features.to_numpy()
        taken: np.ndarray = matrix[rows]
        _let_go(matrix)
        return taken


@dataclass(frozen=True)
class Subsets:
    """The four subsets of a run, and the transformers of the final features.

    The features of `train` and `validation`, for early stopping, are fitted on the train rows alone; those of
    `trainval` and `test`, for the final model, on the trainval rows. `builder` builds the features of other rows; None
    if the tracks are not in memory.
    """

    train: Subset
    validation: Subset
    trainval: Subset
    test: Subset
    transformer: ColumnTransformer
    builder: "FeatureBuilder | None" = None


def _let_go(matrix: Any) -> None:
    """Free the read pages of a mapped file, which count as memory of this process until then."""
    owner = matrix
    while isinstance(owner, np.ndarray):
        owner = owner.base
    # Windows has no MADV_DONTNEED.
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
