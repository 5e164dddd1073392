"""The record of a study: one parent run, and a run below it for every trial."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from spotify_ml.config.run import RunConfig
from spotify_ml.tracking.abandoned import FOLDER_TAG, PARENT_TAG, TRIAL_TAG, close, close_abandoned, process_tags
from spotify_ml.tracking.limits import curve_points, log_entries, points
from spotify_ml.tracking.store import connect, store_errors
from spotify_ml.tracking.versions import code_tags
from spotify_ml.utils.errors import ConfigError, TrackingError
from spotify_ml.utils.files import remove_abandoned
from spotify_ml.utils.places import folder_of, shared_folder, shared_text
from spotify_ml.utils.stops import deferred

_SEARCHED_RUNS = 1000
_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "fail": "FAILED", "interrupted": "KILLED"}


class StudyRecord:
    """The parent run of a study, opened or gone on with; ``run_id`` is its id, once it is open.

    Every method raises `TrackingError` if the store does not answer or cannot be written.
    """

    run_id: str = ""

    def __init__(self, config: RunConfig) -> None:
        self._uri = config.tracking.uri
        self._client: MlflowClient
        self._client, self._experiment_id = connect(config.tracking)

    def open(self, name: str, run_id: str | None, tags: dict[str, str]) -> None:
        """Start the parent run under the study's name, with tags, or go on with the one of an id.

        Raises `ConfigError` if the run to go on with is not in this store.
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
        log_entries(self._client, self.run_id, tags=process_tags())

    def log_params(self, settings: dict[str, Any]) -> None:
        """Log settings of the study under their dotted keys; what is logged already stays."""
        with store_errors(self._uri):
            known = self._client.get_run(self.run_id).data.params
            new = {key: value for key, value in settings.items() if key not in known}
            log_entries(self._client, self.run_id, params=new)

    def log_metrics(self, metrics: dict[str, float]) -> None:
        """Log figures of the study."""
        with store_errors(self._uri):
            log_entries(self._client, self.run_id, metrics=points(metrics))

    def log_files(self, folder: Path) -> None:
        """Log the files of a folder as artifacts below its name."""
        with store_errors(self._uri):
            self._client.log_artifacts(self.run_id, str(folder), folder.name)

    def start_trial(self, number: int, values: dict[str, Any]) -> str:
        """Start the run of a trial, and return its id."""
        tags = {PARENT_TAG: self.run_id, TRIAL_TAG: str(number), **process_tags()}
        with store_errors(self._uri):
            run = self._client.create_run(self._experiment_id, run_name=f"trial-{number}", tags=tags)
            log_entries(self._client, run.info.run_id, params=values)
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
        """End the run of a trial with what became of it: complete, pruned, fail or interrupted, its ``tune.state``.

        The curve is its validation error after every tree, by the name of that error. Each further tag is
        ``tune.<name>``.
        """
        figures = points(metrics or {}) + curve_points(f"learning_curve/val_{error_name}", curve or [])
        said = {f"tune.{name}": shared_text(value) for name, value in {"state": state, **tags}.items()}
        with store_errors(self._uri):
            log_entries(self._client, run_id, metrics=figures, tags=said)
            self._client.set_terminated(run_id, _STATUS[state])

    def running(self) -> list[tuple[int | None, str]]:
        """Return the id of every run below that is not ended, and the number of its trial; None: the refit's."""
        below = f"tags.`{PARENT_TAG}` = '{self.run_id}' and attributes.status = 'RUNNING'"
        with store_errors(self._uri):
            runs = self._client.search_runs([self._experiment_id], below, max_results=_SEARCHED_RUNS)
        numbers = [run.data.tags.get(TRIAL_TAG) for run in runs]
        return [
            (None if number is None else int(number), run.info.run_id)
            for number, run in zip(numbers, runs, strict=True)
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
