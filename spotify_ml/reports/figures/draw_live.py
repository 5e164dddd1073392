"""The picture of an experiment on live traffic: a difference and its bounds, as outcomes came in."""

import io

import numpy as np

from spotify_ml.reports.figures.style import BLUE, GREY, LIGHT, ORANGE, figure_of


def draw_sequence(
    n: np.ndarray, value: np.ndarray, lower: np.ndarray, upper: np.ndarray, decided: int | None, unit: str
) -> bytes:
    """Return as PNG the champion's error less the challenger's after each number of outcomes, with its bounds.

    Parameters
    ----------
    n, value, lower, upper : ndarray, shape (n_looks,)
        Outcomes, difference and bounds; infinite bounds are left out.
    decided : int or None
        The look at which zero was left out first.
    unit : str
        Of the difference.
    """
    known = np.isfinite(lower) & np.isfinite(upper)
    title = "The bounds hold zero: the versions cannot be told apart yet"
    if decided is not None:
        better = "challenger" if lower[decided] > 0 else "champion"
        title = f"After {n[decided]:,} outcomes the {better} is better, however often one has looked"
    figure, axes = figure_of(title, "outcomes", f"champion's error less the challenger's ({unit})")
    axes.fill_between(n[known], lower[known], upper[known], color=LIGHT, label="bounds that hold at every look")
    axes.plot(n[known], value[known], color=BLUE, label="difference")
    axes.axhline(0, color=GREY, linewidth=1)
    if decided is not None:
        axes.axvline(n[decided], color=ORANGE, linestyle="--", linewidth=1, label="decided")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
