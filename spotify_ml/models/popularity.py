"""The model that leaves the project: raw rows in, popularity out."""

from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from xgboost import Booster

from spotify_ml.data.etl import add_derived_columns
from spotify_ml.data.schema import scoring_rows

LOWEST, HIGHEST = 0.0, 100.0
FEATURES_FILE = "features.skops"
BOOSTER_FILE = "xgboost_popularity_model.json"


class PopularityModel:
    """Score raw rows with fitted features and a booster.

    Parameters
    ----------
    features : ColumnTransformer
        Fitted features.
    booster : xgboost.Booster
        Fitted on what the features give.
    """

    def __init__(self, features: ColumnTransformer, booster: Booster) -> None:
        self.features = features
        self.booster = booster

    @classmethod
    def load(cls, features_path: Path, booster_path: Path) -> Self:
        """Load a model from its two files, without unpickling anything.

        Parameters
        ----------
        features_path : Path
            The transformers, as skops.
        booster_path : Path
            The booster, as XGBoost JSON.
        """
        own = [name for name in skops.io.get_untrusted_types(file=features_path) if name.startswith("spotify_ml.")]
        return cls(skops.io.load(features_path, trusted=own), Booster(model_file=booster_path))

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Predict popularity.

        Parameters
        ----------
        rows : DataFrame
            Raw rows: every audio column; text columns as far as known; any others are ignored.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            From 0 to 100.

        Raises
        ------
        DataError
            If an audio column is absent or not numeric.
        """
        if len(rows) == 0:
            return np.empty(0)
        matrix = self.features.transform(add_derived_columns(scoring_rows(rows))).astype(np.float32, copy=False)
        return clip_popularity(self.booster.inplace_predict(matrix, validate_features=False))


def clip_popularity(predictions: np.ndarray) -> np.ndarray:
    """Return predictions within the range that popularity has."""
    return np.clip(predictions.astype(np.float64), LOWEST, HIGHEST)
