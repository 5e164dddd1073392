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
_BINS = 10


def save_figures(folder: Path, data: FigureData) -> None:
    """Draw the figures of a run as PNG files in a folder that is there when all of them are.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    with staged(folder) as partial:
        partial.mkdir()
        if data.n_trees is not None and data.learning_curve:
            _draw_learning_curve(partial / "learning_curve.png", data, data.n_trees)
        if data.classes:
            _draw_confusion(partial / "confusion_matrix.png", data)
            _draw_calibration(partial / "calibration.png", data)
        else:
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


def _draw_learning_curve(path: Path, data: FigureData, n_trees: int) -> None:
    curve = data.learning_curve
    best = curve["val"][n_trees - 1]
    error, unit = ("log loss", "log loss") if data.classes else ("RMSE", "RMSE (points)")
    figure, axes = _axes(f"Validation error is lowest at {n_trees} trees: {error} {best:.2f}", "trees", unit)
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


def _draw_confusion(path: Path, data: FigureData) -> None:
    n_classes = len(data.classes)
    likeliest = data.predicted.argmax(axis=1)
    counts = np.bincount(data.actual * n_classes + likeliest, minlength=n_classes**2).reshape(n_classes, n_classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    title = f"{np.trace(counts) / counts.sum():.0%} of the test tracks are put into their class"
    figure, axes = _axes(title, "predicted class", "actual class")
    mesh = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{shares[row, column]:.0%}\n{counts[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(n_classes), data.classes)
    axes.set_yticks(range(n_classes), data.classes, rotation=90, va="center")
    figure.colorbar(mesh, label="share of the actual class")
    figure.savefig(path, dpi=100)


def _draw_calibration(path: Path, data: FigureData) -> None:
    figure, axes = _axes("How often a class comes true, by its probability", "predicted probability", "share")
    edges = np.linspace(0, 1, _BINS + 1)
    for code, (name, colour) in enumerate(zip(data.classes, (_BLUE, _ORANGE, _GREY), strict=False)):
        probability = data.predicted[:, code]
        bins = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, _BINS - 1)
        counts = np.bincount(bins, minlength=_BINS)
        filled = counts > 0
        mean = np.bincount(bins, weights=probability, minlength=_BINS)[filled] / counts[filled]
        share = np.bincount(bins, weights=data.actual == code, minlength=_BINS)[filled] / counts[filled]
        axes.plot(mean, share, marker="o", color=colour, label=name)
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=100)


def _draw_importance(path: Path, importance: dict[str, float]) -> None:
    names, shares = zip(*list(importance.items())[:_TOP][::-1], strict=True)
    title = f"{names[-1]} leads with {shares[-1]:.0%} of all importance"
    figure, axes = _axes(title, "share of importance", "")
    # The names are as long as they are; measuring them takes a second drawing.
    figure.set_layout_engine("constrained")
    axes.barh(names, shares, color=_BLUE)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
