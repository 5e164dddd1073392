"""The features of a run, built or taken from the cache."""

import logging
import math
import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io

from spotify_ml.config.combinations import reasons_against_files
from spotify_ml.config.run import LocalCacheConfig, RunConfig
from spotify_ml.data.cache import StageCache
from spotify_ml.data.prepare import split_origin
from spotify_ml.data.schema import TARGET
from spotify_ml.data.sources import RawFile
from spotify_ml.data.splits import Split
from spotify_ml.features.builder import FeatureBuilder, build_subsets
from spotify_ml.features.on_disk import TRANSFORMER_FILE, matrix_path, read_columns, write_columns, write_matrices
from spotify_ml.features.subsets import Storage, Subset, Subsets
from spotify_ml.utils.memory import return_freed

log = logging.getLogger(__name__)

_SUBSETS = ("train", "validation", "trainval", "test")
# Types of the package's own transformers; skops trusts others by itself.
_TRUSTED = ("spotify_ml.features.", "numpy.")
# Memory of a run per track, by feature set, and the share of the machine's memory that a run may use.
_TRACK_BYTES = {"full": 6000, "audio": 1500, "reference": 2000}
_MEMORY_SHARE = 0.5


def prepare_matrices(config: RunConfig, raw: RawFile, tracks: pd.DataFrame, split: Split, cache: StageCache) -> Subsets:
    """Build the features of a run, or load those built from equal tracks before.

    Raises `OutputError` if they are to be in files, and these cannot be written.
    """
    name, storage = config.features.name, storage_of(config, len(tracks))
    if raw.joins and name != "full":
        log.info("data.join: features=%s does without joined columns, which features=full uses", name)
    decided_by = {**split_origin(config, raw), "features": name}
    read = partial(_read, config, tracks, split, storage)
    if storage.kind == "memory":
        make = partial(build_subsets, name, tracks, split, config.seed)
        return cache.get("features", decided_by, make, _write, read)
    return_freed()
    log.info("matrices=%s: features go through files", storage.kind)
    write = partial(write_matrices, name, tracks, split, config.seed)
    return cache.get_from_files("features", decided_by, write, read)


def storage_of(config: RunConfig, n_tracks: int) -> Storage:
    """Return where the features of `n_tracks` clean tracks are to be.

    By default they are in memory if that takes at most half of the machine's, else in XGBoost's external memory, which
    gives the same trees.
    """
    kind = config.matrices
    if kind is None:
        too_large = n_tracks * _TRACK_BYTES[config.features.name] > _MEMORY_SHARE * _memory_bytes()
        kind = "external" if too_large and not reasons_against_files(config) else "memory"
    folder = Path(config.cache.folder) if isinstance(config.cache, LocalCacheConfig) else None
    return Storage(kind, folder)


def _memory_bytes() -> float:
    """Return the memory of this machine, or of the container of this process."""
    limit = Path("/sys/fs/cgroup/memory.max")
    try:
        own = float(limit.read_text())
    except (OSError, ValueError):
        own = math.inf
    try:
        return min(own, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError):
        return own


def _write(subsets: Subsets, folder: Path) -> None:
    for name in _SUBSETS:
        features = getattr(subsets, name).features
        np.save(matrix_path(folder, name), features.to_numpy())
        write_columns(folder, name, list(features.columns))
    skops.io.dump(subsets.transformer, folder / TRANSFORMER_FILE)


def _read(config: RunConfig, tracks: pd.DataFrame, split: Split, storage: Storage, folder: Path) -> Subsets:
    target = tracks[TARGET].to_numpy(dtype=np.float64)

    def subset(name: str) -> Subset:
        matrix = np.load(matrix_path(folder, name), mmap_mode="r").view(np.ndarray)
        rows = getattr(split, name)
        features = pd.DataFrame(matrix, index=rows, columns=read_columns(folder, name), copy=False)
        return Subset(features, target[rows], storage)

    types = skops.io.get_untrusted_types(file=folder / TRANSFORMER_FILE)
    trusted = [name for name in types if name.startswith(_TRUSTED)]
    return Subsets(
        **{name: subset(name) for name in _SUBSETS},
        transformer=skops.io.load(folder / TRANSFORMER_FILE, trusted=trusted),
        builder=FeatureBuilder(config.features.name, tracks, split, config.seed),
    )
