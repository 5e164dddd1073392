"""Features built batch by batch into files, equal to those built in memory."""

import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer

from spotify_ml.config.run import FeatureSet
from spotify_ml.data.joined_columns import joined_kinds
from spotify_ml.data.schema import TARGET
from spotify_ml.data.splits import Split
from spotify_ml.features.builder import build_features
from spotify_ml.features.subsets import BATCH_ROWS
from spotify_ml.features.transformers.catalogue import CatalogueStatistics
from spotify_ml.features.transformers.columns import transform_columns
from spotify_ml.features.transformers.dates import ReleaseDates
from spotify_ml.features.transformers.key import KeyStatistics
from spotify_ml.features.transformers.words import WordRegression

TRANSFORMER_FILE = "transformer.skops"
# Half of the work is Arrow's, which releases the interpreter: more threads would only wait.
_THREADS = 2
# A row of their train rows must not see its own group.
_BY_GROUPS = (CatalogueStatistics, KeyStatistics, ReleaseDates, WordRegression)


def write_matrices(name: FeatureSet, tracks: pd.DataFrame, split: Split, seed: int, folder: Path) -> None:
    """Write the features of `spotify_ml.features.builder.FeatureBuilder.build`, with no whole matrix in memory.

    An empty `folder` gets ``<subset>.npy`` and ``<subset>.json``, the features of each subset and the names of their
    columns, and the final transformers.
    """
    _write_pair(name, tracks, split, seed, folder, "train", "validation")
    features = _write_pair(name, tracks, split, seed, folder, "trainval", "test")
    skops.io.dump(features, folder / TRANSFORMER_FILE)


def _write_pair(
    name: FeatureSet, tracks: pd.DataFrame, split: Split, seed: int, folder: Path, seen: str, unseen: str
) -> ColumnTransformer:
    """Write two subsets, with features fitted on the first, and return the transformers."""
    rows = getattr(split, seen)
    features, statistics = fit_steps(name, tracks, split.groups, rows, seed, ordered=split.ordered)
    _write_rows(folder, seen, features, tracks, rows, statistics)
    del statistics
    _write_rows(folder, unseen, features, tracks, getattr(split, unseen), {})
    return features


def fit_steps(
    name: FeatureSet, tracks: pd.DataFrame, groups: np.ndarray, seen: np.ndarray, seed: int, *, ordered: bool = False
) -> tuple[ColumnTransformer, dict[str, np.ndarray]]:
    """Fit every step of a feature set on its rows, without making their matrix.

    Returns the transformers, and by step the out-of-fold statistics of the seen rows, which `transform` would not
    return.
    """
    target = tracks[TARGET].to_numpy(dtype=np.float64)
    genres = tracks["track_genre"].iloc[seen]
    features = fit_on_examples(name, tracks.iloc[seen[~genres.duplicated().to_numpy()]], seed, ordered=ordered)
    known = {}
    for step, transformer, columns in features.transformers_:
        if isinstance(transformer, _BY_GROUPS):
            known[step] = transformer.fit_transform(_Rows(tracks, seen), target[seen], groups[seen])
        elif step != "remainder":
            transformer.fit(tracks[columns].iloc[seen], target[seen])
    return features, known


class _Rows(dict[str, pd.Series]):
    """Columns of some rows, each copied when it is asked for."""

    def __init__(self, tracks: pd.DataFrame, rows: np.ndarray) -> None:
        self._tracks, self._rows = tracks, rows

    def __contains__(self, name: object) -> bool:
        return name in self._tracks

    def __missing__(self, name: str) -> pd.Series:
        return self._tracks[name].iloc[self._rows]


def fit_on_examples(name: FeatureSet, examples: pd.DataFrame, seed: int, *, ordered: bool = False) -> ColumnTransformer:
    """Return a feature set of the right width, fitted on `examples`: one clean track per set of genres."""
    features = build_features(name, seed, examples.columns, joined_kinds(examples), ordered=ordered)
    features.fit(examples, examples[TARGET].to_numpy(np.float64))
    return features


def _write_rows(
    folder: Path,
    subset: str,
    features: ColumnTransformer,
    tracks: pd.DataFrame,
    rows: np.ndarray,
    known: dict[str, np.ndarray],
) -> None:
    columns = list(features.get_feature_names_out())
    write_columns(folder, subset, columns)

    def batch(start: int) -> np.ndarray:
        own = slice(start, start + BATCH_ROWS)
        statistics = {step: values[own] for step, values in known.items()}
        return transform_columns(features, tracks.iloc[rows[own]], statistics)

    with matrix_path(folder, subset).open("wb") as file, ThreadPoolExecutor(_THREADS) as pool:
        shape = (len(rows), len(columns))
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        starts = iter(range(0, len(rows), BATCH_ROWS))
        # No more batches than threads are in memory.
        waiting = deque(pool.submit(batch, start) for start in islice(starts, _THREADS))
        while waiting:
            waiting.popleft().result().tofile(file)
            waiting.extend(pool.submit(batch, start) for start in islice(starts, 1))


def matrix_path(folder: Path, subset: str) -> Path:
    """Return the path of a subset's features."""
    return folder / f"{subset}.npy"


def write_columns(folder: Path, subset: str, columns: list[str]) -> None:
    """Write the names of a subset's columns."""
    (folder / f"{subset}.json").write_text(json.dumps(columns), encoding="utf-8")


def read_columns(folder: Path, subset: str) -> list[str]:
    """Read the names of a subset's columns."""
    columns: list[str] = json.loads((folder / f"{subset}.json").read_text(encoding="utf-8"))
    return columns
