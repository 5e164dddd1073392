"""Tests of what is said of values that Hydra's grammar reads as something else, and of what to type instead."""

import shlex
import sys
from pathlib import Path

import pytest

from spotify_ml.config.check import validate_as
from spotify_ml.config.commands import PredictConfig
from spotify_ml.config.typed import arguments_in_order, misread, quoted
from spotify_ml.utils.errors import ConfigError
from tests.commands import LIGHT, interpreter
from tests.support import composed

TEXTS = [
    "dataset (1).csv",
    "a,b.csv",
    "a=b.csv",
    "a{b}.csv",
    "[a].csv",
    "it's.csv",
    'say "so".csv',
    "café.csv",
    "a&b;c!.csv",
    "a#b%20c.csv",
    "C:\\new\\",
    "20261130",
    "1_000",
    "1e3",
    "true",
    "null",
    "  ",
    "http://user:secret@host/?a=b&c=d",
]


@pytest.mark.parametrize("key", ["input", "tracking.uri"])
@pytest.mark.parametrize("text", TEXTS)
def test_what_is_to_be_typed_is_read_as_the_text(key: str, text: str):
    (argument,) = shlex.split(quoted(key, text))
    config = composed("predict", argument)
    section, _, name = key.rpartition(".")
    assert (config[section] if section else config)[name] == text


@pytest.mark.parametrize("text", ["null", "NULL", "fail", "skip"])
def test_null_is_a_choice_of_on_error(text: str):
    config = composed("predict", "input=-", "output=-", f"on_error={text}")
    assert validate_as(config, PredictConfig).on_error == text.lower()


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("20261130", "20261130"), ("1_000", "1_000"), ("1e3", "1e3"), ("true", "true"), ("null", "null"), ("[a]", "[a]")],
)
@pytest.mark.parametrize("key", ["output", "tracking.experiment", "tracking.registered_model", "model_uri"])
def test_a_number_in_the_place_of_text_is_answered_with_how_to_quote_it(
    key: str, typed: str, shown: str, monkeypatch: pytest.MonkeyPatch
):
    arguments = ["input=-", "output=-", f"{key}={typed}"]
    monkeypatch.setattr(sys, "argv", ["predict", *arguments])
    config = composed("predict", *arguments)
    with pytest.raises(ConfigError) as caught:
        validate_as(config, PredictConfig)
    assert f"""{key}=""" in str(caught.value)
    assert f"""'{key}="{shown}"'""" in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("input=a (1).csv", ["input=a (1).csv", """'input="a (1).csv"'"""]),
        ("+tracking.x=a=b", ["+tracking.x=a=b", """'+tracking.x="a=b"'"""]),
        ("--foo", ["no option --foo"]),
        ("input", ["'input' is not KEY=VALUE"]),
    ],
)
def test_what_cannot_be_read_is_named(argument: str, words: list[str]):
    assert [word for word in words if word not in misread(argument)] == []


# --- the same through the real commands

PLACES = [
    ("spotify_ml.predict", "input=dataset (1).csv", """'input="dataset (1).csv"'"""),
    ("spotify_ml.predict", "output=scored,new.csv", """'output="scored,new.csv"'"""),
    ("spotify_ml.train", "data.path=a=b.csv", """'data.path="a=b.csv"'"""),
    ("spotify_ml.train", "name=20261130", """'name="20261130"'"""),
    ("spotify_ml.promote", "tracking.uri=http://host/?a=b", """'tracking.uri="http://host/?a=b"'"""),
]


@pytest.mark.parametrize(("command", "argument", "typed"), PLACES)
def test_the_command_says_which_key_and_how_to_quote_it(command: str, argument: str, typed: str, tmp_path: Path):
    done = interpreter(*LIGHT).run(command, argument, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert argument.partition("=")[0] in line
    assert typed in line
    assert list(tmp_path.iterdir()) == []


def test_two_words_of_a_value_are_put_together(tmp_path: Path):
    done = interpreter(*LIGHT).run("spotify_ml.predict", "input=my", "tracks.csv", "output=x.csv", cwd=tmp_path)
    assert """'input="my tracks.csv"'""" in done.stderr


@pytest.mark.parametrize(
    ("typed", "ordered"),
    [
        ("seed=1 -m split=random", "-m seed=1 split=random"),
        ("seed=1,2 --multirun ~cv", "--multirun seed=1,2 ~cv"),
        ("a=1 --config-dir x=y b=2 --cfg job", "--config-dir x=y --cfg job a=1 b=2"),
        ("-m seed=1", "-m seed=1"),
        ("+a=1 b=2", "+a=1 b=2"),
        ("-sc install=bash", "-sc install=bash"),
        ("seed=1 --cfg=job ++a=2", "--cfg=job seed=1 ++a=2"),
    ],
)
def test_options_may_stand_anywhere(typed: str, ordered: str):
    assert arguments_in_order(typed.split()) == ordered.split()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--foo", "there is no option --foo"),
        ("seed=1 --foo seed=2", "there is no option --foo"),
        ("-x", "there is no option -x"),
        ("--cfg nope", "invalid choice: 'nope'"),
        ("seed=1 --cfg", "argument --cfg"),
    ],
)
def test_an_option_that_is_none_is_an_error_of_ours(typed: str, said: str, tmp_path: Path):
    """Exit code 2, argparse's own, says of a promotion that the gate refused it."""
    with pytest.raises(ConfigError, match=said):
        arguments_in_order(typed.split())
    result = interpreter(*LIGHT).run("spotify_ml.promote", *typed.split(), cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
