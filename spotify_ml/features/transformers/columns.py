"""Numeric columns of tracks as a float matrix: raw, interactions and one-hot levels."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.utils.validation import check_is_fitted


class _Columns(TransformerMixin, BaseEstimator):
    """Base of transformers that learn only the names of their columns."""

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Remember the columns."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        return self


class NumericColumns(_Columns):
    """Columns as they are, as float32 (flags as 0 and 1).

    Examples
    --------
    >>> import pandas as pd
    >>> NumericColumns().fit_transform(pd.DataFrame({"energy": [0.5], "explicit": [True]}))
    array([[0.5, 1. ]], dtype=float32)
    """

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the columns of tracks, shape (n_tracks, n_columns)."""
        check_is_fitted(self)
        return _stacked([X[name] for name in self.feature_names_in_])

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the columns."""
        check_is_fitted(self)
        names: np.ndarray = self.feature_names_in_
        return names


def transform_columns(
    features: ColumnTransformer,
    tracks: pd.DataFrame | Mapping[str, Any],
    known: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> np.ndarray:
    """Return ``features.transform(tracks)`` as float32, shape (n_tracks, n_features), faster for a few rows.

    scikit-learn selects, checks and wraps the input of every step, which takes longer than the steps themselves, and
    joins the results by another copy. The transformers of this package take their columns by name, and ignore others.
    `known` has the output of steps that is known already, by the name of the step.
    """
    slices = features.output_indices_
    n_tracks = len(tracks[features.feature_names_in_[0]])
    matrix = np.empty((n_tracks, max(own.stop for own in slices.values())), dtype=np.float32)
    for name, transformer, _ in features.transformers_:
        if name != "remainder":
            matrix[:, slices[name]] = known[name] if name in known else transformer.transform(tracks)
    return matrix


def _stacked(columns: Sequence[Any]) -> np.ndarray:
    matrix = np.empty((len(columns[0]), len(columns)), dtype=np.float32)
    for position, column in enumerate(columns):
        matrix[:, position] = column
    return matrix


INTERACTIONS = (
    "energy_danceability",
    "valence_energy",
    "acousticness_energy",
    "energy_squared",
    "danceability_squared",
    "valence_squared",
    "is_short_track",
    "is_long_track",
    "high_energy_happy",
    "low_energy_sad",
)


class Interactions(_Columns):
    """The reference pipeline's ten products, squares and flags of energy, danceability, valence and duration."""

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the columns named by `INTERACTIONS`, shape (n_tracks, 10)."""
        check_is_fitted(self)
        columns = ("energy", "danceability", "valence", "acousticness", "duration_min")
        energy, danceability, valence, acousticness, minutes = (np.asarray(X[name]) for name in columns)
        features = (
            energy * danceability,
            valence * energy,
            acousticness * energy,
            energy**2,
            danceability**2,
            valence**2,
            minutes < 3,
            minutes > 5,
            (energy > 0.7) & (valence > 0.7),
            (energy < 0.3) & (valence < 0.3),
        )
        return _stacked(features)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the ten columns."""
        return np.array(INTERACTIONS, dtype=object)


class OneHotLevels(_Columns):
    """One 0/1 column per known level except the first; an unknown level is 0 everywhere.

    scikit-learn's ``OneHotEncoder`` gives the same numbers, but takes six times as long for one row.

    Parameters
    ----------
    levels : dict of str to list
        The levels of every column, in order.

    Examples
    --------
    >>> import pandas as pd
    >>> encoder = OneHotLevels({"mode": [0, 1]})
    >>> encoder.fit_transform(pd.DataFrame({"mode": [1, 0]}))
    array([[1.],
           [0.]], dtype=float32)
    >>> encoder.get_feature_names_out()
    array(['mode_1'], dtype=object)
    """

    def __init__(self, levels: dict[str, list[Any]]) -> None:
        self.levels = levels

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the 0/1 columns, shape (n_tracks, n_levels - n_columns)."""
        check_is_fitted(self)
        return _stacked([X[name] == level for name, levels in self.levels.items() for level in levels[1:]])

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``<column>_<level>`` of every 0/1 column."""
        names = [f"{name}_{level}" for name, levels in self.levels.items() for level in levels[1:]]
        return np.array(names, dtype=object)
