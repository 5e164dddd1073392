"""Tests of whole studies by the real command: finished, gone on with, broken off, killed, and shared by many."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pandas as pd
import pytest
from matplotlib import image
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from spotify_ml.config.run import RunConfig
from spotify_ml.data.sources import RawTracks
from spotify_ml.tracking.study import StudyRecord
from spotify_ml.tuning.study import Worker
from spotify_ml.tuning.trials import TrialData
from spotify_ml.tuning.tune import Outcome, tune
from spotify_ml.utils.errors import ConfigError, DataError, TrackingError
from spotify_ml.utils.paths import CONF
from tests.commands import python, train_each
from tests.support import configured

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")]

PATIENCE_S = 120
MODEL, PARENT = "spotify-popularity", "mlflow.parentRunId"
N_TREES = 40
QUICK = [
    "model.n_jobs=1",
    f"model.n_estimators={N_TREES}",
    f"model.early_stopping_rounds={N_TREES}",
    "model.learning_rate=0.3",
    "~tune.space.model.learning_rate",
    "baselines=quick",
]
# Fits that are long beside all else, so that one is under way when a study is stopped.
LONG = ["model.n_estimators=250", "model.early_stopping_rounds=250", "tune/sampler=random", "tune/pruner=none"]
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Place:
    """A folder with a tracking store, a storage of studies, and the folders of commands."""

    folder: Path
    storage: str

    @property
    def overrides(self) -> list[str]:
        store = [f"tracking.uri={self.uri}", f"tracking.artifact_location={self.folder / 'artifacts'}"]
        return ["tune=optuna", "features=audio", *store, f"tune.storage={self.storage}", "tune.study_name=s"]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def start(self, *overrides: str, run: str = "run") -> subprocess.Popen[str]:
        quick = [] if "model=linear" in overrides else QUICK
        # What is held, stopped or killed is a process of its own.
        program = sys.executable if LONG[0] in overrides else python()
        command = [program, "-m", "spotify_ml.train", *self.overrides, *quick, *overrides]
        return subprocess.Popen(
            [*command, f"hydra.run.dir={self.folder / run}"],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell lets its jobs in the background ignore Ctrl-C, and the tests may be one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def run(self, *overrides: str, run: str = "run") -> subprocess.CompletedProcess[str]:
        return finish(self.start(*overrides, run=run))

    def trials(self) -> list[FrozenTrial]:
        return self.study().get_trials()

    def study(self) -> optuna.Study:
        kind, _, path = self.storage.partition(":///")
        opened = JournalStorage(JournalFileBackend(path)) if kind == "journal" else RDBStorage(self.storage)
        return optuna.load_study(study_name="s", storage=opened)

    def is_begun(self) -> bool:
        """Say whether the study is there, without making the tables that a command is about to make."""
        path = self.folder / "studies"
        if not path.exists() or self.storage.startswith("journal"):
            return path.exists()
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'studies'").fetchone()
            return tables == (1,) and connection.execute("SELECT count(*) FROM studies").fetchone() == (1,)

    def runs(self) -> list[Run]:
        found = self.client.get_experiment_by_name(MODEL)
        return [] if found is None else list(self.client.search_runs([found.experiment_id], order_by=["start_time"]))

    def parent(self) -> Run:
        (parent,) = (run for run in self.runs() if PARENT not in run.data.tags)
        return parent

    def children(self) -> list[Run]:
        """The runs of trials, by number."""
        found = [run for run in self.runs() if "tune.trial" in run.data.tags]
        return sorted(found, key=lambda run: int(run.data.tags["tune.trial"]))

    def refitted(self) -> list[Run]:
        return [run for run in self.runs() if PARENT in run.data.tags and "tune.trial" not in run.data.tags]

    def states(self) -> list[str]:
        return [run.data.tags["tune.state"] for run in self.children()]

    def study_files(self) -> Path:
        return Path(self.client.download_artifacts(self.parent().info.run_id, "study"))


@cache
def blank_store() -> bytes:
    """A tracking store with its tables, which take seconds to make."""
    with tempfile.TemporaryDirectory() as folder:
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
        return Path(folder, "mlflow.db").read_bytes()


def place(folder: Path, storage: str = "sqlite:///{folder}/studies") -> Place:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow.db").write_bytes(blank_store())
    return Place(folder, storage.format(folder=folder))


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def assert_succeeded(*done: subprocess.CompletedProcess[str]) -> None:
    assert [each.returncode for each in done] == [0] * len(done), "\n".join(each.stderr for each in done)


def assert_whole(here: Place, n_trials: int) -> None:
    """The right number of trials that count, each with one run below the one parent, and nothing under way."""
    trials, runs, parent = here.trials(), here.children(), here.parent()
    assert len([trial for trial in trials if trial.state in FINISHED]) == n_trials
    assert {trial.state for trial in trials} <= {*FINISHED, TrialState.FAIL}
    assert [int(run.data.tags["tune.trial"]) for run in runs] == [trial.number for trial in trials]
    assert {run.data.tags[PARENT] for run in runs} == {parent.info.run_id}
    assert parent.info.run_name == "s"
    assert parent.info.status == "FINISHED"
    for trial, run in zip(trials, runs, strict=True):
        if trial.state in FINISHED:
            assert run.data.tags["tune.state"] == trial.state.name.lower()
            assert run.info.status == "FINISHED"
        else:
            assert run.data.tags["tune.state"] in ("fail", "interrupted")
            assert run.info.status in ("FAILED", "KILLED")


@contextlib.contextmanager
def stopped_in_a_fit(here: Place, process: subprocess.Popen[str], after: int) -> Iterator[int]:
    """Hold a process while it fits a trial, and give the trial's number; whatever was sent arrives afterwards."""
    deadline, seen = time.monotonic() + PATIENCE_S, set[int]()
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
        mine = [trial for trial in _under_way(here, process) if trial.number >= after and trial.number not in seen]
        if mine:
            seen |= {mine[0].number}
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if [trial.number for trial in _under_way(here, process)] == [mine[0].number]:
                yield mine[0].number
                process.send_signal(signal.SIGCONT)
                return
            process.send_signal(signal.SIGCONT)
    process.kill()
    pytest.fail(f"no trial was seen under way: {process.communicate()[1]}")


def _under_way(here: Place, process: subprocess.Popen[str]) -> list[FrozenTrial]:
    """Return the trials of a process that have their values and their run, and no figures yet."""
    # A storage that is being made, or that a process held here has locked, says nothing.
    with contextlib.suppress(KeyError, optuna.exceptions.StorageInternalError, SQLAlchemyError, sqlite3.Error):
        if not here.is_begun():
            return []
        study = here.study()
        workers = study.user_attrs
        return [
            trial
            for trial in study.get_trials(states=[TrialState.RUNNING])
            if (workers.get(trial.user_attrs.get("worker", "")) or {}).get("pid") == process.pid
            and "values" in trial.user_attrs
            and "metrics" not in trial.user_attrs
        ]
    return []


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


# --- a study that goes well


STORY = [
    "tune/pruner=median",
    "tune.pruner.n_startup_trials=1",
    "tune.pruner.n_warmup_steps=1",
    "tune.sampler.n_startup_trials=2",
    # The first trial learns carefully, which is better here: some others are pruned.
    "model.max_leaves=16",
    "model.min_child_weight=100",
]


@dataclass(frozen=True)
class Story:
    """The same study at once and in parts."""

    at_once: Place
    parts: Place
    outputs: list[subprocess.CompletedProcess[str]]
    before_the_last: list[tuple[Any, ...]]


def everything(here: Place) -> tuple[Any, ...]:
    runs = [(run.info.run_id, run.info.status, run.data.tags, run.data.metrics) for run in here.runs()]
    trials = [(trial.number, trial.state, trial.values, trial.params) for trial in here.trials()]
    return len(here.client.search_model_versions()), runs, trials


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    at_once, parts = place(folder / "at-once"), place(folder / "parts")
    first = at_once.start(*STORY, "tune.n_trials=6", "register=true")
    outputs = [parts.run(*STORY, "tune.n_trials=3", run="first"), finish(first)]
    outputs.append(parts.run(*STORY, "tune.n_trials=6", run="second"))
    before = [everything(each) for each in (at_once, parts)]
    again = at_once.start(*STORY, "tune.n_trials=6", "register=true", run="again")
    outputs += [parts.run(*STORY, "tune.n_trials=2", run="third"), finish(again)]
    assert_succeeded(*outputs)
    return Story(at_once, parts, outputs, before)


def test_a_study_is_one_parent_with_a_child_for_every_trial(story: Story):
    assert_whole(story.at_once, 6)
    parent, trials = story.at_once.parent(), story.at_once.trials()
    assert len(trials) == 6
    for trial, run in zip(trials, story.at_once.children(), strict=True):
        assert run.data.params == {key: str(value) for key, value in trial.user_attrs["values"].items()}
        curve = story.at_once.client.get_metric_history(run.info.run_id, "learning_curve/val_rmse")
        assert [point.step for point in curve] == list(range(1, len(curve) + 1))
        assert story.at_once.client.list_artifacts(run.info.run_id) == []
        if trial.state is TrialState.COMPLETE:
            assert len(curve) == N_TREES
            assert run.data.metrics["val/rmse"] == trial.values[0]
            assert trial.values[0] == pytest.approx(min(point.value for point in curve), abs=1e-6)
            assert run.data.metrics.keys() >= {"val/r2", "model/trees", "model/bytes", "time/fit_s"}
    assert parent.data.params["tune.n_trials"] == "6"
    assert "tune.storage" not in parent.data.params
    assert parent.data.metrics["best/val/rmse"] == min(
        trial.values[0] for trial in trials if trial.state is TrialState.COMPLETE
    )
    assert not any(name.startswith("test") for run in story.at_once.children() for name in run.data.metrics)


def test_pruning_shortens_fits_and_leaves_the_curve_so_far(story: Story):
    pruned = [run for run in story.at_once.children() if run.data.tags["tune.state"] == "pruned"]
    assert pruned
    for run in pruned:
        curve = story.at_once.client.get_metric_history(run.info.run_id, "learning_curve/val_rmse")
        assert 0 < len(curve) < N_TREES
        assert run.info.status == "FINISHED"
        assert "val/rmse" not in run.data.metrics


def test_a_study_in_parts_is_the_study_at_once(story: Story):
    found = [
        [(trial.params, trial.values, trial.state) for trial in each.trials()] for each in (story.at_once, story.parts)
    ]
    assert found[0] == found[1]
    assert len({str(params) for params, *_ in found[0]}) == 6
    assert_whole(story.parts, 6)


def test_a_study_that_has_its_trials_is_left_as_it_is(story: Story):
    assert [everything(each) for each in (story.at_once, story.parts)] == story.before_the_last
    for output in story.outputs[-2:]:
        assert "refitted and recorded already" in output.stdout


def test_the_best_is_refitted_as_a_full_run_and_registered_where_asked(story: Story):
    here = story.at_once
    (best,) = here.refitted()
    trials = [trial for trial in here.trials() if trial.state is TrialState.COMPLETE]
    leader = min(trials, key=lambda trial: trial.values[0])
    assert best.data.tags[PARENT] == here.parent().info.run_id
    assert best.info.status == "FINISHED"
    assert best.data.metrics["val/rmse"] == pytest.approx(leader.values[0], abs=1e-6)
    values = leader.user_attrs["values"]
    assert {key: best.data.params[key] for key in values} == {key: str(value) for key, value in values.items()}
    assert "test/rmse" in best.data.metrics
    assert here.parent().data.metrics["best/trial"] == leader.number
    (version,) = here.client.search_model_versions()
    assert (version.name, version.run_id) == (MODEL, best.info.run_id)
    # Once for three trials, and once for six.
    assert len(story.parts.refitted()) == 2
    assert story.parts.client.search_model_versions() == []


def test_the_parent_holds_the_study_s_files(story: Story, tmp_path: Path):
    here = story.at_once
    files = here.study_files()
    table = pd.read_csv(files / "trials.csv")
    assert table["trial"].tolist() == list(range(6))
    assert table["state"].tolist() == here.states()
    for name in ("optimization_history", "param_importances", "slice", "parallel_coordinate"):
        assert image.imread(files / f"{name}.png").size > 0
        assert (files / f"{name}.html").stat().st_size > 0
    assert sorted(path.name for path in files.iterdir()) == sorted(
        path.name for path in (here.folder / "run" / "study").iterdir()
    )


def test_the_experiment_composes_to_the_best_run(story: Story, tmp_path: Path):
    conf = Path(shutil.copytree(CONF, tmp_path / "conf"))
    shutil.copy(story.at_once.study_files() / "s.yaml", conf / "experiment" / "s.yaml")
    (best,) = story.at_once.refitted()
    assert configured("experiment=s", conf=conf).digest() == best.data.tags["config.sha256"]


# --- broken off


def test_ctrl_c_ends_the_trial_and_the_next_start_goes_on_with_the_same_parent(tmp_path: Path):
    here = place(tmp_path)
    process = here.start(*LONG, "tune.n_trials=3")
    with stopped_in_a_fit(here, process, after=1) as number:
        process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert here.trials()[number].state is TrialState.FAIL
    run, parent = here.children()[number], here.parent()
    assert (run.info.status, run.data.tags["tune.state"]) == ("KILLED", "interrupted")
    assert parent.info.status == "KILLED"
    assert here.refitted() == []
    earlier = [(trial.params, trial.values) for trial in here.trials()[:number]]
    assert_succeeded(here.run(*LONG, "tune.n_trials=3", run="next"))
    assert_whole(here, 3)
    assert here.parent().info.run_id == parent.info.run_id
    assert [(trial.params, trial.values) for trial in here.trials()[:number]] == earlier
    assert here.states().count("complete") == 3
    assert len(here.refitted()) == 1


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, int, str]:
    """A study that was killed in a trial, and again while its best was refitted; and the trial, and that run."""
    here = place(tmp_path_factory.mktemp("killed"))
    process = here.start(*LONG, "tune.n_trials=3")
    with stopped_in_a_fit(here, process, after=1) as number:
        process.kill()
    finish(process)
    assert here.trials()[number].state is TrialState.RUNNING
    assert here.children()[number].info.status == here.parent().info.status == "RUNNING"
    process = here.start(*LONG, "tune.n_trials=3", run="second")
    wait_for(lambda: bool(here.refitted()), process)
    process.kill()
    finish(process)
    (refitted,) = here.refitted()
    assert refitted.info.status == "RUNNING"
    assert_succeeded(here.run(*LONG, "tune.n_trials=3", run="third"))
    return here, number, refitted.info.run_id


def test_what_was_killed_is_marked_and_replaced(killed: tuple[Place, int, str]):
    here, number, _ = killed
    assert_whole(here, 3)
    assert here.trials()[number].state is TrialState.FAIL
    assert here.children()[number].info.status == "FAILED"
    assert here.states().count("fail") == 1
    assert len(here.trials()) == 4
    assert here.refitted()[-1].info.status == "FINISHED"


def test_no_run_is_left_running_after_a_refit_was_killed(killed: tuple[Place, int, str]):
    here, _, run_id = killed
    assert here.client.get_run(run_id).info.status == "FAILED"


# --- many workers


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_workers_share_a_study_and_lose_nothing_when_one_is_killed(kind: str, tmp_path: Path):
    here = place(tmp_path, f"{kind}:///{tmp_path / 'studies'}")
    workers = [here.start(*LONG, "tune.n_trials=6", run=f"worker-{number}") for number in range(3)]
    with stopped_in_a_fit(here, workers[0], after=0) as number:
        workers[0].kill()
    ends = [finish(worker) for worker in workers]
    assert ends[0].returncode == -signal.SIGKILL
    assert_succeeded(*ends[1:])
    assert_whole(here, 6)
    assert here.trials()[number].state is TrialState.FAIL
    assert here.states().count("fail") == 1
    assert len(here.refitted()) == 1
    makers = {trial.user_attrs["worker"] for trial in here.trials() if trial.state in FINISHED}
    # The one that was killed may have finished a trial before.
    assert len(makers) >= 2


def test_ctrl_c_to_all_workers_ends_the_parent(tmp_path: Path):
    here = place(tmp_path)
    workers = [here.start(*LONG, "tune.n_trials=9", run=f"worker-{number}") for number in range(2)]
    with stopped_in_a_fit(here, workers[0], after=0), stopped_in_a_fit(here, workers[1], after=0):
        for worker in workers:
            worker.send_signal(signal.SIGINT)
    assert [finish(worker).returncode for worker in workers] == [130, 130]
    assert here.parent().info.status == "KILLED"
    assert_nothing_under_way(here)


@pytest.fixture(scope="module")
def on_postgresql(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A study of two workers in a database."""
    here = place(tmp_path_factory.mktemp("postgresql"), new_database())
    RDBStorage(here.storage)
    workers = [here.start("tune.n_trials=4", run=f"worker-{number}") for number in range(2)]
    assert_succeeded(*(finish(worker) for worker in workers))
    return here


def test_workers_share_a_study_on_postgresql(on_postgresql: Place):
    assert_whole(on_postgresql, 4)
    assert len(on_postgresql.refitted()) == 1


def test_a_password_is_nowhere_in_the_record(on_postgresql: Place):
    assert not [run for run in on_postgresql.runs() if "hush" in f"{run.data.tags} {run.data.params}"]


# --- other kinds of studies


VARIANTS = {
    "front": ["tune.metrics=[val/rmse,model/bytes]", "tune/pruner=none", "tune.n_trials=5"],
    "folds": ["tune.folds=3", "tune/pruner=wilcoxon", "tune.n_trials=4"],
    "classes": ["task=classification", "tune.n_trials=4"],
    "linear": ["model=linear", "baselines=quick", "tune.n_trials=4"],
}


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Place]:
    """Finished studies, made two at a time."""
    folder = tmp_path_factory.mktemp("variants")
    places = {name: place(folder / name) for name in VARIANTS}
    for pair in (("front", "folds"), ("classes", "linear")):
        started = [places[name].start(*VARIANTS[name]) for name in pair]
        assert_succeeded(*[finish(process) for process in started])
    return places


@pytest.mark.parametrize(("name", "n_trials"), [("front", 5), ("folds", 4), ("classes", 4), ("linear", 4)])
def test_every_kind_of_study_is_whole(name: str, n_trials: int, variants: dict[str, Place]):
    assert_whole(variants[name], n_trials)
    (best,) = variants[name].refitted()
    assert best.info.status == "FINISHED"


def test_two_metrics_make_a_front(variants: dict[str, Place]):
    here = variants["front"]
    trials = here.trials()
    assert [len(trial.values) for trial in trials] == [2] * 5
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert {"pareto_front.png", "pareto_front.html"} <= {path.name for path in here.study_files().iterdir()}
    assert here.parent().data.metrics["best/trial"] == min(trials, key=lambda trial: trial.values[0]).number


def test_folds_are_judged_by_their_mean(variants: dict[str, Place]):
    for trial in variants["folds"].trials():
        figures = list(trial.intermediate_values.values())
        if trial.state is TrialState.COMPLETE:
            assert len(figures) == 3
            assert trial.values[0] == pytest.approx(sum(figures) / 3)
        else:
            assert len(figures) < 3


def test_classes_are_judged_by_their_log_loss(variants: dict[str, Place]):
    here = variants["classes"]
    for trial, run in zip(here.trials(), here.children(), strict=True):
        curve = here.client.get_metric_history(run.info.run_id, "learning_curve/val_log_loss")
        assert curve
        if trial.state is TrialState.COMPLETE:
            assert trial.values[0] == pytest.approx(min(point.value for point in curve), abs=1e-6)


def test_a_model_without_trees_is_searched(variants: dict[str, Place]):
    for run in variants["linear"].children():
        assert list(run.data.params) == ["model.alpha"]
        assert not [name for name in run.data.metrics if name.startswith("learning_curve")]


# --- in this process, where a moment can be chosen


@pytest.fixture
def refits(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The refits that were asked for, none of which is done."""
    asked: list[RunConfig] = []

    def refit(config: RunConfig, *_: object) -> SimpleNamespace:
        asked.append(config)
        return SimpleNamespace(metrics={"test/rmse": 1.0})

    monkeypatch.setattr("spotify_ml.tuning.tune.train", refit)
    monkeypatch.setattr("spotify_ml.tuning.outcome.write_plots", lambda *_: None)
    return asked


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The fits of trials, each of which comes to something at once."""
    done: list[RunConfig] = []

    def fit(_: TrialData, config: RunConfig, *__: object) -> dict[str, float]:
        done.append(config)
        return {"val/rmse": float(len(done)), "model/bytes": 1.0}

    monkeypatch.setattr(TrialData, "fit", fit)
    return done


def in_process(here: Place, *overrides: str, run: str = "run") -> Outcome:
    return tune(configured(*here.overrides, *overrides), here.folder / run, list(overrides))


def assert_nothing_under_way(here: Place) -> None:
    assert "RUNNING" not in {run.info.status for run in here.runs()}
    assert "RUNNING" not in {trial.state.name for trial in here.trials()}


FEW = ["~tune.space.model", "+tune.space.model.max_depth={choices: [2, 3]}"]


def test_equal_trials_are_fitted_once(refits: list[RunConfig], fits: list[RunConfig], tmp_path: Path):
    here = place(tmp_path)
    outcome = in_process(here, *FEW, "tune.n_trials=7")
    depths = [config.flat()["model.max_depth"] for config in fits]
    # The first is the run itself.
    assert sorted(depths) == [0, 2, 3]
    assert outcome.counts["complete"] == 7
    assert_whole(here, 7)
    first = {}
    for trial, run in zip(here.trials(), here.children(), strict=True):
        equal = first.setdefault(trial.user_attrs["values"]["model.max_depth"], trial)
        assert trial.values == equal.values
        assert run.data.metrics["val/rmse"] == equal.values[0]
        assert run.data.tags.get("tune.equal_to") == (None if equal is trial else str(equal.number))
    assert len(refits) == 1


def test_the_first_trial_is_the_run_itself_and_what_the_space_does_not_hold_is_said(
    refits: list[RunConfig], fits: list[RunConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    here = place(tmp_path)
    caplog.set_level("INFO", logger="spotify_ml")
    in_process(here, "model.learning_rate=0.3", "tune.n_trials=3")
    rates = [config.flat()["model.learning_rate"] for config in fits]
    assert rates[0] == 0.3
    assert all(0.01 <= rate <= 0.2 for rate in rates[1:])
    assert here.children()[0].data.params["model.learning_rate"] == "0.3"
    said = "the first trial is the run itself: model.learning_rate=0.3, which tune.space.model.learning_rate does not"
    assert said in caplog.text


def test_a_second_start_in_this_process_goes_on(refits: list[RunConfig], fits: list[RunConfig], tmp_path: Path):
    here = place(tmp_path)
    in_process(here, "tune.n_trials=2")
    in_process(here, "tune.n_trials=3", run="second")
    assert_whole(here, 3)
    assert (len(fits), len(refits)) == (3, 2)


def test_a_trial_that_fails_is_replaced(refits: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[RunConfig] = []

    def fit(_: TrialData, config: RunConfig, *__: object) -> dict[str, float]:
        asked.append(config)
        if len(asked) == 2:
            raise DataError("these values make no fit")
        return {"val/rmse": 1.0}

    monkeypatch.setattr(TrialData, "fit", fit)
    here = place(tmp_path)
    in_process(here, "tune.n_trials=3")
    assert_whole(here, 3)
    assert here.states() == ["complete", "fail", "complete", "complete"]
    assert here.children()[1].data.tags["tune.error"] == "these values make no fit"


def test_trials_that_all_fail_end_the_study(refits: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fit(*_: object) -> dict[str, float]:
        raise DataError("these values make no fit")

    monkeypatch.setattr(TrialData, "fit", fit)
    here = place(tmp_path)
    with pytest.raises(ConfigError, match="trials in a row failed"):
        in_process(here, "tune.n_trials=30")
    assert set(here.states()) == {"fail"}
    assert len(here.states()) < 30
    assert here.parent().info.status == "FAILED"
    assert_nothing_under_way(here)
    assert refits == []


def test_ctrl_c_while_a_trial_is_recorded_leaves_nothing_under_way(
    refits: list[RunConfig], fits: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object, **__: object) -> None:
        monkeypatch.setattr(StudyRecord, "end_trial", end_trial)
        raise KeyboardInterrupt

    end_trial = StudyRecord.end_trial
    monkeypatch.setattr(StudyRecord, "end_trial", interrupted)
    here = place(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        in_process(here, "tune.n_trials=2")
    assert here.parent().info.status == "KILLED"
    assert_nothing_under_way(here)


def test_a_worker_that_was_taken_for_dead_goes_on(
    refits: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here = place(tmp_path)
    asked: list[RunConfig] = []

    def fit(_: TrialData, config: RunConfig, *__: object) -> dict[str, float]:
        asked.append(config)
        if len(asked) == 1:
            here.study().tell(0, state=TrialState.FAIL)
        return {"val/rmse": 1.0}

    monkeypatch.setattr(TrialData, "fit", fit)
    in_process(here, "tune.n_trials=2")
    assert_whole(here, 2)
    assert here.states() == ["fail", "complete", "complete"]


def test_workers_broken_off_at_once_end_the_parent(
    refits: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here, both, leave = place(tmp_path), threading.Barrier(2, timeout=PATIENCE_S), Worker.__exit__
    config = configured(*here.overrides, "tune.n_trials=2")

    def fit(*_: object) -> dict[str, float]:
        both.wait()
        raise KeyboardInterrupt

    def leave_together(worker: Worker, *error: object) -> None:
        both.wait()
        leave(worker, *error)

    monkeypatch.setattr(TrialData, "fit", fit)
    monkeypatch.setattr(Worker, "__exit__", leave_together)
    with ThreadPoolExecutor(2) as pool:
        ends = [future.exception() for future in [pool.submit(tune, config, tmp_path / "run", []) for _ in range(2)]]
    assert [type(end) for end in ends] == [KeyboardInterrupt] * 2
    assert_nothing_under_way(here)


def test_a_study_of_many_settings_is_recorded(refits: list[RunConfig], fits: list[RunConfig], tmp_path: Path):
    here = place(tmp_path)
    member = ", ".join(
        f"{key}: {json.dumps(value)}" for key, value in json.loads(configured().model.model_dump_json()).items()
    )
    model = [f"+model.members.{name}={{{member}}}" for name in "abcdef"]
    in_process(here, "model=blend", *model, "+tune.space.features.name={choices: [audio, full]}", "tune.n_trials=2")
    assert len(here.parent().data.params) > 100


# --- what cannot be done


DEPTH = "tune.space.model.max_depth"
BAD = {
    "unknown key": (["+tune.space.model.max_dept={low: 1, high: 2}"], "did you mean 'model.max_depth'"),
    "outside the schema": ([f"{DEPTH}.low=-1"], "model.max_depth=-1"),
    "low above high": ([f"{DEPTH}.low=99"], "max_depth"),
    "no metric": (["tune.metrics=[val/r3]"], "did you mean 'val/r2'"),
    "test metric": (["tune.metrics=[test/r2]"], "test rows"),
    "no trials": (["tune.n_trials=0"], "tune.n_trials"),
    "no pruner": (["tune/pruner=meadian"], "did you mean 'median'"),
    "no name": (["tune.study_name=a/b"], "tune.study_name='a/b'"),
    "no storage": (["tune.storage=mysql://user:hush-hush@localhost/x"], "tune.storage=mysql://user:***@localhost/x"),
    "unreachable": (["tune.storage=postgresql+psycopg2://nobody:hush-hush@127.0.0.1:1/x"], "refused"),
    "another space": ([f"{DEPTH}.high=11"], "another search space"),
    "another dataset": (["data=file", "data.path=other.parquet"], "another dataset"),
    "other settings": (["seed=7"], "another seed"),
    "other folds": (["tune.folds=3"], "another objective"),
    "another metric": (["tune.metrics=[val/mae]"], "another objective"),
    "plain Optuna": (["tune.study_name=plain"], "study_name=plain"),
}


@dataclass(frozen=True)
class Refused:
    """How a command ended, and the storage before and after all of them."""

    code: int
    stdout: str
    stderr: str
    storages: tuple[list[str], list[str]]


def dump(here: Place) -> list[str]:
    with contextlib.closing(sqlite3.connect(here.folder / "studies")) as connection:
        return list(connection.iterdump())


@pytest.fixture(scope="module")
def refused(story: Story, sample: RawTracks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refused]:
    """Every bad command, on a study that is there."""
    folder, here = tmp_path_factory.mktemp("bad"), story.at_once
    sample.frame.head(5000).to_parquet(folder / "other.parquet")
    plain = optuna.create_study(storage=RDBStorage(here.storage), study_name="plain")
    plain.add_trial(optuna.trial.create_trial(value=1.0))
    before, runs = dump(here), len(here.runs())
    common = [*here.overrides, *QUICK, *STORY, "tune.n_trials=7"]
    commands = [[*common, *overrides, f"hydra.run.dir={number}"] for number, (overrides, _) in enumerate(BAD.values())]
    ends = train_each(commands, folder)
    storages = before, dump(here)
    assert len(here.runs()) == runs
    return {
        name: Refused(end.returncode, end.stdout, end.stderr, storages) for name, end in zip(BAD, ends, strict=True)
    }


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_error_and_writes_nothing(kind: str, refused: dict[str, Refused]):
    found = refused[kind]
    assert found.code == 1
    assert "Traceback" not in found.stderr
    assert found.stderr.count("error: ") == 1
    assert BAD[kind][1] in found.stderr
    assert "hush" not in found.stderr.partition("error: ")[2]
    assert found.stdout == ""
    assert "INFO trial" not in found.stderr
    assert found.storages[0] == found.storages[1]


@pytest.mark.parametrize("kind", ["no storage", "unreachable"])
def test_a_password_is_not_repeated(kind: str, refused: dict[str, Refused]):
    assert "hush" not in refused[kind].stderr


def test_a_tracking_store_that_is_none_leaves_no_study(refits: list[RunConfig], fits: list[RunConfig], tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    here = place(tmp_path)
    with pytest.raises(TrackingError, match="tracking store"):
        in_process(here, f"tracking.uri=sqlite:///{tmp_path / 'file' / 'mlflow.db'}")
    assert optuna.get_all_study_names(RDBStorage(here.storage)) == []


def test_trees_of_a_model_without_are_refused_before_any_fit(refits: list[RunConfig], tmp_path: Path):
    here = place(tmp_path)
    with pytest.raises(ConfigError, match="model/trees"):
        in_process(here, "model=linear", "tune.metrics=[model/trees]", "tune.directions=[minimize]")
