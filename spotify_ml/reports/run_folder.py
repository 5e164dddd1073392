"""The run folder: every file of a run, each subfolder whole or not there."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from spotify_ml.comparison.predictions import CONFIDENCE, scored_rows, write_predictions
from spotify_ml.config.run import RunConfig
from spotify_ml.data.outputs import write_data, write_reports
from spotify_ml.evaluation.coverage import part_bounds, write_coverage
from spotify_ml.evaluation.incomplete import write_patterns
from spotify_ml.evaluation.result import Result
from spotify_ml.models.files import write_model
from spotify_ml.models.incomplete import IncompleteModel
from spotify_ml.models.incomplete_fit import PARAMETERS
from spotify_ml.models.targets import class_names
from spotify_ml.utils.files import staged


def write_outputs(folder: Path, config: RunConfig, result: Result) -> None:
    """Write the files of a run below its folder, all but its figures."""
    subsets = result.subsets
    with staged(folder / "config.json") as file:
        file.write_text(json.dumps(config.recorded(), indent=2), encoding="utf-8")
    with staged(folder / "data") as data:
        data.mkdir()
        write_reports(data, result.quality, subsets.trainval.blocks())
        if config.outputs.data:
            parts = {"train": subsets.trainval.features, "test": subsets.test.features}
            write_data(data, result.tracks.frame, parts)
    with staged(folder / "predictions") as predictions:
        predictions.mkdir()
        write_predictions(predictions, _scored_rows(config, result))
    with staged(folder / "models") as models:
        models.mkdir()
        # Both choices of XGBoost's parameters are the same estimator.
        name = config.model.name.removesuffix("_reference")
        metadata = _metadata(config, result)
        write_model(models, name, result.model, result.explanation.importance, metadata)
        if result.model.intervals is not None:
            write_coverage(models, result.coverage)
        if result.model.incomplete is not None:
            write_patterns(models, result.patterns)


def _scored_rows(config: RunConfig, result: Result) -> pd.DataFrame:
    predicted, classes = result.evaluation.predicted, class_names(config.task)
    bounds = None
    if result.model.intervals is not None:
        (bounds,) = part_bounds(result.model, result.subsets.test, [CONFIDENCE])
    return scored_rows(result.tracks.frame, result.split, config.split, predicted, classes, bounds)


def _incomplete(model: IncompleteModel | None) -> dict[str, Any]:
    if model is None:
        return {}
    n_trees = model.estimator.get_booster().num_boosted_rounds()
    return {"incomplete": {"parameters": PARAMETERS.model_dump(exclude={"name"}), "n_trees": n_trees}}


def _data(result: Result) -> dict[str, Any]:
    quality, joins = result.quality, [asdict(each) for each in result.tracks.joins]
    told = {"source": quality.source, "sha256": result.raw.sha256, "rows": quality.clean_rows}
    return {**told, "joins": joins} if joins else told


def _metadata(config: RunConfig, result: Result) -> dict[str, Any]:
    classes = class_names(config.task)
    kind = "the probability of each class" if classes else "popularity; the registered model clips it to 0 to 100"
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": type(result.fitted.refit).__name__,
        "parameters": config.model.model_dump(exclude={"name"}),
        "n_trees": result.fitted.n_trees,
        "seed": config.seed,
        "data": _data(result),
        "cleaning": config.cleaning.name,
        "split": config.split.model_dump(),
        "task": config.task.model_dump(),
        "features": list(result.subsets.trainval.features.columns),
        "prediction": kind,
        **_incomplete(result.model.incomplete),
        "metrics": result.evaluation.metrics,
    }
