"""What a run tells its user: a short table on the screen, and summary.json for scripts."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from spotify_ml.files import staged

OBJECTIVE = "val/rmse"
_COLUMNS = ("r2", "rmse", "mae")
NEXT_STEPS = """

next     make ui                              compare runs in the browser
         make train ARGS=split=artist         ask a harder question: tracks by newcomers"""
_PARTS = ("train", "val", "test", "baseline_mean", "baseline_genre")


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
    split : str
        The split it was judged by.
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
    split: str
    metrics: dict[str, float]

    @property
    def objective(self) -> float:
        """What a sweeper minimises: the validation RMSE, in points. Never a test figure."""
        return self.metrics[OBJECTIVE]

    def write(self, path: Path) -> None:
        """Write the summary as JSON."""
        with staged(path) as file:
            file.write_text(json.dumps({**asdict(self), "objective": self.objective}, indent=2), encoding="utf-8")


def summary_table(summary: Summary) -> str:
    """Return the summary as a short text: figures, times, and where to find the run and its model."""
    metrics = summary.metrics
    rows = {part: int(metrics[f"rows/{part}"]) for part in ("clean", "train", "val", "test")}
    lines = [
        "",
        f"{summary.run_name}   {rows['clean']:,} rows, split={summary.split}: {rows['train']:,} train, "
        f"{rows['val']:,} val, {rows['test']:,} test",
        "",
        f"{'':16}" + "".join(f"{name.upper().replace('R2', 'R²'):>9}" for name in _COLUMNS),
        *(_line(part, metrics) for part in _PARTS),
        "",
        "time     " + "  ".join(_times(metrics)),
        f"run      {summary.run_id}  ({summary.folder})",
        f"model    {_registration(summary)}",
    ]
    return "\n".join(lines)


def _line(part: str, metrics: dict[str, float]) -> str:
    cells = (metrics.get(f"{part}/{name}") for name in _COLUMNS)
    return f"{part:16}" + "".join("        –" if cell is None else f"{cell:9.3f}" for cell in cells)


def _times(metrics: dict[str, float]) -> list[str]:
    stages = {
        name.removeprefix("time/").removesuffix("_s"): value for name, value in metrics.items() if "time/" in name
    }
    return [f"{stage} {seconds:.2f} s" for stage, seconds in stages.items()]


def _registration(summary: Summary) -> str:
    if summary.version is None:
        return f"{summary.model_uri} (not registered)"
    return f"models:/{summary.registered_model}@challenger, version {summary.version}"
