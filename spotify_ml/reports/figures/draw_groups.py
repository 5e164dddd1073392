"""Pictures of how far a model is off by kinds of tracks, and of how many tracks its intervals hold."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spotify_ml.reports.figures.style import BLUE, GREY, LIGHT, ORANGE, SMALL, figure_of, plain, too_high

_MOST_GENRES = 10
_TITLE_LEVEL = 0.9
_FEWEST_PLACES = 4
# As `spotify_ml.evaluation.coverage` calls all rows; that module would bring the libraries of the fit along.
ALL = "all"
_WHISKERS: dict[str, Any] = {"markersize": 3, "linewidth": 1, "capsize": 2}
_NOTE: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": SMALL, "color": GREY, "backgroundcolor": "white"}


def draw_errors_by_genre(table: pd.DataFrame, overall: float) -> Figure:
    """Draw the genres that are predicted worst and best, of `errors_by_genre`, beside the error of all test rows."""
    errors, name, form = _errors(table)
    worst, best = (f"{errors.iloc[row]:{form}} in {table.index[row]}" for row in (0, -1))
    title = f"{name} is {worst}, {best}; over all test tracks {overall:{form}}"
    if len(table) == 1:
        title = f"{name} is {worst}, the one genre of enough test tracks; over all of them {overall:{form}}"
    shown, more = table, 0
    if len(table) > 2 * _MOST_GENRES:
        shown, more = pd.concat([table[:_MOST_GENRES], table[-_MOST_GENRES:]]), len(table) - 2 * _MOST_GENRES
    figure = _draw_errors(shown, overall, title)
    if more:
        axes = figure.axes[0]
        axes.axhline(_MOST_GENRES - 0.5, color=GREY, linestyle=":", linewidth=1)
        axes.text(1, _MOST_GENRES - 0.5, f"{more} more between ", transform=axes.get_yaxis_transform(), **_NOTE)
    return figure


def draw_errors_by_band(table: pd.DataFrame, overall: float) -> Figure:
    """Draw the error by bands of popularity."""
    errors, name, form = _errors(table)
    band = str(errors.idxmax())
    tracks = f"tracks of {band}" if band.startswith("popularity") else f"tracks of popularity {band}"
    title = f"Furthest off are {tracks}: {name} {errors[band]:{form}}"
    if len(table) == 1:
        title = f"All are {tracks}: {name} {overall:{form}}"
    if "bias" in table:
        title += f", on average {too_high(table['bias'][band])}"
    return _draw_errors(table, overall, title)


def draw_errors_by_known_tracks(table: pd.DataFrame, overall: float) -> Figure:
    """Draw the error by how much is known of the artist."""
    errors, name, form = _errors(table)
    first, last = (f"{errors.iloc[row]:{form}}" for row in (0, -1))
    title = f"{name} is {first} on artists with {table.index[0]} known tracks, {last} on those with {table.index[-1]}"
    if len(table) == 1:
        title = f"All test tracks are by artists with {table.index[0]} known tracks: {name} {first}"
    figure = _draw_errors(table, overall, title)
    figure.axes[0].set_ylabel("train and validation tracks of the first artist", fontsize=SMALL)
    return figure


def draw_errors_by_pattern(table: pd.DataFrame, overall: float) -> Figure:
    """Draw the error of test rows from which something was taken, beside that of the rows as they are."""
    errors, name, form = _errors(table)
    title = f"{name} is {overall:{form}} where all is known, {errors.max():{form}} with {errors.idxmax()}"
    figure, axes = figure_of(title, f"{name}{' (points)' * ('bias' in table)}")
    places = np.arange(len(table))
    axes.barh(places, errors, color=LIGHT, height=0.75)
    for place, error in enumerate(errors):
        axes.text(error, place, f" {error:{form}}", va="center", fontsize=SMALL)
    axes.axvline(overall, color=GREY, linestyle="--", linewidth=1, label="test tracks as they are")
    if "bias" in table:
        axes.plot(table["bias"], places, "D", color=ORANGE, markersize=4, label="mean of predicted less actual")
        axes.axvline(0, color=GREY, linewidth=0.5)
    axes.set_yticks(places, [plain(str(kind)) for kind in table.index], fontsize=SMALL)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    figure.legend(frameon=False, fontsize=SMALL, loc="outside lower center", ncols=2)
    return figure


def draw_coverage(table: pd.DataFrame) -> Figure:
    """Draw how many test tracks the intervals hold, over all and by genre; the table has at least one row."""
    measured = table[table["genre"] == ALL].set_index("level")
    genres = table[table["genre"] != ALL]
    level = min(measured.index, key=lambda each: abs(each - _TITLE_LEVEL))
    title = f"{level:.0%} intervals hold {measured['coverage'][level]:.1%} of the test tracks"
    own = genres[genres["level"] == level].set_index("genre")["coverage"]
    if len(own) and own.min() < own.max():
        title += f"; by genre, {own.min():.0%} ({own.idxmin()}) to {own.max():.0%} ({own.idxmax()})"
    figure, axes = figure_of(title, "", "test tracks within them (%)")
    places = np.arange(len(measured))
    for place, nominal in enumerate(measured.index):
        spread = np.sort(100 * genres.loc[genres["level"] == nominal, "coverage"])
        label = "a genre" if place == 0 and len(spread) else None
        offsets = np.linspace(-0.25, 0.25, len(spread))
        axes.plot(place + offsets, spread, "o", color=GREY, markersize=3, alpha=0.5, label=label)
    axes.hlines(100 * measured.index, places - 0.4, places + 0.4, colors=ORANGE, linestyles="--", label="nominal")
    axes.plot(places, 100 * measured["coverage"], "o", color=BLUE, markersize=8, label="all test tracks")
    labels = [
        f"{nominal:.0%} intervals\nhold {row['coverage']:.1%},\n{row['width']:.0f} points wide"
        for nominal, row in measured.iterrows()
    ]
    axes.set_xticks(places, labels)
    axes.set_xlim(-0.6, len(places) - 0.4)
    figure.legend(frameon=False, fontsize=SMALL, loc="outside lower center", ncols=3)
    return figure


def _draw_errors(table: pd.DataFrame, overall: float, title: str) -> Figure:
    """Draw a bar for every kind, the first on top, with its interval and bias."""
    errors, name, _ = _errors(table)
    figure, axes = figure_of(title, f"{name}{' (points)' * ('bias' in table)}")
    places = np.arange(len(table))
    axes.barh(places, errors, color=LIGHT, height=0.75)
    margins = np.abs(table[["lower", "upper"]].to_numpy().T - errors.to_numpy())
    axes.errorbar(errors, places, xerr=margins, label="with 95% interval", fmt="o", color=BLUE, **_WHISKERS)
    axes.axvline(overall, color=GREY, linestyle="--", linewidth=1, label="all test tracks")
    if "bias" in table:
        axes.plot(table["bias"], places, "D", color=ORANGE, markersize=4, label="mean of predicted less actual")
        axes.axvline(0, color=GREY, linewidth=0.5)
    labels = [f"{plain(str(kind))} ({count:,})" for kind, count in table["tracks"].items()]
    axes.set_yticks(places, labels, fontsize=SMALL)
    reach = max(len(table), _FEWEST_PLACES) / 2
    axes.set_ylim(places.mean() + reach, places.mean() - reach)
    figure.legend(frameon=False, fontsize=SMALL, loc="outside lower center", ncols=3)
    return figure


def _errors(table: pd.DataFrame) -> "tuple[pd.Series[float], str, str]":
    """Return the errors of a table, what they are called, and the form of a number of them."""
    return (table["rmse"], "RMSE", ".1f") if "rmse" in table else (table["log_loss"], "Log loss", ".2f")
