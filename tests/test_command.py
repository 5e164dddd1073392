"""Tests of the real command line, in processes of its own: what it prints, writes and records, and how it fails."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from spotify_ml.data.sources import RawTracks
from spotify_ml.tracking.training import train
from spotify_ml.utils.errors import SpotifyMLError
from spotify_ml.utils.paths import CONF, PROJECT
from tests.commands import LIGHT, interpreter, python, train_each
from tests.support import configured, new_store

PATIENCE_S = 60
QUICK = ["model.n_jobs=1", "model.n_estimators=30"]
MODEL = "spotify-popularity"
COMMAND = ("-m", "spotify_ml.train")


@dataclass(frozen=True)
class Finished:
    """A command that has ended, and where it wrote."""

    code: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Store:
    """A local tracking store below a folder."""

    folder: Path

    @property
    def overrides(self) -> list[str]:
        return [f"tracking.uri={self.uri}", f"tracking.artifact_location={self.folder / 'artifacts'}"]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def runs(self, experiment: str = MODEL) -> list[Run]:
        found = self.client.get_experiment_by_name(experiment)
        return [] if found is None else list(self.client.search_runs([found.experiment_id]))

    def versions(self, model: str = MODEL) -> list[int]:
        return sorted(int(version.version) for version in self.client.search_model_versions(f"name='{model}'"))


def start(*overrides: str, run: Path, cwd: Path, prefix: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
    # Limits, permissions and signals are of a process of its own.
    program = sys.executable if prefix or "preexec_fn" in options else python()
    command = [*prefix, program, *COMMAND, *overrides, f"hydra.run.dir={run}"]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


def finish(process: subprocess.Popen[str], run: Path) -> Finished:
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Finished(process.returncode, stdout, stderr, run)


def command_line(*overrides: str, run: Path, cwd: Path, **options: Any) -> Finished:
    return finish(start(*overrides, run=run, cwd=cwd, **options), run)


def all_finished(commands: dict[str, list[str]], folder: Path) -> dict[str, Finished]:
    """Run commands that fail early from a folder, each with its run in one of its own there."""
    runs = {name: folder / name.replace(" ", "-") for name in commands}
    ends = train_each([[*commands[name], f"hydra.run.dir={run}"] for name, run in runs.items()], folder)
    return {
        name: Finished(end.returncode, end.stdout, end.stderr, run)
        for (name, run), end in zip(runs.items(), ends, strict=True)
    }


def assert_one_error(result: Finished, *words: str) -> None:
    """One message for the user, and nothing that is meant for a developer."""
    assert "Traceback" not in result.stderr
    assert len(result.errors) == 1
    message = result.stderr[result.stderr.index("error: ") :]
    for word in words:
        assert word in message
    assert result.code == 1
    assert "baseline" not in result.stdout


def assert_nothing_half_written(run: Path) -> None:
    assert not (run / "summary.json").exists()
    assert not list(run.rglob("*.partial"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that exists, so that no test waits for its tables."""
    made = Store(tmp_path_factory.mktemp("store"))
    new_store(made.folder)
    return made


@pytest.fixture
def own(store: Store, request: pytest.FixtureRequest) -> tuple[str, list[str]]:
    """An experiment and a registered model of this test alone, in the shared store."""
    name = re.sub(r"\W+", "-", request.node.name)
    return name, [*store.overrides, f"tracking.experiment={name}", f"tracking.registered_model={name}"]


# --- a run that goes well


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Finished, Finished]:
    """The default run on the sample, started from a folder elsewhere, twice."""
    folder = tmp_path_factory.mktemp("pair")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    store = Store(folder)
    first, second = (
        command_line("model.n_jobs=1", *store.overrides, run=folder / name, cwd=elsewhere)
        for name in ("first", "second")
    )
    assert list(elsewhere.iterdir()) == []
    return store, first, second


@pytest.mark.slow
def test_default_run_succeeds_and_prints_its_table(pair: tuple[Store, Finished, Finished]):
    _, result, _ = pair
    assert result.code == 0, result.stderr
    assert result.errors == []
    summary, text = result.summary, result.stdout
    metrics = summary["metrics"]
    train, validation, test = (
        int(number.replace(",", ""))
        for number in re.search(
            r"split=recording: (\S+) train, (\S+) validation, (\S+) test$", text, re.MULTILINE
        ).groups()
    )
    assert (validation, test) == (metrics["rows/val"], metrics["rows/test"])
    assert train + validation + test == metrics["rows/clean"]
    labels = {"train": "trainval", "val": "validation"}
    for part in ("train", "val", "test", "baseline_mean", "baseline_genre"):
        (line,) = re.findall(rf"^{labels.get(part, part)} +(.*)$", text, re.MULTILINE)
        assert line.split() == [f"{metrics[f'{part}/{name}']:.3f}" for name in ("r2", "rmse", "mae")]
    (times,) = re.findall(r"^time +(.*)$", text, re.MULTILINE)
    for stage in ("etl", "split", "features", "fit", "evaluate", "total"):
        assert re.search(rf"\b{stage} {metrics[f'time/{stage}_s']:.2f} s", times)
    stages = {name: value for name, value in metrics.items() if name.startswith("time/") and name != "time/total_s"}
    # What lies between them is next to nothing.
    assert 0.9 * metrics["time/total_s"] < sum(stages.values()) <= metrics["time/total_s"]
    assert summary["run_id"] in text
    assert str(result.folder) in text
    assert re.search(rf"models:/{MODEL}@challenger.*version 1$", text, re.MULTILINE)
    following = text[text.index("\nnext ") :].strip().splitlines()
    assert len(following) == 2
    assert all(re.search(r"\b(make|python -m|spotify-)", line) for line in following)


@pytest.mark.slow
def test_run_counts_add_up(pair: tuple[Store, Finished, Finished]):
    metrics = pair[1].summary["metrics"]
    assert metrics["rows/raw"] == 6000
    assert metrics["rows/train"] + metrics["rows/test"] == metrics["rows/clean"]
    assert metrics["rows/val"] < metrics["rows/train"]


@pytest.mark.slow
def test_run_folder_holds_every_file(pair: tuple[Store, Finished, Finished]):
    folder = pair[1].folder
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files >= {
        "summary.json",
        "config.json",
        "train.log",
        ".hydra/config.yaml",
        ".hydra/overrides.yaml",
        "data/data_quality_report.txt",
        "data/data_quality_report.json",
        "data/feature_info.csv",
        "models/xgboost_popularity_model.joblib",
        "models/xgboost_popularity_model.json",
        "models/model_metadata.json",
        "models/feature_importance.csv",
        "figures/learning_curve.png",
        "figures/predicted_vs_actual.png",
        "figures/feature_importance.png",
    }
    assert {name for name in files if "partial" in name or name.endswith(".parquet")} == {"predictions/test.parquet"}


@pytest.mark.slow
def test_summary_holds_every_metric_of_the_store_under_its_name(pair: tuple[Store, Finished, Finished]):
    store, result, _ = pair
    recorded = store.client.get_run(result.summary["run_id"]).data.metrics
    assert result.summary["metrics"] == pytest.approx(recorded, rel=1e-12)
    assert set(result.summary["metrics"]) == set(recorded)


@pytest.mark.slow
def test_summary_names_what_was_recorded(pair: tuple[Store, Finished, Finished]):
    store, result, _ = pair
    summary = result.summary
    run = store.client.get_run(summary["run_id"])
    assert run.info.status == "FINISHED"
    assert summary["run_name"] == run.info.run_name
    assert summary["tracking_uri"] == store.uri
    assert summary["folder"] == str(result.folder)
    assert summary["objective"] == summary["metrics"]["val/rmse"]
    version = store.client.get_model_version(summary["registered_model"], str(summary["version"]))
    assert version.run_id == summary["run_id"]
    assert summary["model_uri"] == version.source


@pytest.mark.slow
def test_same_command_twice_gives_the_same_figures_and_the_same_model(pair: tuple[Store, Finished, Finished]):
    store, *results = pair
    figures = [
        {name: value for name, value in result.summary["metrics"].items() if not name.startswith("time/")}
        for result in results
    ]
    assert figures[0] == figures[1]
    models = [(result.folder / "models" / "xgboost_popularity_model.json").read_bytes() for result in results]
    assert models[0] == models[1]
    runs = [store.client.get_run(result.summary["run_id"]) for result in results]
    assert runs[0].data.tags["config.sha256"] == runs[1].data.tags["config.sha256"]
    assert [result.summary["version"] for result in results] == [1, 2]
    assert int(store.client.get_model_version_by_alias(MODEL, "challenger").version) == 2


@pytest.mark.slow
def test_runs_at_once_on_a_fresh_store_all_succeed(tmp_path: Path):
    store, count = Store(tmp_path), 4
    # The folder of the configuration, with nothing but its root moved.
    pattern = yaml.safe_load((CONF / "train.yaml").read_text())["hydra"]["run"]["dir"]
    run = Path(pattern.replace("${project:outputs/runs}", str(tmp_path / "runs")))
    assert str(run).startswith(str(tmp_path))
    processes = [start(*QUICK, *store.overrides, run=run, cwd=tmp_path) for _ in range(count)]
    results = [finish(process, run) for process in processes]
    assert [result.code for result in results] == [0] * count, "\n".join(result.stderr for result in results)
    summaries = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/summary.json")]
    assert len({summary["folder"] for summary in summaries}) == count
    assert sorted(summary["version"] for summary in summaries) == list(range(1, count + 1))
    assert store.versions() == list(range(1, count + 1))
    assert {run.info.status for run in store.runs()} == {"FINISHED"}
    assert len({summary["metrics"]["val/rmse"] for summary in summaries}) == 1


@pytest.mark.slow
def test_a_run_that_is_not_registered_is_recorded_and_its_folder_not_used_twice(
    store: Store, own: tuple[str, list[str]], tmp_path: Path
):
    name, overrides = own
    first = command_line("register=false", *QUICK, *overrides, run=tmp_path / "run", cwd=tmp_path)
    assert first.code == 0, first.stderr
    assert "not registered" in first.stdout
    assert first.summary["version"] is None
    (recorded,) = store.runs(name)
    assert (recorded.info.run_id, recorded.info.status) == (first.summary["run_id"], "FINISHED")
    with pytest.raises(SpotifyMLError, match=re.escape(f"{tmp_path / 'run'}")) as caught:
        train(configured(*QUICK, *overrides), tmp_path / "run", [])
    assert "tracking store" not in str(caught.value)
    assert sorted(run.info.status for run in store.runs(name)) == ["FAILED", "FINISHED"]
    assert store.versions(name) == []
    assert first.summary["run_id"] == recorded.info.run_id
    assert not list((tmp_path / "run").rglob("*.partial"))


# --- answers that need no model


@pytest.fixture(scope="module")
def no_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Finished, set[str]]]:
    """Run the command with the names of all the modules that are there at its end."""
    folder = tmp_path_factory.mktemp("no-run")

    def answer(*arguments: str, **environment: str) -> tuple[Finished, set[str]]:
        light = interpreter(*LIGHT)
        done = light.run("spotify_ml.train", *arguments, cwd=folder, environment={**os.environ, **environment})
        assert list(folder.iterdir()) == []
        return Finished(done.returncode, done.stdout, done.stderr, folder), light.imported()

    return answer


@pytest.mark.parametrize(
    ("arguments", "line", "expected"),
    [
        (["--cfg", "job"], "", "max_leaves: 127"),
        (["--cfg", "job", "--resolve"], "", "sample/spotify_by_genre.parquet"),
        (["--cfg", "job", "experiment=reference"], "", "max_depth: 6"),
        (["--cfg", "hydra"], "", "callbacks:"),
        (["--help"], "", "model.max_depth=8"),
        (["--info", "defaults-tree"], "", "data: sample"),
        (["-sc", "query=bash"], "data=", "data=file data=full data=sample"),
        (["-sc", "query=bash"], "model.max_d", "model.max_delta_step= model.max_depth="),
        (["-sc", "query=bash"], "experiment=", "experiment=reference"),
    ],
)
def test_questions_are_answered_without_the_heavy_libraries(
    no_run: Callable[..., tuple[Finished, set[str]]], arguments: list[str], line: str, expected: str
):
    environment = {"COMP_LINE": f"spotify-train {line}"} if line else {}
    result, modules = no_run(*arguments, **environment)
    assert result.code == 0
    assert expected in result.stdout
    assert "hydra" in modules
    heavy = {"mlflow", "xgboost", "sklearn", "pandas", "matplotlib", "numpy"}
    assert {module.partition(".")[0] for module in modules} & heavy == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_a_reader_that_has_seen_enough_is_no_defect(arguments: list[str]):
    with subprocess.Popen(
        [sys.executable, *COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        stderr = process.stderr.read()
        process.wait(timeout=PATIENCE_S)
    assert stderr == ""


# --- bad input


@pytest.fixture(scope="module")
def csv(sample: RawTracks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sound CSV, to be broken."""
    path = tmp_path_factory.mktemp("csv") / "sound.csv"
    sample.frame.head(60).to_csv(path)
    return path


def _cell(row: int, column: str, value: str) -> Callable[[list[str]], list[str]]:
    """Replace one value of a numeric column, which no comma can be in."""

    def mend(lines: list[str]) -> list[str]:
        from_right = lines[0].split(",")[::-1].index(column)
        fields = lines[row].rsplit(",", from_right + 1)
        fields[1] = value
        return [*lines[:row], ",".join(fields), *lines[row + 1 :]]

    return mend


def _header(old: str, new: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [lines[0].replace(old, new), *lines[1:]]


BROKEN: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "header only": (lambda lines: [lines[0], ""], "no rows"),
    "header only, without a line end": (lambda lines: lines[:1], "no rows"),
    "missing column": (_header(",energy,", ",spare,"), "energy"),
    "renamed column": (_header(",energy,", ",enegry,"), "did you mean 'enegry'"),
    "repeated column": (_header(",energy,", ",tempo,"), "tempo"),
    "text in a numeric column": (_cell(3, "tempo", "fast"), "row 3: 'fast'"),
    "energy 1.7": (_cell(4, "energy", "1.7"), "outside 0 to 1"),
    "popularity 101": (_cell(5, "popularity", "101"), "outside 0 to 100"),
    "negative duration": (_cell(6, "duration_ms", "-1"), "duration_ms: outside"),
    "NaN in an audio column": (_cell(7, "valence", "NaN"), "valence: empty or NaN"),
    "cut in the middle of a row": (lambda lines: [*lines[:-1], lines[-1][: len(lines[-1]) // 2]], "fields"),
}


@pytest.fixture
def broken(request: pytest.FixtureRequest, csv: Path, sample: RawTracks, tmp_path: Path) -> Path:
    """The bad file of the test's parameter."""
    path = tmp_path / "broken.csv"
    kind = request.param
    if kind in BROKEN:
        path.write_text("\n".join(BROKEN[kind][0](csv.read_text().splitlines())))
    elif kind == "empty file":
        path.touch()
    elif kind == "directory":
        path.mkdir()
    elif kind == "not a CSV":
        path.write_bytes(bytes(range(256)) * 40)
    elif kind == "wrong encoding":
        path.write_bytes(csv.read_text().replace("a", "ä").replace("äudio", "audio").encode("utf-16"))
    elif kind == "latin-1":
        header, rest = csv.read_text().split("\n", 1)
        path.write_bytes(f"{header}\n{rest.replace('a', 'ä')}".encode("latin-1", errors="replace"))
    elif kind == "Parquet of another table":
        sample.frame[["tempo", "energy"]].to_parquet(path)
    elif kind == "cut Parquet":
        path.write_bytes(sample.path.read_bytes()[:50_000])
    return path


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        *((kind, words) for kind, (_, words) in BROKEN.items()),
        ("missing file", "does not exist"),
        ("empty file", "is empty"),
        ("directory", "is a folder"),
        ("not a CSV", "is not a CSV"),
        ("wrong encoding", "UTF-8"),
        ("latin-1", "UTF-8"),
        ("Parquet of another table", "danceability"),
        ("cut Parquet", "damaged"),
    ],
    indirect=["broken"],
)
def test_a_bad_file_fails_the_run_and_registers_nothing(
    broken: Path, words: str, store: Store, own: tuple[str, list[str]], tmp_path: Path
):
    name, overrides = own
    with pytest.raises(SpotifyMLError) as caught:
        train(configured("data=file", f"data.path={broken}", *overrides), tmp_path / "run", [])
    assert words in str(caught.value)
    assert str(broken) in str(caught.value)
    (run,) = store.runs(name)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == str(caught.value).replace(str(broken), broken.name)
    assert store.versions(name) == []
    assert_nothing_half_written(tmp_path / "run")


REFUSED = {
    "no file": (["data=file", "data.path=nowhere.csv"], ["nowhere.csv does not exist"]),
    "bad rows": (
        ["data=file", "data.path=broken.csv"],
        ["outside 0 to 1", "outside 0 to 100", "row 2", "row 3"],
    ),
    "no train rows": (["split.test_size=0.99999"], ["split.test_size=0.99999", "without rows"]),
    "no other rows": (["split.val_size=0.99999"], ["split.val_size=0.99999", "without rows"]),
    "no depth": (["model.tree_method=exact", "model.colsample_bynode=1", "model.max_depth=0"], ["unlimited depth"]),
}
# Known before data is read; see `test_run_check`.
WITHOUT_A_RUN = {"no file", "no depth"}


@pytest.fixture(scope="module")
def refused(csv: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """Every command with bad input, in an experiment and for a registered model of its own."""
    folder = tmp_path_factory.mktemp("refused")
    lines = _cell(3, "popularity", "101")(_cell(2, "energy", "1.7")(csv.read_text().splitlines()))
    (folder / "broken.csv").write_text("\n".join(lines))
    commands = [
        [*overrides, *store.overrides, f"tracking.experiment={kind}", f"tracking.registered_model={kind}"]
        for kind, (overrides, _) in REFUSED.items()
    ]
    return all_finished(dict(zip(REFUSED, commands, strict=True)), folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED)
def test_the_command_answers_bad_input_with_one_error(kind: str, refused: dict[str, Finished], store: Store):
    result = refused[kind]
    assert_one_error(result, *REFUSED[kind][1])
    if kind in WITHOUT_A_RUN:
        assert not result.folder.exists()
        assert store.runs(kind) == []
        return
    (run,) = store.runs(kind)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == result.stderr[result.stderr.index("error: ") :].removeprefix("error: ").rstrip()
    assert store.versions(kind) == []
    assert_nothing_half_written(result.folder)


# --- stores that cannot be used


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed_port() -> str:
    """An address that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["silent_server", "closed_port"])
@pytest.mark.parametrize("mode", ["run", "sweep"])
def test_a_server_that_does_not_answer_is_named(kind: str, mode: str, request: pytest.FixtureRequest, tmp_path: Path):
    address = request.getfixturevalue(kind)
    sweep = ["--multirun", "model.max_depth=2,3", f"hydra.sweep.dir={tmp_path / 'sweep'}"] if mode == "sweep" else []
    result = command_line(*sweep, "tracking=server", f"tracking.uri={address}", run=tmp_path / "run", cwd=tmp_path)
    assert_one_error(result, address, "does not answer")
    assert_nothing_half_written(tmp_path)


NO_STORES = {
    "below a regular file": ("sqlite:///{folder}/file/mlflow.db", "{folder}/file"),
    "no database": ("sqlite:///{folder}/file", "{folder}/file"),
    "a folder": ("sqlite:///{folder}", "{folder}"),
    "a file store": ("{folder}/mlruns", "{folder}/mlruns"),
    "an unknown scheme": ("nosuchscheme://store", "nosuchscheme"),
}


@pytest.fixture(scope="module")
def without_store(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """The command with every store that is none."""
    folder = tmp_path_factory.mktemp("no-store")
    (folder / "file").write_text("This is a regular file, and no database.\n" * 100)
    commands = {kind: [f"tracking.uri={uri.format(folder=folder)}", *QUICK] for kind, (uri, _) in NO_STORES.items()}
    return all_finished(commands, folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NO_STORES)
def test_a_store_that_is_none_is_named(kind: str, without_store: dict[str, Finished]):
    result = without_store[kind]
    assert_one_error(result, NO_STORES[kind][1].format(folder=result.folder.parent))
    assert_nothing_half_written(result.folder)


def _obeying_permissions() -> tuple[str, ...]:
    """What to put before a command, so that permissions hold for it even where the tests are run by root."""
    if os.geteuid() != 0:
        return ()
    prefix = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], check=False).returncode != 0:
        pytest.skip("root obeys no permissions here")
    return prefix


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "database"])
def test_a_read_only_store_is_named(kind: str, tmp_path: Path):
    read_only = Store(tmp_path / "read-only")
    read_only.folder.mkdir()
    if kind == "database":
        read_only.client.search_experiments()
        (read_only.folder / "mlflow.db").chmod(0o444)
    read_only.folder.chmod(0o555)
    result = command_line(
        *read_only.overrides, *QUICK, run=tmp_path / "run", cwd=tmp_path, prefix=_obeying_permissions()
    )
    assert_one_error(result, str(read_only.folder))
    assert_nothing_half_written(tmp_path / "run")
    if kind == "database":
        read_only.folder.chmod(0o755)
        (read_only.folder / "mlflow.db").chmod(0o644)
        assert read_only.runs() == []


def _no_file_above(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
def test_a_full_store_is_named(tmp_path: Path):
    full = Store(tmp_path)
    full.client.search_experiments()
    size = (tmp_path / "mlflow.db").stat().st_size // 2
    result = command_line(*full.overrides, *QUICK, run=tmp_path / "run", cwd=tmp_path, preexec_fn=_no_file_above(size))
    assert_one_error(result, full.uri)
    assert full.versions() == []
    assert {run.info.status for run in full.runs()} <= {"FAILED"}
    assert_nothing_half_written(tmp_path / "run")


@pytest.fixture(scope="module")
def big_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Settings whose model files are larger than the store's database, and those files."""
    folder = tmp_path_factory.mktemp("big")
    settings = ["model.n_jobs=1", "model.max_leaves=0", "model.max_depth=14", "model.grow_policy=depthwise"]
    settings += ["model.min_child_weight=1", "model.learning_rate=0.01", "model.n_estimators=300"]
    store = Store(folder)
    train(configured(*settings, *store.overrides), folder / "run", [])
    models = folder / "run" / "models"
    assert (models / "xgboost_popularity_model.joblib").stat().st_size > (folder / "mlflow.db").stat().st_size
    return settings, models


@pytest.mark.slow
@pytest.mark.parametrize("first_too_large", ["joblib", "json"])
def test_a_disk_that_fills_up_while_the_model_is_written(
    first_too_large: str, big_model: tuple[list[str], Path], tmp_path: Path
):
    settings, models = big_model
    sizes = sorted((models / f"xgboost_popularity_model.{suffix}").stat().st_size for suffix in ("joblib", "json"))
    limit = sizes[0] - 1000 if first_too_large == "joblib" else sum(sizes) // 2
    store = Store(tmp_path)
    result = command_line(
        *settings, *store.overrides, run=tmp_path / "run", cwd=tmp_path, preexec_fn=_no_file_above(limit)
    )
    assert_one_error(result)
    (run,) = store.runs()
    assert run.info.status == "FAILED"
    assert run.data.tags["error"]
    assert store.versions() == []
    assert_nothing_half_written(tmp_path / "run")
    assert not (tmp_path / "run" / "models").exists()


# --- Ctrl-C


def _wait_until_running(store: Store, experiment: str, process: subprocess.Popen[str]) -> None:
    """Wait until the run is in the store with all that is logged before the first row is read."""
    query = """
        SELECT count(*) FROM params JOIN runs USING (run_uuid) JOIN experiments USING (experiment_id)
        WHERE experiments.name = ?
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        with sqlite3.connect(f"file:{store.folder / 'mlflow.db'}?mode=ro", uri=True) as database:
            (params,) = database.execute(query, (experiment,)).fetchone()
        if params:
            return
        time.sleep(0.1)
    pytest.fail("no run appeared in the store")


def _heeding_ctrl_c() -> None:
    """Undo what a shell does to jobs in the background, which the tests may be one of."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_ctrl_c_while_fitting_kills_the_run_and_leaves_nothing_half_done(
    store: Store, own: tuple[str, list[str]], tmp_path: Path
):
    name, overrides = own
    endless = ["model.n_jobs=1", "model.n_estimators=1000000", "model.learning_rate=0.00001"]
    process = start(*endless, *overrides, run=tmp_path / "run", cwd=tmp_path, preexec_fn=_heeding_ctrl_c)
    _wait_until_running(store, name, process)
    # Reading and splitting take a fraction of this, the fit would take hours.
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    result = finish(process, tmp_path / "run")
    assert result.code == 130
    assert "Traceback" not in result.stderr
    assert "baseline" not in result.stdout
    (run,) = store.runs(name)
    assert run.info.status == "KILLED"
    assert run.info.end_time is not None
    assert "error" in run.data.tags
    assert store.versions(name) == []
    assert_nothing_half_written(tmp_path / "run")
    assert not (tmp_path / "run" / "models").exists()


# --- installed


def test_console_script_is_the_same_command():
    script = Path(sys.executable).with_name("spotify-train")
    if not script.exists():
        pytest.skip("the package's scripts are not installed beside this interpreter")
    outputs = [
        subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
        for command in ([str(script), "--cfg", "job"], [sys.executable, *COMMAND, "--cfg", "job"])
    ]
    assert outputs[0] == outputs[1] != ""
