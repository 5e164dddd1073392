"""Features of rows of which something is not known, made of those of ``features=full``."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spotify_ml.features.transformers.catalogue import LEVELS
from spotify_ml.features.transformers.dates import FEATURES as DATES
from spotify_ml.features.transformers.names import DESCRIPTIONS
from spotify_ml.features.transformers.statistics import STATISTICS

# What a track is known by, and where the tracks of the fit have dates, when it came out.
KEYS = ("artist", "album", "genre", "title")
RELEASE = "release"
ABSENT, UNKNOWN, KNOWN = range(3)
# The levels of the catalogue that need a key.
_LEVELS = {
    "artist": ("artist", "any_artist", "artists", "artist_album", "artist_genres"),
    "album": ("album", "artist_album", "album_genres"),
    "genre": ("genres", "artist_genres", "album_genres"),
    "title": (),
}
# The features that are 0 where a key is absent, and the level whose count is 0 where the catalogue lacks it.
_GIVEN = {"artist": "n_artists", "album": "album_length", "genre": "n_genres", "title": "title_length"}
_FOUND = {"artist": "any_artist", "album": "album"}
_OF_RELEASE = tuple(name for name in DATES if name != "release_precision")
_YEAR = "year"
_SHARED = "title_is_album"
# What the words of a key add to the popularity that all of them let expect.
_ADDED = {"artist": "words_artists", "album": "words_album", "genre": "words_genres", "title": "words_title"}
_EXPECTED = "words_expected"


@dataclass(frozen=True)
class IncompleteFeatures:
    """What makes the features of incomplete rows, from the names of the features of complete ones.

    The mean popularity of a key is smoothed towards that of a wider one, of which it then tells something; here means
    are of the key alone. The components of genres are left out, as the statistics of genres tell the same.
    """

    names: tuple[str, ...]

    @cached_property
    def kept(self) -> np.ndarray:
        """The positions of these features among the given ones, ascending, shape (n_kept,)."""
        return np.array([position for position, name in enumerate(self.names) if not name.startswith("genre_")])

    def states(self, matrix: np.ndarray) -> dict[str, np.ndarray]:
        """Return for each key whether it is `ABSENT`, `UNKNOWN` to the catalogue or `KNOWN`, of shape (n_rows,).

        Of genres, one is known if the catalogue has it; a genre that it does not have is as good as absent. A title is
        never unknown.
        """
        states: dict[str, np.ndarray] = {}
        if RELEASE in self.keys:
            states[RELEASE] = np.where(matrix[:, self._at["release_precision"]] > 0, KNOWN, ABSENT)
        for key, feature in _GIVEN.items():
            is_given = matrix[:, self._at[feature]] > 0
            if key == "genre":
                is_given &= (matrix[:, self._components] != 0).any(axis=1)
            is_known = matrix[:, self._at[f"{_FOUND[key]}_count"]] > 0 if key in _FOUND else is_given
            states[key] = np.where(is_given, np.where(is_known, KNOWN, UNKNOWN), ABSENT)
        return states

    def without(self, matrix: np.ndarray, absent: dict[str, np.ndarray], unknown: dict[str, np.ndarray]) -> np.ndarray:
        """Return the features that the same rows have where a key is absent, or unknown to the catalogue.

        Both have masks of rows, shape (n_rows,), by key. What has the genres as its fallback stays as it is where these
        are taken away: `view` undoes the fallback.
        """
        matrix = matrix.copy()
        none = np.zeros(len(matrix), dtype=bool)
        lost = {key: unknown.get(key, none) | absent.get(key, none) for key in KEYS}
        changes: dict[str | None, np.ndarray] = {None: np.zeros(len(matrix))}
        for name, level in LEVELS.items():
            rows = np.logical_or.reduce([none, *(lost[key] for key in KEYS if name in _LEVELS[key])])
            changes[name] = self._forget(matrix, name, rows, changes[level.fallback])
        for key, name in _ADDED.items():
            matrix[:, self._at[_EXPECTED]] -= np.where(lost[key], matrix[:, self._at[name]], 0)
            _set(matrix, lost[key], [self._at[name]], 0)
        for key, rows in absent.items():
            _set(matrix, rows, self._words[key], 0)
            _set(matrix, rows, self._years[key], np.nan)
        if self._has_label and RELEASE in absent:
            _set(matrix, absent[RELEASE], [self._at[f"label_{name}"] for name in STATISTICS], np.nan)
            _set(matrix, absent[RELEASE], [self._at["label_count"]], 0)
        return matrix

    def _forget(self, matrix: np.ndarray, level: str, rows: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Forget a level in some rows, in place, where the mean of its fallback has changed; return its own change."""
        mean, count, *others = (self._at[f"{level}_{statistic}"] for statistic in STATISTICS)
        fallback, before = LEVELS[level].fallback, matrix[:, mean].copy()
        matrix[:, mean] += change / (matrix[:, count] + 1)
        if fallback is not None:
            matrix[rows, mean] = matrix[rows, self._at[f"{fallback}_mean"]]
        matrix[rows, count] = 0
        _set(matrix, rows, others, np.nan)
        return matrix[:, mean] - before

    def view(self, matrix: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the features of incomplete rows as float32, shape (n_rows, n_kept), from those of complete ones.

        What is absent is NaN. An artist or album that the catalogue does not know has a count of 0, as its own rare
        ones have; in rows from an `other` catalogue, a mask of shape (n_rows,), that says nothing: it is NaN as well.
        """
        view = matrix.astype(np.float32)
        for name, level in LEVELS.items():
            mean, count = (self._at[f"{name}_{statistic}"] for statistic in ("mean", "count"))
            n = matrix[:, count].astype(np.float64)
            if level.fallback is not None:
                prior = matrix[:, self._at[f"{level.fallback}_mean"]]
                view[:, mean] = (matrix[:, mean] * (n + 1) - prior) / np.maximum(n, 1)
            view[n == 0, mean] = np.nan
            view[(n == 0) & other, count] = np.nan
        if self._has_label:
            view[matrix[:, self._at["label_count"]] == 0, self._at["label_mean"]] = np.nan
        for key, state in self.states(matrix).items():
            _set(view, state == ABSENT, self._of_key[key], np.nan)
        return view[:, self.kept]

    def without_statistics(self, view: np.ndarray) -> np.ndarray:
        """Return a view in which the catalogue is not asked at all: sound, words and the number of artists."""
        view = view.copy()
        levels = [*LEVELS, "label"] if self._has_label else LEVELS
        asked = [self._at[f"{level}_{statistic}"] for level in levels for statistic in STATISTICS]
        asked += [self._at[name] for name in (_EXPECTED, *_ADDED.values())]
        view[:, np.searchsorted(self.kept, [*asked, self._at["n_genres"]])] = np.nan
        return view

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What tracks are known by, as far as there are features of it."""
        return (*KEYS, RELEASE) if "release_precision" in self.names else KEYS

    @cached_property
    def _has_label(self) -> bool:
        return "label_count" in self.names

    @cached_property
    def _at(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    @cached_property
    def _components(self) -> np.ndarray:
        return np.setdiff1d(np.arange(len(self.names)), self.kept)

    @cached_property
    def _words(self) -> dict[str, list[int]]:
        """The features, other than statistics and years, that need a key."""
        title, album = ([f"{text}_{name}" for name in DESCRIPTIONS if name != _YEAR] for text in ("title", "album"))
        names = {"artist": ["n_artists"], "album": [*album, _SHARED], "title": [*title, _SHARED], "genre": ["n_genres"]}
        places = {key: [self._at[name] for name in own] for key, own in names.items()}
        release = {RELEASE: [self._at["release_precision"]]} if RELEASE in self.keys else {}
        return places | {"genre": [*places["genre"], *self._components]} | release

    @cached_property
    def _years(self) -> dict[str, list[int]]:
        years = {text: [self._at[f"{text}_{_YEAR}"]] for text in ("title", "album")}
        release = {RELEASE: [self._at[name] for name in _OF_RELEASE]} if RELEASE in self.keys else {}
        return {key: years.get(key, []) for key in KEYS} | release

    @cached_property
    def _of_key(self) -> dict[str, list[int]]:
        """All features that need a key."""
        statistics = {key: [f"{level}_{name}" for level in _LEVELS[key] for name in STATISTICS] for key in KEYS}
        return {
            key: [*self._words[key], *self._years[key], *(self._at[name] for name in statistics.get(key, ()))]
            for key in self.keys
        }


def _set(matrix: np.ndarray, rows: np.ndarray, columns: list[int], value: float) -> None:
    """Set columns of some rows, a mask of shape (n_rows,), in place."""
    matrix[np.flatnonzero(rows)[:, np.newaxis], columns] = value
