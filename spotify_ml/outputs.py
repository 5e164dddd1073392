"""The run folder: every file of a run, each subfolder whole or not there."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spotify_ml.config import RunConfig
from spotify_ml.data.outputs import write_data, write_reports
from spotify_ml.evaluation.drawing import FigureData, FigureProcess
from spotify_ml.files import staged
from spotify_ml.models.files import write_model
from spotify_ml.result import Result


def write_outputs(folder: Path, config: RunConfig, result: Result, figures: FigureProcess) -> None:
    """Write ``config.json``, ``data/`` and ``models/`` below the run folder, and have ``figures/`` drawn meanwhile."""
    matrices, fitted, evaluation = result.matrices, result.fitted, result.evaluation
    shares = dict(zip(evaluation.importance["feature"], evaluation.importance["importance"], strict=True))
    figures.draw(
        folder / "figures",
        FigureData(fitted.learning_curve, fitted.n_trees, evaluation.actual, evaluation.predicted, shares),
    )
    with staged(folder / "config.json") as file:
        file.write_text(json.dumps(config.model_dump(by_alias=True), indent=2), encoding="utf-8")
    with staged(folder / "data") as data:
        data.mkdir()
        write_reports(data, result.quality, matrices.fitting.features)
        if config.outputs.data:
            parts = {"train": matrices.fitting.features, "test": matrices.test.features}
            write_data(data, result.tracks.frame, parts)
    with staged(folder / "models") as models:
        models.mkdir()
        metadata = _metadata(config, result)
        write_model(models, fitted.final, matrices.transformer, evaluation.importance, metadata)


def _metadata(config: RunConfig, result: Result) -> dict[str, Any]:
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": type(result.fitted.final).__name__,
        "parameters": config.model.model_dump(exclude={"name"}),
        "n_trees": result.fitted.n_trees,
        "seed": config.seed,
        "data": {"source": result.quality.source, "sha256": result.raw.sha256, "rows": result.quality.clean_rows},
        "cleaning": config.cleaning.name,
        "split": config.split.model_dump(),
        "features": list(result.matrices.fitting.features.columns),
        "prediction": "popularity; the registered model clips it to 0 to 100, the files here do not",
        "metrics": result.evaluation.metrics,
    }
