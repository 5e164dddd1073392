"""The test rows that two runs can be compared on: test rows of both, and as new to one as to the other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.comparison.predictions import predicted_columns
from spotify_ml.comparison.recorded_run import RecordedRun
from spotify_ml.config.run import RecordedConfig
from spotify_ml.data.schema import LIST_SEPARATOR, TARGET
from spotify_ml.data.unseen_rows import as_new_as, coarsest
from spotify_ml.models.targets import Task
from spotify_ml.utils.errors import DataError

# Below this an interval says nothing that could be used.
FEWEST_ROWS = 100
_REASONS = {
    "FINISHED": "it was recorded before runs kept them, is the run of a trial, or its files are gone",
    "RUNNING": "it is not finished",
    "FAILED": "it failed",
    "KILLED": "it was interrupted",
}
_BY_TRACK = ["track_id"]
_BY_ROW = ["row", "track_id"]


@dataclass(frozen=True)
class SharedRows:
    """Test rows of two runs, and what both predict, shape (n_rows,) or (n_rows, n_classes).

    ``tracks`` are their ``popularity`` and ``track_genre``, and ``groups`` those of the split with the larger ones. The
    seed is that of the first run, and ``said`` says which rows those are.
    """

    task: Task
    seed: int
    tracks: pd.DataFrame
    groups: np.ndarray
    first: np.ndarray
    second: np.ndarray
    said: str


def shared_rows(first: RecordedRun, second: RecordedRun) -> SharedRows:
    """Return the test rows that two runs can be compared on.

    Runs of the same file and cleaning are compared row by row, others track by track, by the mean of its rows. A row
    counts if it is a test row of both, if neither was fitted on anything of its group (by the larger groups of the two
    splits, as `spotify_ml.data.unseen_rows.coarsest` explains), and if both know it under the same popularity. If there
    are too few, or what they predict cannot be compared, a `DataError` says why.
    """
    runs = first, second
    configs = [_known_config(run) for run in runs]
    _check_same_task(configs)
    same_file = len({run.tags.get("data.sha256") for run in runs}) == 1
    key = _BY_ROW if same_file and configs[0].cleaning == configs[1].cleaning else _BY_TRACK
    kept_apart = coarsest([config.split.name for config in configs])
    tables = [_table(run, key, kept_apart) for run in runs]
    both = tables[0].merge(tables[1], on=key, suffixes=("", "_second"))
    new = both[both["new"] & both["new_second"]]
    rows = new[np.isclose(new[TARGET], new[f"{TARGET}_second"])]
    said = _said(tables, both, new, len(rows), kept_apart, configs)
    if len(rows) < FEWEST_ROWS:
        alike = (configs[0].split, configs[0].seed) == (configs[1].split, configs[1].seed)
        hint = "" if alike else "; train both by one split and seed"
        raise DataError(f"{said}: fewer than the {FEWEST_ROWS} that it takes to tell two runs apart{hint}")
    columns = predicted_columns(tables[0])
    # The groups of a split are as large as its run's rows let them be.
    group = "group" if configs[0].split.name == kept_apart else "group_second"
    predicted = [rows[[name + suffix for name in columns]].to_numpy() for suffix in ("", "_second")]
    if len(columns) == 1:
        predicted = [values[:, 0] for values in predicted]
    tracks, groups = rows[[TARGET, "track_genre"]].reset_index(drop=True), rows[group].to_numpy()
    return SharedRows(configs[0].task, configs[0].seed, tracks, groups, predicted[0], predicted[1], said)


def _known_config(run: RecordedRun) -> RecordedConfig:
    if run.predictions is None or run.config is None:
        reason = _REASONS.get(run.status, f"its state is {run.status}")
        raise DataError(f"{run.title} has no predictions of its test rows: {reason}")
    return run.config


def _check_same_task(configs: list[RecordedConfig]) -> None:
    asked = [config.task.model_dump(exclude={"weights", "registered_model"}) for config in configs]
    if asked[0] != asked[1]:
        said = "; ".join(
            ", ".join(f"{'task' if key == 'name' else key}={value}" for key, value in each.items()) for each in asked
        )
        raise DataError(f"they predict different things ({said}), whose figures cannot be compared")


def _table(run: RecordedRun, key: list[str], kept_apart: str) -> pd.DataFrame:
    """Return the scored rows of a run, one per key, and whether nothing of their group was fitted on."""
    rows = pd.DataFrame(run.predictions)
    rows = rows.assign(new=as_new_as(rows["novelty"], kept_apart)).drop(columns="novelty")
    if key == _BY_ROW or not rows["track_id"].duplicated().any():
        return rows
    means = dict.fromkeys([TARGET, *predicted_columns(rows)], "mean")
    merged: dict[str, Any] = {"row": "first", "group": "first", "track_genre": _joined, "new": "all", **means}
    return rows.groupby(_BY_TRACK, sort=False).agg(merged).reset_index()


def _joined(genres: "pd.Series[str]") -> str:
    return LIST_SEPARATOR.join(sorted(set(LIST_SEPARATOR.join(genres.dropna()).split(LIST_SEPARATOR))))


def _said(
    tables: list[pd.DataFrame],
    both: pd.DataFrame,
    new: pd.DataFrame,
    n_left: int,
    kept_apart: str,
    configs: list[RecordedConfig],
) -> str:
    sizes = [len(table) for table in tables]
    said = f"{len(both):,} tracks are test tracks of both"
    if len(both) < max(sizes):
        said += f" (of {sizes[0]:,} and {sizes[1]:,})"
    if configs[0].split.name != configs[1].split.name:
        said += f", and {len(new):,} of these as new to one as to the other, kept apart by {kept_apart}"
    if n_left < len(new):
        said += f"; {len(new) - n_left:,} of them, whose popularity is not the same in both, are left out"
    return said
