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
from xgboost import XGBModel
from xgboost.core import XGBoostError

from spotify_ml.data.csv_text import write_csv
from spotify_ml.data.schema import AUDIO, Kind
from spotify_ml.features.incomplete import IncompleteFeatures
from spotify_ml.models.incomplete import IncompleteModel
from spotify_ml.models.intervals import PredictionIntervals
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.predictions import load_estimator, load_skops, predict_matrix
from spotify_ml.utils.errors import OutputError, SpotifyMLError

FEATURES_FILE = "features.skops"
INTERVALS_FILE, INCOMPLETE_INTERVALS_FILE = "intervals.json", "intervals_incomplete.json"
# The model of incomplete rows is one of XGBoost, whatever the other is.
_INCOMPLETE_JSON = "xgboost_popularity_model_incomplete.json"
IMPORTANCE_FILE = "feature_importance.csv"
METADATA_FILE = "model_metadata.json"
# XGBoost writes the base score as a list since 3.1; older versions silently read 0.5.
_SINGLE_SCORE = re.compile(rb'("base_score":)"\[([^],]+)\]"')
# Points of popularity: larger than float32 rounding, far smaller than the difference of a wrong model.
AGREEMENT = 1e-5


@dataclass(frozen=True)
class ModelFiles:
    """Paths of the files of a model.

    `estimator` is the one that is registered: XGBoost JSON, or skops for other libraries. `intervals` are None of a
    classification, and `incomplete` (JSON) and `incomplete_intervals` without a model of incomplete rows.
    """

    features: Path
    estimator: Path
    metadata: Path
    joblib: Path | None = None
    intervals: Path | None = None
    incomplete: Path | None = None
    incomplete_intervals: Path | None = None


def write_model(
    folder: Path, name: str, model: PopularityModel, importance: pd.DataFrame, metadata: dict[str, Any]
) -> None:
    """Write a fitted model in every format to an existing folder, in files whose names begin with the family's `name`.

    Estimators are written as joblib, and as XGBoost JSON or skops; features as skops; the rest as JSON and CSV. To
    `metadata`, how the model was made, is added what its files need: the classes, the ``medians`` of the audio columns,
    the ``share`` of the model of incomplete rows, and the versions that read each file (``formats``). Raises
    `OutputError` if the disk is full.
    """
    formats = _write_estimator(model.estimator, folder / f"{name}_popularity_model")
    skops.io.dump(model.features, folder / FEATURES_FILE)
    if model.intervals is not None:
        model.intervals.write(folder / INTERVALS_FILE)
    incomplete, further = model.incomplete, {}
    if incomplete is not None:
        formats |= _write_estimator(incomplete.estimator, folder / _INCOMPLETE_JSON.removesuffix(".json"))
        further = {"incomplete": {**metadata.get("incomplete", {}), "share": incomplete.share, "keys": incomplete.keys}}
        if incomplete.intervals is not None:
            incomplete.intervals.write(folder / INCOMPLETE_INTERVALS_FILE)
    write_csv(importance, folder / IMPORTANCE_FILE)
    needed = {"classes": list(model.classes), "medians": dict(zip(AUDIO, model.medians.tolist(), strict=True))}
    if model.further:
        needed["further"] = {name: kind.name for name, kind in model.further.items()}
    content = {**metadata, **needed, **further, "formats": formats}
    (folder / METADATA_FILE).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _write_estimator(estimator: Any, path: Path) -> dict[str, str]:
    """Write both formats of an estimator at a path without suffix, and return the versions that read each."""
    pickled = path.with_suffix(".joblib")
    joblib.dump(estimator, pickled)
    formats = {pickled.name: "the versions that wrote it"}
    if isinstance(estimator, XGBModel):
        _write_json(estimator, path.with_suffix(".json"))
        formats[f"{path.name}.json"] = json_readers(estimator)
    else:
        skops.io.dump(estimator, path.with_suffix(".skops"))
    return formats


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
    further = [folder / name for name in (INTERVALS_FILE, _INCOMPLETE_JSON, INCOMPLETE_INTERVALS_FILE)]
    there = [path if path.is_file() else None for path in further]
    return ModelFiles(folder / FEATURES_FILE, estimator, folder / METADATA_FILE, pickled, *there)


def load_model_files(files: ModelFiles) -> PopularityModel:
    """Load the model that scores raw rows, without unpickling anything."""
    metadata = json.loads(files.metadata.read_text(encoding="utf-8"))
    classes, features = tuple(metadata["classes"]), load_skops(files.features)
    intervals, incomplete_intervals = (
        None if path is None else PredictionIntervals.read(path)
        for path in (files.intervals, files.incomplete_intervals)
    )
    incomplete = None
    if files.incomplete is not None:
        names = IncompleteFeatures(tuple(features.get_feature_names_out()))
        estimator, of_model = load_estimator(files.incomplete), metadata["incomplete"]
        keys = tuple(of_model["keys"])
        incomplete = IncompleteModel(names, estimator, of_model["share"], classes, incomplete_intervals, keys)
    estimator = load_estimator(files.estimator)
    beside = {name: Kind[kind] for name, kind in metadata.get("further", {}).items()}
    return PopularityModel(features, estimator, classes, intervals, incomplete, metadata["medians"], beside)


def check_agreement(
    folder: Path, matrix: np.ndarray, registered: Any, classes: tuple[str, ...] = (), *, incomplete: bool = False
) -> float:
    """Return the largest difference between the predictions of the estimator's files and of the model to be registered.

    `matrix` has the features of some rows; `registered` the logged model's predictions of them, in points of popularity
    or probabilities. With `incomplete` these are of the model of incomplete rows. Raises `SpotifyMLError` if the
    difference is above `AGREEMENT`.
    """
    files = model_files(folder)
    saved = files.incomplete if incomplete and files.incomplete is not None else files.estimator
    estimators = (joblib.load(saved.with_suffix(".joblib")), load_estimator(saved))
    predictions = [predict_matrix(estimator, matrix, classes) for estimator in estimators]
    difference = float(np.ptp([*predictions, np.asarray(registered)], axis=0).max(initial=0))
    if not difference <= AGREEMENT:
        raise SpotifyMLError(
            f"the model files in {folder} disagree by {difference:g} on the test rows; nothing was registered"
        )
    return difference
