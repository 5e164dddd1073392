"""The model files of a run, and the proof that they agree."""

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from xgboost import XGBRegressor
from xgboost.core import XGBoostError

from spotify_ml.errors import OutputError, SpotifyMLError
from spotify_ml.models.popularity import BOOSTER_FILE, FEATURES_FILE, clip_popularity

JOBLIB_FILE = "xgboost_popularity_model.joblib"
IMPORTANCE_FILE = "feature_importance.csv"
METADATA_FILE = "model_metadata.json"
# Points of popularity: float32 rounding is below it, a wrong model far above.
AGREEMENT = 1e-5


def write_model(
    folder: Path,
    estimator: XGBRegressor,
    features: ColumnTransformer,
    importance: pd.DataFrame,
    metadata: dict[str, Any],
) -> None:
    """Write a fitted model in every format.

    Parameters
    ----------
    folder : Path
        Must exist.
    estimator : XGBRegressor
        The final fit; written as joblib and as XGBoost JSON.
    features : ColumnTransformer
        Its fitted features; written as skops.
    importance : DataFrame
        As in `Evaluation`.
    metadata : dict
        Everything JSON about how the model came to be.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    joblib.dump(estimator, folder / JOBLIB_FILE)
    try:
        estimator.save_model(folder / BOOSTER_FILE)
    except XGBoostError as error:
        # XGBoost writes by itself and has no errno to tell.
        raise OutputError(f"{folder / BOOSTER_FILE} cannot be written; is the disk full?") from error
    skops.io.dump(features, folder / FEATURES_FILE)
    importance.to_csv(folder / IMPORTANCE_FILE, index=False)
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2), encoding="utf-8")


def check_agreement(folder: Path, features: pd.DataFrame, registered: np.ndarray) -> float:
    """Load the joblib and the JSON file and compare them with the model to be registered.

    Parameters
    ----------
    folder : Path
        Where `write_model` wrote.
    features : DataFrame
        The rows, as features; the files' predictions of them are clipped to 0 to 100 before comparing.
    registered : ndarray of float, shape (n_rows,)
        Predictions of the same rows by the logged model.

    Returns
    -------
    float
        The largest difference, in points.

    Raises
    ------
    SpotifyMLError
        If it is above `AGREEMENT`.
    """
    from_json = XGBRegressor()
    from_json.load_model(folder / BOOSTER_FILE)
    predictions = [
        clip_popularity(estimator.predict(features)) for estimator in (joblib.load(folder / JOBLIB_FILE), from_json)
    ]
    difference = float(np.ptp([*predictions, registered], axis=0).max())
    if not difference <= AGREEMENT:
        raise SpotifyMLError(
            f"the model files in {folder} disagree by {difference:g} points on the test rows; nothing was registered"
        )
    return difference
