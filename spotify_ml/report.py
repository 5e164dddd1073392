"""What a run tells its user: a short table on the screen, and summary.json for scripts."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from spotify_ml.files import staged

BASELINES = ("baseline_mean", "baseline_genre", "baseline_ridge", "baseline_audio", "baseline_reference")
_WIDTH = 19

# By task, the error that a run is chosen by, and the figures of the table.
_OBJECTIVES = {"regression": "val/rmse", "classification": "val/log_loss"}
COLUMNS = {
    "regression": ("r2", "rmse", "mae"),
    "classification": ("log_loss", "macro_f1", "roc_auc", "average_precision"),
}
NEXT_STEPS = """

next     make ui                              compare runs in the browser
         make train ARGS=split=artist         ask a harder question: tracks by newcomers"""
_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Summary:
    """A finished run.

    Attributes
    ----------
    run_id, run_name, tracking_uri : str
        Where it is recorded.
    model_uri : str
        Loads with ``mlflow.pyfunc.load_model``.
    registered_model : str
        Name in the registry.
    version : int or None
        Its version there, if it was registered.
    folder : str
        The run folder.
    task, split : str
        What it predicts, and the split it was judged by.
    overrides : list of str
        What was typed on the command line.
    metrics : dict of str to float
        Everything that was logged, under its MLflow name.
    """

    run_id: str
    run_name: str
    tracking_uri: str
    model_uri: str
    registered_model: str
    version: int | None
    folder: str
    task: str
    split: str
    overrides: list[str]
    metrics: dict[str, float]

    @property
    def objective(self) -> float:
        """What a sweeper minimises: the validation RMSE in points, or log loss. Never a test figure."""
        return self.metrics[_OBJECTIVES[self.task]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a summary that `write` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def write(self, path: Path) -> None:
        """Write the summary as JSON."""
        with staged(path) as file:
            file.write_text(json.dumps({**asdict(self), "objective": self.objective}, indent=2), encoding="utf-8")


def summary_table(summary: Summary) -> str:
    """Return the summary as a short text: figures, times, and where to find the run and its model."""
    metrics = summary.metrics
    rows = {part: int(metrics[f"rows/{part}"]) for part in ("clean", "train", "val", "test")}
    columns = COLUMNS[summary.task]
    baselines = [name for name in BASELINES if f"{name}/{columns[0]}" in metrics]
    lines = [
        "",
        f"{summary.run_name}   {rows['clean']:,} rows, split={summary.split}: {rows['train']:,} train, "
        f"{rows['val']:,} val, {rows['test']:,} test",
        "",
        f"{'':18}" + "".join(f"{title(name):>{_WIDTH}}" for name in columns),
        *(_line(part, metrics, columns) for part in _PARTS),
        *_intervals(metrics, columns),
        *(_line(part, metrics, columns) for part in baselines),
        *_folds(metrics, columns),
        "",
        "time     " + "  ".join(_times(metrics)),
        f"run      {summary.run_id}  ({summary.folder})",
        f"model    {_registration(summary)}",
    ]
    return "\n".join(lines)


def title(metric: str) -> str:
    """Return the name of a metric as it stands above a column."""
    return metric.replace("_", " ").upper().replace("R2", "R²").replace("AVERAGE PRECISION", "AVG PRECISION")


def _line(part: str, metrics: dict[str, float], columns: tuple[str, ...]) -> str:
    cells = (metrics.get(f"{part}/{name}") for name in columns)
    return f"{part:18}" + "".join(f"{'–' if cell is None else f'{cell:.3f}':>{_WIDTH}}" for cell in cells)


def _intervals(metrics: dict[str, float], columns: tuple[str, ...]) -> list[str]:
    """Return how sure the figures of the test rows are, below these."""
    cells = [[metrics.get(f"test/{name}_{end}") for end in ("lower", "upper")] for name in columns]
    if not any(lower is not None for lower, _ in cells):
        return []
    shown = ["" if lower is None else f"{lower:.3f} to {upper:.3f}" for lower, upper in cells]
    return [f"{'test, 95 %':18}" + "".join(f"{cell:>{_WIDTH}}" for cell in shown)]


def _folds(metrics: dict[str, float], columns: tuple[str, ...]) -> list[str]:
    if not any(name.startswith("cv/") for name in metrics):
        return []
    cells = ((metrics.get(f"cv/{name}_mean"), metrics.get(f"cv/{name}_std")) for name in columns)
    return [
        f"{'folds':18}"
        + "".join(f"{'–' if mean is None else f'{mean:.3f} ± {std:.3f}':>{_WIDTH}}" for mean, std in cells)
    ]


def _times(metrics: dict[str, float]) -> list[str]:
    stages = {
        name.removeprefix("time/").removesuffix("_s"): value for name, value in metrics.items() if "time/" in name
    }
    return [f"{stage} {seconds:.2f} s" for stage, seconds in stages.items()]


def _registration(summary: Summary) -> str:
    if summary.version is None:
        return f"{summary.model_uri} (not registered)"
    return f"models:/{summary.registered_model}@challenger, version {summary.version}"
