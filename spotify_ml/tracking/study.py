"""The record of a study: one parent run, and a run below it for every trial."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from spotify_ml.config.run import RunConfig
from spotify_ml.tracking.abandoned import FOLDER_TAG, close, close_abandoned, process_tags
from spotify_ml.tracking.limits import PARAM_LENGTH, PARAMS_PER_CALL, thinned
from spotify_ml.tracking.store import connect, store_errors
from spotify_ml.tracking.versions import code_tags
from spotify_ml.utils.errors import ConfigError, TrackingError
from spotify_ml.utils.files import remove_abandoned
from spotify_ml.utils.places import folder_of, shared_folder, shared_text
from spotify_ml.utils.stops import deferred

_PARENT_TAG, _TRIAL_TAG = "mlflow.parentRunId", "tune.trial"
_SEARCHED_RUNS = 1000


class StudyRecord:
    """The parent run of a study, opened or gone on with.

    Parameters
    ----------
    config : RunConfig
        Says which store.

    Attributes
    ----------
    run_id : str
        The parent run's id, once it is open.

    Raises
    ------
    TrackingError
        If the store does not answer or cannot be written.
    """

    run_id: str = ""

    def __init__(self, config: RunConfig) -> None:
        self._uri = config.tracking.uri
        self._client: MlflowClient
        self._client, self._experiment_id = connect(config.tracking)

    def open(self, name: str, run_id: str | None, tags: dict[str, str]) -> None:
        """Start the parent run, or go on with it.

        Parameters
        ----------
        name : str
            The study's name, which becomes the run's.
        run_id : str or None
            The run to go on with; None: a new one.
        tags : dict of str to str
            Of a new run.

        Raises
        ------
        ConfigError
            If the run to go on with is not in this store.
        """
        with store_errors(self._uri), deferred():
            if run_id is None:
                tags = {**code_tags(), **process_tags(), **tags}
                run = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
                self.run_id = str(run.info.run_id)
            else:
                self._go_on(name, run_id)

    def _go_on(self, name: str, run_id: str) -> None:
        try:
            self._client.get_run(run_id)
        except MlflowException as error:
            raise ConfigError(
                f"config: tune.study_name={name}: its parent run {run_id} is not in {self._uri}; "
                "set tracking.uri=… to the store that the study was begun with, or choose another name"
            ) from error
        self.run_id = run_id
        self._client.update_run(self.run_id, status="RUNNING")
        for name, value in process_tags().items():
            self._client.set_tag(self.run_id, name, value)

    def log_params(self, settings: dict[str, Any]) -> None:
        """Log settings of the study under their dotted keys; what is logged already stays."""
        with store_errors(self._uri):
            known = self._client.get_run(self.run_id).data.params
            new = [Param(key, str(value)[:PARAM_LENGTH]) for key, value in settings.items() if key not in known]
            for start in range(0, len(new), PARAMS_PER_CALL):
                self._client.log_batch(self.run_id, params=new[start : start + PARAMS_PER_CALL])

    def log_metrics(self, metrics: dict[str, float]) -> None:
        """Log figures of the study."""
        now = _now()
        with store_errors(self._uri):
            self._client.log_batch(
                self.run_id, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()]
            )

    def log_files(self, folder: Path) -> None:
        """Log the files of a folder as artifacts below its name."""
        with store_errors(self._uri):
            self._client.log_artifacts(self.run_id, str(folder), folder.name)

    def start_trial(self, number: int, values: dict[str, Any]) -> str:
        """Start the run of a trial, and return its id."""
        params = [Param(key, str(value)) for key, value in values.items()]
        tags = {_PARENT_TAG: self.run_id, _TRIAL_TAG: str(number), **process_tags()}
        with store_errors(self._uri):
            run = self._client.create_run(self._experiment_id, run_name=f"trial-{number}", tags=tags)
            self._client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)

    def end_trial(
        self,
        run_id: str,
        state: str,
        metrics: dict[str, float] | None = None,
        curve: list[float] | None = None,
        error_name: str = "rmse",
        **tags: str,
    ) -> None:
        """End the run of a trial.

        Parameters
        ----------
        run_id : str
            Of the trial.
        state : {"complete", "pruned", "fail", "interrupted"}
            What became of it; the tag ``tune.state``.
        metrics : dict of str to float, optional
            Its figures.
        curve : list of float, optional
            Its validation error after every tree, which becomes a metric history.
        error_name : str
            Of the error in the curve.
        **tags : str
            More to say of it, each as ``tune.<name>``.
        """
        now = _now()
        points = [Metric(name, value, now, 0) for name, value in (metrics or {}).items()]
        for n_trees, error in thinned(curve or []):
            points.append(Metric(f"learning_curve/val_{error_name}", error, now, n_trees))
        said = [RunTag(f"tune.{name}", shared_text(value)) for name, value in {"state": state, **tags}.items()]
        with store_errors(self._uri):
            self._client.log_batch(run_id, metrics=points, tags=said)
            self._client.set_terminated(run_id, _STATUS[state])

    def running(self) -> list[tuple[int | None, str]]:
        """Return the id of every run below that is not ended, and the number of its trial; None: the refit's."""
        below = f"tags.`{_PARENT_TAG}` = '{self.run_id}' and attributes.status = 'RUNNING'"
        with store_errors(self._uri):
            runs = self._client.search_runs([self._experiment_id], below, max_results=_SEARCHED_RUNS)
        return [
            (int(run.data.tags[_TRIAL_TAG]) if _TRIAL_TAG in run.data.tags else None, run.info.run_id) for run in runs
        ]

    def end_refit(self, run_id: str) -> None:
        """End the run of a refit whose process is gone, and what that had begun."""
        with store_errors(self._uri):
            close(self._client, self._client.get_run(run_id))

    def use_folder(self, folder: Path) -> None:
        """Note where the study's files are written from now on; what was half written before is removed."""
        with store_errors(self._uri):
            before = self._client.get_run(self.run_id).data.tags.get(FOLDER_TAG)
            if before is not None:
                remove_abandoned(folder_of(before))
            self._client.set_tag(self.run_id, FOLDER_TAG, shared_folder(folder))

    def leave(self) -> None:
        """Say that this process works no longer on the study; others may."""
        if not self.run_id:
            return
        with suppress(TrackingError), store_errors(self._uri), deferred():
            for name in process_tags():
                self._client.delete_tag(self.run_id, name)

    def close_abandoned(self) -> None:
        """End the runs of other commands whose process is gone; those of this study are told by its trials."""
        with store_errors(self._uri):
            close_abandoned(self._client, self._experiment_id)

    def end(self, status: str) -> None:
        """End the parent run with ``FINISHED``, ``FAILED`` or ``KILLED``; a later start goes on with it."""
        if not self.run_id:
            return
        with store_errors(self._uri):
            # Of a process before this one, which the study has got over.
            if status == "FINISHED" and "error" in self._client.get_run(self.run_id).data.tags:
                self._client.delete_tag(self.run_id, "error")
            self._client.set_terminated(self.run_id, status)


_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "fail": "FAILED", "interrupted": "KILLED"}


def _now() -> int:
    return int(time.time() * 1000)
