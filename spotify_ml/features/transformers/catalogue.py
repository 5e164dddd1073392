"""Statistics of other recordings of a track's artists, album and genres."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from spotify_ml.data.names import normal_list, normal_name
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.features.transformers.genres import genre_lists
from spotify_ml.features.transformers.statistics import STATISTICS, KeyColumn, TargetStatistics


@dataclass(frozen=True)
class Level:
    """What tracks are grouped by.

    A track with an unknown key is expected to have the mean of the `fallback` level, or of all of train. A `pooled` key
    is a list: the recordings of all its members count.
    """

    columns: tuple[str, ...]
    fallback: str | None
    pooled: bool = False


# Each level after its fallback.
LEVELS = {
    "genres": Level(("track_genre",), None),
    "artist": Level(("first_artist",), "genres"),
    "any_artist": Level(("artists",), "genres", pooled=True),
    "artists": Level(("artists",), "artist"),
    "album": Level(("album_name",), "artist"),
    "artist_album": Level(("first_artist", "album_name"), "artist"),
    "artist_genres": Level(("first_artist", "track_genre"), "artist"),
    "album_genres": Level(("album_name", "track_genre"), "album"),
}
COLUMNS = ["artists", "album_name", "track_genre"]


class CatalogueStatistics(TransformerMixin, BaseEstimator):
    """`TargetStatistics` of every level of the catalogue, each falling back to the level above it.

    The parameters are those of `TargetStatistics`; `smoothing` is how many rows the fallback counts for in a mean.

    `genres_` are the genres seen in fit.
    """

    # Tells scikit-learn's ColumnTransformer to pass the groups to fit.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(
        self, *, smoothing: float = 1.0, n_folds: int = 10, random_state: int = 0, ordered: bool = False
    ) -> None:
        self.smoothing = smoothing
        self.n_folds = n_folds
        self.random_state = random_state
        self.ordered = ordered

    def fit(self, X: pd.DataFrame, y: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """Learn the statistics of all train rows; only `fit_transform` needs `groups`."""
        keys = key_columns(X)
        self.genres_ = _genres(keys)
        self.levels_ = {
            name: self._level(level).fit([keys[column] for column in level.columns], y)
            for name, level in LEVELS.items()
        }
        return self

    def fit_transform(
        self, X: pd.DataFrame | Mapping[str, Any], y: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Learn the statistics, and return for each train row those without its own group, shape (n_tracks, 48).

        Without `groups`, every track is a group of its own.
        """
        self.levels_ = {name: self._level(level) for name, level in LEVELS.items()}
        keys = key_columns(X)
        self.genres_ = _genres(keys)

        def own(name: str, columns: list[KeyColumn], prior: np.ndarray | None) -> np.ndarray:
            return self.levels_[name].fit_transform(columns, y, groups, prior)

        return by_level(keys, own)

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the statistics of tracks that were not in train, shape (n_tracks, 48)."""
        check_is_fitted(self)
        keys = key_columns(X, self.genres_)
        return by_level(keys, lambda name, columns, prior: self.levels_[name].look_up(columns, prior))

    def _level(self, level: Level) -> TargetStatistics:
        return TargetStatistics(
            pooled=level.pooled,
            smoothing=self.smoothing,
            n_folds=self.n_folds,
            random_state=self.random_state,
            ordered=self.ordered,
        )

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``<level>_<statistic>`` of every column."""
        return np.array([f"{name}_{statistic}" for name in LEVELS for statistic in STATISTICS], dtype=object)


def by_level(
    keys: Mapping[str, KeyColumn], statistics: Callable[[str, list[KeyColumn], np.ndarray | None], np.ndarray]
) -> np.ndarray:
    """Return the statistics of every level side by side, shape (n_tracks, 48).

    `keys` are those of `key_columns`. `statistics` returns those of one level, shape (n_tracks, 6), from its name, its
    key columns, and the expected popularity of a track with an unknown key: its mean at the fallback level, or None.
    """
    n_statistics = len(STATISTICS)
    matrix = np.empty((len(keys["artists"].codes), len(LEVELS) * n_statistics), dtype=np.float32)
    means: dict[str, np.ndarray] = {}
    for position, (name, level) in enumerate(LEVELS.items()):
        prior = None if level.fallback is None else means[level.fallback]
        own = matrix[:, position * n_statistics : (position + 1) * n_statistics]
        own[:] = statistics(name, [keys[column] for column in level.columns], prior)
        means[name] = own[:, 0]
    return matrix


def key_columns(
    X: pd.DataFrame | Mapping[str, Any], known_genres: Collection[str] | None = None
) -> dict[str, KeyColumn]:
    """Return the columns that keys are made of, in normal form; equal values are hashed once, for all levels.

    `known_genres` are those of the catalogue; see `spotify_ml.features.transformers.genres.genre_lists`.
    """
    artists = KeyColumn.of(X["artists"]).changed(normal_list)
    codes, genres = genre_lists(X, known_genres)
    joined = [LIST_SEPARATOR.join(members) or None for members in genres]
    return {
        "artists": artists,
        "first_artist": artists.changed(lambda value: value.partition(LIST_SEPARATOR)[0]),
        "album_name": KeyColumn.of(X["album_name"]).changed(normal_name),
        "track_genre": KeyColumn(codes, np.array(joined, dtype=object)).distinct(),
    }


def _genres(keys: Mapping[str, KeyColumn]) -> list[str]:
    """Return the genres that occur, in alphabetical order."""
    return sorted({genre for genres in keys["track_genre"].values for genre in genres.split(LIST_SEPARATOR)})
