"""One parent run above the jobs of a ``--multirun``."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from spotify_ml.tracking.versions import TAG_LENGTH, code_tags
from spotify_ml.utils.errors import SpotifyMLError, TrackingError, without_passwords
from spotify_ml.utils.places import paths_in, shared_folder, shared_overrides, shared_text, shared_value
from spotify_ml.utils.stops import deferred, status_of

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

    from spotify_ml.reports.summary import Summary

# Jobs may run in processes that inherit nothing; what they all share is the sweep's folder.
_PARENT_FILE = "parent_run_id"
_ERROR_FILE = "parent_run_error"
# How each job has ended.
_JOBS = ".jobs"


@dataclass(frozen=True)
class ParentRun:
    """The run above the jobs of a sweep, and the sweep's folder, which all jobs share."""

    run_id: str
    folder: Path


def parent_run() -> ParentRun | None:
    """Return the run above this job, or None outside a sweep."""
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return None
    folder = Path(hydra.sweep.dir)
    # Hydra swallows what a callback raises and starts the jobs all the same: here it stops them.
    if (folder / _ERROR_FILE).is_file():
        raise TrackingError((folder / _ERROR_FILE).read_text(encoding="utf-8"))
    return ParentRun((folder / _PARENT_FILE).read_text(encoding="utf-8"), folder)


class SweepCallback(Callback):
    """Start a parent run before the first job of a sweep, and end it after the last with what the jobs came to."""

    # Hydra has no callback for a sweep that breaks off; `end` finds the run here.
    _open: ClassVar["_OpenSweep | None"] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Start the parent run and leave its id, or why there is none, where every job finds it."""
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / _PARENT_FILE).write_text(self._start(config, folder), encoding="utf-8")
        except SpotifyMLError as error:
            (folder / _ERROR_FILE).write_text(str(error), encoding="utf-8")

    @classmethod
    def _start(cls, config: DictConfig, folder: Path) -> str:
        # mlflow takes seconds to import, and Hydra imports this module on the way to --help.
        from spotify_ml.config.run import TrackingConfig
        from spotify_ml.tracking.abandoned import FOLDER_TAG, process_tags
        from spotify_ml.tracking.store import connect, store_errors

        tracking = TrackingConfig.model_validate(OmegaConf.to_container(config.tracking, resolve=True))
        client, experiment_id = connect(tracking)
        with store_errors(tracking.uri):
            tags = {
                **code_tags(),
                **process_tags(),
                FOLDER_TAG: shared_folder(folder),
                "hydra.overrides": " ".join(shared_overrides(config.hydra.overrides.task))[:TAG_LENGTH],
            }
            with deferred():
                run_id = str(client.create_run(experiment_id, tags=tags).info.run_id)
                cls._open = _OpenSweep(client, experiment_id, run_id, folder)
                client.update_run(run_id, name=f"sweep-{run_id[:8]}")
        return run_id

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note in the sweep's folder how a job has ended, in whichever process that was."""
        if config.hydra.mode == RunMode.MULTIRUN:
            _write_job(config, job_return)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Leave what the jobs came to with the parent run, and end it."""
        self.end("FINISHED")

    @classmethod
    def end(cls, status: str) -> None:
        """End the parent run that is open, if any, with ``FINISHED``, ``FAILED`` or ``KILLED``."""
        if cls._open is None:
            return
        sweep = cls._open
        try:
            if status != "KILLED":
                sweep.record()
        except BaseException as error:
            status = status_of(error)
            raise
        finally:
            with deferred():
                cls._open = None
                sweep.client.set_terminated(sweep.run_id, status)


@dataclass(frozen=True)
class _OpenSweep:
    """A parent run that is open."""

    client: "MlflowClient"
    experiment_id: str
    run_id: str
    folder: Path

    def record(self) -> None:
        """Print what the jobs came to, and leave it with the run: files, and of the best of all its figures."""
        from spotify_ml.reports.ranking import settings_of
        from spotify_ml.reports.summary import Summary

        jobs = _read_jobs(self.folder)
        settings = settings_of(job["overrides"] for job in jobs)
        paths = [Path(job["folder"], "summary.json") for job in jobs]
        summaries = [Summary.read(path) for path in paths if path.is_file()]
        if summaries:
            self._log_comparison(summaries, paths_in(value for own in settings for value in own.values()))
        for job in jobs:
            if job["error"]:
                print(f"failed   {' '.join(job['overrides'])}: {job['error']}")
        if jobs:
            print(f"sweep    {self.folder}")
        self._log_settings(settings)

    def _log_comparison(self, summaries: "list[Summary]", paths: list[str]) -> None:
        """Print how the jobs compare, and leave it with the run; the store is told the names only of paths."""
        from spotify_ml.reports.sweep import FILES, comparison_text, write_comparison
        from spotify_ml.tracking.limits import shortened

        def link(name: str, run_id: str) -> str:
            # As MLflow's own pages link to a run, wherever they are served.
            return f"[{name}](#/experiments/{self.experiment_id}/runs/{run_id})"

        ranked = write_comparison(self.folder, summaries, link)
        print(f"\n{comparison_text(summaries)}")
        for path in (self.folder / name for name in FILES):
            if path.suffix == ".png":
                self.client.log_artifact(self.run_id, str(path))
            else:
                self.client.log_text(self.run_id, shared_text(path.read_text(encoding="utf-8"), paths), path.name)
        note = shortened(shared_text(comparison_text(summaries, link), paths), "the artifact `comparison.md`")
        self.client.set_tag(self.run_id, "mlflow.note.content", note)
        self._log_best(ranked, summaries)

    def _log_settings(self, settings: list[dict[str, str]]) -> None:
        """Log what varies as params of the parent."""
        from spotify_ml.tracking.limits import PARAM_LENGTH

        for key in dict.fromkeys(key for own in settings for key in own):
            values = dict.fromkeys(own.get(key, "") for own in settings)
            if len(values) > 1:
                told = ", ".join(map(shared_value, values))
                self.client.log_param(self.run_id, key, told[:PARAM_LENGTH])

    def _log_best(self, ranked: "list[pd.DataFrame]", summaries: "list[Summary]") -> None:
        """Log which job is best by its validation rows, and its figures, if all answer one question."""
        from spotify_ml.reports.ranking import best_of, several_questions

        best = [job for table in ranked for _, job in best_of(table).iterrows()]
        if len(best) != 1 or len(ranked) != 1 or several_questions(ranked[0]):
            return
        run_ids = best[0]["run_ids"]
        figures = [each.metrics for each in summaries if each.run_id in run_ids]
        for name in figures[0]:
            values = [own[name] for own in figures if name in own]
            if name.startswith(("val/", "test/")) and not name.endswith(("_lower", "_upper")):
                self.client.log_metric(self.run_id, name, fmean(values))
        self.client.set_tag(self.run_id, "sweep.best_run_id", ", ".join(run_ids))


def _write_job(config: DictConfig, job_return: JobReturn) -> None:
    failed = job_return.status is JobStatus.FAILED
    job = {
        "number": config.hydra.job.num,
        "folder": config.hydra.runtime.output_dir,
        "overrides": [without_passwords(each) for each in config.hydra.overrides.task],
        "error": " ".join(str(job_return._return_value).split()) if failed else "",
    }
    folder = Path(config.hydra.sweep.dir, _JOBS)
    folder.mkdir(exist_ok=True)
    (folder / f"{job['number']}.json").write_text(json.dumps(job), encoding="utf-8")


def _read_jobs(folder: Path) -> list[dict[str, Any]]:
    jobs = [json.loads(path.read_text(encoding="utf-8")) for path in (folder / _JOBS).glob("*.json")]
    return sorted(jobs, key=lambda job: int(job["number"]))
