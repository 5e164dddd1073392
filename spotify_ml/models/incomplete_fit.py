"""The fit of the model of incomplete rows: on copies of rows from which names and genres were taken."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, mean_squared_error

from spotify_ml.config.models import XGBoostConfig
from spotify_ml.config.run import RunConfig
from spotify_ml.data.joined_columns import joined_kinds
from spotify_ml.data.schema import AUDIO, FURTHER
from spotify_ml.data.splits import Split
from spotify_ml.features.incomplete import ABSENT, KEYS, KNOWN, RELEASE, UNKNOWN, IncompleteFeatures
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.models.fit import FittedEstimators, fit_single
from spotify_ml.models.incomplete import IncompleteModel
from spotify_ml.models.intervals import PredictionIntervals
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.predictions import clip_popularity, raw_predictions
from spotify_ml.models.targets import Task, class_names, task_target

# Few, wide trees: most rows of the fit are copies of each other.
PARAMETERS = XGBoostConfig(
    name="xgboost",
    n_estimators=600,
    early_stopping_rounds=30,
    learning_rate=0.06,
    # The number of trees is chosen at twice the rate.
    probe_rate=0.12,
    max_depth=0,
    max_leaves=127,
    grow_policy="lossguide",
    min_child_weight=30,
    gamma=0,
    subsample=0.8,
    colsample_bytree=1,
    colsample_bylevel=1,
    colsample_bynode=0.3,
    reg_alpha=0,
    reg_lambda=50,
    max_delta_step=0,
    max_bin=64,
    tree_method="hist",
    device="cpu",
    n_jobs=None,
)
# What is taken from the copies of a row, and how often: most often what files lack most often, and more of what is
# learned from few features alone.
_ABSENT: dict[tuple[str, ...] | None, float] = {
    ("genre",): 0.22,
    ("album",): 0.25,
    ("artist", "album"): 0.09,
    ("artist", "album", "title"): 0.07,
    ("album", "genre"): 0.06,
    ("artist", "album", "genre"): 0.13,
    ("artist", "album", "genre", "title"): 0.13,
    # Each key by a coin.
    None: 0.05,
}
# So many copies are of another catalogue, and so often such a copy's artist and album are not in this one.
_OTHER, _OTHER_UNKNOWN, _OTHER_ABSENT = 0.12, 0.7, 0.3
# So many copies lack the date and the label.
_RELEASE_ABSENT = 0.3
# Copies of a row: for the trees, for the number of trees, and to watch. More rows than these tell nothing new.
_COPIES, _FIRST_COPIES, _WATCHED_COPIES, _MOST_ROWS = 3, 1, 3, 80_000
# How much the model may count where the catalogue knows neither artist nor album: the largest share by which all
# validation rows together lose no more R² than this (of the loss of the mean).
_SHARES, _ALLOWED_LOSS = (0.3, 0.2, 0.1), 0.0015
# A key that fewer rows have is one that the first model has learned to do without.
_COMPLETE = 0.95
# Intervals are calibrated on so many rows of every pattern.
_CALIBRATION_ROWS = 1200


def model_of(
    config: RunConfig,
    fitted: FittedEstimators,
    subsets: Subsets,
    tracks: pd.DataFrame,
    split: Split,
    intervals: PredictionIntervals | None,
) -> PopularityModel:
    """Return the model that scores raw rows: the refit, its intervals, and a model of incomplete rows if asked for.

    That one is fitted if the configuration says so, and the features have names and genres.
    """
    incomplete = None
    if config.incomplete and config.features.name == "full":
        n_jobs = getattr(config.model, "n_jobs", None)
        incomplete = fit_incomplete(config.task, fitted, subsets, split.groups, config.seed, n_jobs)
    values = tracks.iloc[split.trainval][list(AUDIO)].astype(float).median()
    # Where tracks of the run lack values, the models have learned to do without.
    values = values.mask(tracks[list(AUDIO)].isna().any())
    medians = dict(zip(AUDIO, values.tolist(), strict=True))
    used = subsets.transformer.feature_names_in_
    further = {column.name: column.kind for column in FURTHER if column.name in used}
    further |= {name: kind for name, kind in joined_kinds(tracks).items() if name in used}
    classes = class_names(config.task)
    return PopularityModel(subsets.transformer, fitted.refit, classes, intervals, incomplete, medians, further)


def fit_incomplete(
    task: Task, fitted: FittedEstimators, subsets: Subsets, groups: np.ndarray, seed: int, n_jobs: int | None
) -> IncompleteModel:
    """Return the model of incomplete rows, fitted on copies of the rows from which keys were taken.

    As in the fit of complete rows, the validation rows choose the number of trees; intervals are calibrated on them by
    the early-stopped fit, which has not seen them and is made in half the time. `groups` are those of all clean tracks.
    """
    rng = np.random.default_rng(seed)
    parts = {name: IncompletePart(getattr(subsets, name)) for name in ("train", "validation", "trainval")}
    copied = replace(
        subsets,
        train=parts["train"].copies(_FIRST_COPIES, rng),
        validation=parts["validation"].copies(_WATCHED_COPIES, rng),
        trainval=parts["trainval"].copies(_COPIES, rng),
    )
    fitted_here = fit_single(PARAMETERS.model_copy(update={"n_jobs": n_jobs}), task, copied, seed)
    early_stopped, estimator = fitted_here.early_stopped, fitted_here.refit
    validation, classes = parts["validation"], class_names(task)
    first = IncompleteModel(validation.features, early_stopped, 0.0, classes)
    share = _chosen_share(task, first, fitted.early_stopped, validation)
    intervals = None if classes else _calibrated(first, validation, groups, rng)
    final = IncompleteFeatures(tuple(subsets.trainval.features.columns))
    states = final.states(parts["trainval"].matrix)
    keys = tuple(key for key in final.keys if (states[key] != ABSENT).mean() >= _COMPLETE)
    return IncompleteModel(final, estimator, share, classes, intervals, keys)


class IncompletePart:
    """Some rows of a subset, of which copies lack what is taken from them."""

    def __init__(self, subset: Subset) -> None:
        n_rows = len(subset.target)
        rows = np.arange(n_rows)
        if n_rows > _MOST_ROWS:
            rows = np.sort(np.random.default_rng(0).permutation(n_rows)[:_MOST_ROWS])
        self.matrix, self.target = subset.take(rows), subset.target[rows]
        self.positions = subset.features.index.to_numpy()[rows]
        self.features = IncompleteFeatures(tuple(subset.features.columns))

    def copies(self, n_copies: int, rng: np.random.Generator) -> Subset:
        """Return so many copies of every row, each without some of its keys, as features of incomplete rows."""
        views = [self._copy(rng) for _ in range(n_copies)]
        columns = np.array(self.features.names)[self.features.kept]
        frame = pd.DataFrame(
            np.concatenate(views), index=np.tile(self.positions, n_copies), columns=columns, copy=False
        )
        return Subset(frame, np.tile(self.target, n_copies))

    def _copy(self, rng: np.random.Generator) -> np.ndarray:
        n_rows, patterns = len(self.target), list(_ABSENT)
        drawn = rng.choice(len(patterns), n_rows, p=list(_ABSENT.values()))
        is_free = drawn == patterns.index(None)
        other = rng.random(n_rows) < _OTHER
        absent, unknown = {}, {}
        for key in KEYS:
            own = [position for position, keys in enumerate(patterns) if keys and key in keys]
            lost = np.where(is_free, rng.random(n_rows) < 1 / 2, np.isin(drawn, own))
            if key in ("artist", "album"):
                unknown[key] = other & (lost | (rng.random(n_rows) < _OTHER_UNKNOWN))
                lost &= ~other | (rng.random(n_rows) < _OTHER_ABSENT)
            absent[key] = lost
        if RELEASE in self.features.keys:
            absent[RELEASE] = rng.random(n_rows) < _RELEASE_ABSENT
        return self.features.view(self.features.without(self.matrix, absent, unknown), other)


def _chosen_share(task: Task, first: IncompleteModel, early_stopped: Any, validation: IncompletePart) -> float:
    """Return the largest share that makes the catalogue's own tracks, of an unknown artist and album, hardly worse."""
    states = first.features.states(validation.matrix)
    asked = {"artist": UNKNOWN, "album": UNKNOWN, "genre": KNOWN, "title": KNOWN}
    (rows,) = np.nonzero(np.logical_and.reduce([states[key] == state for key, state in asked.items()]))
    if not len(rows):
        return _SHARES[0]
    own = raw_predictions(early_stopped, validation.matrix[rows], first.classes)
    _, others = first.predict(validation.matrix[rows], np.ones(len(rows), dtype=bool))
    actual = task_target(task, validation.target)
    n_classes = len(first.classes)
    mean = np.bincount(actual, minlength=n_classes) / len(actual) if n_classes else actual.mean()
    allowed = _ALLOWED_LOSS * _loss(n_classes, actual, np.broadcast_to(mean, (len(actual), *np.shape(mean))))

    def added(share: float) -> float:
        mixture = (1 - share) * own + share * others
        worse = _loss(n_classes, actual[rows], mixture) - _loss(n_classes, actual[rows], own)
        return worse * len(rows) / len(actual)

    return next((share for share in _SHARES if added(share) <= allowed), 0.0)


def _loss(n_classes: int, actual: np.ndarray, predicted: np.ndarray) -> float:
    if n_classes:
        return float(log_loss(actual, predicted, labels=np.arange(n_classes)))
    return float(mean_squared_error(actual, clip_popularity(predicted)))


def _calibrated(
    first: IncompleteModel, validation: IncompletePart, groups: np.ndarray, rng: np.random.Generator
) -> PredictionIntervals:
    """Return intervals by what is not known, from validation rows of which each pattern was taken."""
    views, predicted, drawn, patterns = [], [], [], []
    keys = first.features.keys
    n_rows = _CALIBRATION_ROWS * len(KEYS) // len(keys)
    for other, *lost in product((False, True), repeat=len(keys) + 1):
        if not any(lost):
            continue
        rows = rng.permutation(len(validation.target))[:n_rows]
        all_rows, others = np.ones(len(rows), dtype=bool), np.full(len(rows), other)
        taken = {key: all_rows for key, is_lost in zip(keys, lost, strict=True) if is_lost}
        unknown = {key: taken.pop(key) for key in list(taken) if other and key in ("artist", "album")}
        matrix = first.features.without(validation.matrix[rows], taken, unknown)
        view, values = first.predict(matrix, others)
        views.append(view)
        predicted.append(clip_popularity(values))
        drawn.append(rows)
        patterns.append(first.patterns(matrix, others))
    rows = np.concatenate(drawn)
    return PredictionIntervals.calibrate(
        np.concatenate(views),
        np.concatenate(predicted),
        validation.target[rows],
        groups[validation.positions[rows]],
        patterns=np.concatenate(patterns),
    )
