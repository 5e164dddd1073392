"""Train, validation and test rows such that no group stands on two sides."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import GroupKFold, ShuffleSplit

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.utils.errors import DataError

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
    def trainval(self) -> np.ndarray:
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
    rows = split.trainval
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
    """Do as scikit-learn's `GroupShuffleSplit`, which would sort all rows, where groups are small numbers."""
    own = groups[rows]
    present = np.flatnonzero(np.bincount(own))
    splitter = ShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    try:
        _, cut = next(splitter.split(present))
    except ValueError as error:
        count = len(present)
        raise DataError(
            f"{cause} leaves a part without rows: there {'is' if count == 1 else 'are'} only {count} group"
            f"{'s' * (count != 1)} to divide among the parts; choose another split or size, or give more tracks"
        ) from error
    is_cut = np.zeros(own.max() + 1, dtype=bool)
    is_cut[present[cut]] = True
    return rows[~is_cut[own]], rows[is_cut[own]]


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
        first_artist = _text_codes(tracks["artists"], lambda names: names.str.split(LIST_SEPARATOR, n=1).str[0])
        keys.append(_joint_codes(first_artist, _text_codes(tracks["album_name"])) if split == "album" else first_artist)
    return connected_groups(keys, len(tracks))


def _recording_keys(tracks: pd.DataFrame) -> list[np.ndarray]:
    def folded(names: pd.Series) -> pd.Series:
        return names.str.casefold()

    return [
        _fingerprint_codes(tracks[list(FINGERPRINT)]),
        _joint_codes(_text_codes(tracks["artists"], folded), _text_codes(tracks["track_name"], folded)),
    ]


def _fingerprint_codes(features: pd.DataFrame) -> np.ndarray:
    """Give rows that are equal in all columns a number; -1, which joins nothing, where no other is equal."""
    # Minus zero is zero, but has other bits.
    hashes = pd.util.hash_pandas_object(features + 0.0, index=False)
    # Equal rows share their hash: only those few are compared in full.
    suspects = np.flatnonzero(hashes.duplicated(keep=False))
    codes = np.full(len(features), -1)
    codes[suspects] = features.iloc[suspects].groupby(list(features), sort=False).ngroup()
    return codes


def _text_codes(text: pd.Series, form: Callable[[pd.Series], pd.Series] = lambda names: names) -> np.ndarray:
    """Give every distinct text, or form of it, a number; -1 where there is none."""
    codes, names = pd.factorize(text)
    # Each of them is brought into that form once, however often it occurs.
    forms, _ = pd.factorize(form(pd.Series(names)))
    return np.append(forms, -1)[codes]


def _joint_codes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Give every distinct pair of numbers a number; -1, which joins nothing, where one of them is -1."""
    return np.where((first < 0) | (second < 0), -1, first * (second.max(initial=0) + 1) + second)


def connected_groups(keys: list[np.ndarray], n_rows: int) -> np.ndarray:
    """Return the group of every row, numbered as they appear: rows that share the value of any key are connected.

    Parameters
    ----------
    keys : list of ndarray of int, shape (n_rows,)
        The number of each row's value of a key; -1 joins nothing.
    n_rows : int
        Number of rows.
    """
    rows, values, n_values = [], [], 0
    for key in keys:
        known = np.flatnonzero(key >= 0)
        # A value that stands once joins nothing either.
        shared = known[pd.Series(key[known]).duplicated(keep=False).to_numpy()]
        codes, distinct = pd.factorize(key[shared])
        rows.append(shared)
        values.append(codes + n_values)
        n_values += len(distinct)
    joined = np.zeros(n_rows, dtype=bool)
    joined[np.concatenate(rows)] = True
    n_joined = int(joined.sum())
    edges = ((np.cumsum(joined) - 1)[np.concatenate(rows)], np.concatenate(values) + n_joined)
    n_nodes = n_joined + n_values
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(n_nodes, n_nodes))
    _, components = connected_components(graph, directed=False)
    groups = np.arange(n_rows)
    groups[joined] = n_rows + components[:n_joined]
    return pd.factorize(groups)[0]
