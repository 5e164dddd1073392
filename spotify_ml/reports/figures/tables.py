"""The tables behind the figures of a run: made where its rows are, and small enough to be sent."""

import numpy as np
import pandas as pd

from spotify_ml.data.splits import Split
from spotify_ml.evaluation import by_group
from spotify_ml.evaluation.calibration import calibration_table, class_calibration_table
from spotify_ml.evaluation.evaluate import Evaluation
from spotify_ml.evaluation.explain import Explanation
from spotify_ml.evaluation.incomplete import by_label
from spotify_ml.evaluation.metric_names import LOSSES
from spotify_ml.features.display_names import label
from spotify_ml.features.subsets import Subset
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.targets import Task, band_codes, class_names, task_target
from spotify_ml.reports.figures.figure_process import ErrorData, ExplanationData

# Fewer say nothing; of more than these, the interval says how little.
_FEWEST_TRACKS = 10
_MOST_FEATURES = 15


def error_data(
    task: Task,
    tracks: pd.DataFrame,
    split: Split,
    fitted: FittedEstimators,
    evaluation: Evaluation,
    coverage: pd.DataFrame,
    patterns: pd.DataFrame,
) -> ErrorData:
    """Return what the figures of a run's errors show, from the clean tracks and parts of its `Result`."""
    test = split.test
    classes, groups = class_names(task), split.groups[test]
    target = task_target(task, evaluation.actual)
    errors = by_group.row_errors(task, evaluation.actual, evaluation.predicted)
    known = by_group.known_tracks_codes(by_group.known_tracks(tracks, split.trainval, test))
    calibration = (
        class_calibration_table(target, evaluation.predicted, classes)
        if classes
        else calibration_table(target, evaluation.predicted, groups)
    )
    return ErrorData(
        learning_curve=fitted.learning_curve,
        n_trees=fitted.chosen_trees,
        actual=target,
        predicted=evaluation.predicted,
        error=evaluation.metrics[f"test/{LOSSES[task.name]}"],
        calibration=calibration,
        genres=by_group.errors_by_genre(tracks["track_genre"].iloc[test], errors, groups, _FEWEST_TRACKS),
        bands=_named(by_group.errors_by(band_codes(evaluation.actual), errors, groups), by_group.BAND_LABELS),
        known_tracks=_named(by_group.errors_by(known, errors, groups), by_group.KNOWN_LABELS),
        coverage=coverage,
        patterns=by_label(patterns),
        classes=classes,
    )


def explanation_data(task: Task, explanation: Explanation, test: Subset) -> ExplanationData:
    """Return what the figures of a run's explanation show, with the values of its test rows."""
    importance, added = explanation.importance, explanation.contributions
    shown, values = pd.DataFrame(), pd.DataFrame()
    if added is not None:
        order = np.argsort(-added.abs().mean().to_numpy(), kind="stable")[:_MOST_FEATURES]
        names = [label(str(name)) for name in added.columns[order]]
        shown, values = (
            table.iloc[:, order].set_axis(names, axis=1) for table in (added, test.features.loc[added.index])
        )
    return ExplanationData(
        importance=importance.assign(feature=importance["feature"].map(label)),
        families=explanation.families,
        contributions=shown,
        values=values,
        classes=class_names(task),
    )


def _named(table: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    return table.set_axis([labels[code] for code in table.index])
