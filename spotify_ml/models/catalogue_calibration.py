"""A correction of predictions for the tracks of another catalogue, learned from some of them with their popularity."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import pandas as pd
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass
from sklearn.linear_model import RidgeCV

from spotify_ml.data.names import normal_genre, normal_list, normal_name
from spotify_ml.data.schema import AUDIO, LIST_SEPARATOR
from spotify_ml.features.transformers.statistics import assign_folds
from spotify_ml.models.intervals import quantile
from spotify_ml.models.predictions import clip_popularity

N_FOLDS = 5
# A flag is an input if it is set, and is not, in this number of rows.
_FEWEST_OF_A_FLAG = 10
# An artist's mean error counts as if there were this number of further rows without one.
_ROWS_WITHOUT_ERROR = 4
# Kinds of rows with fewer errors share their intervals.
_FEWEST_ERRORS = 50
_PENALTIES = np.logspace(0, 4, 17)
# The digits that are kept of a number: the last ones differ between machines.
_DIGITS = 9
_KEYS = ("artist", "album", "genre")
_GENRE = "genre="
_NAMES = {
    *("prediction", "prediction_otherwise", *(f"known_{key}" for key in _KEYS)),
    *(*AUDIO, "title_featured", "title_version"),
}
# Of what is read from a file: numbers are finite, and there is nothing else in it.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Outputs(NamedTuple):
    """What a model says of rows, each of shape (n_rows,).

    The prediction for the catalogue that was asked for, the one for the other catalogue (``own`` or ``other``), and
    what the model knows, such as ``artist;genre``.
    """

    predicted: np.ndarray
    otherwise: np.ndarray
    known: np.ndarray

    def take(self, where: np.ndarray) -> "Outputs":
        """Return some of the rows."""
        return Outputs(*(values[where] for values in self))


def _known_name(name: str) -> str:
    if name not in _NAMES and not name.startswith(_GENRE):
        raise ValueError("there is no such input")
    return name


@dataclass(frozen=True, config=STRICT)
class Input:
    """A number that the correction is linear in: its range in the fit, the value where it is missing, and its weight.

    Beyond the range it counts as the nearest end.
    """

    name: Annotated[str, AfterValidator(_known_name)]
    low: float
    high: float
    missing: float
    weight: float

    def __post_init__(self) -> None:
        """Check the range."""
        if not self.low <= self.missing <= self.high:
            raise ValueError(f"the range of {self.name} is none")

    def taken(self, values: np.ndarray) -> np.ndarray:
        """Return the values that count."""
        return np.clip(np.where(np.isnan(values), self.missing, values), self.low, self.high)


@dataclass(frozen=True, config=STRICT)
class CatalogueCalibration:
    """A ridge regression on what a model says and what is told of a track, an effect of artists, and intervals.

    Attributes
    ----------
    intercept : float
        What is predicted where all inputs are 0.
    inputs : tuple of Input
        Predictions, what is known, sound, genre and title.
    artists : mapping of str to float
        What is added for a first artist, in normal form.
    errors : mapping of str to tuple of float
        By what is known: absolute errors of rows that a fit on other rows predicted.
    """

    intercept: float
    inputs: tuple[Input, ...]
    artists: Mapping[str, float]
    errors: Mapping[str, tuple[Annotated[float, Field(ge=0)], ...]]

    @classmethod
    def fit(cls, outputs: Outputs, rows: pd.DataFrame, popularity: np.ndarray, groups: np.ndarray) -> Self:
        """Learn from the outputs of a model for rows with popularity.

        `rows` have the raw columns of `spotify_ml.data.contract.CheckedRows.frame`; `groups`, shape (n_rows,), tell
        which rows are copies: errors are those of fits without them.
        """
        fitted = cls._without_errors(outputs, rows, popularity)
        predicted = np.empty(len(rows))
        for others, own in folds(groups):
            part = cls._without_errors(outputs.take(others), rows[others], popularity[others])
            predicted[own] = part.predict(outputs.take(own), rows[own])
        errors = np.round(np.abs(popularity - predicted), _DIGITS)
        found = {str(kind): tuple(np.sort(errors[outputs.known == kind]).tolist()) for kind in np.unique(outputs.known)}
        return cls(fitted.intercept, fitted.inputs, fitted.artists, found)

    @classmethod
    def _without_errors(cls, outputs: Outputs, rows: pd.DataFrame, popularity: np.ndarray) -> Self:
        columns = dict(_columns(outputs, rows, _genres(rows)))
        ranges = [each for name, values in columns.items() if (each := _input(name, values)) is not None]
        matrix = np.column_stack([each.taken(columns[each.name]) for each in ranges])
        scale = matrix.std(axis=0)
        ridge = RidgeCV(_PENALTIES).fit((matrix - matrix.mean(axis=0)) / scale, popularity)
        weights = [_rounded(weight) for weight in ridge.coef_ / scale]
        inputs = [
            Input(each.name, each.low, each.high, each.missing, weight)
            for each, weight in zip(ranges, weights, strict=True)
        ]
        intercept = _rounded(popularity.mean() - matrix.mean(axis=0) @ weights)
        linear = cls(intercept, tuple(inputs), {}, {})
        errors = pd.Series(popularity - linear._sums(outputs, rows))
        sums = errors.groupby(_first_artists(rows)).agg(["sum", "count"])
        effects = sums["sum"] / (sums["count"] + _ROWS_WITHOUT_ERROR)
        return cls(intercept, tuple(inputs), {str(name): _rounded(effect) for name, effect in effects.items()}, {})

    def predict(self, outputs: Outputs, rows: pd.DataFrame) -> np.ndarray:
        """Return the corrected popularity of rows, shape (n_rows,)."""
        return clip_popularity(self._sums(outputs, rows))

    def _sums(self, outputs: Outputs, rows: pd.DataFrame) -> np.ndarray:
        genres = [each.name.removeprefix(_GENRE) for each in self.inputs if each.name.startswith(_GENRE)]
        columns = dict(_columns(outputs, rows, genres))
        # A product of matrices would round a row alone and the same row among others in different ways.
        total = np.full(len(rows), self.intercept)
        for each in self.inputs:
            total += each.weight * each.taken(columns[each.name])
        return total + _of_distinct(_first_artists(rows), lambda artist: self.artists.get(artist, 0.0), 0.0)

    def margins(self, known: np.ndarray, confidence: float) -> np.ndarray:
        """Return half the widths of intervals by what is known, shape (n_rows,).

        Kinds of rows with few errors share theirs. Where even those are too few for a confidence, all errors count,
        and where all are, the width is infinite.
        """
        every = np.sort(np.concatenate([[], *self.errors.values()]))
        own = {kind: np.sort(errors) for kind, errors in self.errors.items() if len(errors) >= _FEWEST_ERRORS}
        rest = np.sort(np.concatenate([[], *(errors for kind, errors in self.errors.items() if kind not in own)]))
        found = np.full(len(known), _margin(rest, every, confidence))
        for kind, errors in own.items():
            found[known == kind] = _margin(errors, every, confidence)
        return found


def _margin(errors: np.ndarray, every: np.ndarray, confidence: float) -> float:
    margin = quantile(errors, confidence)
    # No narrower than with less confidence.
    return margin if np.isfinite(margin) else max(quantile(every, confidence), errors.max(initial=0.0))


def folds(groups: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield masks of all other rows and of the rows of each fold; no group is in two folds."""
    numbers = assign_folds(groups, N_FOLDS, random_state=0)
    for fold in range(numbers.max() + 1):
        yield numbers != fold, numbers == fold


def _columns(outputs: Outputs, rows: pd.DataFrame, genres: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the values of everything that may be an input."""
    yield "prediction", outputs.predicted
    yield "prediction_otherwise", outputs.otherwise
    for key in _KEYS:
        yield f"known_{key}", _of_distinct(outputs.known, lambda known, key=key: float(key in known.split(";")), np.nan)
    for name in AUDIO:
        values = rows[name].to_numpy(np.float64)
        # Twice as long counts the same, wherever it begins.
        yield name, np.log1p(values) if name == "duration_ms" else values
    # In normal form, a guest is named in one way, and there is one kind of dash.
    title = _of_distinct(rows["track_name"].array, normal_name)
    yield "title_featured", _of_distinct(title, lambda form: float(" feat " in form), np.nan)
    yield "title_version", _of_distinct(title, lambda form: float(" - " in form), np.nan)
    for genre in genres:
        has_genre = _of_distinct(rows["track_genre"].array, lambda own, genre=genre: float(genre in _listed(own)), 0.0)
        yield _GENRE + genre, has_genre


def _input(name: str, values: np.ndarray) -> Input | None:
    """Return an input without a weight; None for values that tell nothing."""
    there = values[~np.isnan(values)]
    if not len(there) or there.min() == there.max():
        return None
    low, high, middle = float(there.min()), float(there.max()), float(np.median(there))
    if {low, high} == set(np.unique(there)) and min((there == low).sum(), (there == high).sum()) < _FEWEST_OF_A_FLAG:
        return None
    return Input(name, low, high, middle, 0.0)


def _genres(rows: pd.DataFrame) -> list[str]:
    """Return all genres of rows, in normal form."""
    distinct = rows["track_genre"].dropna().unique()
    return sorted({genre for own in distinct for genre in _listed(own)})


def _listed(genres: str) -> set[str]:
    return set(filter(None, map(normal_genre, genres.split(LIST_SEPARATOR))))


def _first_artists(rows: pd.DataFrame) -> np.ndarray:
    """Return the first artists in normal form; None where there is none."""
    return _of_distinct(rows["artists"].array, lambda names: normal_list(names).partition(LIST_SEPARATOR)[0] or None)


def _of_distinct(texts: Any, change: Any, missing: Any = None) -> np.ndarray:
    """Return a function of texts, called once for each distinct one, and `missing` for missing ones."""
    codes, distinct = pd.factorize(texts)
    return np.array([*map(change, distinct), missing], dtype=object if missing is None else np.float64)[codes]


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
