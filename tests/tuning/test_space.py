"""Tests of the search space: what may stand in it, and that what is chosen from it is always a valid run."""

from typing import Any

import optuna
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from spotify_ml.config.run import RunConfig
from spotify_ml.config.tuning import OptunaConfig
from spotify_ml.tuning.space import (
    apply,
    describe,
    nearest_values,
    outside,
    own_values,
    read_space,
    stored_space,
    suggest,
)
from spotify_ml.utils.errors import ConfigError
from spotify_ml.utils.paths import CONF
from tests import support

SPACES = sorted(path.stem for path in (CONF / "tune" / "space").iterdir())


def configured(*overrides: str) -> RunConfig:
    return support.configured("tune=optuna", *overrides)


def space_of(config: RunConfig) -> dict[str, Any]:
    assert isinstance(config.tune, OptunaConfig)
    return config.tune.space


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return configured()


def read(text: str, config: RunConfig) -> dict[str, Any]:
    return {parameter.key: parameter for parameter in read_space(yaml.safe_load(text), config)}


@pytest.mark.parametrize("model", SPACES)
def test_every_model_with_a_space_gives_valid_runs(model: str):
    config = configured(f"model={model}")
    space = read_space(space_of(config), config)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        values = suggest(study.ask(), space, config)
        flat = apply(config, values).flat()
        assert {key: flat[key] for key in values} == values


@pytest.mark.parametrize("model", SPACES)
def test_the_values_that_a_run_has_are_in_every_space(model: str):
    config = configured(f"model={model}")
    space = read_space(space_of(config), config)
    study = optuna.create_study()
    own = own_values(space, config)
    first = nearest_values(space, own)
    study.enqueue_trial(first)
    assert suggest(study.ask(), space, config) == first
    assert apply(config, own) == config
    # On a logarithmic scale there is no 0.
    assert {key for key in own if own[key] != first[key]} <= {"model.reg_alpha"}


def test_values_out_of_the_space_are_moved_to_the_nearest_in_it():
    config = configured("model.max_depth=8", "model.max_bin=256", "model.reg_alpha=0", "model.grow_policy=depthwise")
    text = """
    model:
      max_depth: {low: 3, high: 7, step: 2}
      learning_rate: {low: 0.1, high: 0.2}
      reg_alpha: {low: 0.001, high: 1.0, log: true}
      subsample: {low: 0.5, high: 1.0, step: 0.25}
      max_bin: {choices: [16, 32]}
      max_leaves: {low: 8, high: 64, when: {model.grow_policy: lossguide}}
    """
    space = read_space(yaml.safe_load(text), config)
    own = own_values(space, config)
    assert own == {
        "model.max_depth": 8,
        "model.learning_rate": 0.05,
        "model.reg_alpha": 0,
        "model.subsample": 0.8,
        "model.max_bin": 256,
    }
    assert nearest_values(space, own) == {
        "model.max_depth": 7,
        "model.learning_rate": 0.1,
        "model.reg_alpha": 0.001,
        "model.subsample": 0.75,
    }
    assert outside(space, own) == [
        "model.max_depth=8, which tune.space.model.max_depth does not hold (3 to 7 in steps of 2)",
        "model.learning_rate=0.05, which tune.space.model.learning_rate does not hold (0.1 to 0.2)",
        "model.reg_alpha=0.0, which tune.space.model.reg_alpha does not hold (0.001 to 1)",
        "model.subsample=0.8, which tune.space.model.subsample does not hold (0.5 to 1 in steps of 0.25)",
        "model.max_bin=256, which tune.space.model.max_bin does not hold (16, 32)",
    ]


def test_a_null_beside_a_range_is_outside_of_it():
    config = configured("model=random_forest")
    space = read_space({"model": {"max_depth": {"low": 4, "high": 30}}}, config)
    own = own_values(space, config)
    assert (own, nearest_values(space, own)) == ({"model.max_depth": None}, {})
    assert outside(space, own) == ["model.max_depth=null, which tune.space.model.max_depth does not hold (4 to 30)"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("model: {max_depth: {low: 3, high: 12}}", IntDistribution(3, 12)),
        ("model: {max_depth: {low: 4, high: 12, step: 2}}", IntDistribution(4, 12, step=2)),
        ("model: {max_leaves: {low: 8, high: 512, log: true}}", IntDistribution(8, 512, log=True)),
        ("model: {min_child_weight: {low: 1, high: 100}}", FloatDistribution(1.0, 100.0)),
        ("model: {learning_rate: {low: 0.01, high: 0.3, log: true}}", FloatDistribution(0.01, 0.3, log=True)),
        ("model: {subsample: {low: 0.5, high: 1.0, step: 0.1}}", FloatDistribution(0.5, 1.0, step=0.1)),
        (
            "model: {grow_policy: {choices: [depthwise, lossguide]}}",
            CategoricalDistribution(["depthwise", "lossguide"]),
        ),
        ("features: {name: {choices: [audio, full]}}", CategoricalDistribution(["audio", "full"])),
        ("task: {weights: {choices: [none, balanced]}}", CategoricalDistribution(["none", "balanced"])),
        ("model: {max_depth: {low: 3, high: 12, choices: [5, 7]}}", CategoricalDistribution([5, 7])),
    ],
)
def test_the_schema_says_what_kind_of_range_it_is(config: RunConfig, given: str, expected: Any):
    (parameter,) = read(given, config).values()
    assert parameter.distribution == expected
    assert type(parameter.distribution) is type(expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("model: {max_dept: {low: 3, high: 5}}", r"model\.max_dept.*did you mean 'model\.max_depth'"),
        ("modle: {max_depth: {low: 3, high: 5}}", r"modle\.max_depth: a run has no such key"),
        ("model: {max_depth: {low: -1, high: 5}}", r"model\.max_depth=-1: .*greater than or equal to 0"),
        ("model: {subsample: {low: 0.5, high: 1.5}}", r"model\.subsample=1\.5: .*less than or equal to 1"),
        ("model: {max_depth: {low: 9, high: 5}}", r"max_depth.*low <= high"),
        ("model: {max_depth: {low: 3, high: 5.5}}", r"model\.max_depth=5\.5: .*integer"),
        ("model: {max_depth: {low: 3}}", r"max_depth has one end only"),
        ("model: {max_depth: {low: 3, hihg: 5}}", r"'hihg' \(did you mean 'high'\?\)"),
        ("model: {max_depth: 5}", r"max_depth=5 is no range"),
        ("model: {max_depth: {choices: []}}", r"max_depth"),
        ("model: {learning_rate: {low: 0.0, high: 0.3, log: true}}", r"learning_rate"),
        ("model: {grow_policy: {choices: [depthwise, deep]}}", r"'deep'"),
        ("features: {name: {choices: [audio, ful]}}", r"did you mean 'full'"),
        ("seed: {low: 1, high: 5}", r"seed cannot be searched"),
        ("split: {name: {choices: [album, artist]}}", r"split\.name cannot be searched"),
        ("data: {path: {choices: [a, b]}}", r"data\.path cannot be searched"),
        ("model: {max_leaves: {low: 8, high: 9, when: {model.grow: lossguide}}}", r"'when' names 'model\.grow'"),
        (
            "model: {max_depth: {low: 1, high: 2, when: {model.max_bin: 9}}, "
            "max_bin: {low: 8, high: 9, when: {model.max_depth: 1}}}",
            r"wait for each other",
        ),
        ("{}", r"tune\.space is empty"),
    ],
)
def test_what_cannot_be_searched_is_one_error_that_names_it(config: RunConfig, given: str, said: str):
    with pytest.raises(ConfigError, match=said):
        read(given, config)


def test_all_wrong_ranges_are_named_at_once(config: RunConfig):
    with pytest.raises(ConfigError) as caught:
        read("model: {max_depth: {low: -1, high: 5}, subsample: {low: 0.5, high: 7}}", config)
    assert "max_depth" in str(caught.value)
    assert "subsample" in str(caught.value)


CONDITIONAL = """
model:
  max_leaves: {low: 16, high: 64, when: {model.grow_policy: lossguide}}
  grow_policy: {choices: [depthwise, lossguide]}
"""


def test_a_condition_is_chosen_before_what_depends_on_it(config: RunConfig):
    space = read_space(yaml.safe_load(CONDITIONAL), config)
    assert [parameter.key for parameter in space] == ["model.grow_policy", "model.max_leaves"]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    chosen = [suggest(study.ask(), space, config) for _ in range(20)]
    assert {("model.max_leaves" in values, values["model.grow_policy"]) for values in chosen} == {
        (True, "lossguide"),
        (False, "depthwise"),
    }


def test_a_condition_on_what_is_not_searched_looks_at_the_run():
    config = configured("model.grow_policy=depthwise")
    given = "model: {max_leaves: {low: 16, high: 64, when: {model.grow_policy: lossguide}}}"
    space = read_space(yaml.safe_load(given), config)
    study = optuna.create_study()
    assert suggest(study.ask(), space, config) == {}
    assert "model.max_leaves" in suggest(study.ask(), space, configured("model.grow_policy=lossguide"))


MODELS = """
model:
  name: {choices: [xgboost, hist_gradient_boosting, linear]}
  max_depth: {low: 3, high: 5}
  max_leaf_nodes: {low: 8, high: 16}
  learning_rate: {low: 0.1, high: 0.2}
  alpha: {low: 1.0, high: 2.0}
"""


def test_searched_models_get_their_own_parameters_and_defaults(config: RunConfig):
    space = read_space(yaml.safe_load(MODELS), config)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    expected = {
        "xgboost": {"max_depth", "learning_rate"},
        "hist_gradient_boosting": {"max_leaf_nodes", "learning_rate"},
        "linear": {"alpha"},
    }
    seen = set()
    for _ in range(30):
        values = suggest(study.ask(), space, config)
        name = values["model.name"]
        assert {key.removeprefix("model.") for key in values} == {"name", *expected[name]}
        run = apply(config, values)
        assert run.model.name == name
        seen.add(name)
    assert seen == set(expected)


def test_values_leave_everything_else_as_it_is(config: RunConfig):
    run = apply(config, {"model.max_depth": 3})
    changed = {key for key, value in run.flat().items() if config.flat()[key] != value}
    assert changed == {"model.max_depth"}


def test_equal_spaces_are_described_alike_and_others_not(config: RunConfig):
    one, other = "model: {max_depth: {low: 3, high: 5}}", "model: {max_depth: {low: 3, high: 6}}"
    texts = [describe(list(read(text, config).values())) for text in (one, one, other)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("model", ["xgboost", "two_part", "lightgbm"])
def test_a_described_space_is_read_again(model: str):
    config = configured(f"model={model}")
    space = read_space(space_of(config), config)
    again = stored_space(describe(space))
    assert {each.key: each for each in again} == {each.key: each for each in space}
    assert describe(again) == describe(space)
    places = {each.key: place for place, each in enumerate(again)}
    assert all(places[other] < places[each.key] for each in again for other in each.when if other in places)
