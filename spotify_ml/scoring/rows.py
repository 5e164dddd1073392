"""Scoring of one batch of rows: the added columns, and the counts."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from spotify_ml.data.contract import CheckedRows, OutOfRange
from spotify_ml.data.join_tables import JoinTable
from spotify_ml.data.joined_columns import MATCHED
from spotify_ml.data.schema import AUDIO, Kind, Scales

_MOST_RANKED, _FEWEST_COMPARED = 1_000_000, 2
OnError = Literal["fail", "skip", "null"]
PREDICTED, KNOWN, VERSION = "popularity_predicted", "known", "model_version"


@dataclass(frozen=True)
class Scorer:
    """A model, and the treatment of rows that it cannot score.

    Attributes
    ----------
    predict : callable
        `spotify_ml.models.popularity.PopularityModel.predict` with its parameters.
    version : int
        The version of the registered model.
    classes : tuple of str
        The classes of a classification; empty for a regression.
    on_error : {"fail", "skip", "null"}
        Whether a bad row ends the job, is set aside, or is kept without a prediction.
    out_of_range : {"refuse", "clip"}
        Whether a number out of range makes a row bad, or is moved to the nearest bound.
    escape_formulas : bool
        Whether text that a spreadsheet would run as a formula is escaped in a CSV.
    further : mapping of str to Kind
        The columns beside audio and text that the model takes.
    joins : sequence of JoinTable
        The tables that rows are joined with before they are scored.
    """

    predict: Callable[[pd.DataFrame], np.ndarray | pd.DataFrame]
    version: int
    classes: tuple[str, ...]
    on_error: OnError
    out_of_range: OutOfRange
    escape_formulas: bool = False
    further: Mapping[str, Kind] = field(default_factory=dict)
    joins: Sequence[JoinTable] = ()

    @cached_property
    def added(self) -> pa.Schema:
        """The schema of the added columns."""
        return self._table(self.predict(pd.DataFrame(columns=list(AUDIO)))).schema

    def score(self, rows: pd.DataFrame, bad: np.ndarray) -> pa.Table:
        """Return the added columns of checked rows; for bad rows all but the version are empty."""
        if not bad.any():
            return self._table(self.predict(rows))
        table = self._table(self.predict(rows[~bad]))
        in_place = table.take(pa.array(np.cumsum(~bad) - 1, mask=bad))
        return in_place.set_column(len(self.added) - 1, VERSION, self._versions(len(rows)))

    def _table(self, predicted: np.ndarray | pd.DataFrame) -> pa.Table:
        if isinstance(predicted, np.ndarray):
            columns = {PREDICTED: pa.array(predicted, pa.float64())}
        else:
            columns = {self._name(name): _arrow(values) for name, values in predicted.items()}
        return pa.table({**columns, VERSION: self._versions(len(predicted))})

    def _name(self, column: object) -> str:
        if column == KNOWN:
            return KNOWN
        if self.classes:
            return f"probability_{column}"
        return PREDICTED if column == "popularity" else f"popularity_{column}"

    def _versions(self, n_rows: int) -> pa.Array:
        return pa.array(np.full(n_rows, self.version, dtype=np.int64))


def _arrow(values: pd.Series) -> pa.Array:
    """Return numbers and text as they are, and lists as JSON, since CSV has none."""
    if values.name == KNOWN:
        return pa.array(values, pa.string())
    if values.dtype == object:
        return pa.array([json.dumps(value, ensure_ascii=False) for value in values], pa.string())
    return pa.array(values.to_numpy(np.float64))


@dataclass
class Agreement:
    """How well predictions go with the popularity that a file has itself.

    R² is of all its rows, Spearman's rank correlation of the first million: memory stays flat.
    """

    n_rows: int = 0
    # The sums of the popularity, its square, and the squared error.
    _sums: np.ndarray = field(default_factory=lambda: np.zeros(3))
    _pairs: list[np.ndarray] = field(default_factory=list)

    def add(self, popularity: np.ndarray, predicted: np.ndarray) -> None:
        """Add rows; those without a popularity from 0 to 100, or without a prediction, do not count."""
        known = (popularity >= 0) & (popularity <= 100) & np.isfinite(predicted)
        actual, predicted = popularity[known], predicted[known]
        if self.n_rows < _MOST_RANKED:
            self._pairs.append(np.stack([actual, predicted]).astype(np.float32))
        self.n_rows += len(actual)
        self._sums += [actual.sum(), (actual**2).sum(), ((actual - predicted) ** 2).sum()]

    def __str__(self) -> str:
        """Return the figures in a few words, nothing if there are too few rows, or their popularity is one."""
        total = self._sums[1] - self._sums[0] ** 2 / max(self.n_rows, 1)
        if self.n_rows < _FEWEST_COMPARED or total <= 0:
            return ""
        actual, predicted = (pd.Series(each).rank() for each in np.hstack(self._pairs))
        spearman = float(actual.corr(predicted)) if np.ptp(predicted.to_numpy()) > 0 else 0.0
        return (
            f"against the file's own popularity: R² {1 - self._sums[2] / total:.3f}, Spearman {spearman:.3f} "
            f"(n={self.n_rows:,})"
        )


@dataclass
class Tally:
    """The counts of a job; the missing values are those of scored rows, by audio column."""

    n_rows: int = 0
    n_bad: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    clipped: Counter[str] = field(default_factory=Counter)
    # Files of a folder that had been scored before, and other files in it.
    n_kept_files: int = 0
    passed_over: list[str] = field(default_factory=list)
    scales: Scales = field(default_factory=Scales)
    # By what was known of a row; empty where the model does not tell.
    known: Counter[str] = field(default_factory=Counter)
    # Absent columns that predictions would use, each with a column that looks like it, if any.
    absent: dict[str, str] = field(default_factory=dict)
    agreement: Agreement = field(default_factory=Agreement)
    # By the name of each joined table, the rows that are in it.
    joined: Counter[str] = field(default_factory=Counter)
    # The layouts of files that do not have raw columns, and how many have each.
    layouts: Counter[str] = field(default_factory=Counter)

    def count(self, checked: CheckedRows, bad: np.ndarray, n_broken: int) -> None:
        """Add a batch."""
        self.n_rows += len(bad) + n_broken
        self.n_bad += int(bad.sum()) + n_broken
        n_missing = np.isnan(checked.audio).sum(axis=1, where=~bad)
        self.missing.update({name: int(n) for name, n in zip(AUDIO, n_missing, strict=True) if n})
        self.clipped.update(checked.clipped)
        self.scales.add(checked.scales)

    def count_joined(self, given: pd.DataFrame, names: Iterable[str]) -> None:
        """Add how many rows of a batch are in each of some joined tables."""
        for name in names:
            flags = given.get(MATCHED + name, pd.Series(dtype=float))
            self.joined[name] += int((pd.to_numeric(flags, errors="coerce") > 0).sum())

    def count_known(self, added: pa.Table) -> None:
        """Add what was known of the rows of a batch, if the model tells."""
        if KNOWN in added.column_names:
            counts = pc.value_counts(added.column(KNOWN).drop_null()).to_pylist()
            self.known.update({each["values"]: each["counts"] for each in counts})
