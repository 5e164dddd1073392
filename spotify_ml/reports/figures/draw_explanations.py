"""Pictures of what predictions come from: features, families of them, and what each added to predictions."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from spotify_ml.reports.figures import style

_TOP = 15
_SWARM_BINS = 80
_SWARM_HEIGHT = 0.4
_FEW_ROWS = 500
_LARGE = 1000
_SWARM_STEP = 0.06
_MARKED = 0.05
_PANELS = (2, 3)
_PANEL_CHARACTERS = 34
_NAME_CHARACTERS = 64
# Of XGBoost: the mean gain of the feature's splits, the mean number of tracks that they divide, and how many they are.
_KINDS = {"gain": "gain per split", "cover": "cover per split", "weight": "weight (splits)"}


def draw_importance(table: pd.DataFrame) -> Figure:
    """Draw the most important features, under style.plain names; of XGBoost by gain, cover and weight."""
    leader, share = table["feature"][0], table["importance"][0]
    kinds = {kind: text for kind, text in _KINDS.items() if kind in table} or {"importance": "importance"}
    of_what = "the gain per split, summed over all features" if "gain" in kinds else "all importance"
    title = f"“{leader}” leads with {share:.0%} of {of_what}"
    if share <= 0:
        title = "The model uses no feature"
    shown = table.head(_TOP)
    figure = style.figure_of_many(title)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, (kind, text) in zip(panels, kinds.items(), strict=True):
        axes.barh(range(len(shown)), 100 * shown[kind] / (table[kind].sum() or 1), color=style.BLUE)
        axes.set_xlabel(f"{text}\n(% of all features)", fontsize=style.SMALL)
        axes.tick_params(labelsize=style.SMALL)
        style.unframe(axes)
    panels[0].set_yticks(range(len(shown)), _names(shown["feature"]), fontsize=style.SMALLEST)
    panels[0].invert_yaxis()
    return figure


def draw_family_importance(table: pd.DataFrame, *, classes: bool) -> Figure:
    """Draw a `spotify_ml.evaluation.importance.family_importance` with at least one row; of classes, log loss."""
    ordered = table.sort_values("importance", ascending=False, kind="stable")
    first, loss = ordered.index[0], ordered["importance"].iloc[0]
    title = f"Shuffling the {first} columns costs {loss:.3f} of R²"
    axis = "loss of R²"
    if classes:
        title, axis = f"Shuffling the {first} columns raises log loss by {loss:.3f}", "rise of log loss"
    title += ", more than those of any other family" if len(table) > 1 else ", and there are no others"
    if loss <= ordered["std"].iloc[0]:
        title = f"Shuffling a family of columns makes predictions no worse than chance does: {axis} {loss:.3f} at most"
    figure, axes = style.figure_of(title, f"{axis} (± standard deviation of shufflings)", "")
    sizes, errors = ordered["importance"], ordered["std"]
    bars = axes.barh(ordered.index, sizes, xerr=errors, color=style.BLUE, ecolor=style.ORANGE, capsize=3)
    axes.bar_label(bars, [f"{value:.3f}" for value in ordered["importance"]], padding=6, fontsize=9)
    axes.margins(x=0.12)
    axes.axvline(0, color=style.GREY, linewidth=0.5)
    axes.invert_yaxis()
    return figure


def draw_shap_bar(contributions: pd.DataFrame) -> Figure:
    """Draw by how many points features, the most important first, move predictions."""
    sizes = contributions.abs().mean()
    title = f"“{sizes.index[0]}” moves predictions most, by {sizes.iloc[0]:.1f} points on average"
    figure, axes = style.figure_of(title, f"mean size of contributions (points)\n{_rows(contributions)}", "")
    bars = axes.barh(range(len(sizes)), sizes, color=style.BLUE)
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=style.SMALL)
    axes.set_yticks(range(len(sizes)), _names(sizes.index), fontsize=style.SMALLEST)
    axes.invert_yaxis()
    return figure


def draw_shap_beeswarm(contributions: pd.DataFrame, values: pd.DataFrame) -> Figure:
    """Draw what features added to each prediction, in points, coloured by their values in the same rows."""
    first = contributions.iloc[:, 0]
    ends = f"from {style.signed(first.min())} to {style.signed(first.max())}"
    title = f"“{first.name}” moves single predictions {ends} points"
    figure, axes = style.figure_of(title, f"contribution (points)\n{_rows(contributions)}", "")
    axes.axvline(0, color=style.GREY, linewidth=0.5)
    added, reach = contributions.to_numpy(), float(np.ptp(contributions))
    heights = np.column_stack([place + _swarm(column, reach) for place, column in enumerate(added.T)])
    colours = np.column_stack([_relative(column) for column in values.to_numpy().T])
    known = np.isfinite(colours)
    size = _point_size(contributions)
    axes.scatter(added[~known], heights[~known], size, color="black", linewidths=0)
    axes.scatter(added[known], heights[known], size, colours[known], cmap=style.LOW_TO_HIGH, linewidths=0)
    axes.set_yticks(range(added.shape[1]), _names(contributions.columns), fontsize=style.SMALLEST)
    axes.invert_yaxis()
    bar = figure.colorbar(ScalarMappable(cmap=style.LOW_TO_HIGH), ax=axes, aspect=40, label="value (black: unknown)")
    bar.set_ticks([0, 1], labels=["low", "high"])
    return figure


def draw_shap_dependence(contributions: pd.DataFrame, values: pd.DataFrame) -> Figure:
    """Draw what the most important features add to predictions, in points, by their value."""
    figure = style.figure_of_many(_dependence(contributions, values))
    panels = figure.subplots(*_PANELS, sharey=True)
    for axes in panels.flat[contributions.shape[1] :]:
        axes.set_visible(False)
    for place, axes in enumerate(panels.flat[: contributions.shape[1]]):
        added, value = contributions.iloc[:, place].to_numpy(), values.iloc[:, place].to_numpy()
        known = np.isfinite(value)
        axes.axhline(0, color=style.GREY, linewidth=0.5)
        axes.scatter(value[known], added[known], _point_size(contributions), color=style.BLUE, linewidths=0, alpha=0.5)
        axes.locator_params(nbins=4)
        if not known.all():
            axes.axhline(added[~known].mean(), color=style.ORANGE, linestyle="--", linewidth=1)
        axes.set_title(textwrap.fill(style.plain(str(values.columns[place])), _PANEL_CHARACTERS), fontsize=style.SMALL)
        axes.tick_params(labelsize=style.SMALL)
        style.unframe(axes)
    figure.supylabel("contribution (points)", fontsize=style.SMALL)
    reading = f"value of the feature; dashed: mean where it is unknown; {_rows(contributions)}"
    figure.supxlabel(reading, fontsize=style.SMALL)
    return figure


def _dependence(contributions: pd.DataFrame, values: pd.DataFrame) -> str:
    """Say how much more the most important feature adds at its highest values than at its lowest."""
    added, value = contributions.iloc[:, 0].to_numpy(), values.iloc[:, 0].to_numpy()
    low, high = np.nanquantile(value, [0.1, 0.9]) if np.isfinite(value).any() else (np.nan, np.nan)
    if not low < high:
        return f"What features add by their value; “{values.columns[0]}” is much the same for most tracks"
    means = [added[where].mean() for where in (value <= low, value >= high)]
    return (
        f"“{values.columns[0]}” adds {style.signed(means[0], 1)} points in its lowest tenth (up to {_value(low)}), "
        f"{style.signed(means[1], 1)} in its highest (from {_value(high)})"
    )


def _swarm(added: np.ndarray, reach: float) -> np.ndarray:
    """Return how far each point stands off its line, so that equal contributions stand side by side."""
    bins = np.floor(added / (reach or 1) * _SWARM_BINS).astype(int)
    order = np.argsort(bins, kind="stable")
    _, starts, counts = np.unique(bins[order], return_index=True, return_counts=True)
    ranks = np.arange(len(added)) - np.repeat(starts, counts)
    # 0, 1, -1, 2, -2, …, with the fullest bin as wide as there is room.
    sides = (ranks + 1) // 2 * np.where(ranks % 2, 1, -1)
    offsets = np.empty(len(added))
    offsets[order] = sides * min(2 * _SWARM_HEIGHT / counts.max(), _SWARM_STEP)
    return offsets


def _relative(values: np.ndarray) -> np.ndarray:
    """Return where values are between the lowest and the highest, but for a few at the ends, from 0 to 1."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.full(len(values), np.nan)
    low, high = np.quantile(known, [_MARKED, 1 - _MARKED])
    if low == high:
        low, high = known.min(), known.max()
    return np.clip((values - low) / ((high - low) or 1), 0, 1)


def _names(names: "pd.Index | pd.Series") -> list[str]:
    return [textwrap.shorten(style.plain(str(name)), _NAME_CHARACTERS, placeholder=" …") for name in names]


def _value(value: float) -> str:
    return f"{value:,.0f}" if value >= _LARGE else f"{value:.3g}".replace("-", "−")


def _point_size(contributions: pd.DataFrame) -> float:
    return 10 if len(contributions) < _FEW_ROWS else 4


def _rows(contributions: pd.DataFrame) -> str:
    return f"{len(contributions):,} test tracks"
