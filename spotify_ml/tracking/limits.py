"""What one call to the tracking API takes, and how much of a curve or a text is kept."""

import numpy as np

METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
PARAM_LENGTH = 6000
DESCRIPTION_LENGTH = 5000
# A curve of thousands of trees looks the same with fewer points, and every point is a row in the store.
_CURVE_POINTS = 250


def shortened(text: str, rest: str) -> str:
    """Return a text as a description may have it: whole, or cut at a line and ended by where the rest is."""
    if len(text) <= DESCRIPTION_LENGTH:
        return text
    ending = f"\n\nThe rest is in {rest}."
    return text[: DESCRIPTION_LENGTH - len(ending)].rpartition("\n")[0].rstrip() + ending


def thinned(curve: list[float]) -> list[tuple[int, float]]:
    """Return the number of trees and the error there, for so many evenly spaced points of a learning curve."""
    kept = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), _CURVE_POINTS), dtype=int)).tolist()
    return [(tree + 1, curve[tree]) for tree in kept]
