"""One worker of a study: take trials until there are enough, then record the best as any other run."""

import gc
import json
import logging
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import Never

from optuna.exceptions import StorageInternalError, TrialPruned, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

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
    suggest,
)
from spotify_ml.tuning.study import FINISHED, VALUES, SharedStudy, Storage, Worker
from spotify_ml.tuning.trials import Curve, FoldReporter, Reporter, TrialData, TrialResult
from spotify_ml.utils.errors import ConfigError, DataError, SpotifyMLError
from spotify_ml.utils.places import shared_overrides
from spotify_ml.utils.stops import deferred, if_stuck, status_of
from spotify_ml.utils.threads import leave_busy_cores

log = logging.getLogger(__name__)

_RUN_ID, _OUTCOME = "mlflow.run_id", "outcome"
_WAIT_S = 1.0
_GONE = "its process is gone"
_DECIDING = ("seed", "cleaning", "split", "features", "task", "model")
_THREADS = ("n_jobs", "thread_count")
# So many failures in a row are no accident.
_FAILURES = 5


def tune(config: RunConfig, folder: Path, overrides: list[str], parent: ParentRun | None = None) -> Outcome:
    """Work on the study of a configuration until it has as many trials as are wanted.

    Parameters
    ----------
    config : RunConfig
        With ``tune=optuna``.
    folder : Path
        Where the files of the study and of the best run are written.
    overrides : list of str
        What was typed, for the record.
    parent : ParentRun, optional
        The run above, for the jobs of a sweep.

    Raises
    ------
    SpotifyMLError
        If space, metrics, storage, data or tracking store cannot be used; nothing is written to the study then.
    """
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
        identity = _identity(config, raw, space, objectives, settings)
        first = nearest_values(space, own_values(space, config))
        study = SharedStudy(storage, name, settings, config.seed, objectives, identity, first)
        log.info("study %s, in %s", name, storage.name)
        leave_busy_cores()
        with Worker(study.study) as worker:
            return _Work(config, settings, space, objectives, data, study, worker, record).run(
                folder, overrides, parent
            )


def _identity(
    config: RunConfig, raw: RawFile, space: list[Parameter], objectives: list[Objective], settings: OptunaConfig
) -> dict[str, str]:
    """Return what all trials of a study have in common, under names that stand in an error."""
    return {
        "dataset": raw.sha256,
        "search space": describe(space),
        "objective (tune.metrics, tune.directions, tune.folds)": f"{objectives} {settings.folds}",
        "seed, cleaning, split, features, task or model": _deciding_settings(config),
    }


def _deciding_settings(config: RunConfig) -> str:
    """Return what decides the figures of a trial; how many threads it takes does not."""
    settings = {
        key: value
        for key, value in config.flat().items()
        if key.split(".")[0] in _DECIDING and key.split(".")[-1] not in _THREADS
    }
    return json.dumps(settings, sort_keys=True)


class _Work:
    """What one worker does for a study; see `tune`."""

    def __init__(
        self,
        config: RunConfig,
        settings: OptunaConfig,
        space: list[Parameter],
        objectives: list[Objective],
        data: TrialData,
        study: SharedStudy,
        worker: Worker,
        record: StudyRecord,
    ) -> None:
        self._config, self._settings, self._space, self._objectives = config, settings, space, objectives
        self._data, self._study, self._worker, self._record = data, study, worker, record

    def run(self, folder: Path, overrides: list[str], parent: ParentRun | None) -> Outcome:
        """Open the record, run trials, and end the study where that falls to this worker."""
        try:
            with if_stuck(partial(self._leave, "KILLED")):
                with self._study.locked():
                    self._open_record(overrides, parent)
                    self._recover()
                self._record.close_abandoned()
                self._run_trials()
                summary = self._finish(folder, overrides)
        except BaseException as error:
            self._leave(status_of(error))
            raise
        finally:
            self._record.leave()
        best = self._best()
        counts = {state.name.lower(): len(self._study.trials(state)) for state in (*FINISHED, TrialState.FAIL)}
        return Outcome(self._study.study.study_name, best.values[0], counts, best.user_attrs[VALUES], summary)

    def _open_record(self, overrides: list[str], parent: ParentRun | None) -> None:
        study = self._study.study
        tags = {"hydra.overrides": " ".join(shared_overrides(overrides)), "tune.study": study.study_name}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent.run_id
        run_id = study.user_attrs.get(_RUN_ID)
        self._record.open(study.study_name, run_id, tags)
        if run_id is None:
            study.set_user_attr(_RUN_ID, self._record.run_id)
            settings = {key: value for key, value in self._config.shared_flat().items() if key != "tune.storage"}
            self._record.log_params(settings)

    def _recover(self) -> None:
        """End the trials and runs of workers that are gone."""
        self._study.fail_abandoned()
        trials = {trial.number: trial for trial in self._study.trials()}
        for number, run_id in self._record.running():
            if number is None:
                if not self._study.is_being_finished():
                    self._record.end_refit(run_id)
                continue
            trial = trials[number]
            if trial.state is TrialState.RUNNING or self._study.is_in_hand(trial):
                continue
            # Its worker came to the end of the trial, not of its run.
            if trial.state in FINISHED:
                self._record.end_trial(run_id, trial.state.name.lower(), trial.user_attrs.get(METRICS))
            else:
                self._record.end_trial(run_id, "fail", error=_GONE)

    def _run_trials(self) -> None:
        failures = 0
        with tqdm(total=self._settings.n_trials, unit="trial", disable=None, leave=False) as bar:
            while True:
                bar.n = len(self._study.trials(*FINISHED))
                bar.refresh()
                with self._study.locked():
                    if self._study.has_abandoned():
                        self._recover()
                    trial = self._study.take(self._worker)
                if trial is not None:
                    failures = 0 if self._run_trial(trial, bar) else failures + 1
                    if failures == _FAILURES:
                        raise ConfigError(f"{failures} trials in a row failed; the log and their runs say why")
                elif self._study.is_complete():
                    return
                else:
                    # The last ones are in other workers' hands; they may yet be lost.
                    sleep(_WAIT_S)

    def _run_trial(self, trial: Trial, bar: "tqdm[Never]") -> bool:
        """Run one trial to its end, whatever that is, and say whether there was nothing wrong with it."""
        started = perf_counter()
        values: Values = {}
        run_id, curve, told = "", Curve(), None
        try:
            values = self._values(trial)
            with deferred():
                run_id = self._record.start_trial(trial.number, values)
            trial.set_user_attr(VALUES, values)
            result, state, tags = self._result(trial, values, curve)
            with deferred():
                told = self._tell(trial, result, state)
                self._record_trial(run_id, told, result, curve, tags)
        except UpdateFinishedTrialError:
            # This worker was silent for so long, asleep perhaps, that another has taken it for dead.
            log.warning("trial %d was given up for this worker's silence", trial.number)
            if run_id:
                self._record.end_trial(run_id, "fail", error=_GONE)
            return True
        except BaseException as error:
            if told is not None:
                # The trial came to its end, and the next start ends its run.
                raise
            # A storage that cannot be written is no reason to leave the run open; the next start mends the trial.
            with suppress(StorageInternalError, SQLAlchemyError, OSError):
                self._study.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            interrupted = status_of(error) == "KILLED"
            if run_id:
                said = "interrupted" if interrupted else str(error)
                self._record.end_trial(run_id, "interrupted" if interrupted else "fail", error=said)
            if not isinstance(error, SpotifyMLError):
                raise
            log.warning("trial %d failed: %s", trial.number, error)
            return False
        self._say(told, perf_counter() - started, bar)
        return True

    def _record_trial(
        self, run_id: str, told: FrozenTrial, result: TrialResult | None, curve: Curve, tags: dict[str, str]
    ) -> None:
        metrics = {} if result is None else result.metrics
        error_name = "log_loss" if class_names(self._config.task) else "rmse"
        self._record.end_trial(run_id, told.state.name.lower(), metrics, curve.errors, error_name, **tags)

    def _values(self, trial: Trial) -> Values:
        """Return what a trial sets: the first what the run has anyway, so that a study does not end with less."""
        if trial.number > 0:
            return suggest(trial, self._space, self._config)
        own = own_values(self._space, self._config)
        for value in outside(self._space, own):
            log.info("the first trial is the run itself: %s", value)
        known = nearest_values(self._space, own)
        # For the sampler's knowledge alone: it takes no value that it could not have chosen.
        suggest(trial, [each for each in self._space if each.key in known], self._config)
        return own

    def _tell(self, trial: Trial, result: TrialResult | None, state: TrialState) -> FrozenTrial:
        metrics = {} if result is None else result.metrics
        trial.set_user_attr(METRICS, metrics)
        told = None if state is TrialState.PRUNED else [metrics[each.metric] for each in self._objectives]
        return self._study.study.tell(trial, told, state=state)

    def _result(
        self, trial: Trial, values: Values, curve: Curve
    ) -> tuple[TrialResult | None, TrialState, dict[str, str]]:
        """Return the figures of a trial, its state, and what else is to be said of it."""
        equal = self._study.equal_trial(values)
        if equal is not None:
            metrics = equal.user_attrs.get(METRICS, {})
            return TrialResult(metrics, {}), equal.state, {"equal_to": str(equal.number)}
        try:
            result = self._data.fit(
                apply(self._config, values), self._reporter(trial), self._fold_reporter(trial), curve
            )
        except TrialPruned:
            return None, TrialState.PRUNED, {}
        missing = [each.metric for each in self._objectives if each.metric not in result.metrics]
        if missing:
            raise DataError(f"{missing[0]} is not defined for these rows")
        return result, TrialState.COMPLETE, {}

    def _reporter(self, trial: Trial) -> Reporter | None:
        if len(self._objectives) > 1 or self._settings.pruner.name == "none":
            return None
        # The curve is an error; what is maximised is compared upside down.
        return Reporter(trial, 1 if self._objectives[0].direction == "minimize" else -1)

    def _fold_reporter(self, trial: Trial) -> FoldReporter | None:
        if len(self._objectives) > 1 or self._settings.pruner.name == "none":
            return None
        return FoldReporter(trial, self._objectives[0].metric, isinstance(self._settings.pruner, WilcoxonConfig))

    def _say(self, trial: FrozenTrial, seconds: float, bar: "tqdm[Never]") -> None:
        value = "pruned" if trial.state is TrialState.PRUNED else f"{self._objectives[0].metric} {trial.values[0]:.4f}"
        best = ""
        if self._study.trials(TrialState.COMPLETE):
            leader = self._best()
            best = f" (best {leader.values[0]:.4f} of trial {leader.number})"
            bar.set_postfix_str(f"best {leader.values[0]:.4f}")
        bar.clear()
        log.info("trial %d: %s%s, %.1f s", trial.number, value, best, seconds)

    def _best(self) -> FrozenTrial:
        if not self._study.trials(TrialState.COMPLETE):
            raise ConfigError("no trial came to its end; give tune.n_trials more, or another tune/pruner")
        return best_trial(self._study.study, self._objectives)

    def _finish(self, folder: Path, overrides: list[str]) -> Summary | None:
        """Refit and record the best trial, once for each number of trials; return None where it is done."""
        study = self._study.study
        n_finished = len(self._study.trials(*FINISHED))
        with self._study.locked():
            mine = study.user_attrs.get(_OUTCOME) != n_finished and self._study.finish(self._worker)
            self._recover()
        if not mine:
            if study.user_attrs.get(_OUTCOME) == n_finished:
                self._record.end("FINISHED")
            return None
        best = self._best()
        values = best.user_attrs[VALUES]
        pruned = len(self._study.trials(TrialState.PRUNED))
        shown = "  ".join(
            f"{each.metric} {value:.4f}" for each, value in zip(self._objectives, best.values, strict=True)
        )
        sha256 = self._data.source(self._config).raw.sha256
        comment = (
            f"Trial {best.number} of {n_finished} ({pruned} pruned) of the study {study.study_name}: {shown}; "
            f"split={self._config.split.name}, seed {self._config.seed}, data sha256 {sha256[:12]}."
        )
        chosen = apply(self._config, values)
        self._record.use_folder(folder)
        write_outcome(folder / "study", study, self._objectives, chosen, comment)
        refitted = chosen.model_copy(
            update={"tune": NoTuningConfig(name="none"), "name": chosen.name or study.study_name}
        )
        # The boosters of trials are held by cycles; frozen by the run, they would outlive their library.
        gc.collect()
        summary = train(refitted, folder / "best", overrides, ParentRun(self._record.run_id, folder))
        self._record.log_files(folder / "study")
        self._record.log_metrics(self._figures(best, summary))
        with self._study.locked():
            study.set_user_attr(_OUTCOME, n_finished)
        self._record.end("FINISHED")
        return summary

    def _figures(self, best: FrozenTrial, summary: Summary) -> dict[str, float]:
        counts = {
            f"trials/{state.name.lower()}": len(self._study.trials(state)) for state in (*FINISHED, TrialState.FAIL)
        }
        of_best = {f"best/{name}": value for name, value in best.user_attrs[METRICS].items()}
        tests = {f"best/{name}": value for name, value in summary.metrics.items() if name.startswith("test/")}
        return {
            **{name: float(count) for name, count in counts.items()},
            "best/trial": float(best.number),
            **of_best,
            **tests,
        }

    def _leave(self, status: str) -> None:
        """End the parent run, unless others go on with it."""
        others = False
        try:
            with self._study.locked():
                self._worker.retire()
                self._recover()
                others = self._study.has_other_workers(self._worker)
        except SpotifyMLError as error:
            log.warning("the study's trials could not be ended: %s", error)
        try:
            if not others:
                self._record.end(status)
        except SpotifyMLError as error:
            log.warning("the study's run could not be marked %s: %s", status, error)
