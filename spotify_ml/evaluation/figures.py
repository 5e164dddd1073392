"""The pictures of a run, in one style; run as a module, it draws what `drawing` sends."""

import pickle
import signal
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from spotify_ml.errors import OutputError
from spotify_ml.evaluation.drawing import FigureData
from spotify_ml.files import staged

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#d9731a", "#808080"
_TOP = 20


def save_figures(folder: Path, data: FigureData) -> None:
    """Draw the figures of a run as PNG files in a folder that is there when all of them are.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    with staged(folder) as partial:
        partial.mkdir()
        _draw_learning_curve(partial / "learning_curve.png", data.learning_curve, data.n_trees)
        _draw_predictions(partial / "predicted_vs_actual.png", data.actual, data.predicted)
        _draw_importance(partial / "feature_importance.png", data.importance)


def main() -> None:
    """Draw what comes on standard input; nothing comes where the run ended early."""
    # Ctrl-C reaches the whole group of processes; the run decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        folder, data = pickle.load(sys.stdin.buffer)  # noqa: S301 - the pipe of the process that started this one
    except EOFError:
        return
    try:
        save_figures(folder, data)
    except OutputError as error:
        sys.exit(str(error))


def _axes(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _draw_learning_curve(path: Path, curve: dict[str, list[float]], n_trees: int) -> None:
    best = curve["val"][n_trees - 1]
    figure, axes = _axes(f"Validation error is lowest at {n_trees} trees: RMSE {best:.2f}", "trees", "RMSE (points)")
    trees = np.arange(1, len(curve["val"]) + 1)
    axes.plot(trees, curve["train"], color=_GREY, label="train")
    axes.plot(trees, curve["val"], color=_BLUE, label="validation")
    axes.axvline(n_trees, color=_ORANGE, linestyle="--", linewidth=1)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=100)


def _draw_predictions(path: Path, actual: np.ndarray, predicted: np.ndarray) -> None:
    error = np.abs(actual - predicted)
    title = f"Half of the test tracks are predicted within {np.median(error):.0f} points"
    figure, axes = _axes(title, "actual popularity", "predicted popularity")
    *_, mesh = axes.hist2d(actual, predicted, bins=50, range=[[0, 100], [0, 100]], norm=LogNorm(), cmap="Blues")
    figure.colorbar(mesh, label="tracks")
    axes.plot([0, 100], [0, 100], color=_ORANGE, linestyle="--", linewidth=1)
    figure.savefig(path, dpi=100)


def _draw_importance(path: Path, importance: dict[str, float]) -> None:
    names, shares = zip(*list(importance.items())[:_TOP][::-1], strict=True)
    title = f"{names[-1]} leads with {shares[-1]:.0%} of all gain"
    figure, axes = _axes(title, "share of gain", "")
    # The names are as long as they are; measuring them takes a second drawing.
    figure.set_layout_engine("constrained")
    axes.barh(names, shares, color=_BLUE)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
