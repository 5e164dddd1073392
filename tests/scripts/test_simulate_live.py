"""Tests of the simulation of live traffic, with models that are drawn at random."""

import importlib.util
import sys

import numpy as np
import pytest

from spotify_ml.utils.paths import PROJECT


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("simulate_live", PROJECT / "scripts" / "simulate_live.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate_live"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tracks(script):
    rng = np.random.default_rng(0)
    n = 3000
    groups = rng.integers(0, 800, n)
    popularity = 40 + 10 * rng.normal(size=800)[groups] + 5 * rng.normal(size=n)
    errors = {"default": 6.0, "third": 8.0, "audio": 16.0}
    predicted = {name: popularity + size * rng.normal(size=n) for name, size in errors.items()}
    return script.Tracks(popularity, predicted, np.full(n, 36.0), groups)


def test_every_kind_of_experiment_is_tallied(script, tracks):
    simulation = script.Simulation(tracks, 1)
    ended = [(kind, simulation.run(kind, 100)) for kind in simulation.kinds()]
    text, faults = script.report(ended)
    assert [kind.name for kind, _ in ended][:2] == ["A/A, shadow", "A/A, split"]
    assert all(f"| {kind.name} |" in text for kind, _ in ended)
    for kind, tally in ended:
        if kind.is_different:
            assert tally.right >= 95, kind.name
            assert np.median(tally.needed) <= max(2 * kind.n_foreseen, 50), kind.name
        else:
            # Of 100 at 5 %, 11 or more are seen once in a hundred times.
            assert tally.right + tally.wrong < 11, kind.name
            assert tally.t_tests > tally.right + tally.wrong
    assert faults == []


def test_false_alarms_and_wrong_decisions_are_faults(script, tracks):
    kinds = {each.name: each for each in script.Simulation(tracks, 1).kinds()}
    many = script.Tally(n=100, right=10, wrong=10, t_tests=30, needed=[100] * 20)
    few = script.Tally(n=100, right=90, wrong=0, t_tests=100, needed=[100] * 90)
    _, faults = script.report([(kinds["A/A, split"], many), (kinds["A/B, shadow, audio"], few)])
    assert faults == ["A/A, split: 20 false alarms of 100", "A/B, shadow, audio: 90 right decisions of 100"]


def test_a_peeking_t_test_finds_what_is_not_there(script):
    rng = np.random.default_rng(5)
    looks = script.looks_at(2000, 50)
    found = [script.peeking_t_test(rng.normal(size=2000), looks) for _ in range(200)]
    assert np.mean(found) > 0.15
