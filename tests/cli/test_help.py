"""Tests of ``--help`` and ``--version``: each command names its own keys, with the comments of its own files."""

import re
import subprocess
import sys

import pytest
from omegaconf import DictConfig, OmegaConf

import spotify_ml
from spotify_ml.cli.help import command_help
from spotify_ml.config.models import EnsembleConfig
from spotify_ml.utils.errors import ConfigError
from spotify_ml.utils.paths import CONF, PROJECT
from tests.support import composed

COMMANDS = sorted(path.stem for path in CONF.glob("*.yaml"))
PROGRAMS = {name: ["-m", f"spotify_ml.{name}"] for name in COMMANDS}
PATIENCE_S = 60


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key in config:
        value = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)[key]
        if isinstance(value, dict):
            keys += _keys(config._get_node(key), f"{prefix}{key}.")
        else:
            keys.append(f"{prefix}{key}")
    return keys


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_key_of_its_command_and_no_other_group(command: str):
    text = command_help(command, [])
    keys = [key for key in _keys(composed(command)) if not key.endswith((".name", "traffic.mode"))]
    listed = re.findall(r"^  ([\w./]+)=", text, re.MULTILINE)
    assert set(keys) <= set(listed)
    groups = {entry for entry in listed if (CONF / entry).is_dir()}
    assert {key for key in listed if key not in groups} == set(keys)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_begins_with_the_purpose_and_two_examples(command: str):
    text = command_help(command, [])
    assert text.startswith((CONF / f"{command}.yaml").read_text().splitlines()[0].removeprefix("# "))
    examples = re.findall(rf"^  python {re.escape(' '.join(PROGRAMS[command]))}(.*)$", text, re.MULTILINE)
    assert len(examples) == 2
    assert "Application's help" not in text


@pytest.mark.parametrize("model", sorted(path.stem for path in (CONF / "model").iterdir()))
def test_help_explains_the_choice_that_is_typed(model: str):
    text = command_help("train", [f"model={model}"])
    config = composed("train", f"model={model}")
    values = {key: OmegaConf.select(config, key) for key in _keys(config) if key.startswith("model.")}
    for key, value in values.items():
        if not key.endswith(".name") and isinstance(value, int) and not isinstance(value, bool):
            assert re.search(rf"^  {re.escape(key)}={value}\b", text, re.MULTILINE)
    assert EnsembleConfig.__name__ not in text


def test_help_of_a_study_names_its_groups_with_their_comments():
    text = command_help("train", ["tune=optuna", "tune/pruner=median"])
    for words in ("tune.n_trials=50 ", "in all, however often", "tune/pruner=median", "tune.pruner.n_startup_trials"):
        assert words in text


def test_help_refuses_a_choice_that_is_none():
    with pytest.raises(ConfigError, match=r"model=lightgb: no such choice \(did you mean 'lightgbm'\?\)"):
        command_help("train", ["model=lightgb"])


@pytest.mark.parametrize("command", ["predict", "compare"])
@pytest.mark.parametrize(("option", "begins"), [("--version", f"spotify_ml {spotify_ml.__version__}"), ("--help", "")])
def test_the_command_answers(command: str, option: str, begins: str):
    arguments = [sys.executable, *PROGRAMS[command], option]
    done = subprocess.run(arguments, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout.startswith(begins or command_help(command, []))
    assert done.stderr == ""
