"""Tests of what a run is refused for before data is read: by name, at once, and without a trace."""

import os
import subprocess
from pathlib import Path

import pytest

from spotify_ml.cli import run_check
from spotify_ml.cli.run_check import check_run, discard_if_empty
from spotify_ml.utils.errors import ConfigError, DataError
from tests.commands import LIGHT, interpreter, python
from tests.support import composed

PATIENCE_S = 60
HEAVY = {"mlflow", "xgboost", "sklearn", "pandas", "matplotlib", "numpy", "optuna", "sqlalchemy"}

REFUSED = {
    "a name of a model that is an address": (["tracking.registered_model=team/spotify"], "tracking.registered_model"),
    "one with a colon": (["task.registered_model=a:b"], "task.registered_model='a:b'"),
    "one that is a folder": (["tracking.registered_model=.."], "tracking.registered_model='..'"),
    "a blank experiment": (["tracking.experiment=' '"], "tracking.experiment"),
    "a name that is too long": ([f"name={'x' * 201}"], "name="),
    "a study that names no file": (["tune=optuna", "tune.study_name=a/b"], "tune.study_name='a/b'"),
    "a storage of another kind": (["tune=optuna", "tune.storage=mysql://u:secret@h/d"], "tune.storage=mysql://u:***@h"),
    "two parts of classes": (["task=classification", "model=two_part"], "model=two_part"),
    "a cluster for another library": (["engine=dask", "model=lightgbm"], "engine=dask"),
    "files for a study": (["matrices=disk", "tune=optuna"], "matrices=disk"),
    "no file": (["data=file", "data.path=nowhere.csv"], "nowhere.csv does not exist"),
    "a folder": (["data=file", "data.path=."], "is a folder"),
    "a folder below a file": (["hydra.run.dir={folder}/file/run"], "hydra.run.dir"),
    "a folder of another run": (["hydra.run.dir={folder}/used"], "holds another run (models)"),
    "artifacts below a file": (["tracking.artifact_location={folder}/file/artifacts"], "tracking.artifact_location"),
    "a server that is none": (["tracking.uri=http://127.0.0.1:9"], "http://127.0.0.1:9 does not answer"),
    "a store that is a folder": (["tracking.uri=sqlite:///{folder}"], "is a folder"),
    "a store that is no database": (["tracking.uri=sqlite:///{folder}/file"], "no SQLite database"),
}
SWEEPS = {
    "a choice that is none": (["split=album,foo"], "split=foo: no such choice"),
    "a value of another type": (["seed=1,x"], "seed='x'"),
    "choices that do not go together": (["model=two_part,xgboost", "task=regression,classification"], "model=two_part"),
    "no file in the second job": (["data=file", "data.path={folder}/file,nowhere.csv"], "nowhere.csv does not exist"),
    "a server that is none": (["seed=1,2", "tracking.uri=http://127.0.0.1:9"], "does not answer"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, and a folder that a run was written to."""
    (tmp_path / "file").write_text("This is a regular file, and no database.\n" * 10)
    (tmp_path / "used" / "models").mkdir(parents=True)
    return tmp_path


def _refusal(folder: Path, *arguments: str, **environment: str) -> tuple[str, set[str]]:
    """Run the command that is refused; return what it says, and the libraries that it imported."""
    before = sorted(folder.rglob("*"))
    # The last of two values of a key counts.
    store = f"tracking.uri=sqlite:///{folder}/new/mlflow.db"
    places = [f"hydra.run.dir={folder}/new/run", f"hydra.sweep.dir={folder}/new/sweep"]
    defaults = [each for each in (store, *places) if each.partition("=")[0] not in " ".join(arguments)]
    light = interpreter(*LIGHT)
    done = light.run("spotify_ml.train", *arguments, *defaults, cwd=folder, environment={**os.environ, **environment})
    assert done.returncode == 1
    assert done.stdout == ""
    assert sorted(folder.rglob("*")) == before
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert [line for line in lines if line.startswith(("error: ", "Traceback", "store"))] == lines[:1]
    modules = light.imported()
    assert "hydra" in modules
    return "\n".join(lines), modules


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_run_leaves_nothing_and_imports_nothing_heavy(kind: str, folder: Path):
    arguments, words = REFUSED[kind]
    message, modules = _refusal(folder, *(each.format(folder=folder) for each in arguments))
    assert words in message
    assert "secret" not in message
    assert modules & HEAVY == set()


@pytest.mark.parametrize("kind", SWEEPS)
def test_a_refused_sweep_leaves_nothing(kind: str, folder: Path):
    arguments, words = SWEEPS[kind]
    message, modules = _refusal(folder, "--multirun", *(each.format(folder=folder) for each in arguments))
    assert words in message
    assert modules & HEAVY == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["model.tree_method=exact", "model.colsample_bynode=1", "model.max_depth=0"],
            "exact tree method doesn't support unlimited depth",
        ),
        (["model=lightgbm", "model.num_leaves=200000"], "num_leaves"),
        (["tune=optuna", "tune.metrics=[val/rms]"], "did you mean 'val/rmse'?"),
        (["tune=optuna", "+tune.space.model.max_dept={low: 1, high: 2}"], "did you mean 'model.max_depth'?"),
        (["tracking.uri=nosuchscheme://store"], "nosuchscheme"),
    ],
)
def test_what_only_a_library_knows_is_refused_before_a_run_too(arguments: list[str], words: str, folder: Path):
    uri = f"tracking.uri=sqlite:///{folder / 'mlflow.db'}"
    command = [python(), "-m", "spotify_ml.train", uri, *arguments, f"hydra.run.dir={folder / 'day' / 'run'}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert not (folder / "day").exists()


@pytest.mark.parametrize(
    ("library", "overrides", "words"),
    [
        ("lightgbm", ["model=lightgbm"], "model=lightgbm needs lightgbm"),
        ("catboost", ["model=catboost"], "pip install -e '.[catboost]'"),
        ("lightgbm", ["model=blend", "+model/lightgbm@model.members.lightgbm=lightgbm"], "model=lightgbm"),
        ("distributed", ["engine=dask"], "pip install -e '.[dask]'"),
    ],
)
def test_a_library_that_is_not_installed_is_named(
    library: str, overrides: list[str], words: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_check, "find_spec", lambda name: None if name == library else True)
    overrides = [each.replace("+model/lightgbm@", "+model@") for each in overrides]
    config = composed("train", *overrides)
    with pytest.raises(ConfigError) as caught:
        check_run(config)
    assert words in str(caught.value)


def test_a_run_that_can_be_is_not_refused(tmp_path: Path):
    config = composed("train", f"tracking.artifact_location={tmp_path}/new/artifacts")
    assert check_run(config, tmp_path / "new" / "run").split.name == "recording"
    assert list(tmp_path.iterdir()) == []


def test_the_full_dataset_that_is_not_there_is_named_with_what_fetches_it(tmp_path: Path):
    config = composed("train", "data=full", f"data.path={tmp_path / 'none.csv'}")
    with pytest.raises(DataError, match=r"download_data\.py"):
        check_run(config)


@pytest.mark.parametrize(
    ("files", "stays"),
    [
        ({}, False),
        ({"train.log": ""}, False),
        ({".hydra/config.yaml": "a: 1", "train.log": ""}, False),
        ({"train.log": "INFO trial 3 failed"}, True),
        ({"config.json": "{}", "train.log": ""}, True),
        ({".models.12-ab.partial/x": ""}, True),
    ],
)
def test_a_folder_is_discarded_if_nothing_is_in_it_but_hydra_s_own(files: dict[str, str], stays: bool, tmp_path: Path):
    folder = tmp_path / "day" / "run"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    discard_if_empty(folder)
    assert folder.exists() == stays
    assert (tmp_path / "day").exists() == stays
    discard_if_empty(tmp_path / "none")


def test_a_gpu_is_refused_where_xgboost_was_built_without(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_check, "distribution", lambda name: "xgboost-cpu")
    run = composed("train", "model.device=cuda")
    with pytest.raises(ConfigError, match=r"model\.device=cuda: XGBoost .*`pip install xgboost=="):
        check_run(run)
    monkeypatch.setattr(run_check, "distribution", lambda name: name)
    assert check_run(run).model.device == "cuda"
