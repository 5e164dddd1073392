"""Runs found again: by id, name or version, with what was recorded of them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from spotify_ml.comparison.predictions import read_predictions
from spotify_ml.comparison.recorded_run import RecordedRun
from spotify_ml.config.run import RecordedConfig, TrackingConfig
from spotify_ml.evaluation.metric_names import COLUMNS
from spotify_ml.tracking.abandoned import PARENT_TAG, TRIAL_TAG
from spotify_ml.tracking.registry import find_version
from spotify_ml.tracking.store import open_store, store_errors
from spotify_ml.utils.errors import TrackingError, did_you_mean
from spotify_ml.utils.files import temporary_folder

_ID = re.compile(r"[0-9a-f]{32}")
_SHORTEST_PREFIX = 4
_PREFIX = re.compile(r"[0-9a-f]{4,31}")
_READ_FILES = ("config.json", "predictions", "figures")
_LATEST_RUNS = 1000
_LISTED = 5
# Runs of `spotify_ml.train` that came to an end; not trials, folds, promotions and what stands above a sweep's jobs.
_FINISHED = "attributes.status = 'FINISHED' and tags.`data.sha256` != ''"


def read_runs(tracking: TrackingConfig, names: Sequence[str]) -> list[RecordedRun]:
    """Return what is recorded of runs, in the order in which they are named.

    A name is a run's id, the beginning of one, a run's name, or a version as ``models:/name@alias`` or
    ``models:/name/version``. Raises `TrackingError` if one of them names no run of the experiment, or several; or if
    the store cannot be used.
    """
    client = open_store(tracking.uri)
    with store_errors(tracking.uri):
        return [_read(client, tracking, name) for name in names]


def finished_runs(tracking: TrackingConfig, count: int) -> pd.DataFrame:
    """Return the latest finished runs of an experiment that were trained, at most so many, latest first.

    The table is indexed by ``run_id``: ``name``, ``started``, the chosen ``split``, ``features`` and ``model``, and the
    main figures of the test rows. Raises `TrackingError` if there is no such store or experiment, or it cannot be used.
    """
    client = open_store(tracking.uri)
    with store_errors(tracking.uri):
        runs = client.search_runs([_experiment_id(client, tracking)], _FINISHED, max_results=count)
    metrics = [f"test/{name}" for names in COLUMNS.values() for name in names]
    rows = [
        {
            "run_id": run.info.run_id,
            "name": run.info.run_name,
            "started": _started(run).replace(microsecond=0),
            **{group: run.data.params.get(f"{group}.name") for group in ("split", "features", "model")},
            **{metric: run.data.metrics.get(metric) for metric in metrics},
        }
        for run in runs
    ]
    table = pd.DataFrame(rows, columns=["run_id", "name", "started", "split", "features", "model", *metrics])
    return table.dropna(axis="columns", how="all").set_index("run_id") if rows else table.set_index("run_id")


def _experiment_id(client: MlflowClient, tracking: TrackingConfig) -> str:
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        names = [each.name for each in client.search_experiments()]
        raise TrackingError(
            f"{tracking.uri} has no experiment '{tracking.experiment}'{did_you_mean(tracking.experiment, names)}; "
            "train first, or set tracking.experiment=…"
        )
    return str(experiment.experiment_id)


def _read(client: MlflowClient, tracking: TrackingConfig, name: str) -> RecordedRun:
    run, address = _find(client, tracking, name)
    params = dict(run.data.params)
    if {TRIAL_TAG, PARENT_TAG} <= set(run.data.tags):
        # A trial holds what it changes in the settings of its study.
        params = {**client.get_run(run.data.tags[PARENT_TAG]).data.params, **params}
    if not params and not run.data.metrics:
        raise TrackingError(
            f"{name} has neither settings nor figures, as a run above the jobs of a sweep; name one of the jobs"
        )
    run_id = run.info.run_id
    there = {file.path for file in client.list_artifacts(run_id)}
    with temporary_folder() as scratch:
        files = {
            name: Path(client.download_artifacts(run_id, name, str(scratch))) for name in _READ_FILES if name in there
        }
        pictures = sorted(files["figures"].glob("*.png")) if "figures" in files else []
        return RecordedRun(
            run_id=run_id,
            name=str(run.info.run_name),
            address=address,
            status=str(run.info.status),
            started=_started(run),
            params=params,
            tags=dict(run.data.tags),
            metrics=dict(run.data.metrics),
            config=_config(files["config.json"]) if "config.json" in files else None,
            predictions=read_predictions(files["predictions"], f"run {run_id}") if "predictions" in files else None,
            figures={path.stem: path.read_bytes() for path in pictures},
            model_bytes=sum(file.file_size or 0 for file in client.list_artifacts(run_id, "models")) or None,
        )


def _started(run: Run) -> datetime:
    return datetime.fromtimestamp(run.info.start_time / 1000, UTC)


def _find(client: MlflowClient, tracking: TrackingConfig, name: str) -> tuple[Run, str | None]:
    """Return the run that is meant, and the version where one was named."""
    if name.startswith("models:/"):
        version = find_version(client, name)
        return _by_id(client, version.run_id, f"the run of {name}"), version.uri
    if _ID.fullmatch(name):
        return _by_id(client, name, name), None
    return _by_name(client, _experiment_id(client, tracking), name), None


def _by_id(client: MlflowClient, run_id: str, said: str) -> Run:
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise TrackingError(f"{said} is not in the store") from error
    if run.info.lifecycle_stage == "deleted":
        raise TrackingError(f"{said} was deleted; restore it with `mlflow runs restore --run-id {run_id}`")
    return run


def _by_name(client: MlflowClient, experiment_id: str, name: str) -> Run:
    # The syntax of searches knows two kinds of quotes, and no way to write one within its own kind.
    quote = '"' if "'" in name else "'"
    found = client.search_runs([experiment_id], f"attributes.run_name = {quote}{name}{quote}", max_results=_LISTED + 1)
    if not found and _PREFIX.fullmatch(name):
        found = client.search_runs([experiment_id], f"attributes.run_id LIKE '{name}%'", max_results=_LISTED + 1)
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(run.info.run_id for run in found[:_LISTED])
        more = " and more" if len(found) > _LISTED else ""
        raise TrackingError(f"'{name}' may be several runs: {listed}{more}; name one by its id")
    latest = client.search_runs([experiment_id], max_results=_LATEST_RUNS)
    known = [str(run.info.run_name) for run in latest]
    known += [run.info.run_id[: len(name)] for run in latest if len(name) >= _SHORTEST_PREFIX]
    raise TrackingError(
        f"there is no run '{name}'{did_you_mean(name, known)}; give a run's id, four or more of its first characters, "
        "its name, or models:/name@alias"
    )


def _config(path: Path) -> RecordedConfig | None:
    try:
        return RecordedConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError:
        # It was recorded when runs had other settings.
        return None
