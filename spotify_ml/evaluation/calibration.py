"""Whether predictions are right on average: in equal parts of them, or by the probability that they give."""

import numpy as np
import pandas as pd

from spotify_ml.evaluation.by_group import grouped_means

_MOST_PARTS = 10
# Fewer rows have no spread to speak of.
_FEWEST_ROWS = 20
_STEPS = 10
_SPREAD = {"low": 0.1, "middle": 0.5, "high": 0.9}


def equal_parts(values: np.ndarray) -> np.ndarray:
    """Return which part of the values each is in, lowest first: from 0, each of which occurs, shape (n_rows,).

    There are ten parts, or as many as have 20 rows each. Equal values are in the same, so parts may differ in size.
    """
    n_parts = max(min(len(values) // _FEWEST_ROWS, _MOST_PARTS), 1)
    edges = np.quantile(values, np.arange(1, n_parts) / n_parts)
    _, codes = np.unique(np.searchsorted(edges, values, side="left"), return_inverse=True)
    return codes


def calibration_table(actual: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Return what equal parts of the predictions come to; all arguments have the shape (n_rows,).

    Each part is a row, lowest first: ``tracks``, the means ``predicted`` and ``actual``, ``margin``, half the width of
    the 95 % interval of the latter (NaN for a single group), and ``low``, ``middle`` and ``high``, between and about
    which the middle 80 % of the errors lie (predicted less actual).
    """
    codes = equal_parts(predicted)
    counts, means, margins = grouped_means(actual, codes, groups)
    given = np.bincount(codes, weights=predicted) / counts
    table = pd.DataFrame({"tracks": counts, "predicted": given, "actual": means, "margin": margins})
    errors = pd.Series(predicted - actual).groupby(codes)
    return table.assign(**{name: errors.quantile(share) for name, share in _SPREAD.items()})


def class_calibration_table(codes: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return how often classes come true, by their probability in steps of a tenth.

    `codes` are the classes of the rows, and the probabilities have the shape (n_rows, n_classes). Each class and step
    that occurs is a row: ``class``, ``tracks``, the mean ``predicted`` probability, and ``actual``, how often it came
    true.
    """
    tables = []
    for code, name in enumerate(classes):
        probability = probabilities[:, code]
        steps = np.minimum((probability * _STEPS).astype(int), _STEPS - 1)
        rows = pd.DataFrame({"tracks": 1, "predicted": probability, "actual": codes == code}).groupby(steps)
        tables.append(rows.agg({"tracks": "sum", "predicted": "mean", "actual": "mean"}).assign(**{"class": name}))
    return pd.concat(tables, ignore_index=True)
