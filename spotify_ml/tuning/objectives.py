"""The objectives of a study: metrics of the validation rows or of the model, never of the test rows."""

from dataclasses import dataclass
from typing import Literal

from spotify_ml.config.run import RunConfig
from spotify_ml.config.tuning import OptunaConfig
from spotify_ml.models.families import FAMILIES
from spotify_ml.models.targets import class_names
from spotify_ml.utils.errors import ConfigError, did_you_mean

Direction = Literal["minimize", "maximize"]
# Metrics by task, with their directions; the first is the default.
_REGRESSION: dict[str, Direction] = {
    "val/rmse": "minimize",
    "val/mae": "minimize",
    "val/r2": "maximize",
    "val/adj_r2": "maximize",
    "val/spearman": "maximize",
}
_CLASSIFICATION: dict[str, Direction] = {
    "val/log_loss": "minimize",
    "val/accuracy": "maximize",
    "val/macro_f1": "maximize",
    "val/calibration_error": "minimize",
    "val/roc_auc": "maximize",
    "val/average_precision": "maximize",
}
_OF_MODEL: dict[str, Direction] = {
    "model/trees": "minimize",
    "model/bytes": "minimize",
    "time/fit_s": "minimize",
    "time/predict_s": "minimize",
}


@dataclass(frozen=True)
class Objective:
    """The MLflow name of a metric, and whether lower or higher is better."""

    metric: str
    direction: Direction


def read_objectives(config: RunConfig, settings: OptunaConfig) -> list[Objective]:
    """Return the objectives of a study.

    Raises `ConfigError` if a metric is not recorded or is one of the test rows, the number of directions is wrong, or
    the pruner cannot use the metrics.
    """
    known = (_CLASSIFICATION if class_names(config.task) else _REGRESSION) | _OF_MODEL
    family = FAMILIES.get(type(config.model))
    if family is None or family.watch is None:
        known = {metric: direction for metric, direction in known.items() if metric != "model/trees"}
    metrics = settings.metrics or [next(iter(known))]
    for metric in metrics:
        if metric.startswith("test"):
            raise ConfigError(
                f"config: tune.metrics: '{metric}' is a figure of the test rows, which no choice may look at; "
                f"take one of {', '.join(known)}"
            )
        if metric not in known:
            raise ConfigError(
                f"config: tune.metrics: with task={config.task.name} model={config.model.name} there is no '{metric}'"
                f"{did_you_mean(metric, known)}; there are {', '.join(known)}"
            )
    if len(set(metrics)) < len(metrics):
        raise ConfigError("config: tune.metrics names a metric twice")
    directions = settings.directions or [known[metric] for metric in metrics]
    if len(directions) != len(metrics):
        raise ConfigError(
            f"config: tune.directions has {len(directions)} and tune.metrics {len(metrics)} entries; give one a metric"
        )
    pruner = settings.pruner.name
    if len(metrics) > 1 and pruner != "none":
        raise ConfigError(f"config: tune/pruner={pruner} judges by one metric; with several, add tune/pruner=none")
    if pruner == "wilcoxon" and settings.folds is None:
        raise ConfigError("config: tune/pruner=wilcoxon compares folds; add tune.folds=5, or choose another pruner")
    return [Objective(metric, direction) for metric, direction in zip(metrics, directions, strict=True)]
