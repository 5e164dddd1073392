"""Feature sets: their transformers, and fitting them without rows that they must not see."""

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spotify_ml.config.run import FeatureSet
from spotify_ml.data.etl import ENERGY_LEVELS, MOODS, TEMPO_LEVELS
from spotify_ml.data.joined_columns import joined_kinds
from spotify_ml.data.schema import AUDIO, TARGET, Kind
from spotify_ml.data.splits import Split
from spotify_ml.features.display_names import is_known
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.features.transformers.catalogue import COLUMNS as CATALOGUE_COLUMNS
from spotify_ml.features.transformers.catalogue import CatalogueStatistics
from spotify_ml.features.transformers.columns import Interactions, NumericColumns, OneHotLevels
from spotify_ml.features.transformers.dates import COLUMNS as DATE_COLUMNS
from spotify_ml.features.transformers.dates import ReleaseDates
from spotify_ml.features.transformers.genres import FirstGenreCode, GenreComponents
from spotify_ml.features.transformers.key import KeyStatistics
from spotify_ml.features.transformers.names import COLUMNS as NAME_COLUMNS
from spotify_ml.features.transformers.names import NameFeatures
from spotify_ml.features.transformers.statistics import assign_folds
from spotify_ml.features.transformers.words import COLUMNS as WORD_COLUMNS
from spotify_ml.features.transformers.words import WordRegression
from spotify_ml.utils.errors import DataError

REFERENCE_SCALED = ["duration_ms", "loudness", "tempo", "duration_min", "key"]
REFERENCE_KEPT = [
    "explicit",
    "danceability",
    "energy",
    "speechiness",
    "acousticness",
    "instrumentalness",
    "liveness",
    "valence",
]
# All levels in the dataset, so that any rows of it give 37 columns; the first level of each is dropped.
REFERENCE_LEVELS: dict[str, list[Any]] = {
    "mode": [0, 1],
    "time_signature": [0, 1, 3, 4, 5],
    "mood_energy": list(MOODS),
    "energy_category": list(ENERGY_LEVELS),
    "tempo_category": list(TEMPO_LEVELS),
}
_REPEATED_TEXTS: dict[FeatureSet, list[str]] = {
    "full": ["track_genre", "artists", "album_name"],
    "audio": [],
    "reference": ["track_genre"],
}


def build_features(
    name: FeatureSet,
    seed: int = 0,
    given: Collection[str] = (),
    joined: Mapping[str, Kind] = MappingProxyType({}),
    *,
    ordered: bool = False,
) -> ColumnTransformer:
    """Return the unfitted transformers of a feature set.

    ``audio`` has the 14 audio columns; ``full`` adds genres, statistics of other recordings by the same artists, on the
    album and of the genres, and the words of title and album, and what the further columns that are `given` tell, and
    those that are `joined` from other tables; ``reference`` has the reference pipeline's 37 columns. `ordered` is as in
    `spotify_ml.features.transformers.statistics.TargetStatistics`.
    """
    steps: list[tuple[str, Any, list[str]]]
    if name == "reference":
        steps = [
            ("scaled", make_pipeline(NumericColumns(), StandardScaler()), REFERENCE_SCALED),
            ("genre", make_pipeline(FirstGenreCode(), StandardScaler()), ["track_genre"]),
            ("kept", NumericColumns(), REFERENCE_KEPT),
            ("interactions", Interactions(), ["energy", "danceability", "valence", "acousticness", "duration_min"]),
            ("levels", OneHotLevels(REFERENCE_LEVELS), list(REFERENCE_LEVELS)),
        ]
    else:
        steps = [("audio", NumericColumns(), list(AUDIO))]
        if name == "full":
            steps += [
                ("genres", GenreComponents(), ["track_genre"]),
                ("catalogue", CatalogueStatistics(random_state=seed, ordered=ordered), CATALOGUE_COLUMNS),
                ("names", NameFeatures(), NAME_COLUMNS),
                ("words", WordRegression(random_state=seed, ordered=ordered), WORD_COLUMNS),
            ]
            further: dict[str, tuple[Any, list[str]]] = {
                "release_date": (ReleaseDates(), DATE_COLUMNS),
                "label": (KeyStatistics("label", random_state=seed, ordered=ordered), ["label"]),
            }
            steps += [(step, *further[step]) for step in further if step in given]
            steps += _joined_steps(joined, seed, ordered=ordered)
    return ColumnTransformer(steps, verbose_feature_names_out=False)


def _joined_steps(joined: Mapping[str, Kind], seed: int, *, ordered: bool) -> list[tuple[str, Any, list[str]]]:
    """Return the transformers of joined columns: numbers as they are, text by out-of-fold statistics."""
    if not joined:
        return []
    numbers = [column for column, kind in joined.items() if kind is not Kind.TEXT]
    texts = [column for column, kind in joined.items() if kind is Kind.TEXT]
    statistics = [KeyStatistics(column, pooled=True, random_state=seed, ordered=ordered) for column in texts]
    made = [*numbers, *(str(feature) for each in statistics for feature in each.get_feature_names_out())]
    clashes = [feature for feature in made if is_known(feature) or made.count(feature) > 1]
    if clashes:
        raise DataError(
            f"data.join: {clashes[0]} is the name of another feature as well; rename the file, or its column"
        )
    by_key = [(f"joined {column}", each, [column]) for column, each in zip(texts, statistics, strict=True)]
    return [("joined", NumericColumns(), numbers), *by_key]


def fit_features(
    name: FeatureSet,
    tracks: pd.DataFrame,
    groups: np.ndarray,
    seen: np.ndarray,
    unseen: np.ndarray,
    seed: int,
    *,
    ordered: bool = False,
) -> tuple[Subset, Subset, ColumnTransformer]:
    """Fit a feature set on the `seen` rows; return their features, those of the `unseen` rows, and the transformers.

    Both are positions in `tracks`. Rows of a group do not see each other's target; `seed` decides the folds of the
    out-of-fold statistics. `ordered` groups are numbered by the time of their release.
    """
    features = build_features(name, seed, tracks.columns, joined_kinds(tracks), ordered=ordered)
    target = tracks[TARGET].to_numpy(dtype=np.float64)
    # Rows are copied for each subset: drop the columns that no transformer needs.
    inputs = tracks[sorted({column for _, _, columns in features.transformers for column in columns})]
    routed = {"groups": groups[seen]} if name == "full" else {}
    # A column without any value has no mean to be scaled by.
    with config_context(enable_metadata_routing=True), np.errstate(invalid="ignore"):
        fitted = features.fit_transform(inputs.iloc[seen], target[seen], **routed)
    others = features.transform(inputs.iloc[unseen])
    names = features.get_feature_names_out()

    def subset(matrix: np.ndarray, rows: np.ndarray) -> Subset:
        return Subset(pd.DataFrame(matrix, index=rows, columns=names, copy=False), target[rows])

    return subset(fitted, seen), subset(others, unseen), features


def with_categories(tracks: pd.DataFrame, name: FeatureSet = "full") -> pd.DataFrame:
    """Return tracks with repeated texts as categories, so that they are numbered once, not in every fit."""
    return tracks.assign(**{text: tracks[text].astype("category") for text in _REPEATED_TEXTS[name] if text in tracks})


@dataclass(frozen=True)
class FeatureBuilder:
    """Builds features of rows of some tracks, with transformers fitted only on the rows they may see."""

    name: FeatureSet
    tracks: pd.DataFrame
    split: Split
    seed: int

    def subsets(self, seen: np.ndarray, unseen: np.ndarray) -> tuple[Subset, Subset, ColumnTransformer]:
        """Return the features of the `seen` and of the `unseen` rows, and the transformers fitted on the seen rows."""
        split = self.split
        return fit_features(self.name, self._inputs, split.groups, seen, unseen, self.seed, ordered=split.ordered)

    @cached_property
    def _inputs(self) -> pd.DataFrame:
        return with_categories(self.tracks, self.name)

    def build(self) -> Subsets:
        """Return the features of all four subsets.

        Early stopping uses features fitted without the validation rows; the final features are fitted without the test
        rows.
        """
        split = self.split
        # The two fits are independent and mostly copy, which releases the interpreter.
        with ThreadPoolExecutor(2) as pool:
            selecting, final = pool.map(self.subsets, (split.train, split.trainval), (split.validation, split.test))
        return Subsets(*selecting[:2], *final, self)

    def train_folds(self, n_folds: int) -> Iterator[tuple[Subset, Subset]]:
        """Yield for each of `n_folds` group folds the other train rows and the fold, its features fitted without it."""
        train = self.split.train
        folds = assign_folds(self.split.groups[train], n_folds, self.seed)
        for fold in range(folds.max() + 1):
            yield self.subsets(train[folds != fold], train[folds == fold])[:2]

    def train_half(self) -> tuple[Subset, Subset]:
        """Return half of the train groups, and all other trainval rows, with features fitted on that half.

        The validation rows come first among the other rows.
        """
        train = self.split.train
        folds = assign_folds(self.split.groups[train], 2, self.seed)
        return self.subsets(train[folds == 0], np.concatenate([self.split.validation, train[folds == 1]]))[:2]


def build_subsets(name: FeatureSet, tracks: pd.DataFrame, split: Split, seed: int) -> Subsets:
    """Return the features of the four subsets of a split; see `FeatureBuilder`."""
    return FeatureBuilder(name, tracks, split, seed).build()
