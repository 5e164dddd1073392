"""Genres of tracks as numbers: the set as flags or as components, or the first as a label code."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import TruncatedSVD
from sklearn.utils.validation import check_is_fitted

from spotify_ml.data.names import NEAREST, normal_genre
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.features.distinct_values import distinct_values
from spotify_ml.utils.threads import one_blas_thread

_ALLOWED = str.maketrans("[]<", "()(")


def genre_lists(
    X: pd.DataFrame | Mapping[str, Any],
    known: Collection[str] | None = None,
    form: Callable[[str], str] = normal_genre,
) -> tuple[np.ndarray, list[list[str]]]:
    """Return the code of every track's genre list, -1 where it has none, and the distinct lists, in normal form.

    A genre that is not among those `known` becomes the nearest that `spotify_ml.data.names.NEAREST` names.
    """
    codes, distinct = distinct_values(X["track_genre"])
    lists = [set(filter(None, map(form, genres.split(LIST_SEPARATOR)))) for genres in distinct]
    if known is not None:
        lists = [{each if each in known else NEAREST.get(each, each) for each in genres} for genres in lists]
    return codes, list(map(sorted, lists))


class GenreSet(TransformerMixin, BaseEstimator):
    """One 0/1 column per genre seen in fit, and the number of genres of the track.

    Examples
    --------
    >>> import pandas as pd
    >>> encoder = GenreSet().fit(pd.DataFrame({"track_genre": ["pop", "pop;rock"]}))
    >>> encoder.transform(pd.DataFrame({"track_genre": ["rock;unheard"]}))
    array([[0., 1., 2.]], dtype=float32)
    """

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Learn the genres of the ``;``-joined lists in ``track_genre``."""
        self.genres_ = sorted({genre for genres in genre_lists(X)[1] for genre in genres})
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the flags and the number of genres, shape (n_tracks, n_genres + 1)."""
        check_is_fitted(self)
        codes, lists = genre_lists(X, self.genres_)
        matrix: np.ndarray = _flags(lists, self.genres_)[codes]
        return matrix

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``genre_<genre>`` of every flag, without characters that XGBoost refuses, and ``n_genres``."""
        check_is_fitted(self)
        names: dict[str, None] = {}
        for genre in self.genres_:
            name = f"genre_{genre.translate(_ALLOWED)}"
            names[f"{name}_{len(names)}" if name in names else name] = None
        return np.array([*names, "n_genres"], dtype=object)


class GenreComponents(TransformerMixin, BaseEstimator):
    """The set of genres in few dense columns, and the number of genres of the track.

    The columns are the components of a truncated singular value decomposition of the flags of `GenreSet`, without
    centring: sets that share genres, or genres that stand together elsewhere, are near each other. Trees find in them
    what they find in the flags, in half the time. A set without a known genre is 0 everywhere.

    Parameters
    ----------
    n_components : int
        Number of columns; fewer where there are fewer genres or sets.

    Attributes
    ----------
    genres_ : list of str
        The genres seen in fit.
    components_ : ndarray of float32, shape (n_genres, n_components)
        What each genre adds to every column.

    Examples
    --------
    >>> import pandas as pd
    >>> encoder = GenreComponents(2).fit(pd.DataFrame({"track_genre": ["pop", "pop", "pop;dance", "metal"]}))
    >>> values = encoder.transform(pd.DataFrame({"track_genre": ["metal", "unheard"]}))
    >>> abs(values.round(3))
    array([[0., 1., 1.],
           [0., 0., 1.]], dtype=float32)
    """

    def __init__(self, n_components: int = 24) -> None:
        self.n_components = n_components

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Learn the components of the ``;``-joined lists in ``track_genre``."""
        codes, lists = genre_lists(X)
        counts = Counter[tuple[str, ...]]()
        for genres, count in zip(lists, np.bincount(codes[codes >= 0], minlength=len(lists)).tolist(), strict=True):
            counts[tuple(genres)] += count
        # In an order that does not depend on that of the rows.
        sets = sorted(genres for genres, count in counts.items() if genres and count)
        self.genres_ = sorted({genre for genres in sets for genre in genres})
        n_components = min(self.n_components, len(sets), len(self.genres_))
        self.components_ = np.zeros((len(self.genres_), n_components), dtype=np.float32)
        if n_components:
            # As if every set stood in as many rows as it does.
            weights = np.sqrt([counts[genres] for genres in sets])
            flags = sparse.diags_array(weights) @ sparse.csr_array(_flags(sets, self.genres_)[:-1, :-1])
            with one_blas_thread():
                decomposition = TruncatedSVD(n_components, random_state=0).fit(flags)
            self.components_ = decomposition.components_.T.astype(np.float32)
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the components and the number of genres, shape (n_tracks, n_components + 1)."""
        check_is_fitted(self)
        codes, lists = genre_lists(X, self.genres_)
        position = {genre: column for column, genre in enumerate(self.genres_)}
        # Code -1, of tracks without a genre, takes the last row.
        values = np.zeros((len(lists) + 1, self.components_.shape[1] + 1), dtype=np.float32)
        for row, genres in enumerate(lists):
            # A product of matrices rounds a row by how many others there are; trees split at single values.
            own = [position[genre] for genre in genres if genre in position]
            values[row] = np.append(self.components_[own].sum(axis=0), len(genres))
        matrix: np.ndarray = values[codes]
        return matrix

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``genre_component_<number>`` of every component, from 1, and ``n_genres``."""
        check_is_fitted(self)
        names = [f"genre_component_{number + 1}" for number in range(self.components_.shape[1])]
        return np.array([*names, "n_genres"], dtype=object)


def _flags(lists: Sequence[Sequence[str]], known: Sequence[str]) -> np.ndarray:
    """Return a 0/1 column per known genre, and the number of genres, shape (n_lists + 1, n_known + 1).

    The last row is of tracks without a genre, whose code is -1.
    """
    position = {genre: column for column, genre in enumerate(known)}
    flags = np.zeros((len(lists) + 1, len(known) + 1), dtype=np.float32)
    for row, genres in enumerate(lists):
        flags[row, [position[genre] for genre in genres if genre in position]] = 1
        flags[row, -1] = len(genres)
    return flags


class FirstGenreCode(TransformerMixin, BaseEstimator):
    """The position of a track's alphabetically first genre among those seen in fit; -1 for any other.

    Genres are compared as they are written, as the reference pipeline does.
    """

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Learn the genres of the ``;``-joined lists in ``track_genre``."""
        self.genres_ = sorted({genres[0] for genres in genre_lists(X, form=str.strip)[1] if genres})
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the codes, shape (n_tracks, 1)."""
        check_is_fitted(self)
        codes, lists = genre_lists(X, form=str.strip)
        position = {genre: code for code, genre in enumerate(self.genres_)}
        labels = [position.get(genres[0], -1) if genres else -1 for genres in lists]
        column: np.ndarray = np.array([*labels, -1], dtype=np.float32)[codes, np.newaxis]
        return column

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the reference pipeline's name of the code."""
        return np.array(["track_genre_encoded"], dtype=object)
