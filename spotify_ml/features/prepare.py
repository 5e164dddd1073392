"""The matrices of a run, made or taken from the cache."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io

from spotify_ml.config import RunConfig
from spotify_ml.data.cache import StageCache
from spotify_ml.data.prepare import split_origin
from spotify_ml.data.schema import TARGET
from spotify_ml.data.sources import RawFile
from spotify_ml.data.splits import Split
from spotify_ml.features.factory import build_matrices, train_folds
from spotify_ml.features.parts import Matrices, Part

_COLUMNS, _TRANSFORMER = "columns.json", "transformer.skops"
_PARTS = ("train", "validation", "fitting", "test")
# What the package's own transformers consist of, beside what skops trusts anyway.
_TRUSTED = ("spotify_ml.features.", "numpy.")


def prepare_matrices(
    config: RunConfig, raw: RawFile, tracks: pd.DataFrame, split: Split, cache: StageCache
) -> Matrices:
    """Build the features of a run, or map those that were built of equal tracks before.

    Parameters
    ----------
    config : RunConfig
        Names the feature set.
    raw : RawFile
        What the tracks come from.
    tracks : DataFrame
        Clean tracks.
    split : Split
        The rows of each part, and the groups.
    cache : StageCache
        Where they may be.
    """
    return cache.get(
        "features",
        {**split_origin(config, raw), "features": config.features.name},
        partial(build_matrices, config.features.name, tracks, split, config.seed),
        _write,
        partial(_read, config, tracks, split),
    )


def _write(matrices: Matrices, folder: Path) -> None:
    columns = {}
    for name in _PARTS:
        features = getattr(matrices, name).features
        np.save(folder / f"{name}.npy", features.to_numpy())
        columns[name] = list(features.columns)
    (folder / _COLUMNS).write_text(json.dumps(columns), encoding="utf-8")
    skops.io.dump(matrices.transformer, folder / _TRANSFORMER)


def _read(config: RunConfig, tracks: pd.DataFrame, split: Split, folder: Path) -> Matrices:
    columns = json.loads((folder / _COLUMNS).read_text(encoding="utf-8"))
    target = tracks[TARGET].to_numpy(dtype=np.float64)

    def part(name: str) -> Part:
        matrix = np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray)
        rows = getattr(split, name)
        return Part(pd.DataFrame(matrix, index=rows, columns=columns[name], copy=False), target[rows])

    types = skops.io.get_untrusted_types(file=folder / _TRANSFORMER)
    return Matrices(
        **{name: part(name) for name in _PARTS},
        transformer=skops.io.load(folder / _TRANSFORMER, trusted=[name for name in types if name.startswith(_TRUSTED)]),
        train_folds=partial(train_folds, config.features.name, tracks, split, config.seed),
    )
