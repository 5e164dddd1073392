"""The popularity that the words of a track's names let expect, by a ridge regression."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import Ridge
from sklearn.utils.validation import check_is_fitted

from spotify_ml.data.names import normal_genre, normal_name
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.features.distinct_values import distinct_values, hashed
from spotify_ml.features.transformers.statistics import MIDDLE, assign_folds, mean_of_other_folds, ordered_folds
from spotify_ml.utils.threads import one_blas_thread

# The columns that texts are in.
TEXTS = {"album": "album_name", "title": "track_name", "artists": "artists", "genres": "track_genre"}
COLUMNS = list(TEXTS.values())
FEATURES = ("words_expected", *(f"words_{text}" for text in TEXTS))
# What divides a name in its normal form into words; characters of other scripts than Latin stay together.
_BETWEEN = r"[\s!-/:-@\[-^`{-~]+"
# Texts of which two words in a row are a term as well.
_IN_PAIRS = ("album", "title")
# Terms are numbered by their hashes; those that share a number share a coefficient.
_N_TERMS = 2**16
# More rows than these tell the regression next to nothing new.
_MOST_ROWS = 150_000
# A rough solution is as good as an exact one: trees see it beside all else.
_TOLERANCE, _ITERATIONS = 1e-2, 30


class Regressions(NamedTuple):
    """Ridge regressions: coefficients, shape (n_regressions, n_texts, n_terms), and intercepts, (n_regressions,)."""

    coefficients: np.ndarray
    intercepts: np.ndarray


@dataclass(frozen=True)
class Text:
    """A text of every row, as terms; equal texts are taken apart once.

    Attributes
    ----------
    codes : ndarray of int, shape (n_rows,)
        The position of the row's text among the distinct ones, -1 where it has none.
    owners, terms : ndarray of int, shape (n_terms_of_texts,)
        The position of a distinct text, ascending, and the number of a term that it holds; no pair repeats.
    n_texts : int
        Number of distinct texts.
    """

    codes: np.ndarray
    owners: np.ndarray
    terms: np.ndarray
    n_texts: int

    @classmethod
    def of(cls, text: str, column: Any) -> Self:
        """Take apart a column of one of the `TEXTS`."""
        codes, distinct = distinct_values(column)
        form, pattern = (_genres, LIST_SEPARATOR) if text == "genres" else (normal_name, _BETWEEN)
        forms = pa.array([form(value) for value in distinct], pa.large_string())
        lists = pc.split_pattern_regex(forms, pattern)
        words = lists.flatten().dictionary_encode()
        owners = pc.list_parent_indices(lists).to_numpy()
        values = words.dictionary.to_numpy(zero_copy_only=False)
        codes_of_words = words.indices.to_numpy()
        given = (values != "")[codes_of_words]
        owners, hashes = owners[given], hashed(values)[codes_of_words[given]]
        if text in _IN_PAIRS:
            (follows,) = np.nonzero(owners[1:] == owners[:-1])
            # An odd factor loses nothing, and the order of the words matters.
            pairs = hashes[follows] * np.uint64(3) + hashes[follows + 1]
            owners, hashes = np.append(owners, owners[follows]), np.append(hashes, pairs)
        cells = np.unique(owners * _N_TERMS + (hashes % np.uint64(_N_TERMS)).astype(np.int64))
        return cls(codes, cells // _N_TERMS, cells % _N_TERMS, len(distinct))

    def inverse_frequencies(self) -> np.ndarray:
        """Return the inverse document frequency of every term, ln((1 + n) / (1 + df)) + 1, shape (n_terms,)."""
        rows_of_text = np.bincount(self.codes[self.codes >= 0], minlength=self.n_texts)
        frequencies = np.bincount(self.terms, weights=rows_of_text[self.owners], minlength=_N_TERMS)
        inverse: np.ndarray = np.log((1 + len(self.codes)) / (1 + frequencies)).astype(np.float32) + 1
        return inverse

    def values(self, weights: np.ndarray) -> np.ndarray:
        """Return the TF-IDF value of every term of every distinct text, whose squares sum to 1 in each text."""
        own = weights[self.terms]
        squares = np.bincount(self.owners, weights=own * own, minlength=self.n_texts)
        values: np.ndarray = own / np.sqrt(squares)[self.owners]
        return values

    def matrix(self, weights: np.ndarray) -> sparse.csr_matrix:
        """Return these values by row and term, shape (n_rows, n_terms)."""
        starts = np.searchsorted(self.owners, np.arange(self.n_texts + 2))
        # Code -1, of rows without a text, takes the last row, which is empty.
        shape = (self.n_texts + 1, _N_TERMS)
        return sparse.csr_matrix((self.values(weights), self.terms.astype(np.int32), starts), shape)[self.codes]

    def contributions(self, weights: np.ndarray, coefficients: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return what the text adds to the expectation of each row by the regression of its fold, shape (n_rows,).

        `coefficients` have the shape (n_regressions, n_terms), and `folds`, shape (n_rows,), are positions in them.
        """
        values = self.values(weights)
        added = np.zeros((self.n_texts + 1, len(coefficients)), dtype=np.float32)
        for position, coefficient in enumerate(coefficients):
            products = values * coefficient[self.terms]
            added[:-1, position] = np.bincount(self.owners, weights=products, minlength=self.n_texts)
        of_rows: np.ndarray = added[self.codes, folds]
        return of_rows


def _genres(genres: str) -> str:
    return LIST_SEPARATOR.join(map(normal_genre, genres.split(LIST_SEPARATOR)))


class WordRegression(TransformerMixin, BaseEstimator):
    """Popularity expected from the words of album, title and artists and from the genres.

    A ridge regression on the TF-IDF weights of words, of pairs of words in album and title, and of genres; every text
    has length 1. Train rows get the expectation of the regression on the other folds (`fit_transform`), later rows that
    of the regression on all of train (`transform`). Folds never divide a group.

    Parameters
    ----------
    alpha : float
        Strength of the L2 penalty.
    n_folds : int
        Number of folds; fewer where there are fewer groups.
    random_state : int
        Decides which group is in which fold.
    ordered : bool
        Whether groups are numbered by the time of their release: a fold gets the regression on those before it.

    Attributes
    ----------
    weights_ : ndarray of float32, shape (n_texts, n_terms)
        Inverse document frequency of every term of every text.
    coefficients_ : ndarray of float32, shape (n_texts, n_terms)
        Of the regression on all of train.
    intercept_ : float
        Of the same.

    Examples
    --------
    >>> import pandas as pd
    >>> names = {"album_name": ["Hits", "Hits", "Demo"], "track_name": "A", "artists": "B", "track_genre": "pop"}
    >>> regression = WordRegression(alpha=0.1).fit(pd.DataFrame(names), np.array([80.0, 70.0, 10.0]))
    >>> expected = regression.transform(pd.DataFrame(names))[:, 0]
    >>> bool(expected[0] > 60 > 30 > expected[2])
    True
    """

    # Tells scikit-learn's ColumnTransformer to pass the groups to fit.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(self, *, alpha: float = 4.0, n_folds: int = 5, random_state: int = 0, ordered: bool = False) -> None:
        self.alpha = alpha
        self.n_folds = n_folds
        self.random_state = random_state
        self.ordered = ordered

    def fit(self, X: pd.DataFrame, y: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """Learn the regression on all train rows; only `fit_transform` needs `groups`."""
        rows = self.sample(len(y))
        self._learn(texts_of(X, rows), np.asarray(y, dtype=np.float64)[rows])
        return self

    def fit_transform(
        self, X: pd.DataFrame | Mapping[str, Any], y: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Learn the regression, and return what other folds let expect of each train row, shape (n_rows, 5).

        Without `groups`, every row is a group of its own.
        """
        target = np.asarray(y, dtype=np.float64)
        folds = self.folds(np.arange(len(target)) if groups is None else groups)
        rows = self.sample(len(target))
        texts = texts_of(X, rows)
        others = self.learn(texts, target[rows], folds[rows])
        if len(rows) == len(target):
            return self._features(texts, others, folds)
        return self.of_others(X, others, folds)

    def folds(self, groups: np.ndarray) -> np.ndarray:
        """Return the fold of every row, shape (n_rows,)."""
        if self.ordered:
            return ordered_folds(groups, self.n_folds)
        return assign_folds(groups, self.n_folds, self.random_state)

    def sample(self, n_rows: int) -> np.ndarray:
        """Return the rows that the regressions are fitted on, ascending: all of them, if they are not too many."""
        if n_rows <= _MOST_ROWS:
            return np.arange(n_rows)
        return np.sort(np.random.default_rng(self.random_state).permutation(n_rows)[:_MOST_ROWS])

    def learn(self, texts: Sequence[Text], y: np.ndarray, folds: np.ndarray) -> Regressions:
        """Learn the regression on the sampled rows, and return those without each fold."""
        matrix, n_folds = self._learn(texts, y), int(folds.max(initial=0)) + 1
        seen = [folds < fold if self.ordered else folds != fold for fold in range(n_folds)]
        means = mean_of_other_folds(y, folds, n_folds, earlier=self.ordered)
        solved = [self._solve(matrix[mask], y[mask], mean) for mask, mean in zip(seen, means, strict=True)]
        return Regressions(*map(np.array, zip(*solved, strict=True)))

    def _learn(self, texts: Sequence[Text], y: np.ndarray) -> sparse.csr_matrix:
        """Learn the regression on the sampled rows, and return their terms, shape (n_rows, n_texts · n_terms)."""
        self.weights_ = np.array([text.inverse_frequencies() for text in texts])
        pairs = zip(texts, self.weights_, strict=True)
        matrix = sparse.hstack([text.matrix(weights) for text, weights in pairs], "csr")
        self.coefficients_, self.intercept_ = self._solve(matrix, y, y.mean() if len(y) else MIDDLE)
        return matrix

    def _solve(self, matrix: sparse.csr_matrix, y: np.ndarray, mean: float) -> tuple[np.ndarray, float]:
        """Return coefficients, shape (n_texts, n_terms), and intercept; without a word, the mean alone."""
        coefficients, intercept = np.zeros(matrix.shape[1], dtype=np.float32), float(mean)
        if matrix.nnz:
            ridge = Ridge(alpha=self.alpha, solver="sparse_cg", tol=_TOLERANCE, max_iter=_ITERATIONS)
            with one_blas_thread():
                ridge.fit(matrix, y)
            coefficients, intercept = ridge.coef_.astype(np.float32), float(ridge.intercept_)
        return coefficients.reshape(len(TEXTS), _N_TERMS), intercept

    def of_others(self, X: pd.DataFrame | Mapping[str, Any], others: Regressions, folds: np.ndarray) -> np.ndarray:
        """Return what the regression without its own fold lets expect of each row, shape (n_rows, 5)."""
        columns = {column: X[column] for column in COLUMNS}
        features = np.empty((len(folds), len(FEATURES)), dtype=np.float32)
        for start in range(0, len(folds), _MOST_ROWS):
            own = slice(start, start + _MOST_ROWS)
            texts = texts_of({name: column.iloc[own] for name, column in columns.items()})
            features[own] = self._features(texts, others, folds[own])
        return features

    def transform(self, X: pd.DataFrame | Mapping[str, Any]) -> np.ndarray:
        """Return what is expected of rows that were not in train, and what each text adds to it, shape (n_rows, 5)."""
        check_is_fitted(self)
        own = Regressions(self.coefficients_[np.newaxis], np.array([self.intercept_]))
        texts = texts_of(X)
        return self._features(texts, own, np.zeros(len(texts[0].codes), dtype=np.intp))

    def _features(self, texts: Sequence[Text], regressions: Regressions, folds: np.ndarray) -> np.ndarray:
        coefficients = np.moveaxis(regressions.coefficients, 1, 0)
        added = [
            text.contributions(weights, own, folds)
            for text, weights, own in zip(texts, self.weights_, coefficients, strict=True)
        ]
        expected = np.sum(added, axis=0) + regressions.intercepts[folds]
        return np.column_stack([expected, *added]).astype(np.float32)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``words_expected``, and ``words_<text>`` of what each text adds to it."""
        return np.array(FEATURES, dtype=object)


def texts_of(X: pd.DataFrame | Mapping[str, Any], rows: np.ndarray | None = None) -> list[Text]:
    """Return all `TEXTS` of some rows, or of all."""
    columns = {text: X[column] for text, column in TEXTS.items()}
    return [Text.of(text, column if rows is None else column.iloc[rows]) for text, column in columns.items()]
