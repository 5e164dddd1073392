"""Features that are built batch by batch into files, equal to those that are built in memory."""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer

from spotify_ml.config.run import FeatureSet
from spotify_ml.data.schema import TARGET
from spotify_ml.data.splits import Split
from spotify_ml.features.builder import build_features
from spotify_ml.features.subsets import BATCH_ROWS
from spotify_ml.features.transformers.catalogue import CatalogueStatistics
from spotify_ml.features.transformers.columns import transform_columns

TRANSFORMER_FILE = "transformer.skops"
# Half of the work is Arrow's, which releases the interpreter: more of them would only wait.
_THREADS = 2


def write_matrices(name: FeatureSet, tracks: pd.DataFrame, split: Split, seed: int, folder: Path) -> None:
    """Write what `spotify_ml.features.builder.FeatureBuilder.build` returns, holding no matrix in memory.

    Parameters
    ----------
    name, tracks, split, seed : as of `spotify_ml.features.builder.FeatureBuilder`
    folder : Path
        An empty folder. Of each part it gets the features as ``<part>.npy`` and the names of their columns as
        ``<part>.json``; of the final features the transformers.
    """
    # Of the first, nothing is needed but the files.
    _write_pair(name, tracks, split, seed, folder, "train", "validation")
    features = _write_pair(name, tracks, split, seed, folder, "trainval", "test")
    skops.io.dump(features, folder / TRANSFORMER_FILE)


def _write_pair(
    name: FeatureSet, tracks: pd.DataFrame, split: Split, seed: int, folder: Path, seen: str, unseen: str
) -> ColumnTransformer:
    """Write two parts by features that are fitted on the first of them, and return these."""
    rows = getattr(split, seen)
    features, statistics = fit_apart(name, tracks, split.groups, rows, seed)
    _write_rows(folder, seen, features, tracks, rows, statistics)
    del statistics
    _write_rows(folder, unseen, features, tracks, getattr(split, unseen), {})
    return features


def fit_apart(
    name: FeatureSet, tracks: pd.DataFrame, groups: np.ndarray, seen: np.ndarray, seed: int
) -> tuple[ColumnTransformer, dict[str, np.ndarray]]:
    """Fit every step of a feature set on the rows it may see, without the matrix that comes of it.

    Parameters
    ----------
    name, tracks, groups, seen, seed : as of `spotify_ml.features.builder.fit_features`

    Returns
    -------
    ColumnTransformer
        Fitted.
    dict of str to ndarray
        What steps that look at the target tell the seen rows, which is not what they tell others.
    """
    target = tracks[TARGET].to_numpy(dtype=np.float64)
    genres = tracks["track_genre"].iloc[seen]
    features = fit_on_examples(name, tracks.iloc[seen[~genres.duplicated().to_numpy()]], seed)
    known = {}
    for step, transformer, columns in features.transformers_:
        if isinstance(transformer, CatalogueStatistics):
            known[step] = transformer.fit_transform(_Rows(tracks, seen), target[seen], groups[seen])
        elif step != "remainder":
            transformer.fit(tracks[columns].iloc[seen], target[seen])
    return features, known


class _Rows(Mapping[str, pd.Series]):
    """The columns of some rows, each copied when it is asked for, and gone with whoever asked."""

    def __init__(self, tracks: pd.DataFrame, rows: np.ndarray) -> None:
        self._tracks, self._rows = tracks, rows

    def __getitem__(self, name: str) -> pd.Series:
        return self._tracks[name].iloc[self._rows]

    def __iter__(self) -> Iterator[str]:
        return map(str, self._tracks)

    def __len__(self) -> int:
        return len(self._tracks.columns)


def fit_on_examples(name: FeatureSet, examples: pd.DataFrame, seed: int) -> ColumnTransformer:
    """Return a feature set that knows how wide it is, which it learns from the genres alone.

    Parameters
    ----------
    name : {"full", "audio", "reference"}
        The feature set.
    examples : DataFrame
        A clean track of every set of genres.
    seed : int
        Decides the folds of what looks at the target.
    """
    features = build_features(name, seed)
    features.fit(examples, examples[TARGET].to_numpy(np.float64))
    return features


def _write_rows(
    folder: Path,
    part: str,
    features: ColumnTransformer,
    tracks: pd.DataFrame,
    rows: np.ndarray,
    known: dict[str, np.ndarray],
) -> None:
    columns = list(features.get_feature_names_out())
    write_columns(folder, part, columns)

    def batch(start: int) -> np.ndarray:
        own = slice(start, start + BATCH_ROWS)
        statistics = {step: values[own] for step, values in known.items()}
        return transform_columns(features, tracks.iloc[rows[own]], statistics)

    with matrix_path(folder, part).open("wb") as file, ThreadPoolExecutor(_THREADS) as pool:
        shape = (len(rows), len(columns))
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        starts = iter(range(0, len(rows), BATCH_ROWS))
        # No more batches than threads are in memory.
        waiting = deque(pool.submit(batch, start) for start in islice(starts, _THREADS))
        while waiting:
            waiting.popleft().result().tofile(file)
            waiting.extend(pool.submit(batch, start) for start in islice(starts, 1))


def matrix_path(folder: Path, part: str) -> Path:
    """Return where the features of a part are in a folder."""
    return folder / f"{part}.npy"


def write_columns(folder: Path, part: str, columns: list[str]) -> None:
    """Write the names of the columns of a part."""
    (folder / f"{part}.json").write_text(json.dumps(columns), encoding="utf-8")


def read_columns(folder: Path, part: str) -> list[str]:
    """Read what `write_columns` wrote."""
    columns: list[str] = json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
    return columns
