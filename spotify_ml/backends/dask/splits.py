"""The split of tracks on workers: they hash the keys of groups, and this process joins the hashes."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.backends.dask.partitions import gathered, mapped
from spotify_ml.backends.dask.tracks import TrackPartitions
from spotify_ml.config.run import SplitConfig
from spotify_ml.data.splits import FINGERPRINT, FORMS, Split, connected_groups, split_groups


def split_partitions(client: Any, tracks: TrackPartitions, config: SplitConfig, seed: int) -> Split:
    """Split tracks by groups, exactly as `spotify_ml.data.splits.split_tracks` does.

    Workers send a hash of 8 bytes per track and key, some hundred megabytes for 10 million tracks.

    Raises `DataError` if a subset would be empty.
    """
    return split_groups(group_partitions(client, tracks, config), config, seed)


def group_partitions(client: Any, tracks: TrackPartitions, config: SplitConfig) -> np.ndarray:
    """Return the group of every clean track, as `spotify_ml.data.splits.group_codes` does, shape (n_tracks,)."""
    if config.name == "random":
        return np.arange(tracks.n_tracks)
    hashed = gathered(client, mapped(partial(key_hashes, config=config), tracks.frames))
    hashes, known = (tracks.collect(each) for each in zip(*hashed, strict=True))
    keys = [np.where(has_key, pd.factorize(own)[0], -1) for own, has_key in zip(hashes.T, known.T, strict=True)]
    return connected_groups(keys, tracks.n_tracks)


def key_hashes(tracks: pd.DataFrame, config: SplitConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the hash of every key of each track, and whether it has one, both of shape (n_tracks, n_keys).

    Tracks without a value are not joined by it. The probability that two of 10 million keys share a hash is 3 in a
    million.
    """
    forms = FORMS[config.names]
    first_artist = forms.first_artist(tracks["artists"]).rename("first_artist")
    measured = [name for name in FINGERPRINT if tracks[name].notna().any()] or list(FINGERPRINT)
    # Adding 0.0 turns minus zero, whose bits differ, into zero.
    keys = [
        tracks[measured] + 0.0,
        pd.concat([forms.artists(tracks["artists"]), forms.title(tracks["track_name"])], axis=1),
    ]
    if config.name == "album":
        keys.append(pd.concat([first_artist, forms.album(tracks["album_name"])], axis=1))
    elif config.name == "artist":
        keys.append(first_artist.to_frame())
    hashes = [pd.util.hash_pandas_object(key, index=False).to_numpy() for key in keys]
    known = [key.notna().all(axis=1).to_numpy() for key in keys]
    return np.column_stack(hashes), np.column_stack(known)
