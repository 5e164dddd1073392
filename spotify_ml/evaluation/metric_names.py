"""The metrics that stand in tables, by task, and how these and the baselines are written there."""

# What a model is set beside on the test rows, by the prefix of its metrics.
BASELINES = {
    "baseline_mean": "mean of all tracks",
    "baseline_genre": "mean of the genres",
    "baseline_ridge": "ridge regression",
    "baseline_audio": "audio alone",
    "baseline_reference": "reference pipeline",
}
# By task, the error that a run is chosen by, and the figures of tables.
OBJECTIVES = {"regression": "val/rmse", "classification": "val/log_loss"}
COLUMNS = {
    "regression": ("r2", "rmse", "mae"),
    "classification": ("log_loss", "macro_f1", "roc_auc", "average_precision"),
}
# By task, the figure that a run is set beside its baselines by, and whether more of it is better.
MERITS = {"regression": ("r2", True), "classification": ("log_loss", False)}


def title(metric: str) -> str:
    """Return the name of a metric as it stands above a column."""
    return metric.replace("_", " ").upper().replace("R2", "R²").replace("AVERAGE PRECISION", "AVG PRECISION")


def unbeaten_baseline(task: str, metrics: dict[str, float]) -> str:
    """Return the best of the baselines that a model is no better than on the test rows, or an empty string."""
    metric, more_is_better = MERITS[task]
    sign = 1 if more_is_better else -1
    own = sign * metrics.get(f"test/{metric}", float("nan"))
    scores = {name: sign * metrics[f"{name}/{metric}"] for name in BASELINES if f"{name}/{metric}" in metrics}
    # What is not defined for these rows is no worse than anything.
    ahead = [name for name, score in scores.items() if own <= score]
    return max(ahead, key=lambda name: scores[name], default="")
