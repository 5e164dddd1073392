"""The model files of a run, and the check that they agree."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from xgboost import XGBModel
from xgboost.core import XGBoostError

from spotify_ml.data.csv_text import write_csv
from spotify_ml.models.intervals import PredictionIntervals
from spotify_ml.models.popularity import load_estimator, predict_matrix
from spotify_ml.utils.errors import OutputError, SpotifyMLError

FEATURES_FILE = "features.skops"
INTERVALS_FILE = "intervals.json"
IMPORTANCE_FILE = "feature_importance.csv"
METADATA_FILE = "model_metadata.json"
# XGBoost writes the base score as a list since 3.1; older versions silently read 0.5.
_SINGLE_SCORE = re.compile(rb'("base_score":)"\[([^],]+)\]"')
# Points of popularity: larger than float32 rounding, far smaller than the difference of a wrong model.
AGREEMENT = 1e-5


@dataclass(frozen=True)
class ModelFiles:
    """Paths of the files of a model.

    `estimator` is the one that is registered: XGBoost JSON, or skops for other libraries. `intervals` is None of a
    classification.
    """

    features: Path
    estimator: Path
    joblib: Path
    metadata: Path
    intervals: Path | None


def write_model(
    folder: Path,
    name: str,
    estimator: Any,
    features: ColumnTransformer,
    importance: pd.DataFrame,
    metadata: dict[str, Any],
    intervals: PredictionIntervals | None = None,
) -> None:
    """Write a fitted model in every format to an existing folder, in files whose names begin with the family's `name`.

    The estimator is written as joblib, and as XGBoost JSON or skops; its features as skops; the rest as JSON and CSV.
    To `metadata`, how the model was made, ``formats`` is added: the versions that read each file. Raises `OutputError`
    if the disk is full.
    """
    joblib.dump(estimator, folder / f"{name}_popularity_model.joblib")
    formats = {f"{name}_popularity_model.joblib": "the versions that wrote it"}
    if isinstance(estimator, XGBModel):
        path = folder / f"{name}_popularity_model.json"
        _write_json(estimator, path)
        formats[path.name] = json_readers(estimator)
    else:
        skops.io.dump(estimator, folder / f"{name}_popularity_model.skops")
    skops.io.dump(features, folder / FEATURES_FILE)
    if intervals is not None:
        intervals.write(folder / INTERVALS_FILE)
    write_csv(importance, folder / IMPORTANCE_FILE)
    (folder / METADATA_FILE).write_text(json.dumps({**metadata, "formats": formats}, indent=2), encoding="utf-8")


def _write_json(estimator: XGBModel, path: Path) -> None:
    try:
        estimator.save_model(path)
    except XGBoostError as error:
        # XGBoost writes the file itself and has no errno.
        raise OutputError(f"{path} cannot be written; is the disk full?") from error
    path.write_bytes(_SINGLE_SCORE.sub(rb'\1"\2"', path.read_bytes()))


def json_readers(estimator: XGBModel) -> str:
    """Return the versions of XGBoost that read the JSON file of a fitted estimator correctly, as a requirement.

    Versions before 3.1 know one base score only: they load a model of three or more classes without an error, but
    predict other probabilities.
    """
    learner = json.loads(estimator.get_booster().save_config())["learner"]
    scores = json.loads(learner["learner_model_param"]["base_score"])
    return "xgboost>=3.1" if isinstance(scores, list) and len(scores) > 1 else "xgboost>=1.7"


def model_files(folder: Path) -> ModelFiles:
    """Return the files that `write_model` wrote."""
    (pickled,) = folder.glob("*_popularity_model.joblib")
    estimator = next(path for suffix in (".json", ".skops") if (path := pickled.with_suffix(suffix)).is_file())
    intervals = folder / INTERVALS_FILE
    return ModelFiles(
        folder / FEATURES_FILE, estimator, pickled, folder / METADATA_FILE, intervals if intervals.is_file() else None
    )


def check_agreement(folder: Path, matrix: np.ndarray, registered: Any, classes: tuple[str, ...] = ()) -> float:
    """Return the largest difference between the predictions of the estimator's files and of the model to be registered.

    `matrix` has the features of some rows; `registered` the logged model's predictions of them, in points of popularity
    or probabilities. Raises `SpotifyMLError` if the difference is above `AGREEMENT`.
    """
    files = model_files(folder)
    estimators = (joblib.load(files.joblib), load_estimator(files.estimator))
    predictions = [predict_matrix(estimator, matrix, classes) for estimator in estimators]
    difference = float(np.ptp([*predictions, np.asarray(registered)], axis=0).max())
    if not difference <= AGREEMENT:
        raise SpotifyMLError(
            f"the model files in {folder} disagree by {difference:g} on the test rows; nothing was registered"
        )
    return difference
