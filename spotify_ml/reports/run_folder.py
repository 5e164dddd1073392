"""The run folder: every file of a run, each subfolder whole or not there."""

import json
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
from spotify_ml.models.incomplete import PARAMETERS as INCOMPLETE_PARAMETERS
from spotify_ml.models.targets import class_names
from spotify_ml.utils.files import staged


def write_outputs(folder: Path, config: RunConfig, result: Result) -> None:
    """Write the files of a run below its folder, all but its figures."""
    subsets, fitted = result.subsets, result.fitted
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
        importance = result.explanation.importance
        intervals, incomplete = result.prediction_intervals, result.incomplete
        write_model(models, name, fitted.refit, subsets.transformer, importance, metadata, intervals, incomplete.model)
        if intervals is not None:
            write_coverage(models, result.coverage)
        if incomplete.model is not None:
            write_patterns(models, incomplete.patterns)


def _scored_rows(config: RunConfig, result: Result) -> pd.DataFrame:
    predicted, classes = result.evaluation.predicted, class_names(config.task)
    intervals, test = result.prediction_intervals, result.subsets.test
    bounds = None if intervals is None else part_bounds(intervals, test, predicted, CONFIDENCE)
    return scored_rows(result.tracks.frame, result.split, config.split, predicted, classes, bounds)


def _incomplete(result: Result) -> dict[str, Any]:
    incomplete = result.incomplete
    if incomplete.model is None:
        return {}
    parameters = INCOMPLETE_PARAMETERS.model_dump(exclude={"name"})
    return {"incomplete": {"parameters": parameters, "n_trees": incomplete.n_trees, "share": incomplete.model.share}}


def _metadata(config: RunConfig, result: Result) -> dict[str, Any]:
    classes = class_names(config.task)
    kind = "the probability of each class" if classes else "popularity; the registered model clips it to 0 to 100"
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": type(result.fitted.refit).__name__,
        "parameters": config.model.model_dump(exclude={"name"}),
        "n_trees": result.fitted.n_trees,
        "seed": config.seed,
        "data": {"source": result.quality.source, "sha256": result.raw.sha256, "rows": result.quality.clean_rows},
        "cleaning": config.cleaning.name,
        "split": config.split.model_dump(),
        "task": config.task.model_dump(),
        "classes": list(classes),
        "features": list(result.subsets.trainval.features.columns),
        "prediction": kind,
        "medians": result.incomplete.medians,
        **_incomplete(result),
        "metrics": result.evaluation.metrics,
    }
