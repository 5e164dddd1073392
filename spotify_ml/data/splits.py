"""Train, validation and test rows, with every group in only one of them."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import GroupKFold, ShuffleSplit

from spotify_ml.config.run import NameRule, SplitConfig
from spotify_ml.data.names import normal_list, normal_name
from spotify_ml.data.parts import SOURCE_COLUMN
from spotify_ml.data.release_split import by_release, split_by_release
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.utils.errors import DataError

# Tracks that are equal in all nine are the same recording.
FINGERPRINT = (
    *("danceability", "energy", "loudness", "speechiness", "acousticness"),
    *("instrumentalness", "liveness", "valence", "tempo"),
)
# The names without which a split would join nothing more than a finer one does.
_NEEDED = {"album": ("artists", "album_name"), "artist": ("artists",)}
# One for each of train, validation and test.
_FEWEST_TRACKS = 3


@dataclass(frozen=True)
class Split:
    """Positions of train, validation and test rows, ascending, and each row's group, which is in only one of them.

    `ordered` says whether groups are numbered by the time of their release.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    groups: np.ndarray
    ordered: bool = False

    @property
    def trainval(self) -> np.ndarray:
        """Train and validation rows together, for the final fit."""
        return np.sort(np.concatenate([self.train, self.validation]))


def split_tracks(tracks: pd.DataFrame, config: SplitConfig, seed: int) -> Split:
    """Split clean tracks by groups into train, validation and test; `seed` decides which groups go where.

    The test size is a share of all groups, the validation size a share of the rest. A `DataError` is raised if one of
    the three would be empty.
    """
    if len(tracks) < _FEWEST_TRACKS:
        raise DataError(f"split={config.name}: {len(tracks)} tracks do not make three parts; give more tracks")
    check_names_of(config, [name for name in ("artists", "album_name") if tracks[name].isna().all()])
    if config.name == "source":
        return split_source(tracks, config, seed)
    if config.name == "release":
        groups = by_release(tracks, group_codes(tracks, config.name, config.names))
        return Split(*split_by_release(tracks, groups, config), groups, ordered=True)
    return split_groups(group_codes(tracks, config.name, config.names), config, seed)


def split_source(tracks: pd.DataFrame, config: SplitConfig, seed: int) -> Split:
    """Split the tracks of several catalogues: all of ``config.source`` are test rows, the others train and validation.

    Copies of test rows are in no part. Raises `DataError` if there is no such catalogue, or no track of another.
    """
    sources = tracks[SOURCE_COLUMN] if SOURCE_COLUMN in tracks else pd.Series("", tracks.index)
    names = sorted({name for own in sources.unique() for name in own.split(LIST_SEPARATOR) if name})
    if config.source not in names:
        there = f"there are {', '.join(names)}" if names else "name several catalogues: data.path=[a.csv,b.csv]"
        raise DataError(f"split=source split.source={config.source}: there is no catalogue of that name; {there}")
    is_test = sources.map({own: config.source in own.split(LIST_SEPARATOR) for own in sources.unique()}).to_numpy(bool)
    groups = group_codes(tracks, config.name, config.names)
    rest = np.flatnonzero(~np.isin(groups, groups[is_test]))
    if len(rest) < _FEWEST_TRACKS:
        raise DataError(
            f"split=source split.source={config.source}: all other tracks are copies of its own; add others"
        )
    train, validation = _cut(rest, groups, config.val_size, seed, f"split=source split.val_size={config.val_size}")
    return Split(train, validation, np.flatnonzero(is_test), groups)


def check_names_of(config: SplitConfig, absent: Collection[str]) -> None:
    """Check that a split's names are not among the `absent` ones; a `DataError` says which splits work without them."""
    lacking = [name for name in _NEEDED.get(config.name, ()) if name in absent]
    if lacking:
        others = [name for name in ("recording", "album", "artist") if not set(_NEEDED.get(name, ())) & set(absent)]
        raise DataError(
            f"split={config.name} needs {' and '.join(lacking)}, of which the file has no value; "
            f"set split={' or split='.join([*others, 'random'])}"
        )


def split_groups(groups: np.ndarray, config: SplitConfig, seed: int) -> Split:
    """Do the same as `split_tracks`, with known `group_codes`."""
    cause = f"split={config.name} split.test_size={config.test_size}"
    rest, test = _cut(np.arange(len(groups)), groups, config.test_size, seed, cause)
    cause = f"split={config.name} split.val_size={config.val_size}"
    train, validation = _cut(rest, groups, config.val_size, seed, cause)
    return Split(train, validation, test, groups)


def fold_splits(split: Split, n_folds: int, config: SplitConfig, seed: int) -> Iterator[Split]:
    """Yield a split for each group fold of the train and validation rows of `split`, with the fold as its test rows.

    Raises
    ------
    DataError
        If there are fewer groups than folds, or train, validation or test would be empty.
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
        yield Split(train, validation, rows[fold], split.groups, split.ordered)


def _cut(rows: np.ndarray, groups: np.ndarray, share: float, seed: int, cause: str) -> tuple[np.ndarray, np.ndarray]:
    """Do the same as scikit-learn's `GroupShuffleSplit`, which would sort all rows, for small group numbers."""
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


def group_codes(
    tracks: pd.DataFrame, split: str, names: NameRule = "normal", finer: np.ndarray | None = None
) -> np.ndarray:
    """Return the group of every row, shape (n_rows,): connected components of rows that must stay together.

    ``recording`` joins rows with the same nine audio features, or the same artists and title; ``album`` also those with
    the same first artist and album; ``artist`` also those with the same first artist. ``source`` and ``release`` join
    as ``recording``, ``random`` none. `names` says when two names are the same, see `FORMS`. With `finer`, known groups
    of a split with smaller groups, only the rest is computed.
    """
    if split == "random":
        return np.arange(len(tracks))
    split = "recording" if split in ("source", "release") else split
    forms = FORMS[names]
    codes = [finer] if finer is not None else _recording_codes(tracks, forms)
    if split != "recording":
        first_artist = _text_codes(tracks["artists"], forms.first_artist)
        is_album = split == "album"
        album = _text_codes(tracks["album_name"], forms.album) if is_album else first_artist
        codes.append(_joint_codes(first_artist, album) if is_album else first_artist)
    return connected_groups(codes, len(tracks))


class NameForms(NamedTuple):
    """Functions that give the form in which names of each kind are compared; a missing form joins nothing."""

    artists: Callable[[pd.Series], pd.Series]
    title: Callable[[pd.Series], pd.Series]
    first_artist: Callable[[pd.Series], pd.Series]
    album: Callable[[pd.Series], pd.Series]


def _in_form(form: Callable[[str], str]) -> Callable[[pd.Series], pd.Series]:
    return lambda names: names.map(lambda name: form(name) or None, na_action="ignore")


# As of `spotify_ml.data.names`, and as they were compared before: exactly, but for the case of artists and titles.
FORMS: dict[NameRule, NameForms] = {
    "normal": NameForms(
        _in_form(normal_list),
        _in_form(normal_name),
        _in_form(lambda artists: normal_list(artists).partition(LIST_SEPARATOR)[0]),
        _in_form(normal_name),
    ),
    "exact": NameForms(
        lambda names: names.str.casefold(),
        lambda names: names.str.casefold(),
        lambda names: names.str.split(LIST_SEPARATOR, n=1).str[0],
        lambda names: names,
    ),
}


def _recording_codes(tracks: pd.DataFrame, forms: NameForms) -> list[np.ndarray]:
    artists, titles = _text_codes(tracks["artists"], forms.artists), _text_codes(tracks["track_name"], forms.title)
    return [_fingerprint_codes(tracks[list(FINGERPRINT)]), _joint_codes(artists, titles)]


def _fingerprint_codes(features: pd.DataFrame) -> np.ndarray:
    """Return a number for rows that are equal in all columns; -1, which joins nothing, for unique rows."""
    # A feature that the file lacks distinguishes nothing.
    features = features.loc[:, features.notna().any().to_numpy()]
    # -0.0 equals 0.0, but has another hash.
    hashes = pd.util.hash_pandas_object(features + 0.0, index=False)
    # Equal rows have equal hashes: only those few are compared in full.
    suspects = np.flatnonzero(hashes.duplicated(keep=False))
    codes = np.full(len(features), -1)
    codes[suspects] = features.iloc[suspects].groupby(list(features), sort=False).ngroup()
    return codes


def _text_codes(text: pd.Series, form: Callable[[pd.Series], pd.Series]) -> np.ndarray:
    """Return a number for each distinct form of texts; -1 for missing ones."""
    codes, names = pd.factorize(text)
    # Each distinct text is converted once.
    forms, _ = pd.factorize(form(pd.Series(names)))
    return np.append(forms, -1)[codes]


def _joint_codes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return a number for each distinct pair; -1, which joins nothing, if one of them is -1."""
    return np.where((first < 0) | (second < 0), -1, first * (second.max(initial=0) + 1) + second)


def connected_groups(codes: list[np.ndarray], n_rows: int) -> np.ndarray:
    """Return each row's group, numbered by appearance: rows with the same number in any of `codes` are connected."""
    # The nodes of the graph are the rows, followed by the numbers that several rows share.
    rows, nodes, n_nodes = [], [], n_rows
    for own in codes:
        shared = np.flatnonzero((own >= 0) & pd.Series(own).duplicated(keep=False).to_numpy())
        numbers, distinct = pd.factorize(own[shared])
        rows.append(shared)
        nodes.append(numbers + n_nodes)
        n_nodes += len(distinct)
    edges = (np.concatenate(rows), np.concatenate(nodes))
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(n_nodes, n_nodes))
    _, components = connected_components(graph, directed=False)
    return pd.factorize(components[:n_rows])[0]
