"""What a run tells its user: a short table on the screen, and summary.json for scripts."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from spotify_ml.evaluation.metric_names import BASELINES, COLUMNS, OBJECTIVES, title
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
    metrics, columns = summary.metrics, COLUMNS[summary.task]
    rows = {part: int(metrics[f"rows/{part}"]) for part in ("clean", "train", "val", "test")}
    shown = _PARTS | {name: name for name in BASELINES if f"{name}/{columns[0]}" in metrics}
    lines = {
        part: _line(label, (_cell(metrics, f"{part}/{name}") for name in columns)) for part, label in shown.items()
    }
    # How sure the figures of the test rows are stands below these.
    ends = [_cell(metrics, f"test/{name}_lower", f"test/{name}_upper", by=" to ", none="") for name in columns]
    if any(ends):
        lines["test"] += "\n" + _line("test, 95 %", ends)
    if any(name.startswith("cv/") for name in metrics):
        folds = (_cell(metrics, f"cv/{name}_mean", f"cv/{name}_std", by=" ± ") for name in columns)
        lines["cv"] = _line("folds", folds)
    times = [
        f"{name.removeprefix('time/').removesuffix('_s')} {seconds:.2f} s"
        for name, seconds in metrics.items()
        if "time/" in name
    ]
    return "\n".join(
        [
            "",
            f"{summary.run_name}   {rows['clean']:,} rows, split={summary.split}: {rows['train'] - rows['val']:,} "
            f"train, {rows['val']:,} validation, {rows['test']:,} test",
            "",
            _line("", map(title, columns)),
            *lines.values(),
            "",
            "time     " + "  ".join(times),
            f"run      {summary.run_id}  ({summary.folder})",
            f"model    {_registration(summary)}",
        ]
    )


def _line(label: str, cells: Iterable[str]) -> str:
    return f"{label:18}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)


def _cell(metrics: dict[str, float], *names: str, by: str = "", none: str = "–") -> str:
    values = [metrics.get(name) for name in names]
    return none if values[0] is None else by.join(f"{value:.3f}" for value in values)


def _registration(summary: Summary) -> str:
    if summary.version is None:
        return f"{summary.model_uri} (not registered)"
    if summary.unbeaten:
        metric = COLUMNS[summary.task][0]
        own, other = (summary.metrics[f"{part}/{metric}"] for part in ("test", summary.unbeaten))
        return (
            f"models:/{summary.registered_model}/{summary.version}, not the challenger: no better than "
            f"{summary.unbeaten} (test {title(metric)} {own:.3f} beside {other:.3f})"
        )
    return f"models:/{summary.registered_model}@challenger, version {summary.version}"
