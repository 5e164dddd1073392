"""What scoring does with a batch of rows: the columns it adds, and what it counts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from spotify_ml.data.contract import CheckedRows, OutOfRange
from spotify_ml.data.schema import AUDIO

OnError = Literal["fail", "skip", "null"]
PREDICTED, VERSION = "popularity_predicted", "model_version"


class Model(Protocol):
    """What scores rows; see `spotify_ml.tracking.registry.ScoringModel`."""

    def predict(self, rows: pd.DataFrame, /) -> np.ndarray | pd.DataFrame:
        """Return popularity, shape (n_rows,), or the probability of each class, shape (n_rows, n_classes)."""


@dataclass(frozen=True)
class Scorer:
    """A model, and what to do with rows that it does not take.

    Attributes
    ----------
    model : Model
        Scores checked rows.
    version : int
        Of the registered model.
    classes : tuple of str
        The classes of a classification; none for a regression.
    on_error : {"fail", "skip", "null"}
        Whether a bad row ends the job, is set aside, or is kept without a prediction.
    out_of_range : {"refuse", "clip"}
        Whether a number outside the range of its column makes a row bad, or is moved to the nearest bound.
    """

    model: Model
    version: int
    classes: tuple[str, ...]
    on_error: OnError
    out_of_range: OutOfRange

    @property
    def added(self) -> pa.Schema:
        """The columns that scoring adds."""
        names = [f"probability_{name}" for name in self.classes] or [PREDICTED]
        return pa.schema([*((name, pa.float64()) for name in names), (VERSION, pa.int64())])

    def score(self, rows: pd.DataFrame, bad: np.ndarray) -> pa.Table:
        """Return the added columns of checked rows; those of a bad row are empty."""
        predictions = np.full((len(rows), len(self.classes) or 1), np.nan)
        good = ~bad
        if good.any():
            predicted = np.asarray(self.model.predict(rows if good.all() else rows[good]))
            predictions[good] = predicted.reshape(-1, predictions.shape[1])
        columns = [pa.array(column, from_pandas=True) for column in predictions.T]
        return pa.table([*columns, pa.array(np.full(len(rows), self.version))], schema=self.added)


@dataclass
class Tally:
    """What a job did.

    Attributes
    ----------
    n_rows : int
        Rows that were read.
    n_bad : int
        Rows that were not scored.
    missing : Counter of str
        Missing values among the scored rows, by audio column.
    clipped : Counter of str
        Values that were moved into their range, by column.
    n_kept_files : int
        Files of a folder that had been scored before.
    """

    n_rows: int = 0
    n_bad: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    clipped: Counter[str] = field(default_factory=Counter)
    n_kept_files: int = 0

    def count(self, checked: CheckedRows, bad: np.ndarray, n_broken: int) -> None:
        """Add a batch."""
        self.n_rows += len(bad) + n_broken
        self.n_bad += int(bad.sum()) + n_broken
        n_missing = np.isnan(checked.audio).sum(axis=1, where=~bad)
        self.missing.update({name: int(n) for name, n in zip(AUDIO, n_missing, strict=True) if n})
        self.clipped.update(checked.clipped)
