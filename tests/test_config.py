"""Tests of ``conf/`` and its schema: every choice is valid, and every mistake is named before anything is read."""

import subprocess
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from pydantic import ValidationError

from spotify_ml.config.check import known_keys, validate, validate_as
from spotify_ml.config.commands import PromoteConfig
from spotify_ml.config.run import RunConfig
from spotify_ml.tracking.training import train
from spotify_ml.utils.errors import ConfigError
from spotify_ml.utils.paths import CONF, PROJECT
from tests.commands import LIGHT, interpreter
from tests.support import composed

COMMANDS = sorted(path.stem for path in CONF.glob("*.yaml"))


def groups_of(command: str) -> set[str]:
    """The config groups in the defaults list of a command."""
    entries = [entry for entry in OmegaConf.load(CONF / f"{command}.yaml").defaults if entry != "_self_"]
    return {group for entry in entries for group in entry if not group.startswith("override ")}


CHOICES = sorted(
    (path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if path.parent.name in groups_of("train")
)
EXPERIMENTS = [choice for group, choice in CHOICES if group == "experiment"]


def configured(*overrides: str) -> RunConfig:
    return validate(composed("train", *overrides))


def command_line(*overrides: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the real command with a store and a run folder of its own."""
    places = [f"hydra.run.dir={folder / 'run'}", f"tracking.uri=sqlite:///{folder / 'mlflow.db'}"]
    return interpreter(*LIGHT).run("spotify_ml.train", *places, *overrides, cwd=folder)


# --- every choice


def test_every_group_of_a_defaults_list_has_choices_and_every_folder_is_one():
    groups = {group for command in COMMANDS for group in groups_of(command)}
    assert groups == {path.parent.name for path in CONF.glob("*/*.yaml")}


@pytest.mark.parametrize("choice", sorted(path.stem for path in (CONF / "gate").iterdir()))
def test_every_gate_composes_and_validates(choice: str):
    config = validate_as(composed("promote", f"gate={choice}"), PromoteConfig)
    assert config.gate.name == choice
    assert config.tracking.registered_model == config.gate.registered_model


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_validates(group: str, choice: str):
    path = ["data.path=tracks.csv"] if (group, choice) == ("data", "file") else []
    config = configured(f"{group}={choice}", *path)
    if group == "experiment":
        assert config.name == choice
    elif group != "tracking":
        assert getattr(config, group).name == choice


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs_on_the_sample(experiment: str, tmp_path: Path):
    overrides = [f"experiment={experiment}", "data=sample", "model.n_jobs=1"]
    store = [f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", f"tracking.artifact_location={tmp_path}/artifacts"]
    summary = train(configured(*overrides, *store), tmp_path / "run", overrides)
    assert summary.run_name.startswith(f"{experiment}-")
    assert summary.metrics["test/rmse"] < summary.metrics["baseline_mean/rmse"]
    assert summary.version == 1


def test_defaults_are_those_that_are_promised():
    config = configured()
    chosen = {group: getattr(config, group).name for group in ("data", "cleaning", "split", "features", "model")}
    assert chosen == {
        "data": "sample",
        "cleaning": "tracks",
        "split": "recording",
        "features": "full",
        "model": "xgboost",
    }
    assert (config.seed, config.register_model, config.outputs.data) == (42, None, False)


def test_reference_model_has_the_parameters_of_the_specification():
    model = configured("experiment=reference").model.model_dump()
    specified = {
        "n_estimators": 200,
        "max_depth": 6,
        "learning_rate": 0.1,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
        "min_child_weight": 3,
        "gamma": 0.1,
        "early_stopping_rounds": 20,
    }
    assert {name: model[name] for name in specified} == specified


def test_paths_are_anchored_at_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPOTIFY_TRACKS_PATH", raising=False)
    config = configured("data=full")
    assert config.data.path == str(PROJECT / "data" / "raw" / "dataset.csv")
    assert config.tracking.uri == f"sqlite:///{PROJECT / 'mlruns' / 'mlflow.db'}"
    assert Path(configured().data.path).is_file()


def test_environment_names_the_full_dataset_and_an_override_wins(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPOTIFY_TRACKS_PATH", "elsewhere.csv")
    assert configured("data=full").data.path == "elsewhere.csv"
    assert configured("data=full", "data.path=mine.csv").data.path == "mine.csv"


# --- mistakes, as the schema tells them


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed=abc", ["seed='abc'", "integer"]),
        ("seed=-1", ["seed=-1", "greater than or equal to 0"]),
        ("seed=4294967296", ["seed=4294967296", "less than"]),
        ("seed=null", ["seed=None"]),
        ("register=perhaps", ["register='perhaps'", "boolean"]),
        ("outputs.data=1", ["outputs.data=1", "boolean"]),
        ("split.test_size=0", ["split.test_size=0", "greater than 0"]),
        ("split.test_size=1.0", ["split.test_size=1.0", "less than 1"]),
        ("split.val_size=big", ["split.val_size='big'", "number"]),
        ("split.val_size=nan", ["split.val_size=nan", "finite"]),
        ("model.max_depth=-1", ["model.max_depth=-1", "greater than or equal to 0"]),
        ("model.max_depth=3.5", ["model.max_depth=3.5", "integer"]),
        ("model.n_estimators=0", ["model.n_estimators=0"]),
        ("model.learning_rate=0", ["model.learning_rate=0"]),
        ("model.learning_rate=inf", ["model.learning_rate=inf"]),
        ("model.subsample=1.1", ["model.subsample=1.1"]),
        ("model.n_jobs=0", ["model.n_jobs=0"]),
        ("model.tree_method=hits", ["model.tree_method='hits'", "did you mean 'hist'?"]),
        ("model.grow_policy=depth", ["model.grow_policy='depth'", "did you mean 'depthwise'?"]),
        ("model.device=gpux", ["model.device='gpux'"]),
        ("split.name=recordings", ["split.name='recordings'", "did you mean 'recording'?"]),
        ("data.path=''", ["data.path=''"]),
        ("data=file", ["data.path", "set it with data.path=…"]),
        ("+model.max_dept=3", ["unknown key 'model.max_dept'", "did you mean 'model.max_depth'?"]),
        ("+sed=3", ["unknown key 'sed'", "did you mean 'seed'?"]),
        ("+split.testsize=0.3", ["unknown key 'split.testsize'", "did you mean 'split.test_size'?"]),
        ("+registre=true", ["unknown key 'registre'", "did you mean 'register'?"]),
        ("~seed", ["'seed' is missing"]),
        ("~model.max_depth", ["'model.max_depth' is missing"]),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(override: str, words: list[str]):
    with pytest.raises(ConfigError) as caught:
        configured(override)
    for word in words:
        assert word in str(caught.value)


def test_a_name_far_from_every_other_gets_no_suggestion():
    with pytest.raises(ConfigError, match=r"unknown key 'zzzzzz'$"):
        configured("+zzzzzz=1")


def test_all_mistakes_are_listed_at_once():
    with pytest.raises(ConfigError) as caught:
        configured("seed=-1", "+model.max_dept=3", "split.test_size=2", "outputs.data=7")
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert all(line.startswith("config: ") for line in lines)
    for word in ("seed=-1", "model.max_dept", "split.test_size=2", "outputs.data=7"):
        assert sum(word in line for line in lines) == 1


@pytest.mark.parametrize(
    "override",
    ["seed=0", "seed=4294967295", "split.test_size=0.001", "model.learning_rate=1", "model.gamma=0", "register=false"],
)
def test_the_ends_of_a_range_are_valid(override: str):
    key, _, value = override.partition("=")
    assert configured(override).flat()[key] == yaml.safe_load(value)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError):
        configured().seed = 1


# --- the same through the real command: one error, before anything is read or recorded


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("dat=full", ["unknown key 'dat'", "did you mean 'data'?"]),
        ("experimnt=reference", ["unknown key 'experimnt'", "did you mean 'experiment'?"]),
        ("sed=1", ["unknown key 'sed'", "did you mean 'seed'?"]),
        ("model.max_dept=3", ["unknown key 'model.max_dept'", "did you mean 'model.max_depth'?"]),
        ("+model.max_dept=3", ["unknown key 'model.max_dept'", "did you mean 'model.max_depth'?"]),
        ("split.test_sise=0.3", ["unknown key 'split.test_sise'", "did you mean 'split.test_size'?"]),
        ("data=sampel", ["data=sampel", "did you mean 'sample'?", "there are: file, full, sample"]),
        ("data=5", ["Config group override must be a string"]),
        ("split=artists", ["split=artists", "did you mean 'artist'?"]),
        ("experiment=referense", ["experiment=referense", "did you mean 'reference'?"]),
        ("model.max_depth=deep", ["model.max_depth='deep'", "integer"]),
        ("split.test_size=1.5", ["split.test_size=1.5", "less than 1"]),
        ("data=file", ["data.path", "set it with data.path=…"]),
    ],
)
def test_the_command_answers_a_mistake_with_one_error(override: str, words: list[str], tmp_path: Path):
    result = command_line(override, folder=tmp_path)
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    for word in words:
        assert word in errors[0]
    assert result.returncode == 1
    assert result.stdout == ""
    assert not (tmp_path / "mlflow.db").exists()


def test_an_override_that_is_none_is_answered_with_one_error(tmp_path: Path):
    result = command_line("seed", folder=tmp_path)
    assert result.returncode != 0
    assert "seed" in result.stderr
    assert "Traceback" not in result.stderr


# --- the digest and the flat form


@pytest.mark.parametrize(
    "override",
    ["tracking=server", "tracking.experiment=other", "name=mine", "outputs.data=true", "register=false"],
)
def test_digest_ignores_where_and_under_what_name_a_result_is_recorded(override: str):
    assert configured(override).digest() == configured().digest()


@pytest.mark.parametrize(
    "override",
    [
        "seed=43",
        "data.path=other.csv",
        "cleaning=rows",
        "split=artist",
        "split.val_size=0.2",
        "features=audio",
        "model=xgboost_reference",
        "model.max_depth=7",
    ],
)
def test_digest_changes_with_what_decides_the_result(override: str):
    assert configured(override).digest() != configured().digest()


def test_digest_is_that_of_an_equal_configuration_however_it_was_written():
    written = configured("experiment=reference", "name=null")
    spelled = configured("cleaning=rows", "split=random", "features=reference", "model=xgboost_reference")
    assert written.digest() == spelled.digest()


def test_flat_has_the_keys_of_every_section_with_their_values():
    config = configured("model.max_depth=7", "register=true")
    flat = config.flat()
    groups = {key.partition(".")[0] for key in known_keys() if "." in key}
    # A layout that is not asked for is left out, as in runs from before there were layouts.
    assert {key.partition(".")[0] for key in flat} == {key for key in known_keys() if "." not in key} - {"layout"}
    assert {key for key in flat if key.startswith("model.")} == {
        f"model.{key}" for key in type(config.model).model_fields
    }
    assert groups.isdisjoint(flat)
    assert (flat["model.max_depth"], flat["register"], flat["name"]) == (7, True, None)


def test_flat_has_the_parameters_of_every_member():
    flat = configured("model=blend", "model.members.xgboost.max_depth=3").flat()
    assert flat["model.members.xgboost.max_depth"] == 3
    assert set(flat) <= set(known_keys()) | {key for key in flat if key.startswith("model.members.")}


def test_a_layout_that_is_asked_for_is_a_part_of_the_run():
    plain, named = configured(), configured("layout=tracks_1m")
    assert "layout" not in plain.model_dump()
    assert named.flat()["layout.columns.track_genre"] == "genre"
    assert named.digest() != plain.digest() == configured("layout=auto").digest()
    assert RunConfig.model_validate(named.model_dump(by_alias=True)) == named


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["layout=custom", "+layout.columns={artist: Singer}"], "did you mean 'artists'"),
        (["+layout.columns={artists: Singer}"], "set layout=custom as well"),
        (["layout=custom", "+layout.columns={artists: {from: Singer, values: shouted}}"], "values='shouted'"),
        (["layout=custom", "+layout.colums={artists: Singer}"], "unknown key 'layout.colums'"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(overrides: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        configured(*overrides)
