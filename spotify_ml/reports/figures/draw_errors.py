"""Pictures of how far a model is off, for which tracks, and how well it knows."""

from statistics import NormalDist

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from spotify_ml.reports.figures.style import BLUE, DENSITY, GREY, ORANGE, SMALL, figure_of, signed, too_high

_BINS = 50
_MOST_QUANTILES = 400
_TAIL = 0.99
_ENDS = 30
_FEW_TRACKS = 10


def draw_learning_curve(curve: dict[str, list[float]], n_trees: int, *, classes: bool) -> Figure:
    """Draw the error of train and validation rows after every tree."""
    errors, best = curve["val"], curve["val"][n_trees - 1]
    error, unit = ("log loss", "log loss") if classes else ("RMSE", "RMSE (points)")
    found = f"{error} {best:.2f}"
    title = f"Validation error is lowest at {n_trees:,} tree{'s' * (n_trees > 1)}: {found}"
    if 1 < n_trees == len(errors):
        title = f"Validation error still falls at the last of {n_trees:,} trees: {found}"
    figure, axes = figure_of(title, "trees", unit)
    trees = np.arange(1, len(errors) + 1)
    axes.plot(trees, curve["train"], color=GREY, label="train")
    axes.plot(trees, errors, color=BLUE, label="validation")
    axes.axvline(n_trees, color=ORANGE, linestyle="--", linewidth=1)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False)
    return figure


def draw_predictions(actual: np.ndarray, predicted: np.ndarray) -> Figure:
    """Draw what was predicted against what is true, as the density of tracks."""
    title = f"Half of the test tracks are predicted within {np.median(np.abs(actual - predicted)):.1f} points"
    figure, axes = figure_of(title, "actual popularity (points)", "predicted popularity (points)")
    _draw_density(figure, axes, actual, predicted, [[0, 100], [0, 100]])
    axes.plot([0, 100], [0, 100], color=ORANGE, linestyle="--", linewidth=1)
    return figure


def draw_residuals(actual: np.ndarray, predicted: np.ndarray, table: pd.DataFrame) -> Figure:
    """Draw errors against predictions, and where the middle 80 % of them lie; `table` as for `draw_calibration`."""
    error = predicted - actual
    centres, low, middle, high = (table[name].to_numpy() for name in ("predicted", "low", "middle", "high"))
    widths = high - low
    narrow, wide = widths.argmin(), widths.argmax()
    title = (
        f"80% of the errors span {widths[narrow]:.1f} points where about {centres[narrow]:.0f} is predicted, "
        f"{widths[wide]:.1f} points where about {centres[wide]:.0f} is"
    )
    if len(table) == 1:
        title = f"80% of the errors lie between {signed(low[0], 1)} and {signed(high[0], 1)} points"
    figure, axes = figure_of(title, "predicted popularity (points)", "predicted less actual (points)")
    reach = max(float(np.abs(error).max()), 1.0)
    _draw_density(figure, axes, predicted, error, [[0, 100], [-reach, reach]])
    axes.axhline(0, color=GREY, linewidth=1)
    axes.plot(centres, middle, color=ORANGE, marker="o", markersize=3, label="median of equal parts of the tracks")
    axes.plot(centres, low, color=ORANGE, linestyle="--", linewidth=1, label="10% and 90% of them")
    axes.plot(centres, high, color=ORANGE, linestyle="--", linewidth=1)
    figure.legend(frameon=False, fontsize=SMALL, loc="outside lower center", ncols=2)
    return figure


def draw_residuals_qq(actual: np.ndarray, predicted: np.ndarray) -> Figure:
    """Draw the quantiles of the errors against those of a normal distribution with the same mean and spread."""
    error = predicted - actual
    normal = NormalDist(float(error.mean()), float(error.std()))
    shares = (np.arange(len(error)) + 0.5) / len(error)
    # Of many rows the middle ones would lie on top of each other.
    kept = np.unique(np.linspace(0, len(error) - 1, _MOST_QUANTILES).astype(int))
    kept = np.union1d(kept, np.r_[: min(_ENDS, len(error)), max(len(error) - _ENDS, 0) : len(error)])
    title = "All errors are the same"
    expected = np.full(len(kept), normal.mean)
    if normal.stdev > 0:
        expected = np.array([normal.inv_cdf(share) for share in shares[kept]])
        size, usual = np.quantile(np.abs(error - normal.mean), _TAIL), NormalDist().inv_cdf((1 + _TAIL) / 2)
        title = (
            f"1% of the errors are more than {size:.0f} points from their mean; in a normal distribution of the same "
            f"spread it would be more than {usual * normal.stdev:.0f}"
        )
    figure, axes = figure_of(title, "normal distribution of the same mean and spread (points)", "errors (points)")
    ends = [expected.min(), expected.max()]
    axes.plot(ends, ends, color=ORANGE, linestyle="--", linewidth=1)
    axes.plot(expected, np.sort(error)[kept], color=BLUE, marker="o", markersize=3, linestyle="")
    axes.axhline(0, color=GREY, linewidth=0.5)
    return figure


def draw_calibration(table: pd.DataFrame) -> Figure:
    """Draw a `spotify_ml.evaluation.calibration.calibration_table`: what equal parts of the predictions come to."""
    predicted, actual = (table[name].to_numpy() for name in ("predicted", "actual"))
    gaps = predicted - actual
    worst = np.abs(gaps).argmax()
    title = (
        f"Of {len(table)} equal parts of the predictions, the mean furthest off is {too_high(gaps[worst])}, "
        f"where about {predicted[worst]:.0f} is predicted"
    )
    if len(table) == 1:
        title = f"On average, predictions are {too_high(gaps[worst])}"
    figure, axes = figure_of(title, "mean predicted popularity (points)", "mean actual popularity (points)")
    axes.plot([0, 100], [0, 100], color=ORANGE, linestyle="--", linewidth=1)
    axes.errorbar(predicted, actual, table["margin"], color=BLUE, marker="o", linestyle="", linewidth=1, capsize=2)
    low, high = min(predicted.min(), actual.min()), max(predicted.max(), actual.max())
    margin = max(0.05 * (high - low), 2)
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    axes.text(0.99, 0.02, "bars: 95% intervals", transform=axes.transAxes, ha="right", fontsize=SMALL, color=GREY)
    return figure


def draw_class_calibration(table: pd.DataFrame) -> Figure:
    """Draw a `spotify_ml.evaluation.calibration.class_calibration_table`: how often classes come true."""
    gap = np.average((table["predicted"] - table["actual"]).abs(), weights=table["tracks"])
    title = f"Probabilities miss how often a class comes true by {100 * gap:.1f} percentage points on average"
    figure, axes = figure_of(title, "mean predicted probability (%)", "tracks of the class (%)")
    axes.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1)
    for (name, rows), colour in zip(table.groupby("class", sort=False), (BLUE, ORANGE, "black"), strict=False):
        axes.plot(100 * rows["predicted"], 100 * rows["actual"], marker="o", color=colour, label=str(name))
    axes.legend(frameon=False)
    return figure


def draw_confusion(codes: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]) -> Figure:
    """Draw which classes tracks are put into."""
    n_classes = len(classes)
    likeliest = probabilities.argmax(axis=1)
    counts = np.bincount(codes * n_classes + likeliest, minlength=n_classes**2).reshape(n_classes, n_classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    title = f"{np.trace(counts) / counts.sum():.0%} of the test tracks are put into their class"
    figure, axes = figure_of(title, "predicted class", "actual class")
    mesh = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{shares[row, column]:.0%}\n{counts[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(n_classes), classes)
    axes.set_yticks(range(n_classes), classes, rotation=90, va="center")
    figure.colorbar(mesh, label="share of the actual class (%)")
    return figure


def _draw_density(figure: Figure, axes: Axes, x: np.ndarray, y: np.ndarray, ends: list[list[float]]) -> None:
    counts, *_, mesh = axes.hist2d(x, y, bins=_BINS, range=ends, norm=LogNorm(), cmap=DENSITY)
    mesh.set_clim(1, max(counts.max(), _FEW_TRACKS))
    # As numbers: powers of ten would be set as mathematics, which takes a tenth of a second to begin with.
    figure.colorbar(mesh, label="tracks (logarithmic)", format=StrMethodFormatter("{x:,.0f}")).minorticks_off()
