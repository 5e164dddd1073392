"""Statistics of the target by one more key, such as the label."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from spotify_ml.data.names import normal_list, normal_name
from spotify_ml.features.transformers.statistics import STATISTICS, KeyColumn, TargetStatistics


class KeyStatistics(TransformerMixin, BaseEstimator):
    """`TargetStatistics` of a column of names, which are equal whatever their case, spaces, quotes and dashes.

    Parameters
    ----------
    column : str
        The column, in the names of the features as well.
    pooled : bool
        Whether it holds ``;``-joined lists, whose members count one by one.
    random_state : int
        Decides the folds.
    ordered : bool
        As in `TargetStatistics`.
    """

    # Tells scikit-learn's ColumnTransformer to pass the groups to fit.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(self, column: str, *, pooled: bool = False, random_state: int = 0, ordered: bool = False) -> None:
        self.column = column
        self.pooled = pooled
        self.random_state = random_state
        self.ordered = ordered

    def fit(self, X: pd.DataFrame, y: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """Learn the statistics of all train rows; only `fit_transform` needs `groups`."""
        self.statistics_ = self._statistics().fit([self._keys(X)], y)
        return self

    def fit_transform(
        self, X: pd.DataFrame | Mapping[str, Any], y: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Learn the statistics, and return for each train row those without its own group, shape (n_rows, 6)."""
        self.statistics_ = self._statistics()
        return self.statistics_.fit_transform([self._keys(X)], y, groups)

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the statistics of rows that were not in train, shape (n_rows, 6)."""
        check_is_fitted(self)
        return self.statistics_.look_up([self._keys(X)], None)

    def _statistics(self) -> TargetStatistics:
        return TargetStatistics(pooled=self.pooled, random_state=self.random_state, ordered=self.ordered)

    def _keys(self, X: Any) -> KeyColumn:
        return KeyColumn.of(X[self.column]).changed(normal_list if self.pooled else normal_name)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``<column>_<statistic>`` of every feature."""
        return np.array([f"{self.column}_{statistic}" for statistic in STATISTICS], dtype=object)
