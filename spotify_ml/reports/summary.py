"""What a run tells its user: a short table on the screen, and summary.json for scripts."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from spotify_ml.evaluation.metric_names import BASELINES, COLUMNS, MERITS, OBJECTIVES, title
from spotify_ml.utils.errors import without_passwords
from spotify_ml.utils.files import staged

_WIDTH = 19

NEXT_STEPS = """

next     make ui                              compare runs in the browser
         make train ARGS=split=artist         ask a harder question: tracks by newcomers"""
# By the name of their figures; those called train are of the rows that the final model is fitted on.
_PARTS = {"train": "trainval", "val": "validation", "test": "test"}


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
    unbeaten : str
        The baseline that the model is no better than, for which it is not ``challenger``; empty if it beats all.
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
    unbeaten: str = ""

    @property
    def objective(self) -> float:
        """What a sweeper minimises: the validation RMSE in points, or log loss. Never a test figure."""
        return self.metrics[OBJECTIVES[self.task]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a summary that `write` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})

    def write(self, path: Path) -> None:
        """Write the summary as JSON."""
        told = {
            **asdict(self),
            "tracking_uri": without_passwords(self.tracking_uri),
            "overrides": [without_passwords(each) for each in self.overrides],
            "objective": self.objective,
        }
        with staged(path) as file:
            file.write_text(json.dumps(told, indent=2), encoding="utf-8")


def summary_table(summary: Summary) -> str:
    """Return the summary as a short text: figures, times, and where to find the run and its model."""
    metrics = summary.metrics
    rows = {part: int(metrics[f"rows/{part}"]) for part in ("clean", "train", "val", "test")}
    columns = COLUMNS[summary.task]
    baselines = [name for name in BASELINES if f"{name}/{columns[0]}" in metrics]
    lines = [
        "",
        f"{summary.run_name}   {rows['clean']:,} rows, split={summary.split}: {rows['train'] - rows['val']:,} train, "
        f"{rows['val']:,} validation, {rows['test']:,} test",
        "",
        f"{'':18}" + "".join(f"{title(name):>{_WIDTH}}" for name in columns),
        *(_line(part, label, metrics, columns) for part, label in _PARTS.items()),
        *_intervals(metrics, columns),
        *(_line(part, part, metrics, columns) for part in baselines),
        *_folds(metrics, columns),
        "",
        "time     " + "  ".join(_times(metrics)),
        f"run      {summary.run_id}  ({summary.folder})",
        f"model    {_registration(summary)}",
    ]
    return "\n".join(lines)


def _line(part: str, label: str, metrics: dict[str, float], columns: tuple[str, ...]) -> str:
    cells = (metrics.get(f"{part}/{name}") for name in columns)
    return f"{label:18}" + "".join(f"{'–' if cell is None else f'{cell:.3f}':>{_WIDTH}}" for cell in cells)


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
    if summary.unbeaten:
        metric, _ = MERITS[summary.task]
        own, other = (summary.metrics[f"{part}/{metric}"] for part in ("test", summary.unbeaten))
        return (
            f"models:/{summary.registered_model}/{summary.version}, not the challenger: no better than "
            f"{summary.unbeaten} (test {title(metric)} {own:.3f} beside {other:.3f})"
        )
    return f"models:/{summary.registered_model}@challenger, version {summary.version}"
