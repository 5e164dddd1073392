"""Tests of confidence sequences: their width is that of the paper, their variance that of groups, and they hold."""

import numpy as np
import pytest

from spotify_ml.live.sequential import looks_at, margins, paired_sequence, split_sequence

ALPHA, PLANNED = 0.05, 500


def _by_hand(influence: np.ndarray, groups: np.ndarray) -> float:
    """The deviation of one outcome: the sums of influences by group, squared."""
    sums = np.array([influence[groups == group].sum() for group in np.unique(groups)])
    return float(np.sqrt((sums**2).sum() / len(influence) * len(sums) / (len(sums) - 1)))


def test_the_width_is_that_of_the_formula():
    n, r2 = 1000.0, (-2 * np.log(0.05) + np.log(-2 * np.log(0.05)) + 1) / 500
    expected = 3.0 * np.sqrt(2 * (n * r2 + 1) / (n**2 * r2) * np.log(np.sqrt(n * r2 + 1) / 0.05))
    assert margins(np.array([n]), np.array([3.0]), 0.05, 500)[0] == pytest.approx(expected)


def test_the_sequence_is_tightest_where_it_is_planned():
    n = np.array([500.0])
    widths = {planned: margins(n, np.ones(1), ALPHA, planned)[0] for planned in (50, 200, 500, 1200, 5000)}
    assert min(widths, key=widths.get) == 500


def test_one_looks_each_so_often_and_at_the_end():
    assert looks_at(120, 50).tolist() == [50, 100, 120]
    assert looks_at(100, 50).tolist() == [50, 100]
    assert looks_at(7, 50).tolist() == [7]


def test_variances_of_a_paired_difference_are_those_of_groups():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 60, 400)
    differences = rng.normal(size=60)[groups] + rng.normal(size=400)
    found = paired_sequence(differences, groups, np.array([150, 400]), ALPHA, PLANNED)
    for look, n in enumerate((150, 400)):
        part = differences[:n]
        assert found.value[look] == pytest.approx(part.mean())
        assert found.deviation[look] == pytest.approx(_by_hand(part - part.mean(), groups[:n]))
        assert found.n_groups[look] == len(np.unique(groups[:n]))
    assert found.upper[1] - found.value[1] == pytest.approx(
        margins(np.array([400.0]), found.deviation[1:], ALPHA, PLANNED)[0]
    )


@pytest.mark.parametrize("with_expected", [False, True])
def test_variances_of_a_split_are_those_of_groups(with_expected: bool):
    rng = np.random.default_rng(2)
    n = 600
    groups, arm, x = rng.integers(0, 90, n), rng.random(n) < 0.3, rng.gamma(2.0, size=n)
    losses = 3 * x + rng.normal(size=90)[groups] + rng.normal(size=n)
    found = split_sequence(losses, arm, x if with_expected else None, groups, np.array([n]), ALPHA, PLANNED)
    adjusted = losses
    if with_expected:
        centred = [np.where(arm, v - v[arm].mean(), v - v[~arm].mean()) for v in (x, losses)]
        adjusted = losses - (centred[0] @ centred[1]) / (centred[0] @ centred[0]) * x
    m0, m1 = adjusted[~arm].mean(), adjusted[arm].mean()
    influence = np.where(arm, -(adjusted - m1) / arm.mean(), (adjusted - m0) / (1 - arm.mean()))
    assert found.value[0] == pytest.approx(m0 - m1)
    assert found.deviation[0] == pytest.approx(_by_hand(influence, groups))


def test_what_is_expected_makes_a_split_narrower():
    rng = np.random.default_rng(3)
    n = 2000
    arm, x = rng.random(n) < 0.5, rng.gamma(2.0, size=n)
    losses = 3 * x + rng.normal(size=n)
    plain, adjusted = (
        split_sequence(losses, arm, each, np.arange(n), np.array([n]), ALPHA, PLANNED) for each in (None, x)
    )
    assert adjusted.deviation[0] < 0.5 * plain.deviation[0]


def test_too_few_outcomes_or_groups_decide_nothing():
    differences = np.ones(400) + np.random.default_rng(4).normal(size=400) / 10
    few_groups = paired_sequence(differences, np.arange(400) % 19, np.array([400]), ALPHA, PLANNED)
    few = paired_sequence(differences, np.arange(400), np.array([25, 49, 50]), ALPHA, PLANNED)
    assert few_groups.decided is None
    assert (few.decided, few.lower[0]) == (2, -np.inf)


def test_an_arm_without_outcomes_decides_nothing():
    found = split_sequence(
        np.ones(200), np.zeros(200, dtype=bool), None, np.arange(200), np.array([100, 200]), ALPHA, PLANNED
    )
    assert found.decided is None


def test_versions_that_are_the_same_never_differ():
    found = paired_sequence(np.zeros(500), np.arange(500), looks_at(500, 50), ALPHA, PLANNED)
    assert found.decided is None
    assert (found.lower[-1], found.upper[-1]) == (0, 0)
