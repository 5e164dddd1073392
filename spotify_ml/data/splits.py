"""Train, validation and test rows such that no group stands on two sides."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

from spotify_ml.config import SplitConfig
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.errors import DataError

# Equal in all nine: the same recording, under whatever id.
FINGERPRINT = (
    "danceability",
    "energy",
    "loudness",
    "speechiness",
    "acousticness",
    "instrumentalness",
    "liveness",
    "valence",
    "tempo",
)

_PARTS = 3


@dataclass(frozen=True)
class Split:
    """Positions of the rows of each part, ascending.

    Attributes
    ----------
    train : ndarray of int
        Rows the first fit sees.
    validation : ndarray of int
        Rows early stopping watches; the final fit sees them too.
    test : ndarray of int
        Rows that nothing fitted ever sees.
    groups : ndarray of int, shape (n_rows,)
        The group of every row; no group stands in two parts.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    groups: np.ndarray

    @property
    def fitting(self) -> np.ndarray:
        """Train and validation rows together: what the final model is fitted on."""
        return np.sort(np.concatenate([self.train, self.validation]))


def split_tracks(tracks: pd.DataFrame, config: SplitConfig, seed: int) -> Split:
    """Split tracks by groups into train, validation and test.

    Parameters
    ----------
    tracks : DataFrame
        Clean tracks.
    config : SplitConfig
        The kind of group; the test part as a share of all groups, the validation part as a share of the rest.
    seed : int
        Decides which groups go where.

    Raises
    ------
    DataError
        If a part would be empty.
    """
    if len(tracks) < _PARTS:
        raise DataError(f"split={config.name}: {len(tracks)} tracks do not make three parts; give more tracks")
    return split_groups(group_codes(tracks, config.name), config, seed)


def split_groups(groups: np.ndarray, config: SplitConfig, seed: int) -> Split:
    """Do as `split_tracks` does where the group of every track is known, as of `group_codes`.

    Raises
    ------
    DataError
        If a part would be empty.
    """
    everything = np.arange(len(groups))
    rest, test = _cut(
        everything, groups, config.test_size, seed, f"split={config.name} split.test_size={config.test_size}"
    )
    train, validation = _cut(
        rest, groups, config.val_size, seed, f"split={config.name} split.val_size={config.val_size}"
    )
    return Split(train, validation, test, groups)


def fold_splits(split: Split, n_folds: int, config: SplitConfig, seed: int) -> Iterator[Split]:
    """Yield a split per group fold of the train and validation rows, with the fold as its test part.

    Parameters
    ----------
    split : Split
        Its test rows are in none of the folds.
    n_folds : int
        Number of folds.
    config : SplitConfig
        Says how large the validation part of each is.
    seed : int
        Decides which groups go where.

    Raises
    ------
    DataError
        If there are fewer groups than folds, or a part would be empty.
    """
    rows = split.fitting
    groups = split.groups[rows]
    n_groups = len(np.unique(groups))
    if n_groups < n_folds:
        raise DataError(
            f"cv={n_folds}: there are only {n_groups} groups to divide among the folds (split={config.name}); "
            "ask for fewer folds or give more tracks"
        )
    for rest, fold in GroupKFold(n_folds, shuffle=True, random_state=seed).split(rows, groups=groups):
        cause = f"cv={n_folds} split={config.name} split.val_size={config.val_size}"
        train, validation = _cut(rows[rest], split.groups, config.val_size, seed, cause)
        yield Split(train, validation, rows[fold], split.groups)


def _cut(rows: np.ndarray, groups: np.ndarray, share: float, seed: int, cause: str) -> tuple[np.ndarray, np.ndarray]:
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    try:
        kept, cut = next(splitter.split(rows, groups=groups[rows]))
    except ValueError as error:
        count = len(np.unique(groups[rows]))
        raise DataError(
            f"{cause} leaves a part without rows: there {'is' if count == 1 else 'are'} only {count} group"
            f"{'s' * (count != 1)} to divide among the parts; choose another split or size, or give more tracks"
        ) from error
    return rows[kept], rows[cut]


def group_codes(tracks: pd.DataFrame, split: str, finer: np.ndarray | None = None) -> np.ndarray:
    """Return the group of every row: connected components of what must stay together.

    Parameters
    ----------
    tracks : DataFrame
        Clean tracks.
    split : {"recording", "album", "artist", "random"}
        ``recording`` joins rows with the same nine audio features, or the same case-folded artists and title;
        ``album`` also those with the same first artist and album; ``artist`` also those with the same first
        artist. ``random`` joins nothing.
    finer : ndarray of int, shape (n_rows,), optional
        The groups of the same tracks by a split of smaller groups, where they are known: only what else belongs
        together is then looked up.

    Returns
    -------
    ndarray of int, shape (n_rows,)
    """
    if split == "random":
        return np.arange(len(tracks))
    keys = [finer] if finer is not None else _recording_keys(tracks)
    if split != "recording":
        first_artist = tracks["artists"].str.partition(LIST_SEPARATOR)[0]
        keys.append(
            _joint_codes(first_artist, tracks["album_name"]) if split == "album" else _joint_codes(first_artist)
        )
    return connected_groups(keys, len(tracks))


def _recording_keys(tracks: pd.DataFrame) -> list[np.ndarray]:
    return [
        tracks.groupby(list(FINGERPRINT), sort=False).ngroup().to_numpy(),
        _joint_codes(tracks["artists"].str.casefold(), tracks["track_name"].str.casefold()),
    ]


def _joint_codes(*columns: pd.Series) -> np.ndarray:
    """Give every distinct combination of columns a number; -1, which joins nothing, where any of them is empty."""
    codes, uniques = zip(*map(pd.factorize, columns), strict=True)
    sizes = [max(len(values), 1) for values in uniques]
    joint = np.ravel_multi_index(tuple(np.maximum(code, 0) for code in codes), sizes)
    numbered, _ = pd.factorize(joint)
    return np.where(np.any([code < 0 for code in codes], axis=0), -1, numbered)


def connected_groups(keys: list[np.ndarray], n_rows: int) -> np.ndarray:
    """Return the group of every row, numbered as they appear: rows that share the value of any key are connected.

    Parameters
    ----------
    keys : list of ndarray of int, shape (n_rows,)
        The number of each row's value of a key; -1 joins nothing.
    n_rows : int
        Number of rows.
    """
    rows, values, offset = [], [], n_rows
    for key in keys:
        known = np.flatnonzero(key >= 0)
        rows.append(known)
        values.append(key[known] + offset)
        offset += int(key.max(initial=-1)) + 1
    edges = (np.concatenate(rows), np.concatenate(values))
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(offset, offset))
    _, components = connected_components(graph, directed=False)
    groups, _ = pd.factorize(components[:n_rows])
    return groups
