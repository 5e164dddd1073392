"""Features that are built batch by batch into files, equal to those that are built in memory."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer

from spotify_ml.config import FeatureSet
from spotify_ml.data.schema import TARGET
from spotify_ml.data.splits import Split
from spotify_ml.features.catalogue import CatalogueStatistics
from spotify_ml.features.columns import transform_columns
from spotify_ml.features.factory import build_features
from spotify_ml.features.parts import BATCH_ROWS
from spotify_ml.memory import give_back

COLUMNS_FILE, TRANSFORMER_FILE = "columns.json", "transformer.skops"


def write_matrices(name: FeatureSet, tracks: pd.DataFrame, split: Split, seed: int, folder: Path) -> None:
    """Write what `spotify_ml.features.factory.build_matrices` returns, holding no matrix in memory.

    Parameters
    ----------
    name : {"full", "audio", "reference"}
        The feature set.
    tracks : DataFrame
        Clean tracks.
    split : Split
        The rows of each part, and the groups.
    seed : int
        Decides the folds of what looks at the target.
    folder : Path
        An empty folder. Of each part it gets the features as ``<part>.npy``, and of all the names of their columns;
        of the final features the transformers.
    """
    columns: dict[str, list[str]] = {}
    for seen, unseen in (("train", "validation"), ("fitting", "test")):
        rows = getattr(split, seen)
        give_back()
        features, statistics = fit_apart(name, tracks, split.groups, rows, seed)
        give_back()
        _write_rows(folder / f"{seen}.npy", features, tracks, rows, statistics)
        del statistics
        _write_rows(folder / f"{unseen}.npy", features, tracks, getattr(split, unseen), {})
        columns[seen] = columns[unseen] = list(features.get_feature_names_out())
    (folder / COLUMNS_FILE).write_text(json.dumps(columns), encoding="utf-8")
    skops.io.dump(features, folder / TRANSFORMER_FILE)
    give_back()


def fit_apart(
    name: FeatureSet, tracks: pd.DataFrame, groups: np.ndarray, seen: np.ndarray, seed: int
) -> tuple[ColumnTransformer, dict[str, np.ndarray]]:
    """Fit every step of a feature set on the rows it may see, without the matrix that comes of it.

    Parameters
    ----------
    name, tracks, groups, seen, seed : as of `spotify_ml.features.factory.fit_features`

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
        give_back()
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
    path: Path, features: ColumnTransformer, tracks: pd.DataFrame, rows: np.ndarray, known: dict[str, np.ndarray]
) -> None:
    shape = (len(rows), len(features.get_feature_names_out()))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for start in range(0, len(rows), BATCH_ROWS):
            own = slice(start, start + BATCH_ROWS)
            statistics = {step: values[own] for step, values in known.items()}
            transform_columns(features, tracks.iloc[rows[own]], statistics).tofile(file)
