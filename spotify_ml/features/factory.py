"""Assemble the transformers of a feature set, and fit them without showing them what they must not see."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spotify_ml.data.etl import ENERGY_LEVELS, MOODS, TEMPO_LEVELS
from spotify_ml.data.schema import AUDIO, TARGET
from spotify_ml.data.splits import Split
from spotify_ml.features.columns import Interactions, NumericColumns, OneHotLevels
from spotify_ml.features.genres import FirstGenreCode, GenreSet

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
# All that occur in the dataset, so that any part of it gives 37 columns; the first level of each is dropped.
REFERENCE_LEVELS: dict[str, list[Any]] = {
    "mode": [0, 1],
    "time_signature": [0, 1, 3, 4, 5],
    "mood_energy": list(MOODS),
    "energy_category": list(ENERGY_LEVELS),
    "tempo_category": list(TEMPO_LEVELS),
}


@dataclass(frozen=True)
class Part:
    """The rows of one part of a split.

    Attributes
    ----------
    features : DataFrame
        Named float32 columns, indexed by the position of the row in the clean tracks.
    target : ndarray of float, shape (n_rows,)
        Popularity.
    """

    features: pd.DataFrame
    target: np.ndarray


@dataclass(frozen=True)
class Matrices:
    """What the estimators are fitted and judged on, and the transformers behind the final features.

    Attributes
    ----------
    train, validation : Part
        For early stopping; features fitted on the train rows alone.
    fitting, test : Part
        For the final model; features fitted on the fitting rows, which are train and validation together.
    transformer : ColumnTransformer
        The fitted final features.
    """

    train: Part
    validation: Part
    fitting: Part
    test: Part
    transformer: ColumnTransformer


def build_features(name: Literal["full", "audio", "reference"]) -> ColumnTransformer:
    """Return the unfitted transformers of a feature set.

    ``audio`` is the 14 audio columns; ``full`` adds the genre set; ``reference`` gives the 37 columns of the
    reference pipeline.
    """
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
            steps.append(("genres", GenreSet(), ["track_genre"]))
    return ColumnTransformer(steps, verbose_feature_names_out=False)


def build_matrices(name: Literal["full", "audio", "reference"], tracks: pd.DataFrame, split: Split) -> Matrices:
    """Fit a feature set on the rows it may see, twice, and transform each part.

    Early stopping is watched by features that never saw the validation rows; the final features, fitted on train
    and validation rows, never see the test rows.

    Parameters
    ----------
    name : {"full", "audio", "reference"}
        The feature set.
    tracks : DataFrame
        Clean tracks.
    split : Split
        The rows of each part.
    """
    target = tracks[TARGET].to_numpy(dtype=np.float64)
    # Rows are copied for each part: leave behind the columns that no transformer asks for.
    inputs = tracks[sorted({column for _, _, columns in build_features(name).transformers for column in columns})]
    if "track_genre" in inputs:
        # Few distinct values: number them once, not in every fit and transform.
        inputs = inputs.assign(track_genre=inputs["track_genre"].astype("category"))

    def part(matrix: np.ndarray, rows: np.ndarray, features: ColumnTransformer) -> Part:
        named = pd.DataFrame(matrix, index=rows, columns=features.get_feature_names_out(), copy=False)
        return Part(named, target[rows])

    def fit(seen: np.ndarray, unseen: np.ndarray) -> tuple[Part, Part, ColumnTransformer]:
        features = build_features(name)
        fitted = part(features.fit_transform(inputs.iloc[seen], target[seen]), seen, features)
        return fitted, part(features.transform(inputs.iloc[unseen]), unseen, features), features

    # The two fits share nothing and spend their time in copies, which release the interpreter.
    with ThreadPoolExecutor(2) as pool:
        selecting, final = pool.map(fit, (split.train, split.fitting), (split.validation, split.test))
    return Matrices(*selecting[:2], *final)
