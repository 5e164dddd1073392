"""How sure the figures of a model, and the difference between two models, are: a bootstrap of whole groups."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spotify_ml.models.targets import Task, class_names, task_target

N_RESAMPLES = 2000
CONFIDENCE = 0.95
_FEWEST_GROUPS = 2
# Of more groups, as many bundles are drawn: sums of independent groups are as independent as these, so many of them
# know a spread to 1 %, and the time no longer grows.
_MOST_DRAWN = 50_000


@dataclass(frozen=True)
class Interval:
    """A figure, as found on the rows themselves, and the interval that it is in with some confidence."""

    value: float
    lower: float
    upper: float


def bootstrap_metrics(
    task: Task,
    popularity: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int,
    n_resamples: int = N_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> dict[str, Interval]:
    """Return the figures of one model with their intervals.

    Rows of a group (the copies of a recording, the tracks of an album) err alike, so groups are drawn with replacement
    and each comes with all of its rows: the cluster bootstrap with percentile intervals (Davison and Hinkley 1997,
    sections 2.4 and 3.8). Drawn rows would pretend to know more than there is.

    Popularity is 0 to 100, and `predicted` the same or the probability of each class, shape (n_rows, n_classes). With
    all groups different it is the ordinary bootstrap of rows. Equal seeds draw equal groups, and the interval holds the
    share `confidence` of the resamples.

    The figures are ``r2``, ``rmse`` and ``mae`` of a regression, ``log_loss`` and ``accuracy`` of a classification,
    equal to those of `spotify_ml.evaluation.metrics.task_metrics`. One that is undefined for these rows is left out; of
    a single group, all are.
    """
    terms = _row_terms(task, popularity, predicted)
    found, resampled = _figures(terms[None], groups, seed, n_resamples)
    return _intervals({name: (found[name][0], resampled[name][0]) for name in found}, confidence)


def bootstrap_differences(
    task: Task,
    popularity: np.ndarray,
    predicted: np.ndarray,
    baseline: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int,
    n_resamples: int = N_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> dict[str, Interval]:
    """Return the figures of one model less those of another on the same rows, with their intervals.

    Both are judged by the same resamples, so what makes rows hard for both cancels out. Parameters and names are those
    of `bootstrap_metrics`, and `baseline` is what the other model predicts. A positive ``r2`` and a negative ``rmse``
    mean that the model is better than the other.
    """
    terms = np.stack([_row_terms(task, popularity, values) for values in (predicted, baseline)])
    found, resampled = _figures(terms, groups, seed, n_resamples)
    return _intervals(
        {name: (found[name][0] - found[name][1], resampled[name][0] - resampled[name][1]) for name in found},
        confidence,
    )


def _row_terms(task: Task, popularity: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return what the figures are made of, shape (n_rows, n_terms): sums over rows of these, and nothing else."""
    target = task_target(task, popularity)
    if class_names(task):
        # As scikit-learn's log_loss: a probability of 0 would cost infinitely much.
        tiny = np.finfo(predicted.dtype).eps
        own = np.clip(predicted[np.arange(len(target)), target], tiny, 1 - tiny)
        return np.column_stack([np.ones(len(target)), -np.log(own), predicted.argmax(axis=1) == target])
    # About the mean, so that the sum of squares loses no digits.
    centred = target - target.mean()
    error = predicted - target
    return np.column_stack([np.ones(len(target)), error**2, np.abs(error), centred, centred**2])


def _figures(
    terms: np.ndarray, groups: np.ndarray, seed: int, n_resamples: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return figures of terms (n_models, n_rows, n_terms): (n_models,) of all rows, and (n_models, n_resamples)."""
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) < _FEWEST_GROUPS:
        return {}, {}
    rng = np.random.default_rng(seed)
    n_drawn = min(len(names), _MOST_DRAWN)
    if n_drawn < len(names):
        codes = (rng.permutation(len(names)) % n_drawn)[codes]
    n_models, _, n_terms = terms.shape
    columns = terms.transpose(0, 2, 1).reshape(n_models * n_terms, -1)
    sums = np.column_stack([np.bincount(codes, weights=column) for column in columns])
    resampled = np.empty((n_resamples, sums.shape[1]))
    for row in resampled:
        # How often each group was drawn, times its sums.
        row[:] = np.bincount(rng.integers(n_drawn, size=n_drawn), minlength=n_drawn) @ sums
    shape = (-1, n_models, n_terms)
    return _from_sums(sums.sum(axis=0).reshape(shape)[0]), _from_sums(resampled.reshape(shape).swapaxes(0, 1))


def _from_sums(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures that sums of row terms, shape (…, n_terms), come to; NaN where one is undefined."""
    n_rows, first, second, *moments = np.moveaxis(sums, -1, 0)
    if not moments:
        return {"log_loss": first / n_rows, "accuracy": second / n_rows}
    centred, squares = moments
    total = squares - centred**2 / n_rows
    # Rounding leaves a trace of the sum of squares where all values are equal.
    varied = total > np.finfo(np.float64).eps * np.maximum(squares, 1)
    r2 = 1 - np.divide(first, total, out=np.full_like(total, np.nan), where=varied)
    return {"r2": r2, "rmse": np.sqrt(first / n_rows), "mae": second / n_rows}


def _intervals(figures: Mapping[str, tuple[float, np.ndarray]], confidence: float) -> dict[str, Interval]:
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    # A resample of equal values has no R² and says nothing of it.
    return {
        name: Interval(float(value), *map(float, np.nanquantile(resampled, ends)))
        for name, (value, resampled) in figures.items()
        if np.isfinite(value)
    }
