"""One worker of a study: run trials until there are enough, then record the best as a run."""

import gc
import json
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import Never

from optuna.exceptions import StorageInternalError, TrialPruned, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

from spotify_ml.config.models import XGBoostConfig
from spotify_ml.config.run import RunConfig
from spotify_ml.config.tuning import NoTuningConfig, OptunaConfig, WilcoxonConfig
from spotify_ml.data.sources import RawFile
from spotify_ml.models.rehearsal import rehearse
from spotify_ml.models.targets import class_names
from spotify_ml.reports.summary import Summary
from spotify_ml.tracking.study import StudyRecord
from spotify_ml.tracking.sweep import ParentRun
from spotify_ml.tracking.training import train
from spotify_ml.tuning.objectives import Objective, read_objectives
from spotify_ml.tuning.outcome import METRICS, Outcome, best_trial, silence_experimental_warnings, write_outcome
from spotify_ml.tuning.space import (
    Parameter,
    Values,
    apply,
    describe,
    nearest_values,
    outside,
    own_values,
    read_space,
    stored_space,
    suggest,
)
from spotify_ml.tuning.study import FINISHED, VALUES, SharedStudy, Storage, Worker, stored_identity
from spotify_ml.tuning.trials import FoldReport, Pruning, Report, TrialData
from spotify_ml.utils.errors import ConfigError, DataError, SpotifyMLError
from spotify_ml.utils.places import shared_overrides
from spotify_ml.utils.stops import deferred, if_stuck, status_of
from spotify_ml.utils.threads import leave_busy_cores

log = logging.getLogger(__name__)

_RUN_ID, _OUTCOME = "mlflow.run_id", "outcome"
_WAIT_S = 1.0
_GONE = "its process is gone"
_DECIDING = ("seed", "cleaning", "split", "features", "task", "model")
_SPACE = "search space"
_SETTINGS = "seed, cleaning, split, features, task or model"
# What decides no figure of a trial: threads, and the rate of a probe, which trials have none of.
_IDLE = ("n_jobs", "thread_count", "probe_rate")
# Failures in a row that end the study.
_FAILURES = 5


def tune(config: RunConfig, folder: Path, overrides: list[str], parent: ParentRun | None = None) -> Outcome:
    """Work on the study of a configuration, which has ``tune=optuna``, until it has enough trials.

    `folder` is for the files of the study and of the best run; `overrides` are recorded; `parent` is the parent run of
    a sweep's jobs. Raises `SpotifyMLError` if space, metrics, storage, data or tracking store cannot be used; nothing
    is written to the study then.
    """
    config = _without_probe(config)
    settings = config.tune
    assert isinstance(settings, OptunaConfig)  # noqa: S101 - the caller has looked
    silence_experimental_warnings()
    space = read_space(settings.space, config)
    objectives = read_objectives(config, settings)
    rehearse(config.model, config.task, config.seed)
    data = TrialData(settings.folds)
    raw = data.source(config).raw
    record = StudyRecord(config)
    storage = Storage(settings.storage)
    name = settings.study_name or f"{config.model.name}-{config.split.name}-{datetime.now():%Y%m%d-%H%M%S-%f}"
    with storage.errors():
        config, space = _as_it_began(config, space, stored_identity(storage, name), overrides)
        identity = _identity(config, raw, space, objectives, settings)
        first = nearest_values(space, own_values(space, config))
        study = SharedStudy(storage, name, settings, config.seed, objectives, identity, first)
        log.info("study %s, in %s", name, storage.name)
        leave_busy_cores()
        with Worker(study.study) as worker:
            return _Work(config, settings, space, objectives, data, study, worker, record).run(
                folder, overrides, parent
            )


def _without_probe(config: RunConfig) -> RunConfig:
    """Return the configuration whose trials and refit are fitted at their own rate, which the study searches."""
    if not isinstance(config.model, XGBoostConfig):
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"probe_rate": None})})


def _as_it_began(
    config: RunConfig, space: list[Parameter], identity: dict[str, str], overrides: list[str]
) -> tuple[RunConfig, list[Parameter]]:
    """Return the configuration and the space that a study began with, where these are other defaults than today's.

    What the command line names stays as it is, and is refused later if it is another.
    """
    settings = json.loads(identity.get(_SETTINGS, "{}"))
    if not settings:
        return config, space
    if "split.names" not in settings and config.split.names != "exact":
        log.info("the study compares names exactly (split.names=exact), as when it began")
        config = config.model_copy(update={"split": config.split.model_copy(update={"names": "exact"})})
    named = {override.lstrip("+~").partition("=")[0] for override in overrides}
    if named & {"model", "experiment"} or settings.get("model.name") != config.model.name:
        return config, space
    own = config.flat()
    others = {
        key: value
        for key, value in settings.items()
        if key.startswith("model.") and key not in named and key in own and own[key] != value
    }
    if others:
        said = " ".join(f"{key}={value}" for key, value in others.items())
        log.info("the study goes on with the parameters that it began with: %s", said)
    if not any(key.startswith(("tune.space", "tune/space")) for key in named):
        space = stored_space(identity[_SPACE])
    return apply(config, others), space


def _identity(
    config: RunConfig, raw: RawFile, space: list[Parameter], objectives: list[Objective], settings: OptunaConfig
) -> dict[str, str]:
    """Return what all trials of a study have in common, by descriptions for error messages."""
    return {
        "dataset": " ".join([raw.sha256, *map("=".join, raw.joins)]),
        _SPACE: describe(space),
        "objective (tune.metrics, tune.directions, tune.folds)": f"{objectives} {settings.folds}",
        _SETTINGS: _deciding_settings(config),
    }


def _deciding_settings(config: RunConfig) -> str:
    """Return the settings that decide the figures of a trial."""
    settings = {
        key: value
        for key, value in config.flat().items()
        if key.split(".")[0] in _DECIDING and key.split(".")[-1] not in _IDLE
    }
    return json.dumps(settings, sort_keys=True)


@dataclass(frozen=True)
class _Work:
    """What one worker does for a study; see `tune`."""

    config: RunConfig
    settings: OptunaConfig
    space: list[Parameter]
    objectives: list[Objective]
    data: TrialData
    study: SharedStudy
    worker: Worker
    record: StudyRecord

    def run(self, folder: Path, overrides: list[str], parent: ParentRun | None) -> Outcome:
        """Open the record, run trials, and end the study if no other worker does."""
        try:
            with if_stuck(partial(self._leave, "KILLED")):
                with self.study.locked():
                    self._open_record(overrides, parent)
                    self._recover()
                self.record.close_abandoned()
                self._run_trials()
                summary = self._finish(folder, overrides)
        except BaseException as error:
            self._leave(status_of(error))
            raise
        finally:
            self.record.leave()
        best = self._best()
        return Outcome(self.study.study.study_name, best.values[0], self._counts(), best.user_attrs[VALUES], summary)

    def _open_record(self, overrides: list[str], parent: ParentRun | None) -> None:
        study = self.study.study
        tags = {"hydra.overrides": " ".join(shared_overrides(overrides)), "tune.study": study.study_name}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent.run_id
        run_id = study.user_attrs.get(_RUN_ID)
        self.record.open(study.study_name, run_id, tags)
        if run_id is None:
            study.set_user_attr(_RUN_ID, self.record.run_id)
            settings = {key: value for key, value in self.config.shared_flat().items() if key != "tune.storage"}
            self.record.log_params(settings)

    def _recover(self) -> None:
        """End the trials and runs of workers that are gone."""
        self.study.fail_abandoned()
        trials = {trial.number: trial for trial in self.study.trials()}
        for number, run_id in self.record.running():
            if number is None:
                if not self.study.is_being_finished():
                    self.record.end_refit(run_id)
                continue
            trial = trials[number]
            if trial.state is TrialState.RUNNING or self.study.is_in_hand(trial):
                continue
            # Its worker ended the trial, but not the run.
            if trial.state in FINISHED:
                self.record.end_trial(run_id, trial.state.name.lower(), trial.user_attrs.get(METRICS))
            else:
                self.record.end_trial(run_id, "fail", error=_GONE)

    def _run_trials(self) -> None:
        failures = 0
        with tqdm(total=self.settings.n_trials, unit="trial", disable=None, leave=False) as bar:
            while True:
                bar.n = len(self.study.trials(*FINISHED))
                bar.refresh()
                with self.study.locked():
                    if self.study.has_abandoned():
                        self._recover()
                    trial = self.study.take(self.worker)
                if trial is not None:
                    failures = 0 if self._run_trial(trial, bar) else failures + 1
                    if failures == _FAILURES:
                        raise ConfigError(f"{failures} trials in a row failed; the log and their runs say why")
                elif self.study.is_complete():
                    return
                else:
                    # Other workers run the last trials, and may fail.
                    sleep(_WAIT_S)

    def _run_trial(self, trial: Trial, bar: "tqdm[Never]") -> bool:
        """Run one trial to its end, and return False if it failed."""
        started = perf_counter()
        run_id, curve, ended = "", list[float](), None
        try:
            values = self._values(trial)
            with deferred():
                run_id = self.record.start_trial(trial.number, values)
            trial.set_user_attr(VALUES, values)
            metrics, state, tags = self._fit(trial, values, curve)
            with deferred():
                trial.set_user_attr(METRICS, metrics)
                figures = None if state is TrialState.PRUNED else [metrics[each.metric] for each in self.objectives]
                ended = self.study.study.tell(trial, figures, state=state)
                error_name = "log_loss" if class_names(self.config.task) else "rmse"
                self.record.end_trial(run_id, ended.state.name.lower(), metrics, curve, error_name, **tags)
        except UpdateFinishedTrialError:
            # Another worker has ended the trial, as this one was silent too long (asleep perhaps).
            log.warning("trial %d was ended by another worker, as this one sent no update in time", trial.number)
            if run_id:
                self.record.end_trial(run_id, "fail", error=_GONE)
            return True
        except BaseException as error:
            if ended is not None:
                # Only its run is left open, which the next start ends.
                raise
            # If the storage cannot be written, the run is ended all the same; the next start ends the trial.
            with suppress(StorageInternalError, SQLAlchemyError, OSError):
                self.study.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            if run_id:
                if status_of(error) == "KILLED":
                    self.record.end_trial(run_id, "interrupted", error="interrupted")
                else:
                    self.record.end_trial(run_id, "fail", error=str(error))
            if not isinstance(error, SpotifyMLError):
                raise
            log.warning("trial %d failed: %s", trial.number, error)
            return False
        self._log(ended, perf_counter() - started, bar)
        return True

    def _values(self, trial: Trial) -> Values:
        """Return the values of a trial; the first has the run's own, so that a study cannot end with a worse run."""
        if trial.number > 0:
            return suggest(trial, self.space, self.config)
        own = own_values(self.space, self.config)
        for value in outside(self.space, own):
            log.info("the first trial is the run itself: %s", value)
        known = nearest_values(self.space, own)
        # The sampler learns the nearest values in its space.
        suggest(trial, [each for each in self.space if each.key in known], self.config)
        return own

    def _fit(
        self, trial: Trial, values: Values, curve: list[float]
    ) -> tuple[dict[str, float], TrialState, dict[str, str]]:
        """Return the metrics of a trial, its state, and tags of its run."""
        equal = self.study.equal_trial(values)
        if equal is not None:
            return equal.user_attrs.get(METRICS, {}), equal.state, {"equal_to": str(equal.number)}
        reports: tuple[Report | None, FoldReport | None] = None, None
        if len(self.objectives) == 1 and self.settings.pruner.name != "none":
            pruning = Pruning(trial, self.objectives[0], by_fold=isinstance(self.settings.pruner, WilcoxonConfig))
            reports = pruning.after_trees, pruning.after_folds
        try:
            metrics = self.data.fit(apply(self.config, values), curve, *reports)
        except TrialPruned:
            return {}, TrialState.PRUNED, {}
        missing = [each.metric for each in self.objectives if each.metric not in metrics]
        if missing:
            raise DataError(f"{missing[0]} is not defined for these rows")
        return metrics, TrialState.COMPLETE, {}

    def _log(self, trial: FrozenTrial, seconds: float, bar: "tqdm[Never]") -> None:
        value = "pruned" if trial.state is TrialState.PRUNED else f"{self.objectives[0].metric} {trial.values[0]:.4f}"
        best = ""
        if self.study.trials(TrialState.COMPLETE):
            leader = self._best()
            best = f" (best {leader.values[0]:.4f} of trial {leader.number})"
            bar.set_postfix_str(f"best {leader.values[0]:.4f}")
        bar.clear()
        log.info("trial %d: %s%s, %.1f s", trial.number, value, best, seconds)

    def _best(self) -> FrozenTrial:
        if not self.study.trials(TrialState.COMPLETE):
            raise ConfigError("no trial was completed; raise tune.n_trials, or choose another tune/pruner")
        return best_trial(self.study.study, self.objectives)

    def _finish(self, folder: Path, overrides: list[str]) -> Summary | None:
        """Refit and record the best trial, once for each number of trials; return None if another worker does."""
        study = self.study.study
        n_finished = len(self.study.trials(*FINISHED))
        with self.study.locked():
            mine = study.user_attrs.get(_OUTCOME) != n_finished and self.study.finish(self.worker)
            self._recover()
        if not mine:
            if study.user_attrs.get(_OUTCOME) == n_finished:
                self.record.end("FINISHED")
            return None
        best = self._best()
        chosen = apply(self.config, best.user_attrs[VALUES])
        self.record.use_folder(folder)
        write_outcome(folder / "study", study, self.objectives, chosen, self._comment(best, n_finished))
        refit = chosen.model_copy(update={"tune": NoTuningConfig(name="none"), "name": chosen.name or study.study_name})
        # Reference cycles hold the boosters of trials; the run's gc.freeze would keep them longer than their library.
        gc.collect()
        summary = train(refit, folder / "best", overrides, ParentRun(self.record.run_id, folder))
        self.record.log_files(folder / "study")
        counts = {f"trials/{state}": float(count) for state, count in self._counts().items()}
        figures = best.user_attrs[METRICS] | {
            name: value for name, value in summary.metrics.items() if name.startswith("test/")
        }
        of_best = {f"best/{name}": value for name, value in figures.items()}
        self.record.log_metrics({**counts, "best/trial": float(best.number), **of_best})
        with self.study.locked():
            study.set_user_attr(_OUTCOME, n_finished)
        self.record.end("FINISHED")
        return summary

    def _comment(self, best: FrozenTrial, n_finished: int) -> str:
        """Return where the best trial comes from, for the experiment's file."""
        n_pruned = len(self.study.trials(TrialState.PRUNED))
        figures = "  ".join(
            f"{each.metric} {value:.4f}" for each, value in zip(self.objectives, best.values, strict=True)
        )
        sha256 = self.data.source(self.config).raw.sha256
        return (
            f"Trial {best.number} of {n_finished} ({n_pruned} pruned) of the study "
            f"{self.study.study.study_name}: {figures}; split={self.config.split.name}, seed {self.config.seed}, "
            f"data sha256 {sha256[:12]}."
        )

    def _counts(self) -> dict[str, int]:
        """Return the number of trials by state."""
        return {state.name.lower(): len(self.study.trials(state)) for state in (*FINISHED, TrialState.FAIL)}

    def _leave(self, status: str) -> None:
        """End the parent run, unless other workers continue."""
        others = False
        try:
            with self.study.locked():
                self.worker.retire()
                self._recover()
                others = self.study.has_other_workers(self.worker)
        except SpotifyMLError as error:
            log.warning("the study's trials could not be ended: %s", error)
        try:
            if not others:
                self.record.end(status)
        except SpotifyMLError as error:
            log.warning("the study's run could not be marked %s: %s", status, error)
