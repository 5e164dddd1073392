"""The tracks that a model was fitted on, found again, and those that are equally new to several models."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from spotify_ml.config.layouts import AUTO, LayoutConfig
from spotify_ml.config.run import NO_CACHE, CacheConfig, CleaningConfig, DataConfig, SplitConfig
from spotify_ml.data.cache import StageCache
from spotify_ml.data.parts import digest_of, join_name
from spotify_ml.data.prepare import RowSettings, prepare_split, prepare_tracks
from spotify_ml.data.splits import FINGERPRINT, Split, group_codes
from spotify_ml.utils.errors import DataError
from spotify_ml.utils.paths import CONF, PROJECT, register_resolvers

_COLUMNS = [*FINGERPRINT, "artists", "album_name", "track_name"]
# From the smallest groups to the largest; each contains those before it.
_BY_SIZE = ("random", "recording", "album", "artist")


@dataclass(frozen=True)
class SplitTracks:
    """Clean tracks, their split, and the digest of their file."""

    frame: pd.DataFrame
    split: Split
    sha256: str

    @property
    def trainval(self) -> pd.DataFrame:
        """The tracks of the final fit."""
        return self.frame.iloc[self.split.trainval]

    @property
    def test(self) -> pd.DataFrame:
        """The tracks that no fit sees."""
        return self.frame.iloc[self.split.test]


# Compared versions mostly have the same data.
@lru_cache(maxsize=2)
def read_split(
    data: DataConfig,
    cleaning: CleaningConfig,
    split: SplitConfig,
    seed: int,
    cache: CacheConfig = NO_CACHE,
    layout: LayoutConfig = AUTO,
) -> SplitTracks:
    """Read, clean and split tracks as a run does, by its stage cache; a `DataError` if this is not possible."""
    settings = RowSettings(data, cleaning, split, seed, layout)
    stages = StageCache.of(cache)
    raw, tracks, _ = prepare_tracks(settings, stages)
    return SplitTracks(tracks.frame, prepare_split(settings, raw, tracks.frame, stages), raw.sha256)


def same_data(
    recorded: DataConfig,
    sha256: str,
    elsewhere: DataConfig | None = None,
    joins: Mapping[str, str] = MappingProxyType({}),
) -> DataConfig:
    """Return the current place of the data that a run has read from `recorded`, with this digest.

    `joins` are the digests of the tables that it has joined, by their names.

    Raises
    ------
    DataError
        If it is in neither place, nor in the configured place of this name, or was changed.
    """
    # Stores record paths relative to the checkout.
    given = recorded.path
    below = str(PROJECT / given) if isinstance(given, str) else tuple(str(PROJECT / path) for path in given)
    places = [given, below, *([] if elsewhere is None else [elsewhere.path])]
    if recorded.name != "file":
        register_resolvers()
        places.append(str(OmegaConf.load(CONF / "data" / f"{recorded.name}.yaml").path))
    for place in places:
        if digest_of(place) == sha256:
            return recorded.model_copy(update={"path": place, "join": same_joins(recorded, joins, elsewhere)})
    searched = " or ".join(dict.fromkeys(each if isinstance(each, str) else " + ".join(each) for each in places))
    raise DataError(f"its data (sha256 {sha256}) is not there any more, or was changed: {searched}")


def same_joins(
    recorded: DataConfig, digests: Mapping[str, str], elsewhere: DataConfig | None = None
) -> tuple[str, ...] | None:
    """Return the current places of the tables that a run has joined; a `DataError` if one is gone or changed."""
    given = () if elsewhere is None else elsewhere.join or ()
    found = []
    for path in recorded.join or ():
        name = join_name(path)
        places = [path, str(PROJECT / path), *(each for each in given if join_name(each) == name)]
        place = next((each for each in places if name in digests and digest_of(each) == digests[name]), None)
        if place is None:
            searched = " or ".join(dict.fromkeys(places))
            raise DataError(
                f"its joined table {name} (sha256 {digests.get(name, 'not recorded')}) is not there any more, or was "
                f"changed: {searched}; data.join=… says where it is"
            )
        found.append(place)
    return tuple(found) or None


def with_joins(
    data: DataConfig, cleaning: CleaningConfig, cache: CacheConfig, layout: LayoutConfig, joins: tuple[str, ...] | None
) -> pd.DataFrame:
    """Return the clean tracks of some data, joined with these tables in place of its own; the rows are the same."""
    joined = data.model_copy(update={"join": joins})
    settings = RowSettings(joined, cleaning, SplitConfig(name="random", test_size=0.2, val_size=0.2), 0, layout)
    return prepare_tracks(settings, StageCache.of(cache))[1].frame


def coarsest(splits: Iterable[str]) -> str:
    """Return the split with the largest groups, which makes tracks equally new to models of different splits.

    A model fitted with ``split=artist`` has seen no other track of its test artists, one fitted with
    ``split=recording`` most of them, which alone would make it better there.
    """
    found = set(splits)
    for name, tested in (("source", "another catalogue"), ("release", "what came out last")):
        if name in found:
            if found != {name}:
                others = ", ".join(sorted(found - {name}))
                raise DataError(f"split={name} has {tested} as its test rows, and is not compared with split={others}")
            return name
    return max(found, key=_BY_SIZE.index)


def novelty(tracks: pd.DataFrame, split: Split, config: SplitConfig) -> np.ndarray:
    """Return how new each test row is to a model that was fitted with such a split.

    Returns
    -------
    ndarray of str, shape (n_test,)
        ``artist``: no fitted track has its first artist; ``album``: none is of its album, but some of its artist;
        ``recording``: none is a copy, but some are of its album; ``random``: a copy was fitted.
    """
    kind = _as_group(config.name)
    kinds = np.full(len(split.test), _BY_SIZE.index(kind))
    # Rows that larger groups separate, smaller ones do too.
    groups = None if kind == "random" else split.groups
    for code in range(_BY_SIZE.index(kind) + 1, len(_BY_SIZE)):
        groups = group_codes(tracks, _BY_SIZE[code], config.names, groups)
        kinds[~np.isin(groups[split.test], groups[split.trainval])] = code
    return np.array(_BY_SIZE)[kinds]


def as_new_as(novelties: pd.Series, kind: str) -> pd.Series:
    """Return which rows a split would have separated from all fitted rows, by their `novelty`."""
    return novelties.isin(_BY_SIZE[_BY_SIZE.index(_as_group(kind)) :])


def _as_group(split: str) -> str:
    """Return the split whose groups a split has."""
    return "recording" if split in ("source", "release") else split


def unseen_rows(tracks: pd.DataFrame, fitted: Sequence[pd.DataFrame], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions, ascending, and the groups of tracks that are new to models.

    No model was `fitted` on a track of their group, see `spotify_ml.data.splits.group_codes`; the fitted tracks may
    come from other files. ``random`` is treated as ``recording``, as copies of fitted tracks do not test a model.
    """
    everything = pd.concat([each[_COLUMNS] for each in (tracks, *fitted)], ignore_index=True)
    groups = group_codes(everything, "recording" if split == "random" else split)
    own = groups[: len(tracks)]
    rows = np.flatnonzero(~np.isin(own, groups[len(tracks) :]))
    return rows, own[rows]
