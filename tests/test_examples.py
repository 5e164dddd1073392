"""Tests of README.md and docs/: every command and block of Python that they print works in a fresh clone, in order."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from spotify_ml import configure
from spotify_ml.config.check import known_keys
from spotify_ml.config.run import RunConfig
from spotify_ml.utils.paths import PROJECT
from tests.checkout import Checkout, clone, commands, serve
from tests.layouts import as_csv, written


def _listed(nav: Any) -> Iterator[str]:
    """Yield the pages of a navigation, in its order."""
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from _listed(each)


NAVIGATION = tomllib.loads((PROJECT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
PAGES = ["README.md", *(f"docs/{page}" for page in _listed(NAVIGATION))]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Appended to commands of a module where the word was typed ("": always), so that they take a second.
CHEAP = {
    "spotify_ml.train": [
        ("", ["model.n_estimators=20", "model.n_jobs=1"]),
        ("tune=optuna", ["tune.n_trials=2", "baselines=quick", "model.n_estimators=10"]),
        ("cv=3", ["cv=2"]),
        ("-m", ["baselines=quick", "features=audio", "model.n_estimators=5"]),
        ("seed=42,43,44", ["seed=42", "split=recording", "model.max_depth=3,4"]),
    ],
}

# Of these only the configuration is composed and checked: the command beside each takes the same way with other values.
_TRAIN = "python -m spotify_ml.train"
_STUDY = f"{_TRAIN} tune=optuna data=full tune.study_name=night"
_SWEEP = 'make evaluate ARGS="data=full seed=42,43,44"'
_LARGE = f"{_TRAIN} data=file data.path=outputs/tracks.csv matrices=external cache.folder=outputs/large cache.max_gb=50"
_OVERRIDES = f"{_TRAIN} split=artist features=audio model.max_depth=6 seed=7"
COMPOSED = {
    f"{_TRAIN} features=audio": _OVERRIDES,
    f"{_TRAIN} model.max_depth=6": _OVERRIDES,
    f"{_TRAIN} data=full": _OVERRIDES,
    f"{_TRAIN} data=file data.path=outputs/tracks.csv": _LARGE,
    f"{_TRAIN} cache=off": _OVERRIDES,
    f"{_TRAIN} data=full cache=off": _OVERRIDES,
    f"{_TRAIN} tune=optuna tune.space.model.max_depth='{{low: 3, high: 12}}' '~tune.space.model.gamma'": _STUDY,
    f"{_TRAIN} tune=optuna tune.n_trials=50": _STUDY,
    f"{_TRAIN} tune=optuna tune.study_name=noon tune.storage=sqlite:///mlruns/optuna.db": _STUDY,
    f"{_TRAIN} tune=optuna data=full tune.n_trials=40 tune.study_name=all tune/pruner=none": _STUDY,
    f"{_TRAIN} tune=optuna data=full tune.n_trials=40 tune.study_name=pruned": _STUDY,
    f"{_TRAIN} -m model.max_depth=4,6,8 split=recording,artist": _SWEEP,
    f"{_TRAIN} -m data=full split=recording,album,artist baselines=quick": _SWEEP,
    f"{_TRAIN} -m data=full split=recording,album,artist baselines=quick experiment=tuned": _SWEEP,
}

# What cannot be run here, why, and which test runs it or what it starts.
_DASK = (
    "starts a cluster",
    "tests/backends/test_processes.py::test_a_run_is_recorded_and_registered_as_one_in_this_process",
)
_MACHINES = ("needs further machines", _DASK[1])
_CI = ("would run this test", ".ci/run")
_INSTALLS = ("downloads", "tests/test_tracked_files.py::test_extras_are_installed_without_freezing_the_checkout")
_ELSEWHERE = (
    "downloads",
    "tests/tracking/test_clean_environment.py::test_a_version_loads_from_its_own_requirements_alone",
)
_SERVER = ("needs a tracking server", "tests/test_command.py::test_a_server_that_does_not_answer_is_named")
_NGINX = ("changes the machine", "tests/tracking/test_nginx.py::test_who_has_the_password_is_answered_and_nobody_else")
_TABLE = (
    "needs a log",
    "tests/live/test_plan_and_table.py::test_what_was_seen_is_trained_on_with_the_catalogue",
)
_EVIDENCE = (
    "needs a report",
    "tests/live/test_plan_and_table.py::test_promotion_takes_the_evidence_of_live_traffic",
)
_LIVE = ("needs a server of its own", "tests/live/test_page.py::test_the_five_commands_of_the_page_come_to_a_decision")


def _live_page() -> list[str]:
    """The commands that go from two versions to a decision."""
    text = (PROJECT / "docs" / "how-to" / "live.md").read_text(encoding="utf-8")
    return commands(BLOCK.findall(text)[0][1])


NOT_RUN = {
    "make test": _CI,
    'make test ARGS="tests/data"': _CI,
    "make test-slow": _CI,
    "make lint": _CI,
    ".ci/run": _CI,
    "python scripts/download_data.py": ("downloads", "tests/scripts/test_download_data.py::test_command_line"),
    "python scripts/download_data.py --dataset tidytuesday_2020": (
        "downloads",
        "tests/scripts/test_download_data.py::test_another_dataset_has_its_own_size",
    ),
    "make docs": ("is run by another test", "tests/test_docs.py::test_the_site_is_whole_and_fetches_nothing"),
    "make docs-serve": ("runs on", "Makefile"),
    "pip install -e '.[lightgbm,catboost]'": _INSTALLS,
    "pip install -e '.[notebooks]'": _INSTALLS,
    f"{_TRAIN} tracking=server tracking.uri=http://127.0.0.1:5000": _SERVER,
    "python -m spotify_ml.compare 3f2a 9c81 tracking=server tracking.uri=http://127.0.0.1:5000": _SERVER,
    "python -m tests.mutations --seeds 1,2,3 --cases 1024": (
        "takes minutes",
        "tests/test_mutations.py::test_mutated_inputs_are_read_rightly_or_refused",
    ),
    "python scripts/promises.py check --portable": (
        "takes minutes",
        "tests/test_promises.py::test_nothing_that_users_rely_on_has_changed",
    ),
    "SPOTIFY_TIDYTUESDAY_PATH=spotify_songs.csv.gz python scripts/incomplete_rows.py": (
        "takes a quarter of an hour",
        "tests/scripts/test_incomplete_rows.py::test_every_pattern_is_measured_beside_its_specialist_and_tracks_of_elsewhere",
    ),
    "SPOTIFY_TIDYTUESDAY_PATH=spotify_songs.csv.gz python scripts/catalogues.py": (
        "takes a quarter of an hour",
        "tests/scripts/test_catalogues.py::test_every_table_is_measured",
    ),
    "python -m spotify_ml.serve calibration=outputs/corrected.csv.calibration.json": (
        "runs on",
        "tests/tracking/test_calibrated.py::test_a_served_calibration_answers_as_predict_does",
    ),
    "SPOTIFY_TIDYTUESDAY_PATH=spotify_songs.csv.gz python scripts/calibrate_figures.py": (
        "takes a quarter of an hour",
        "tests/scripts/test_calibrate_figures.py::test_figures_are_measured_before_and_after",
    ),
    "python scripts/mutants.py": (
        "takes a quarter of an hour",
        "tests/scripts/test_mutants.py::test_a_mutant_is_noticed_by_a_test_that_fails",
    ),
    "python -m spotify_ml.profile data=file data.path=outputs/tracks.csv output=outputs/mine.html": (
        "does as `make profile` does",
        "tests/test_profile.py::test_page_of_any_file_needs_no_other",
    ),
    "make ui": ("runs on, and is MLflow alone", "Makefile"),
    "make notebooks": (
        "takes minutes",
        "tests/test_notebooks.py::test_a_notebook_runs_quietly_and_shows_tables_and_pictures",
    ),
    "python -m venv outputs/elsewhere && "
    "outputs/elsewhere/bin/pip install -r outputs/model/requirements.txt": _ELSEWHERE,
    "outputs/elsewhere/bin/python -c "
    "\"import mlflow; print(mlflow.pyfunc.load_model('outputs/model').metadata.signature)\"": _ELSEWHERE,
    'make serve MODEL=models:/spotify-popularity@challenger PORT=8080 ARGS="host=0.0.0.0 workers=2"': (
        "opens a port to the network",
        "tests/tracking/test_serving.py::test_every_format_gives_what_the_loaded_model_gives",
    ),
    **dict.fromkeys(_live_page(), _LIVE),
    "python -m spotify_ml.live report name=spring output=outputs/spring.html": _LIVE,
    "python -m spotify_ml.promote evidence=live": _EVIDENCE,
    "python -m spotify_ml.promote evidence=live dry_run=true": _EVIDENCE,
    "python -m spotify_ml.live table output=outputs/observed.parquet": _TABLE,
    f"{_TRAIN} data=file "
    "'data.path=[outputs/observed.parquet,spotify_ml/data/sample/spotify_by_genre.parquet]'": _TABLE,
    "python scripts/simulate_live.py --experiments 2000 --seed 1": (
        "takes minutes",
        "tests/scripts/test_simulate_live.py::test_every_kind_of_experiment_is_tallied",
    ),
    "python scripts/benchmark.py --quick": (
        "takes minutes",
        "tests/scripts/test_benchmark.py::test_a_small_benchmark_measures_everything",
    ),
    f"{_TRAIN} -m model.max_depth=4,6,8 model.n_jobs=1 hydra/launcher=joblib hydra.launcher.n_jobs=2": (
        "imports everything twice more",
        "tests/test_sweep.py::test_sweep_is_one_parent_with_a_child_for_every_job",
    ),
    "make clean relocate": ("installs", "tests/tracking/test_relocation.py::test_the_command_says_what_it_did"),
    "pip install -e '.[dask]'": _INSTALLS,
    f"{_TRAIN} data=full engine=dask": _DASK,
    f"{_TRAIN} data=full engine=dask engine.n_workers=2 engine.threads_per_worker=1": _DASK,
    f"{_TRAIN} data=full cache=off engine=dask engine.n_workers=2 engine.threads_per_worker=1": _DASK,
    f"{_TRAIN} data=file data.path=/shared/tracks.parquet engine=dask engine.address=tcp://scheduler:8786": _MACHINES,
    "dask scheduler --port 8786": _MACHINES,
    "apt-get install nginx-light openssl": ("changes the machine", ".ci/run"),
    "cp docs/nginx.conf /etc/nginx/conf.d/spotify_ml.conf": _NGINX,
    'echo "listener:$(openssl passwd -6)" >> /etc/nginx/spotify_ml.users': _NGINX,
    "nginx -t && systemctl reload nginx": _NGINX,
    "dask worker tcp://scheduler:8786 --nthreads 8 --memory-limit 24GB": _MACHINES,
}
# It runs on, and answers what is typed after it.
SERVE = "make serve"
# 2: the gate refused the version, which is an answer.
ANSWERS = {"spotify_ml.promote": (0, 2), "make promote": (0, 2)}
RUN_IDS = ("3f2a", "9c81", "07bd")


@dataclass(frozen=True)
class Typed:
    """A command, or a block of Python, and where it is printed."""

    place: str
    kind: str
    text: str


def printed() -> list[Typed]:
    found = []
    for page in PAGES:
        text = (PROJECT / page).read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 2
            for each in commands(block[2]) if block[1] == "console" else [block[2]]:
                found.append(Typed(f"{page}:{line}", block[1], each))
    return found


def test_what_is_not_run_is_printed_and_has_a_test_of_its_own():
    typed = {each.text for each in printed()}
    assert {*NOT_RUN, *COMPOSED, *COMPOSED.values()} - typed == set()
    assert set(COMPOSED.values()) & {*NOT_RUN, *COMPOSED} == set()
    for _, covered in NOT_RUN.values():
        path, _, name = covered.partition("::")
        assert f"def {name}(" in (PROJECT / path).read_text(encoding="utf-8") if name else (PROJECT / path).is_file()


@pytest.mark.parametrize("command", COMPOSED)
def test_what_takes_the_way_of_another_command_is_composed(command: str):
    overrides = shlex.split(command.removeprefix(_TRAIN))
    if "-m" not in overrides:
        configure(*overrides)
        return
    swept = [word.partition("=")[::2] for word in overrides if word != "-m"]
    for each in product(*([f"{key}={value}" for value in values.split(",")] for key, values in swept)):
        configure(*each)


def test_every_page_is_in_the_navigation():
    there = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "docs").rglob("*.md")}
    assert there == set(PAGES) - {"README.md"}
    assert len(PAGES) == len(set(PAGES))


def test_every_block_is_read():
    """One in another language would be run by nobody."""
    fences = [
        line for page in PAGES for line in (PROJECT / page).read_text(encoding="utf-8").splitlines() if "```" in line
    ]
    assert {line for line in fences if line != "```"} == {"```console", "```python", "```text"}
    assert fences[1::2] == ["```"] * (len(fences) // 2)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("make train    # sets up .venv\nmake test\n", ["make train", "make test"]),
        ("# nothing\n\nmake ui\n", ["make ui"]),
        ("f '{\n  # 1: \"a b\"}' -x   # it is\n", ["f '{\n  # 1: \"a b\"}' -x"]),
        ("a \"$(b -c 'd # e')\"   # f\n", ["a \"$(b -c 'd # e')\""]),
    ],
)
def test_commands_are_read_as_they_are_typed(block: str, expected: list[str]):
    assert commands(block) == expected


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A clone in which no command was typed yet; its full dataset, and TidyTuesday's, are the sample."""
    folder, scratch = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("scratch")
    clone(folder)
    full = scratch / "full.parquet"
    shutil.copyfile(PROJECT / "spotify_ml" / "data" / "sample" / "spotify_by_genre.parquet", full)
    songs = scratch / "spotify_songs.csv"
    songs.write_bytes(as_csv(written(pd.read_parquet(full), "tidytuesday_2020")))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    named = {"SPOTIFY_TRACKS_PATH": str(full), "SPOTIFY_TIDYTUESDAY_PATH": str(songs), "PORT": port}
    made, interpreter = serve(folder, scratch, CHEAP, named)
    yield made
    interpreter.close()


@dataclass
class Reader:
    """Somebody who types everything from top to bottom."""

    checkout: Checkout
    served: "subprocess.Popen[str] | None" = None

    def run_ids(self) -> list[str]:
        client = MlflowClient(f"sqlite:///{self.checkout.folder / 'mlruns' / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("spotify-popularity")
        assert experiment is not None
        finished = "attributes.status = 'FINISHED' and metrics.`test/r2` > -9"
        return [run.info.run_id[:12] for run in client.search_runs([experiment.experiment_id], finished)]

    def type(self, typed: Typed) -> str:
        """Type a command, and return what is wrong with it."""
        text = typed.text.replace("127.0.0.1:5001", f"127.0.0.1:{self.checkout.variables['PORT']}")
        if text.startswith("python -m spotify_ml.compare 3f2a"):
            for name, run_id in zip(RUN_IDS, self.run_ids(), strict=False):
                text = text.replace(f" {name}", f" {run_id}")
        if typed.text == SERVE:
            self.served = self.checkout.start(text)
            return self._wait()
        if text.startswith("curl "):
            text += " --fail-with-body --silent --show-error"
        result = self.checkout.run(text)
        expected = next((codes for name, codes in ANSWERS.items() if name in text), (0,))
        # At the exit of a fork a library may be gone before its objects, which Python says and passes over.
        said = result.stdout.partition("Exception ignored in: <function Booster.__del__")[0]
        if result.returncode in expected and "Traceback" not in said:
            return ""
        return f"{typed.place}: {text}\nexit code {result.returncode}\n{result.stdout[-2000:]}"

    def _wait(self) -> str:
        assert self.served is not None
        address = ("127.0.0.1", int(self.checkout.variables["PORT"]))
        for _ in range(300):
            if self.served.poll() is not None:
                return f"{SERVE}: {self.served.communicate()[0]}"
            try:
                socket.create_connection(address, timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return ""
        return f"{SERVE}: no answer"

    def close(self) -> None:
        if self.served is not None and self.served.poll() is None:
            os.killpg(self.served.pid, 9)
            self.served.communicate()


@pytest.fixture(scope="module")
def faults(checkout: Checkout) -> str:
    """What is wrong once everything was typed from top to bottom."""
    first: dict[str, Typed] = {}
    for each in printed():
        # What is printed twice does the same again.
        first.setdefault(each.text, each)
    typed = list(first.values())
    reader, wrong = Reader(checkout), []
    blocks = "\n".join(each.text for each in typed if each.kind == "python")
    program = checkout.folder / "outputs" / "blocks.py"
    try:
        for each in typed:
            if each.kind == "console" and each.text not in {*NOT_RUN, *COMPOSED}:
                wrong.append(reader.type(each))
        # One session, as who reads goes on.
        program.write_text(blocks.replace("127.0.0.1:5001", f"127.0.0.1:{checkout.variables['PORT']}"))
        wrong.append(reader.type(Typed("all blocks of Python", "console", "python outputs/blocks.py")))
    finally:
        reader.close()
    return "\n\n".join(filter(None, wrong))


@pytest.mark.slow
def test_who_types_everything_from_top_to_bottom_succeeds_and_has_a_clean_checkout(checkout: Checkout, faults: str):
    assert faults == ""
    assert checkout.git("status", "--porcelain") == ""
    runs = _runs(checkout)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags.get("git.dirty", "false") for run in runs} == {"false"}


def _client(checkout: Checkout) -> MlflowClient:
    return MlflowClient(f"sqlite:///{checkout.folder / 'mlruns' / 'mlflow.db'}")


def _runs(checkout: Checkout) -> list[Any]:
    client = _client(checkout)
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()]))


RECORD = "docs/reference/record.md"
# On the page, but not made by the examples: they need a cluster, a failure, or another model or task.
NOT_MADE = {
    "cluster.n_workers",
    "error",
    "promotion.replaced",
    "tune.error",
    "<side>/worst_genre_log_loss",
    "models/<name>_popularity_model.skops",
    # Of a report on live traffic: tests/live/test_report.py.
    "drift/<name>",
    "live/live_profile.json",
    "live/report.html",
    "live/report.json",
    *(f"live.{name}" for name in ("decision", "why", "experiment", "champion", "challenger", "run_id", "at")),
    *(f"live/{name}_gain{end}" for name in ("squared", "absolute") for end in ("", "_lower", "_upper")),
    *(f"live/{name}_outcome" for name in ("with", "without")),
    *(f"live/{name}" for name in ("units", "without_prediction", "early", "late", "unmatched", "corrected")),
    *(f"live/{name}" for name in ("errors", "latency", "out_of_range", "sample_ratio")),
}


def _named(heading: str) -> list[str]:
    """Return the names in the first cells of the tables below a heading."""
    text = (PROJECT / RECORD).read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.+?`) \| ", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def _pattern(name: str) -> "re.Pattern[str]":
    """Return the pattern of a name: each placeholder is one of the values that the page lists for it."""
    text = (PROJECT / RECORD).read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `<(\w+)>` \| (.+) \|$", text, re.MULTILINE))
    values = {key: "|".join(re.findall(r"`(\w+)`", told)) or ".+" for key, told in rows.items()}
    parts = re.split(r"<(\w+)>", name)
    return re.compile("".join(f"(?:{values[part]})" if at % 2 else re.escape(part) for at, part in enumerate(parts)))


def _files(client: MlflowClient, run_id: str, below: str | None = None) -> Iterator[str]:
    for each in client.list_artifacts(run_id, below):
        if each.is_dir:
            yield from _files(client, run_id, each.path)
        else:
            yield each.path


@pytest.mark.slow
@pytest.mark.usefixtures("faults")
@pytest.mark.parametrize("heading", ["Metrics", "Tags", "Artifacts"])
def test_the_page_lists_what_is_recorded_and_nothing_else(checkout: Checkout, heading: str):
    client, runs = _client(checkout), _runs(checkout)
    versions = [
        each
        for model in client.search_registered_models()
        for each in client.search_model_versions(f"name='{model.name}'")
    ]
    recorded = {
        "Metrics": {name for run in runs for name in run.data.metrics},
        "Tags": {name for each in [*(run.data for run in runs), *versions] for name in each.tags},
        "Artifacts": {name for run in runs for name in _files(client, run.info.run_id)},
    }[heading]
    patterns = {name: _pattern(name) for name in _named(heading)}
    assert [name for name in sorted(recorded) if not any(each.fullmatch(name) for each in patterns.values())] == []
    not_made = {name for name, each in patterns.items() if not any(map(each.fullmatch, recorded))}
    assert not_made - NOT_MADE == set()


@pytest.mark.slow
@pytest.mark.usefixtures("faults")
def test_params_are_the_keys_of_the_configuration(checkout: Checkout):
    trained = [run for run in _runs(checkout) if "config.sha256" in run.data.tags]
    # What only the data can say.
    known = {*known_keys(RunConfig), "data.layout", "data.absent"}
    for run in trained:
        assert {"seed", "split.name", "tracking.uri", "model.name"} <= set(run.data.params)
        of_maps = ("tune.space.", "layout.columns.")
        assert {key for key in run.data.params if not key.startswith(of_maps)} - known == set()
    assert trained
