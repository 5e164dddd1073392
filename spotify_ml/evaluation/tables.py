"""The tables behind the figures of a run: made where its rows are, and small enough to be sent."""

import numpy as np
import pandas as pd

from spotify_ml.config import RunConfig
from spotify_ml.evaluation.calibration import calibration_table, class_calibration_table
from spotify_ml.evaluation.drawing import FigureData
from spotify_ml.evaluation.errors import (
    BAND_LABELS,
    KNOWN_LABELS,
    errors_by,
    errors_by_genre,
    known_tracks,
    known_tracks_codes,
    row_errors,
)
from spotify_ml.features.labels import label
from spotify_ml.models.targets import band_codes, class_names, task_target
from spotify_ml.result import Result

# Fewer say nothing; of more than these, the interval says how little.
_FEWEST_TRACKS = 10
_MOST_FEATURES = 15


def figure_data(config: RunConfig, result: Result) -> FigureData:
    """Return what the figures of a run show.

    Parameters
    ----------
    config : RunConfig
        What was asked for.
    result : Result
        What it came to.
    """
    evaluation, tracks, split = result.evaluation, result.tracks.frame, result.split
    test, fitting = split.test, split.fitting
    classes, groups = class_names(config.task), split.groups[test]
    target = task_target(config.task, evaluation.actual)
    errors = row_errors(config.task, evaluation.actual, evaluation.predicted)
    known = known_tracks_codes(known_tracks(tracks, fitting, test))
    contributions, values = _contributions(result)
    return FigureData(
        learning_curve=result.fitted.learning_curve,
        n_trees=result.fitted.n_trees,
        actual=target,
        predicted=evaluation.predicted,
        error=evaluation.metrics["test/log_loss" if classes else "test/rmse"],
        calibration=class_calibration_table(target, evaluation.predicted, classes)
        if classes
        else calibration_table(target, evaluation.predicted, groups),
        genres=errors_by_genre(tracks["track_genre"].iloc[test], errors, groups, _FEWEST_TRACKS),
        bands=_named(errors_by(band_codes(evaluation.actual), errors, groups), BAND_LABELS),
        known_tracks=_named(errors_by(known, errors, groups), KNOWN_LABELS),
        coverage=result.coverage,
        importance=result.explanation.importance.assign(feature=lambda table: table["feature"].map(label)),
        families=result.explanation.families,
        contributions=contributions,
        values=values,
        classes=classes,
    )


def _named(table: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    return table.set_axis([labels[code] for code in table.index])


def _contributions(result: Result) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the most important features added and by which values; two empty tables where that is unknown."""
    added = result.explanation.contributions
    if added is None:
        return pd.DataFrame(), pd.DataFrame()
    order = np.argsort(-added.abs().mean().to_numpy(), kind="stable")[:_MOST_FEATURES]
    values = result.matrices.test.features.loc[added.index]
    names = [label(str(name)) for name in added.columns[order]]
    return added.iloc[:, order].set_axis(names, axis=1), values.iloc[:, order].set_axis(names, axis=1)
