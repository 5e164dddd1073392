"""Tests of a shared study: who takes which trial, and what becomes of the dead, on every kind of storage."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from optuna.pruners import (
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.trial import Trial, TrialState
from pydantic import TypeAdapter

from spotify_ml.config.tuning import HyperbandConfig, OptunaConfig, PrunerConfig
from spotify_ml.tuning import study as module
from spotify_ml.tuning.objectives import Objective
from spotify_ml.tuning.study import FINISHED, SILENT_S, VALUES, SharedStudy, Storage, Worker, build_pruner
from spotify_ml.utils.errors import ConfigError, SpotifyMLError, TrackingError
from tests.support import new_store

PATIENCE_S = 60
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
ONE = [Objective("val/rmse", "minimize")]
IDENTITY = {"dataset": "abc", "search space": "x in 0..1"}
EVERYWHERE = ["sqlite", "journal", "postgresql"]


def settings(n_trials: int, **changes: Any) -> OptunaConfig:
    plain = {
        "name": "optuna",
        "n_trials": n_trials,
        "study_name": None,
        "storage": "sqlite:///unused",
        "metrics": None,
        "directions": None,
        "folds": None,
        "sampler": {"name": "tpe", "n_startup_trials": 3},
        "pruner": {"name": "none"},
    }
    return OptunaConfig.model_validate(plain | changes)


def shared(
    storage: Storage, n_trials: int = 5, *, name: str = "s", seed: int = 1, identity: dict[str, str] = IDENTITY
) -> SharedStudy:
    return SharedStudy(storage, name, settings(n_trials), seed, ONE, identity, {})


def take(study: SharedStudy, worker: Worker) -> Trial:
    with study.locked():
        trial = study.take(worker)
    assert trial is not None
    return trial


def state_of(study: SharedStudy) -> tuple[object, ...]:
    trials = [(trial.number, trial.state, trial.params, trial.user_attrs) for trial in study.study.get_trials()]
    return study.study.user_attrs, study.study.metric_names, trials


def pretend(study: SharedStudy, worker: Worker, **changes: Any) -> None:
    """Say something else of a worker than it says itself."""
    study.study.set_user_attr(worker.name, study.study.user_attrs[worker.name] | changes)


def pid_of_the_dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture(params=EVERYWHERE)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage that does not exist yet."""
    if request.param == "postgresql":
        return request.getfixturevalue("database")
    return f"{request.param}:///{tmp_path / 'made' / 'studies'}"


# --- one storage for many


WORK = """
import sys
from pathlib import Path
import optuna
from optuna.trial import TrialState
from spotify_ml.config.tuning import OptunaConfig
from spotify_ml.tuning.objectives import Objective
from spotify_ml.tuning.study import SharedStudy, Storage, Worker

url, config, identity, ready, go = sys.argv[1:]
config, identity = OptunaConfig.model_validate_json(config), eval(identity)
Path(ready).touch()
while not Path(go).exists():
    pass
study = SharedStudy(Storage(url), "s", config, 1, [Objective("val/rmse", "minimize")], identity, {})
made = []
with Worker(study.study) as worker:
    while not study.is_complete():
        with study.locked():
            trial = study.take(worker)
        if trial is not None:
            made.append(trial.number)
            x = trial.suggest_float("x", 0, 1)
            state = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)[trial.number % 3]
            study.study.tell(trial, x if state is TrialState.COMPLETE else None, state=state)
print(made)
"""


@pytest.mark.slow
def test_processes_that_start_at_once_make_exactly_the_trials_that_are_wanted(url: str, tmp_path: Path):
    n_trials, go = 12, tmp_path / "go"
    if url.startswith("postgresql"):
        # That an empty database is made by all at once is a test of its own.
        Storage(url)
    ready = [tmp_path / f"ready-{number}" for number in range(3)]
    arguments = [url, settings(n_trials).model_dump_json(), repr(IDENTITY)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, *arguments, str(path), str(go)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for path in ready
    ]
    wait_for(lambda: all(path.exists() for path in ready))
    go.touch()
    ends = [worker.communicate(timeout=PATIENCE_S) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], "\n".join(stderr for _, stderr in ends)
    made = [number for stdout, _ in ends for number in json.loads(stdout)]
    study = shared(Storage(url), n_trials)
    assert len(study.trials(*FINISHED)) == n_trials
    assert study.trials(TrialState.RUNNING) == []
    assert sorted(made) == [trial.number for trial in study.trials()] == list(range(len(made)))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def test_many_open_a_new_storage_at_once(url: str):
    start = threading.Barrier(8)

    def make(_: int) -> str:
        start.wait()
        return shared(Storage(url)).study.study_name

    with ThreadPoolExecutor(start.parties) as pool:
        assert list(pool.map(make, range(start.parties))) == ["s"] * start.parties


def test_threads_take_exactly_the_trials_that_are_wanted(url: str):
    n_trials = 10
    storages = [Storage(url) for _ in range(4)]
    studies = [shared(storage, n_trials) for storage in storages]
    start = threading.Barrier(len(studies))

    def work(study: SharedStudy) -> list[int]:
        numbers = []
        with Worker(study.study) as worker:
            start.wait()
            while True:
                with study.locked():
                    trial = study.take(worker)
                if trial is None:
                    return numbers
                numbers.append(trial.number)

    with ThreadPoolExecutor(len(studies)) as pool:
        taken = [number for numbers in pool.map(work, studies) for number in numbers]
    assert sorted(taken) == list(range(n_trials))
    assert not studies[0].is_complete()


def test_the_lock_lets_one_in_at_a_time(url: str):
    storages = [Storage(url) for _ in range(4)]
    start, inside, most = threading.Barrier(len(storages)), [], []

    def enter(storage: Storage) -> None:
        start.wait()
        for _ in range(10):
            with storage.lock():
                inside.append(storage)
                # Long enough for another to come in, were the door open.
                time.sleep(0.002)
                most.append(len(inside))
                inside.pop()

    with ThreadPoolExecutor(len(storages)) as pool:
        list(pool.map(enter, storages))
    assert most == [1] * 40


HOLD = """
import os, signal, sys
from spotify_ml.tuning.study import Storage

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    if not os.fork():
        with Storage(line.strip()).lock():
            print(os.getpid(), flush=True)
            signal.pause()
"""


@pytest.fixture(scope="module")
def holders() -> Iterator["subprocess.Popen[str]"]:
    """A process that starts one for each storage it is told, which locks that and says its number."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.terminate()


def test_the_lock_is_gone_with_the_process_that_holds_it(url: str, holders: "subprocess.Popen[str]"):
    assert holders.stdin is not None
    assert holders.stdout is not None
    holders.stdin.write(f"{url}\n")
    holders.stdin.flush()
    holder = int(holders.stdout.readline())
    storage, entered = Storage, threading.Event()

    def enter() -> None:
        with storage(url).lock():
            entered.set()

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    assert not entered.wait(0.2)
    os.kill(holder, signal.SIGKILL)
    assert entered.wait(PATIENCE_S)
    thread.join()


# --- the dead and the living


DEAD = {
    "a process of this host that is gone": lambda: {"pid": pid_of_the_dead()},
    "silent on another host": lambda: {"host": "elsewhere", "beat": time.time() - SILENT_S - 1},
    "silent on this host, its number taken by another": lambda: {"beat": time.time() - SILENT_S - 1},
}


@pytest.mark.parametrize("kind", DEAD)
def test_a_dead_worker_s_trial_is_failed_once_and_replaced(url: str, kind: str):
    study = shared(Storage(url), 2)
    with Worker(study.study) as dead, Worker(study.study) as worker:
        lost, kept = take(study, dead), take(study, worker)
        with study.locked():
            assert study.take(worker) is None
            pretend(study, dead, **DEAD[kind]())
            assert study.fail_abandoned() == [lost.number]
            assert study.fail_abandoned() == []
        assert take(study, worker).number == 2
        with study.locked():
            assert study.take(worker) is None
        states = [trial.state for trial in study.trials()]
    assert states == [TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]
    assert kept.number == 1


@pytest.mark.parametrize("host", ["here", "elsewhere"])
def test_a_living_worker_s_trial_is_left_alone(url: str, host: str):
    study = shared(Storage(url), 2)
    with Worker(study.study) as worker:
        trial = take(study, worker)
        if host == "elsewhere":
            # What has this number here says nothing about a process there.
            pretend(study, worker, host=host, pid=pid_of_the_dead(), beat=time.time() - SILENT_S / 2)
        with study.locked():
            assert study.fail_abandoned() == []
        assert [each.state for each in study.trials()] == [TrialState.RUNNING]
        assert study.is_in_hand(study.trials()[trial.number])
        study.study.set_user_attr(worker.name, None)
        assert not study.is_in_hand(study.trials()[trial.number])


def test_a_trial_that_nobody_signed_is_failed(url: str):
    """A worker that is killed while it takes a trial has not said yet whose it is."""
    study = shared(Storage(url))
    study.study.ask()
    with study.locked():
        assert study.fail_abandoned() == [0]


def test_a_worker_goes_on_to_beat(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    study = shared(Storage(url))
    with Worker(study.study) as worker:
        first = study.study.user_attrs[worker.name]
        assert first["host"] == socket.gethostname()
        assert first["pid"] == os.getpid()
        wait_for(lambda: study.study.user_attrs[worker.name]["beat"] > first["beat"])
    assert not worker._thread.is_alive()


def test_other_workers_are_those_alive(url: str):
    study = shared(Storage(url))
    with Worker(study.study) as first, Worker(study.study) as second:
        assert study.has_other_workers(first)
        study.study.set_user_attr(second.name, None)
        assert not study.has_other_workers(first)
        assert study.has_other_workers(second)
        pretend(study, first, pid=pid_of_the_dead())
        assert not study.has_other_workers(second)


def test_one_worker_ends_the_study_and_another_when_that_one_is_dead(url: str):
    study = shared(Storage(url))
    with Worker(study.study) as first, Worker(study.study) as second, study.locked():
        assert [study.finish(first), study.finish(second), study.finish(first)] == [True, False, True]
        pretend(study, first, pid=pid_of_the_dead())
        assert [study.finish(second), study.finish(first)] == [True, False]
        study.study.set_user_attr(second.name, None)
        assert study.finish(first)


def test_a_worker_that_has_ended_stands_in_nobody_s_way(url: str):
    study = shared(Storage(url))
    with Worker(study.study) as first:
        assert study.finish(first)
    with Worker(study.study) as second:
        assert not study.has_other_workers(second)
        assert study.finish(second)


# --- what makes a study the same one


@pytest.mark.parametrize(
    ("change", "said", "unsaid"),
    [
        ({"dataset": "other"}, "another dataset", "search space"),
        ({"search space": "other"}, "another search space", "dataset"),
        ({"dataset": "other", "search space": "other"}, "another dataset, another search space", "nothing"),
    ],
)
def test_another_study_of_that_name_is_named_and_left_as_it_is(
    url: str, change: dict[str, str], said: str, unsaid: str
):
    study = shared(Storage(url))
    with Worker(study.study) as worker:
        study.study.tell(take(study, worker), 1.0)
    before = state_of(study)
    with pytest.raises(ConfigError, match=said) as caught:
        shared(Storage(url), identity=IDENTITY | change)
    assert "tune.study_name=s" in str(caught.value)
    assert unsaid not in str(caught.value)
    assert state_of(study) == before


def test_the_same_study_is_gone_on_with(url: str):
    first = shared(Storage(url), 1)
    with Worker(first.study) as worker:
        first.study.tell(take(first, worker), 1.0)
    assert first.is_complete()
    second = shared(Storage(url), 2)
    assert [trial.values for trial in second.trials()] == [[1.0]]
    assert not second.is_complete()


def test_a_study_of_plain_optuna_is_left_as_it_is(url: str):
    storage = Storage(url)
    plain = optuna.create_study(storage=storage.backend, study_name="s", direction="maximize")
    plain.tell(plain.ask(), 1.0)
    with pytest.raises(ConfigError, match=r"study_name=s: .* not from here"):
        shared(storage)
    assert plain.user_attrs == {}
    assert [direction.name for direction in plain.directions] == ["MAXIMIZE"]
    assert len(plain.trials) == 1


def test_a_study_that_a_killed_start_has_only_just_made_is_gone_on_with(url: str, monkeypatch: pytest.MonkeyPatch):
    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "set_user_attr", killed)
        with pytest.raises(KilledError):
            shared(Storage(url))
    assert shared(Storage(url)).trials() == []


# --- the same trials


def suggested(study: SharedStudy, n_trials: int) -> list[dict[str, Any]]:
    with Worker(study.study) as worker:
        for _ in range(n_trials):
            trial = take(study, worker)
            kind = trial.suggest_categorical("kind", ["a", "b"])
            x = trial.suggest_float("x", 0, 1)
            deep = trial.suggest_int("deep", 1, 100, log=True) if kind == "a" else 0
            study.study.tell(trial, x + deep / 100)
    return [trial.params for trial in study.trials()]


def test_the_same_state_gives_the_same_trials(url: str, tmp_path: Path):
    at_once = suggested(shared(Storage(url), 8), 8)
    parts = Storage(f"journal:///{tmp_path / 'parts'}")
    suggested(shared(parts, 5), 5)
    assert suggested(shared(parts, 8), 3) == at_once
    assert len({str(params) for params in at_once}) == 8
    assert suggested(shared(parts, 8, name="other", seed=2), 8) != at_once


def test_the_first_trial_has_the_values_that_are_given(url: str):
    study = SharedStudy(Storage(url), "s", settings(3), 1, ONE, {"dataset": "a"}, {"x": 0.125})
    with Worker(study.study) as worker:
        with study.locked():
            first, second = study.take(worker), study.take(worker)
        assert first is not None
        assert second is not None
        assert first.suggest_float("x", 0, 1) == 0.125
        assert second.suggest_float("x", 0, 1) != 0.125
        assert [trial.number for trial in study.trials()] == [0, 1]


def test_an_equal_trial_is_one_that_counts(url: str):
    study = shared(Storage(url))
    with Worker(study.study) as worker:

        def told(x: float, state: TrialState) -> Trial:
            trial = take(study, worker)
            trial.suggest_float("x", x, x)
            trial.set_user_attr(VALUES, {"x": x})
            if state is not TrialState.RUNNING:
                study.study.tell(trial, 1.0 if state is TrialState.COMPLETE else None, state=state)
            return trial

        told(0.5, TrialState.FAIL)
        told(0.5, TrialState.RUNNING)
        assert study.equal_trial({"x": 0.5}) is None
        told(0.5, TrialState.PRUNED)
        assert study.equal_trial({"x": 0.25}) is None
        found = study.equal_trial({"x": 0.5})
    assert found is not None
    assert found.number == 2


# --- pruners


@pytest.mark.parametrize(
    ("given", "kind", "attributes"),
    [
        ({"name": "none"}, NopPruner, {}),
        (
            {"name": "percentile", "percentile": 20.0, "n_startup_trials": 7, "n_warmup_steps": 4},
            PercentilePruner,
            {"_percentile": 20.0, "_n_startup_trials": 7, "_n_warmup_steps": 4},
        ),
        (
            {"name": "median", "n_startup_trials": 7, "n_warmup_steps": 4},
            MedianPruner,
            {"_n_startup_trials": 7, "_n_warmup_steps": 4},
        ),
        (
            {"name": "asha", "min_resource": 2, "reduction_factor": 5},
            SuccessiveHalvingPruner,
            {"_min_resource": 2, "_reduction_factor": 5},
        ),
        (
            {"name": "hyperband", "min_resource": 2, "max_resource": 32, "reduction_factor": 4},
            HyperbandPruner,
            {"_min_resource": 2, "_max_resource": 32, "_reduction_factor": 4},
        ),
        (
            {"name": "wilcoxon", "p_threshold": 0.2, "n_startup_steps": 3},
            WilcoxonPruner,
            {"_p_threshold": 0.2, "_n_startup_steps": 3},
        ),
    ],
    ids=lambda given: given.get("name") if isinstance(given, dict) else "",
)
def test_a_pruner_is_what_its_file_says(given: dict[str, Any], kind: type, attributes: dict[str, object]):
    pruner = build_pruner(TypeAdapter(PrunerConfig).validate_python(given), seed=1)
    assert isinstance(pruner, kind)
    assert {name: getattr(pruner, name) for name in attributes} == attributes


# --- storages that cannot be used


CLOSED = "://user:hush-hush@127.0.0.1:1/x"
REFUSED = r"://user:\*\*\*@127\.0\.0\.1:1/x cannot be used: .*refused"


def hyperband_verdicts(seed: int, name: str) -> list[list[bool]]:
    """Which of the steps of each trial were the last, by a pruner that sees equal curves."""
    pruner = build_pruner(
        HyperbandConfig(name="hyperband", min_resource=1, max_resource=27, reduction_factor=3), seed=seed
    )
    study = optuna.create_study(study_name=name, pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
    verdicts = []
    for number in range(30):
        trial, seen = study.ask(), list[bool]()
        for step in range(27):
            trial.report(float(number * 7 % 30), step)
            seen.append(trial.should_prune())
        study.tell(trial, float(number * 7 % 30))
        verdicts.append(seen)
    return verdicts


def test_hyperband_follows_the_seed_and_not_the_name_of_the_study():
    one = hyperband_verdicts(1, "xgboost-recording-20261130-061012")
    assert one == hyperband_verdicts(1, "xgboost-recording-20261130-071533")
    assert one != hyperband_verdicts(2, "xgboost-recording-20261130-061012")


def test_a_postgresql_url_needs_no_driver_in_its_name(database: str):
    assert shared(Storage(database.replace("+psycopg2", ""))).trials() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (f"postgresql+psycopg2{CLOSED}", REFUSED),
        pytest.param(
            f"postgresql{CLOSED}",
            REFUSED,
        ),
        ("postgresql+nosuch://user:hush-hush@127.0.0.1:1/x", r"user:\*\*\*@"),
        ("mysql://user:hush-hush@127.0.0.1/x", r"mysql://user:\*\*\*@.*: give sqlite:///file, postgresql"),
        ("redis://localhost", "redis://localhost: give sqlite:///file"),
        ("sqlite://", "give sqlite:///file"),
        ("nothing", "tune.storage=nothing: give sqlite:///file"),
        pytest.param(
            "postgresql+psycopg2://127.0.0.1:1/x?user=me&password=hush-hush",
            "refused",
        ),
        pytest.param(
            "postgresql://user:hush-hush@127.0.0.1:port/x",
            "tune.storage",
        ),
        pytest.param(
            "postgresql//user:hush-hush@127.0.0.1/x",
            "tune.storage",
        ),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_error_without_the_password(given: str, said: str):
    with pytest.raises(SpotifyMLError, match=said) as caught:
        Storage(given)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        *((kind, place) for kind in ("sqlite", "journal") for place in ("below a regular file", "a folder")),
        ("sqlite", "no database"),
        pytest.param(
            "journal",
            "no database",
        ),
    ],
)
def test_a_file_that_is_no_storage_is_named(kind: str, place: str, tmp_path: Path):
    (tmp_path / "file").write_text("This is a regular file, and no database.\n" * 100)
    path = {"below a regular file": tmp_path / "file" / "db", "a folder": tmp_path, "no database": tmp_path / "file"}
    with pytest.raises(TrackingError, match=f"{path[place]} cannot be used: .*; mend tune.storage"):
        shared(Storage(f"{kind}:///{path[place]}"))


def test_a_server_that_goes_away_is_named(database: str):
    import psycopg2

    study = shared(Storage(database))
    name = database.rpartition("/")[2]
    connection = psycopg2.connect(f"{database.rpartition('/')[0]}/postgres".replace("+psycopg2", ""))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()
    with pytest.raises(TrackingError, match=name) as caught, study.locked():
        study.trials()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_of_mlflow_s_is_refused_and_stays_one(kind: str, request: pytest.FixtureRequest, tmp_path: Path):
    url = new_store(tmp_path) if kind == "sqlite" else request.getfixturevalue("database")
    MlflowClient(url).create_experiment("popularity")
    with pytest.raises(ConfigError, match="studies need a database of their own") as caught:
        Storage(url)
    assert "hush" not in str(caught.value)
    assert MlflowClient(url).get_experiment_by_name("popularity") is not None
