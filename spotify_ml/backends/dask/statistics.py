"""Out-of-fold statistics summed over partitions, equal to those of one process."""

from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.backends.dask.partitions import mapped
from spotify_ml.data.schema import TARGET
from spotify_ml.features.target_sums import DEAD, TOTALS, KeyTotals
from spotify_ml.features.transformers.catalogue import LEVELS, CatalogueStatistics, by_level, key_columns
from spotify_ml.features.transformers.statistics import KeyColumn, TargetStatistics, key_hashes

_KEY, _FOLD = "key", "fold"
# How the totals of partitions are aggregated.
_JOINED = {name: {"highest": "max", "lowest": "min"}.get(name, "sum") for name in TOTALS}


def key_totals(table: pd.DataFrame, n_folds: int) -> KeyTotals:
    """Return the totals of a table with one row per key and fold, and the columns `_KEY`, `_FOLD` and `TOTALS`."""
    table = table.sort_values([_KEY, _FOLD], ignore_index=True)
    folds, values = table[_FOLD].to_numpy(np.int64), (table[name].to_numpy(np.float64) for name in TOTALS)
    return KeyTotals.of_cells(table[_KEY].to_numpy(np.uint64), folds, values, n_folds)


def level_cells(tracks: pd.DataFrame, folds: np.ndarray) -> dict[str, pd.DataFrame]:
    """Return by level a row per key of each track with a fold, on a worker.

    Tracks of fold -1 are left out.
    """
    seen = folds >= 0
    columns, target, own = key_columns(tracks[seen]), tracks[TARGET].to_numpy(np.float64)[seen], folds[seen]
    tables = {}
    for name, level in LEVELS.items():
        rows, hashes = key_hashes([columns[column] for column in level.columns], pooled=level.pooled)
        y = target[rows]
        totals = (np.ones(len(y)), y, y * y, (y <= DEAD).astype(np.float64), y, y)
        tables[name] = pd.DataFrame({_KEY: hashes, _FOLD: own[rows], **dict(zip(TOTALS, totals, strict=True))})
    return tables


def sum_levels(frames: list[Any], folds: list[np.ndarray], n_folds: int) -> dict[str, Any]:
    """Return tasks for the `KeyTotals` of every level.

    `folds` are those of `level_cells`, by partition.
    """
    import dask.dataframe as dd

    tables = mapped(level_cells, frames, folds)
    meta = pd.DataFrame(
        {_KEY: np.empty(0, np.uint64), _FOLD: np.empty(0, np.int64), **{name: np.empty(0) for name in TOTALS}}
    )
    totals = {}
    for name in LEVELS:
        rows = dd.from_delayed([table[name] for table in tables], meta=meta, verify_meta=False)
        cells = rows.groupby([_KEY, _FOLD]).agg(_JOINED).reset_index().repartition(npartitions=1)
        (totals[name],) = mapped(key_totals, cells.to_delayed(), [n_folds])
    return totals


def own_statistics(
    encoder: CatalogueStatistics,
    tracks: pd.DataFrame,
    folds: np.ndarray,
    fold_priors: np.ndarray,
    totals: dict[str, KeyTotals],
) -> np.ndarray:
    """Return the statistics of seen tracks, from other folds only, shape (n_tracks, 48).

    `folds`, shape (n_tracks,), is the fold of each, and `fold_priors`, shape (n_folds,), the mean target of the others.
    """

    def own(name: str, keys: list[KeyColumn], prior: np.ndarray | None) -> np.ndarray:
        rows, hashes = key_hashes(keys, pooled=LEVELS[name].pooled)
        expected = fold_priors[folds] if prior is None else prior
        positions = totals[name].positions(hashes, folds[rows])
        learned: TargetStatistics = encoder.levels_[name]
        return learned.finish(rows, totals[name].others, positions, expected)

    return by_level(key_columns(tracks), own)
