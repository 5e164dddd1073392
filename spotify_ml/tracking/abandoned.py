"""Runs whose process is gone: each says which process works on it, and the next command closes what none does."""

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Run

from spotify_ml.tracking.versions import TAG_LENGTH
from spotify_ml.utils.files import remove_abandoned
from spotify_ml.utils.places import folder_of
from spotify_ml.utils.process import machine, started

log = logging.getLogger(__name__)

# process/<machine>/<process id>, with the time of its start: several may work on the run of a study.
_PREFIX = "process/"
FOLDER_TAG = "run.folder"
PARENT_TAG, TRIAL_TAG, _STATE_TAG = "mlflow.parentRunId", "tune.trial", "tune.state"
_SEARCHED_RUNS = 1000


def process_tags() -> dict[str, str]:
    """Return the tag of a run that this process works on."""
    return {f"{_PREFIX}{machine()}/{os.getpid()}": started(os.getpid()) or ""}


def close_abandoned(client: MlflowClient, experiment_id: str) -> None:
    """End every run of an experiment that processes of this machine worked on which are all gone, and say so.

    Runs of other machines, and those from before runs named their processes, stay as they are.
    """
    remove_abandoned(Path(tempfile.gettempdir()))
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'", max_results=_SEARCHED_RUNS)
    gone = {run.info.run_id: run for run in running if _is_abandoned(run.data.tags)}
    # What was begun below a run without a process of its own.
    below = [run for run in running if run.data.tags.get(PARENT_TAG) in gone and not _owners(run.data.tags)]
    for run in (*gone.values(), *below):
        close(client, run)


def close(client: MlflowClient, run: Run) -> None:
    """End a run whose process is gone, and what that had begun: files, the run's model, and a version of it."""
    run_id, tags = run.info.run_id, run.data.tags
    processes = ", ".join(owner.removeprefix(_PREFIX) for owner in _owners(tags)) or "of the run above"
    if TRIAL_TAG in tags:
        client.set_tag(run_id, _STATE_TAG, "fail")
    reason = f"its process ({processes}) ended without closing it: killed, or out of memory"
    end_broken(client, run_id, "FAILED", reason)
    log.warning("run %s (%s) was left RUNNING by a process that is gone; it is FAILED now", run.info.run_name, run_id)


def end_broken(client: MlflowClient, run_id: str, status: str, error: str) -> None:
    """End a run as ``FAILED`` or ``KILLED``, and what it had begun: files, its model, and a version of that.

    The error becomes the tag ``error``. A version that has an alias was whole when it got that, and stays.
    """
    client.set_tag(run_id, "error", error[:TAG_LENGTH])
    client.set_terminated(run_id, status)
    run = client.get_run(run_id)
    tags = run.data.tags
    if FOLDER_TAG in tags:
        remove_abandoned(folder_of(tags[FOLDER_TAG]))
    for model in client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'"):
        if model.status == LoggedModelStatus.PENDING:
            client.finalize_logged_model(str(model.model_id), LoggedModelStatus.FAILED)
    for found in client.search_model_versions(f"run_id = '{run_id}'"):
        if not client.get_model_version(found.name, found.version).aliases:
            client.delete_model_version(found.name, found.version)
            log.warning("version %s of %s was not complete and is removed", found.version, found.name)


def _owners(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if name.startswith(_PREFIX)}


def _is_abandoned(tags: Mapping[str, str]) -> bool:
    owners = {tuple(name.removeprefix(_PREFIX).rsplit("/", 1)): since for name, since in _owners(tags).items()}
    return bool(owners) and all(
        host == machine() and started(int(process_id)) != since for (host, process_id), since in owners.items()
    )
