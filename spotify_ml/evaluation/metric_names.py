"""The metrics that stand in tables, by task, and how these and the baselines are written there."""

# What a model is set beside on the test rows, by the prefix of its metrics.
BASELINES = {
    "baseline_mean": "mean of all tracks",
    "baseline_genre": "mean of the genres",
    "baseline_matched": "which joined tables it is in",
    "baseline_ridge": "ridge regression",
    "baseline_audio": "audio alone",
    "baseline_reference": "reference pipeline",
}
# By task, the error that estimators are fitted and chosen by, as a metric and as the figure of a run.
LOSSES = {"regression": "rmse", "classification": "log_loss"}
OBJECTIVES = {task: f"val/{loss}" for task, loss in LOSSES.items()}
# By task, the figures of tables; by the first a run is set beside its baselines.
COLUMNS = {
    "regression": ("r2", "rmse", "mae"),
    "classification": ("log_loss", "macro_f1", "roc_auc", "average_precision"),
}
# Of these, less is better.
ERRORS = ("rmse", "mae", "log_loss")


def title(metric: str) -> str:
    """Return the name of a metric as it stands above a column."""
    return metric.replace("_", " ").upper().replace("R2", "R²").replace("AVERAGE PRECISION", "AVG PRECISION")


def better_of(metric: str, values: dict[str, float]) -> str:
    """Return the name with the better value of a metric."""
    return (min if metric in ERRORS else max)(values, key=lambda name: values[name])


def unbeaten_baseline(task: str, metrics: dict[str, float]) -> str:
    """Return the best of the baselines that a model is no better than on the test rows, or an empty string."""
    metric = COLUMNS[task][0]
    own = metrics.get(f"test/{metric}", float("nan"))
    scores = {name: metrics[f"{name}/{metric}"] for name in BASELINES if f"{name}/{metric}" in metrics}
    # What is not defined for these rows is no worse than anything.
    ahead = {name: score for name, score in scores.items() if (own >= score if metric in ERRORS else own <= score)}
    return better_of(metric, ahead) if ahead else ""
