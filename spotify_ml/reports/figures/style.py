"""The one style of the figures: colours, size, and a title above all that says what is to be seen."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

BLUE, ORANGE, GREY, LIGHT = "#1f5fa8", "#d9731a", "#808080", "#c9d8ea"
# From a single track to very many.
DENSITY = LinearSegmentedColormap.from_list("density", [LIGHT, BLUE, "#0a2240"])
# From the lowest value of a feature to its highest.
LOW_TO_HIGH = LinearSegmentedColormap.from_list("low to high", [BLUE, "#c8c8c8", ORANGE])
SMALL, SMALLEST = 8, 7
DPI = 100
# Side by side, MLflow shows two of these on a usual screen.
_SIZE = (7.0, 4.5)
_CHARACTERS_PER_INCH = 10.4
# Below this, no digit would show it.
_LEAST_ERROR = 0.05


def figure_of(title: str, xlabel: str = "", ylabel: str = "", size: tuple[float, float] = _SIZE) -> tuple[Figure, Axes]:
    """Return a figure of one plot, with a title and the names of its axes."""
    figure = figure_of_many(title, size)
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    unframe(axes)
    return figure, axes


def figure_of_many(title: str, size: tuple[float, float] = _SIZE) -> Figure:
    """Return a figure without any plot yet, with a title.

    The title stands above the whole figure, for it is longer than some plots are wide.
    """
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(
        _wrapped(plain(title), int(_CHARACTERS_PER_INCH * size[0])), x=0.01, ha="left", fontweight="bold", fontsize=11
    )
    return figure


def _wrapped(text: str, width: int) -> str:
    """Return a text in as few lines as the width allows, and these as short as that allows."""
    widths = range(min(max(map(len, text.split())), width), width + 1)
    wrapped = [textwrap.wrap(text, each, break_on_hyphens=False) for each in widths]
    return "\n".join(next(lines for lines in wrapped if len(lines) == len(wrapped[-1])))


def unframe(axes: Axes) -> None:
    """Leave out the lines of a plot that are no axes."""
    axes.spines[["top", "right"]].set_visible(False)


def signed(value: float, digits: int = 0) -> str:
    """Return a number with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def too_high(error: float) -> str:
    """Return how much too high, or too low, something is."""
    if abs(error) < _LEAST_ERROR:
        return "right"
    return f"{abs(error):.1f} points too {'high' if error > 0 else 'low'}"


def plain(text: str) -> str:
    """Return a text that matplotlib shows as it is, and does not set as mathematics."""
    return text.replace("$", r"\$")
