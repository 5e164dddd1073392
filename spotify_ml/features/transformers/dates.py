"""Features of a track's release date."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from spotify_ml.data.dates import COLLECTED_COLUMN, DAYS_PER_YEAR, Dates, collected_days, parse_dates
from spotify_ml.data.names import normal_list
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.features.transformers.statistics import KeyColumn

COLUMNS = ["release_date", "artists", COLLECTED_COLUMN]
FEATURES = ("release_age", "release_month", "release_weekday", "release_precision", "release_since_first")
# 1970-01-01 was the fourth day of a week that begins on Monday.
_FIRST_WEEKDAY = 3


class ReleaseDates(TransformerMixin, BaseEstimator):
    """Age, season, weekday and precision of a release, and its distance to its artist's first known one.

    Ages and distances are in years. A date of a month or a year counts as its first day; what it does not tell is NaN.
    The first release of an artist is that of the train rows, for a train row of those of other groups: rows that were
    not in train have none of their own in it either.

    `collected_` is the day on which popularity was counted, in days since 1970, for rows that do not say it.

    Examples
    --------
    >>> import pandas as pd
    >>> tracks = pd.DataFrame({"release_date": ["2018-06-01", "2019-05"], "artists": "Abba", "collected": 18262.0})
    >>> ReleaseDates().fit_transform(tracks).round(1)
    array([[ 1.6,  6. ,  4. ,  3. , -0.9],
           [ 0.7,  5. ,  nan,  2. ,  0.9]], dtype=float32)
    """

    # Tells scikit-learn's ColumnTransformer to pass the groups to fit.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    def fit(self, X: pd.DataFrame, y: object = None, groups: np.ndarray | None = None) -> Self:
        """Learn the first release of every artist, and the day of the newest count."""
        self._learn(X, groups)
        return self

    def fit_transform(
        self, X: pd.DataFrame | Mapping[str, Any], y: object = None, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Learn from train rows, and return their features, shape (n_rows, 5).

        Without `groups`, every row is a group of its own.
        """
        return self._features(X, *self._learn(X, groups))

    def transform(self, X: pd.DataFrame | Mapping[str, Any]) -> np.ndarray:
        """Return the features of rows that were not in train, shape (n_rows, 5)."""
        check_is_fitted(self)
        dates, keys = parse_dates(X["release_date"]), _first_artists(X)
        positions = np.searchsorted(self.artists_, keys.hashes)
        # Behind the last artist, no hash is found.
        known = (positions < len(self.artists_)) & (np.append(self.artists_, np.uint64(0))[positions] == keys.hashes)
        first = np.where(known, np.append(self.first_, np.nan)[positions], np.nan)
        return self._features(X, dates, np.append(first, np.nan)[keys.codes])

    def _learn(self, X: pd.DataFrame | Mapping[str, Any], groups: np.ndarray | None) -> tuple[Dates, np.ndarray]:
        """Keep what `transform` needs; return the dates, and the first release of each row's artist in other groups."""
        dates, keys = parse_dates(X["release_date"]), _first_artists(X)
        days = collected_days(dates, np.asarray(X[COLLECTED_COLUMN], dtype=np.float64))
        self.collected_ = float(np.nanmax(days)) if np.isfinite(days).any() else np.nan
        own_groups = np.arange(len(days)) if groups is None else np.asarray(groups)
        (rows,) = np.nonzero((keys.codes >= 0) & np.isfinite(dates.first))
        ordered = pd.DataFrame({"artist": keys.codes[rows], "group": own_groups[rows], "day": dates.first[rows]})
        # The first of each group of an artist; of those, the first two.
        ordered = ordered.sort_values("day", kind="stable").drop_duplicates(["artist", "group"])
        nth = ordered.groupby("artist").cumcount()
        earliest = ordered[nth == 0].set_index("artist").reindex(range(len(keys.values)))
        second = ordered.loc[nth == 1].set_index("artist")["day"].reindex(range(len(keys.values)))
        first = earliest["day"].to_numpy()
        known = np.flatnonzero(np.isfinite(first))
        by_hash = known[np.argsort(keys.hashes[known])]
        self.artists_, self.first_ = keys.hashes[by_hash], first[by_hash]
        is_own = np.append(earliest["group"].to_numpy(), np.nan)[keys.codes] == own_groups
        of_others = np.where(
            is_own, np.append(second.to_numpy(), np.nan)[keys.codes], np.append(first, np.nan)[keys.codes]
        )
        return dates, of_others

    def _features(self, X: Any, dates: Dates, first_of_artist: np.ndarray) -> np.ndarray:
        given = np.asarray(X[COLLECTED_COLUMN], dtype=np.float64) if COLLECTED_COLUMN in X else np.full(1, np.nan)
        collected = np.where(np.isnan(given), self.collected_, given)
        days = dates.first
        numbers = np.where(np.isnan(days), 0, days).astype("int64")
        months = numbers.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1
        matrix = np.empty((len(days), len(FEATURES)), dtype=np.float32)
        matrix[:, 0] = (collected - days) / DAYS_PER_YEAR
        matrix[:, 1] = np.where(dates.precision >= 2, months, np.nan)
        matrix[:, 2] = np.where(dates.precision == 3, (numbers + _FIRST_WEEKDAY) % 7, np.nan)
        matrix[:, 3] = dates.precision
        matrix[:, 4] = (days - first_of_artist) / DAYS_PER_YEAR
        return matrix

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the five features."""
        return np.array(FEATURES, dtype=object)


def _first_artists(X: Any) -> KeyColumn:
    return KeyColumn.of(X["artists"]).changed(lambda value: normal_list(value).partition(LIST_SEPARATOR)[0])
