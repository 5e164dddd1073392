"""Pictures of raw tracks, before any model: each has a title that says what it shows."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spotify_ml.data.duplicates import Duplicates
from spotify_ml.data.schema import AUDIO, TARGET
from spotify_ml.reports.figures import style

_UNITS = {
    "popularity": "points",
    "duration_ms": "minutes",
    "loudness": "dB",
    "tempo": "beats a minute",
    "key": "pitch class, −1: none",
    "mode": "0: minor, 1: major",
    "time_signature": "beats a bar, 0: none",
    "explicit": "0: no, 1: yes",
}
_BINS = 50
_FEW_VALUES = 13
_FEW_TICKS = 5
_MOST_GENRES = 12
_FEWEST_SHARE = 0.01
_LONG_MINUTES = 10.0
_MS_PER_MINUTE = 60_000
_SIZE = (8, 4)


def draw_popularity(raw: pd.DataFrame) -> Figure:
    """Draw how popularity is distributed, with zero as a bar of its own."""
    values = raw[TARGET].dropna().to_numpy()
    low, high = np.percentile(values, [25, 75])
    zero = (values == 0).mean()
    title = f"{zero:.0%} of the rows have popularity 0; half of all lie between {low:.0f} and {high:.0f}"
    figure, axes = style.figure_of(title, "popularity (points)", "rows", _SIZE)
    counts = np.bincount(np.rint(values).astype(int), minlength=101)
    axes.bar(range(101), counts, 1, color=[style.ORANGE] + 100 * [style.BLUE])
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return figure


def draw_distributions(raw: pd.DataFrame) -> Figure:
    """Draw the histogram of every audio column."""
    audio = known_audio(raw)
    skewness = raw[audio].astype(np.float64).skew().abs().dropna()
    title = (
        f"{skewness.idxmax()} is the most lopsided column, {skewness.idxmin()} the most even (skewness "
        f"{skewness.max():.1f} and {skewness.min():.1f})"
        if skewness.any()
        else "No column varies"
    )
    figure, panels = _panels(title, "rows", audio)
    for name, axes in panels.items():
        values = raw[name].dropna().to_numpy(dtype=np.float64)
        if name == "duration_ms":
            values = np.minimum(values / _MS_PER_MINUTE, _LONG_MINUTES)
            axes.set_xlabel(f"{_UNITS[name]}, {_LONG_MINUTES:.0f} or more", fontsize=style.SMALL)
        distinct, counts = np.unique(values, return_counts=True)
        if len(distinct) <= _FEW_VALUES:
            axes.bar(distinct, counts, color=style.BLUE)
            axes.set_xticks(distinct[:: max(1, len(distinct) // 5)])
        else:
            axes.hist(values, bins=_BINS, color=style.BLUE)
        axes.yaxis.set_major_formatter("{x:,.0f}")
    return figure


def draw_correlations(raw: pd.DataFrame) -> Figure:
    """Draw Spearman's rank correlations of popularity, where it is known, and the audio columns."""
    audio = known_audio(raw)
    has_target = bool(raw[TARGET].notna().any())
    names = [TARGET, *audio] if has_target else audio
    ranks = raw[names].astype(np.float64).corr(method="spearman").to_numpy()
    known = np.nan_to_num(ranks)
    np.fill_diagonal(known, 0)
    among = known[-len(audio) :, -len(audio) :]
    first, second = np.unravel_index(np.abs(among).argmax(), among.shape)
    title = f"mong themselves {audio[first]} and {audio[second]} do most ({among[first, second]:+.2f})"
    if has_target:
        own = int(np.abs(known[0]).argmax())
        title = f"No audio column follows popularity more closely than {names[own]} ({known[0, own]:+.2f}); a{title}"
    else:
        title = f"Audio columns follow each other: a{title}"
    figure, axes = style.figure_of(title, size=(9, 7.5))
    mesh = axes.imshow(ranks, cmap="RdBu_r", vmin=-1, vmax=1)
    for row, column in np.argwhere(np.isfinite(ranks)):
        value = ranks[row, column]
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=style.SMALLEST, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.spines[:].set_visible(False)
    figure.colorbar(mesh, label="Spearman's rank correlation", shrink=0.8)
    return figure


def draw_genres(raw: pd.DataFrame) -> Figure:
    """Draw the spread of popularity in the most and the least popular genres."""
    groups = raw.groupby("track_genre")[TARGET]
    means = groups.mean().sort_values()
    explained = _explained(raw[TARGET], raw["track_genre"])
    title = (
        f"Means of genres run from {means.iloc[0]:.0f} ({means.index[0]}) to {means.iloc[-1]:.0f} ({means.index[-1]})"
    )
    title += f"; the genre explains {explained:.0%} of the variance" * bool(np.isfinite(explained))
    shown = list(means.index)
    if len(shown) > 2 * _MOST_GENRES:
        shown = shown[:_MOST_GENRES] + shown[-_MOST_GENRES:]
    figure, axes = style.figure_of(title, size=(8, 1.5 + 0.26 * len(shown)))
    _boxes(axes, [groups.get_group(name).to_numpy() for name in shown], map(style.plain, shown))
    if len(shown) < len(means):
        axes.axhline(_MOST_GENRES + 0.5, color=style.ORANGE, linestyle="--", linewidth=1)
        axes.text(
            101,
            _MOST_GENRES + 0.5,
            f"{len(means) - len(shown)} more",
            fontsize=style.SMALL,
            color=style.ORANGE,
            va="center",
        )
    return figure


def draw_zero_shares(raw: pd.DataFrame) -> Figure:
    """Draw which genres have how many tracks of popularity 0."""
    shares = (raw[TARGET] == 0).groupby(raw["track_genre"]).mean().sort_values()
    shown = shares.tail(2 * _MOST_GENRES)
    some = int((shares > 0.5).sum())
    title = (
        f"In {some} of {len(shares)} genres more than half of the rows have popularity 0, at most {shares.iloc[-1]:.0%}"
    )
    figure, axes = style.figure_of(title, "rows with popularity 0 (%)", size=(8, 1.5 + 0.22 * len(shown)))
    axes.barh([style.plain(name) for name in shown.index], shown * 100, color=style.BLUE)
    axes.axvline(100 * (raw[TARGET] == 0).mean(), color=style.ORANGE, linestyle="--", linewidth=1, label="all rows")
    axes.legend(frameon=False, loc="lower right")
    return figure


def draw_moods_and_tempos(tracks: pd.DataFrame) -> Figure:
    """Draw the spread of popularity by mood and tempo, of tracks with the columns of `add_derived_columns`."""
    kinds = {"mood_energy": "mood", "tempo_category": "tempo"}
    explained = {label: _explained(tracks[TARGET], tracks[name]) for name, label in kinds.items()}
    figure = style.figure_of_many(_finding(explained), (8, 4.2))
    for axes, name in zip(figure.subplots(2, 1, sharex=True), kinds, strict=True):
        present = [level for level in tracks[name].cat.categories if (tracks[name] == level).any()]
        values = [tracks.loc[tracks[name] == level, TARGET].to_numpy() for level in present]
        _boxes(axes, values, [f"{level} ({len(own):,})" for level, own in zip(present, values, strict=True)])
        style.unframe(axes)
    figure.axes[0].set_xlabel("")
    return figure


def draw_audio_effects(raw: pd.DataFrame) -> Figure:
    """Draw the mean popularity in tenths of every audio column."""
    audio = known_audio(raw)
    effects = {name: _tenths(raw[name].astype(np.float64), raw[TARGET]) for name in audio}
    ranges = {name: np.ptp(table["mean"]) for name, table in effects.items()}
    widest = max(ranges, key=lambda name: ranges[name])
    title = f"Mean popularity moves most along {widest}, by {ranges[widest]:.0f} points"
    figure, panels = _panels(title, "mean popularity", audio, share_y=True)
    for name, table in effects.items():
        scale, axes = _MS_PER_MINUTE if name == "duration_ms" else 1, panels[name]
        centres, margins = table["centre"] / scale, 1.96 * table["error"]
        axes.errorbar(centres, table["mean"], margins, color=style.BLUE, marker="o", markersize=3)
        axes.axhline(raw[TARGET].mean(), color=style.GREY, linewidth=1, linestyle="--")
        if len(table) < _FEW_TICKS:
            axes.set_xticks(table["centre"])
    return figure


def draw_copies(found: Duplicates) -> Figure:
    """Draw how often tracks stand in the file."""
    n_tracks = int(found.copies.sum())
    repeated = n_tracks - int(found.copies.get(1, 0))
    title = f"{repeated:,} of {n_tracks:,} tracks ({repeated / n_tracks:.0%}) stand in more than one row"
    figure, axes = style.figure_of(title, "rows of the same track_id", "tracks (logarithmic)", _SIZE)
    bars = axes.bar(found.copies.index, found.copies, color=style.BLUE)
    axes.set_xticks(found.copies.index)
    axes.bar_label(bars, fmt="{:,.0f}", fontsize=style.SMALL)
    axes.set_yscale("log")
    return figure


def draw_spreads(found: Duplicates) -> Figure:
    """Draw how popularity differs among the rows of a recording."""
    xlabel = "highest less lowest popularity of a recording (points)"
    figure, axes = style.figure_of(_spread_finding(found), xlabel, "recordings (%)", _SIZE)
    edges = np.array([-0.5, 0.5, 1.5, 5.5, 10.5, 20.5, 40.5, 100.5])
    labels = ["0", "1", "2–5", "6–10", "11–20", "21–40", "above 40"]
    present = [kind for kind in ("one track_id", "several track_ids") if (found.kinds == kind).any()]
    for position, kind in enumerate(present):
        own = found.spreads[(found.kinds == kind).to_numpy()]
        shares = 100 * np.histogram(own, edges)[0] / len(own)
        places = np.arange(len(labels)) + (position - (len(present) - 1) / 2) * 0.4
        axes.bar(
            places, shares, 0.4, color=(style.BLUE, style.ORANGE)[position], label=f"{kind} ({len(own):,} recordings)"
        )
    axes.set_xticks(range(len(labels)), labels)
    if present:
        axes.legend(frameon=False)
    return figure


def draw_both_sides(found: Duplicates) -> Figure:
    """Draw what rows divided by chance have on both sides."""
    recording = found.both_sides.get("the same recording", np.nan)
    title = f"Divided by chance, {recording:.0%} of the test rows have a copy of their recording in the other part"
    figure, axes = style.figure_of(title, "test rows with … among the other rows (%)", size=(8, 2.8))
    names, shares = list(found.both_sides)[::-1], [100 * share for share in found.both_sides.values()][::-1]
    bars = axes.barh(names, shares, color=style.BLUE)
    axes.bar_label(bars, fmt="%.0f %%", padding=3, fontsize=9)
    axes.set_xlim(0, 108)
    return figure


def known_audio(raw: pd.DataFrame) -> list[str]:
    """Return the audio columns that the file has values of."""
    return [name for name in AUDIO if raw[name].notna().any()]


def _panels(title: str, ylabel: str, audio: Sequence[str], *, share_y: bool = False) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a plot for each of some audio columns, which says its name and unit."""
    n_rows = -(-len(audio) // 4)
    figure = style.figure_of_many(title, (10, 2.1 * n_rows + 0.5))
    places = list(figure.subplots(n_rows, 4, sharey=share_y).flat)
    for axes in places[len(audio) :]:
        axes.set_visible(False)
    panels = dict(zip(audio, places, strict=False))
    for name, axes in panels.items():
        style.unframe(axes)
        axes.set_title(name.removesuffix("_ms"), fontsize=10)
        axes.set_xlabel(_UNITS.get(name, "0 to 1"), fontsize=style.SMALL)
        axes.tick_params(labelsize=style.SMALL)
    for axes in places[::4]:
        axes.set_ylabel(ylabel, fontsize=style.SMALL)
    return figure, panels


def _boxes(axes: Axes, values: list[np.ndarray], labels: Iterable[str]) -> None:
    grey = {"color": style.GREY}
    look: dict[str, Any] = {"boxprops": {"facecolor": style.LIGHT, "linewidth": 0}, "whiskerprops": grey}
    look |= {"medianprops": {"color": style.ORANGE, "linewidth": 2}, "capprops": grey, "showfliers": False}
    axes.boxplot(values, orientation="horizontal", widths=0.6, patch_artist=True, whis=(5, 95), **look)
    axes.set_yticks(range(1, len(values) + 1), list(labels), fontsize=style.SMALL)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("popularity (points): median, middle half, and 5th to 95th percentile")


def _explained(popularity: pd.Series, kinds: pd.Series) -> float:
    """Return the share of popularity's variance that is between kinds (η²); NaN where there is no variance."""
    total = ((popularity - popularity.mean()) ** 2).sum()
    means = popularity.groupby(kinds, observed=True).transform("mean")
    return float(((means - popularity.mean()) ** 2).sum() / total) if total > 0 else float("nan")


def _finding(explained: dict[str, float]) -> str:
    parts = [f"{label} explains {share:.1%}" for label, share in explained.items() if np.isfinite(share)]
    return f"Of popularity's variance, {' and '.join(parts)}" if parts else "Popularity does not vary"


def _spread_finding(found: Duplicates) -> str:
    several, one = (found.spreads[(found.kinds == kind).to_numpy()] for kind in ("several track_ids", "one track_id"))
    if not len(found.spreads):
        return "No recording stands in more than one row"
    if not len(several) or not len(one):
        return f"{(found.spreads > 0).mean():.0%} of the recordings in several rows differ in popularity"
    return (
        f"Under several ids, {(several > 10).mean():.0%} of the recordings differ by more than 10 points; "
        f"under one id, {(one > 10).mean():.0%}"
    )


def _tenths(values: "pd.Series[float]", popularity: pd.Series) -> pd.DataFrame:
    """Return the mean popularity and its standard error by tenths of a column, or by its values if they are few."""
    tenths = values if values.nunique() <= _FEW_VALUES else pd.qcut(values, 10, labels=False, duplicates="drop")
    groups = popularity.groupby(tenths)
    table = pd.DataFrame({"mean": groups.mean(), "error": groups.sem(), "rows": groups.size()})
    table["centre"] = values.groupby(tenths).median()
    # A mean of few rows says little, and its bar would hide the others.
    return table[table["rows"] >= _FEWEST_SHARE * len(values)]
