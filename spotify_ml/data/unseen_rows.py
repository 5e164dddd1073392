"""Which tracks a model was fitted on, found again, and which are as new to it as to any other."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from omegaconf import OmegaConf

from spotify_ml.config.run import CleaningConfig, DataConfig, SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import read_tracks
from spotify_ml.data.splits import FINGERPRINT, Split, group_codes, split_tracks
from spotify_ml.utils.errors import DataError
from spotify_ml.utils.paths import CONF, PROJECT, register_resolvers

_KEYS = [*FINGERPRINT, "artists", "album_name", "track_name"]
# From the smallest groups to the largest: each joins what those before it join.
_BY_SIZE = ("random", "recording", "album", "artist")


@dataclass(frozen=True)
class SplitTracks:
    """Clean tracks and their parts.

    Attributes
    ----------
    frame : DataFrame
        One row per track.
    split : Split
        Positions of each part's rows.
    sha256 : str
        Digest of the file that they come from.
    """

    frame: pd.DataFrame
    split: Split
    sha256: str

    @property
    def trainval(self) -> pd.DataFrame:
        """The tracks that a final model is fitted on."""
        return self.frame.iloc[self.split.trainval]

    @property
    def test(self) -> pd.DataFrame:
        """The tracks that nothing fitted ever sees."""
        return self.frame.iloc[self.split.test]


# Versions that are compared mostly come from the same data.
@lru_cache(maxsize=2)
def read_split(data: DataConfig, cleaning: CleaningConfig, split: SplitConfig, seed: int) -> SplitTracks:
    """Read, clean and split tracks as a run does.

    Raises
    ------
    DataError
        If the data cannot be read or split.
    """
    raw = read_tracks(data)
    tracks = clean(raw.frame, cleaning.name).frame
    return SplitTracks(tracks, split_tracks(tracks, split, seed), raw.sha256)


def same_data(recorded: DataConfig, sha256: str, elsewhere: DataConfig | None = None) -> DataConfig:
    """Return where the data is now that a run has read.

    Parameters
    ----------
    recorded : DataConfig
        Where it was.
    sha256 : str
        Digest of its bytes.
    elsewhere : DataConfig, optional
        Where it may be as well.

    Raises
    ------
    DataError
        If it is in neither place, nor where the configuration has data of this name, or was changed.
    """
    # A store knows a path from the checkout on.
    places = [recorded.path, str(PROJECT / recorded.path), *([] if elsewhere is None else [elsewhere.path])]
    if recorded.name != "file":
        places.append(_configured(recorded.name))
    for place in places:
        path = Path(place)
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return DataConfig(name=recorded.name, path=place)
    looked = " or ".join(dict.fromkeys(places))
    raise DataError(f"its data (sha256 {sha256}) is not there any more, or was changed: {looked}")


def _configured(name: str) -> str:
    register_resolvers()
    choice = OmegaConf.create(yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text(encoding="utf-8")))
    return str(choice.path)


def coarsest(splits: Iterable[str]) -> str:
    """Return the split with the largest groups.

    A model that was fitted by ``split=artist`` knows no other track of its test artists; one fitted by
    ``split=recording`` knows most of them, and would win on those artists by that alone. Tracks are as new to one model
    as to another where the largest groups that any of them was fitted by are kept apart.
    """
    return max(splits, key=_BY_SIZE.index)


def novelty(tracks: pd.DataFrame, split: Split, kind: str) -> np.ndarray:
    """Return how new every test row is to a model: the split of the largest groups that keeps it from fitted rows.

    Parameters
    ----------
    tracks : DataFrame
        Clean tracks.
    split : Split
        The rows of each part.
    kind : {"random", "recording", "album", "artist"}
        What the split kept apart.

    Returns
    -------
    ndarray of str, shape (n_test,)
        ``artist``: no track of its first artist was fitted on; ``album``: no track of its album, but others of the
        artist; ``recording``: no copy of it, but others of the album; ``random``: a copy of it was.
    """
    kinds = np.full(len(split.test), _BY_SIZE.index(kind))
    # What larger groups keep apart, smaller ones do as well.
    groups = None if kind == "random" else split.groups
    for code in range(_BY_SIZE.index(kind) + 1, len(_BY_SIZE)):
        groups = group_codes(tracks, _BY_SIZE[code], groups)
        kinds[~np.isin(groups[split.test], groups[split.trainval])] = code
    return np.array(_BY_SIZE)[kinds]


def as_new_as(novelties: pd.Series, kind: str) -> pd.Series:
    """Return which rows a split would have kept from all fitted rows, by their `novelty`."""
    return novelties.isin(_BY_SIZE[_BY_SIZE.index(kind) :])


def unseen_rows(tracks: pd.DataFrame, fitted: Sequence[pd.DataFrame], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which tracks are new to models: no track of their group is among those that a model was fitted on.

    Parameters
    ----------
    tracks : DataFrame
        Tracks to choose from.
    fitted : sequence of DataFrame
        What each model was fitted on; it may come from other files.
    split : {"recording", "album", "artist", "random"}
        What makes a group; see `spotify_ml.data.splits.group_codes`. ``random`` makes none, and copies of a fitted
        track say nothing about a model: there it is the recordings that count.

    Returns
    -------
    rows : ndarray of int
        Positions in `tracks`, ascending.
    groups : ndarray of int
        The group of each.
    """
    everything = pd.concat([each[_KEYS] for each in (tracks, *fitted)], ignore_index=True)
    groups = group_codes(everything, "recording" if split == "random" else split)
    own = groups[: len(tracks)]
    rows = np.flatnonzero(~np.isin(own, groups[len(tracks) :]))
    return rows, own[rows]
