"""What one call to the tracking API takes, and how much of a curve is kept."""

import numpy as np

METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
PARAM_LENGTH = 6000
# A curve of thousands of trees looks the same with fewer points, and every point is a row in the store.
_CURVE_POINTS = 250


def thinned(curve: list[float]) -> list[tuple[int, float]]:
    """Return the number of trees and the error there, for so many evenly spaced points of a learning curve."""
    kept = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), _CURVE_POINTS), dtype=int)).tolist()
    return [(tree + 1, curve[tree]) for tree in kept]
