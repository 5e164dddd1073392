"""The pictures of a run, in one style."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from spotify_ml.evaluation.evaluate import Evaluation

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#d9731a", "#808080"
_TOP = 20


def save_figures(folder: Path, learning_curve: dict[str, list[float]], n_trees: int, evaluation: Evaluation) -> None:
    """Draw the figures of a run as PNG files.

    Parameters
    ----------
    folder : Path
        Where to; must exist.
    learning_curve : dict of str to list of float
        RMSE after every tree, for ``train`` and ``val``.
    n_trees : int
        The chosen number of trees.
    evaluation : Evaluation
        Predictions of the test rows, and the importance of the features.
    """
    _draw_learning_curve(folder / "learning_curve.png", learning_curve, n_trees)
    _draw_predictions(folder / "predicted_vs_actual.png", evaluation.actual, evaluation.predicted)
    _draw_importance(folder / "feature_importance.png", evaluation.importance)


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


def _draw_importance(path: Path, importance: pd.DataFrame) -> None:
    top = importance.head(_TOP)[::-1]
    title = f"{top['feature'].iloc[-1]} leads with {top['importance'].iloc[-1]:.0%} of all gain"
    figure, axes = _axes(title, "share of gain", "")
    # The names are as long as they are; measuring them takes a second drawing.
    figure.set_layout_engine("constrained")
    axes.barh(top["feature"], top["importance"], color=_BLUE)
    figure.savefig(path, dpi=100)
