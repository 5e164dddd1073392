"""Statistics of the target by a key: equal to plain loops, and blind to the row's own group."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from spotify_ml.features import target_sums
from spotify_ml.features.target_sums import DEAD
from spotify_ml.features.transformers import statistics
from spotify_ml.features.transformers.statistics import (
    MIDDLE,
    STATISTICS,
    TargetStatistics,
    assign_folds,
    ordered_folds,
)

# What other tests leave open may be collected meanwhile.
pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")

Encode = Callable[[pd.DataFrame, np.ndarray, np.ndarray], np.ndarray]

# Sums of quarters and of their squares are exact, so that what must not change does not change at all.
TARGETS = st.integers(0, 400).map(lambda quarters: quarters / 4)
KEYS = st.sampled_from(["a", "b", "A", "nan", "Zoë", None])
LISTS = st.none() | st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=4).map(";".join)


def table(*values: str | None, **columns: list[str | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.array(list(own), dtype="str") for name, own in (columns or {"key": list(values)}).items()}
    )


# --- the plain re-implementation -----------------------------------------------------------------------------------


def plain_keys(X: pd.DataFrame, pooled: bool) -> list[list[tuple[str, ...]]]:
    found = []
    for values in X.itertuples(index=False):
        if any(pd.isna(value) for value in values):
            found.append([])
        elif pooled:
            found.append([(member,) for member in sorted(set(values[0].split(";"))) if member])
        else:
            found.append([tuple(values)])
    return found


def plain_row(
    own: list[tuple[str, ...]], keys: list[list[tuple[str, ...]]], y: list[float], told: list[int], smoothing, prior
) -> list[float]:
    """What a row with the given keys is told by some rows of train; a member's row counts once for each member."""
    pool = [Fraction(y[row]) for key in own for row in told if key in keys[row]]
    count, total = len(pool), sum(pool)
    mean = float((total + Fraction(smoothing) * Fraction(prior)) / (count + Fraction(smoothing)))
    if not pool:
        return [mean, 0, np.nan, np.nan, np.nan, np.nan]
    variance = sum((value - total / count) ** 2 for value in pool) / count
    dead = sum(value <= DEAD for value in pool) / count
    return [mean, count, float(variance) ** 0.5, dead, float(max(pool)), float(min(pool))]


def plain_transform(X: pd.DataFrame, y: list[float], later: pd.DataFrame, pooled: bool, smoothing: float):
    keys, everything = plain_keys(X, pooled), list(range(len(y)))
    prior = sum(map(Fraction, y)) / len(y)
    return [plain_row(own, keys, y, everything, smoothing, prior) for own in plain_keys(later, pooled)]


def plain_fit_transform(X: pd.DataFrame, y: list[float], folds: list[int], pooled: bool, smoothing: float):
    keys, rows = plain_keys(X, pooled), []
    for row, own in enumerate(keys):
        others = [other for other in range(len(y)) if folds[other] != folds[row]]
        prior = sum(Fraction(y[other]) for other in others) / len(others) if others else MIDDLE
        rows.append(plain_row(own, keys, y, others, smoothing, prior))
    return rows


@dataclass
class Case:
    """A small table with repeated, missing and unseen keys, and the parameters of an encoder."""

    X: pd.DataFrame
    y: list[float]
    groups: list[int]
    later: pd.DataFrame
    encoder: TargetStatistics


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(["one key", "two columns", "pooled"]))
    size, n_later = draw(st.integers(1, 14)), draw(st.integers(0, 5))

    def keys(values: st.SearchStrategy, length: int) -> pd.DataFrame:
        names = ["key", "further"] if kind == "two columns" else ["key"]
        return table(**{name: draw(st.lists(values, min_size=length, max_size=length)) for name in names})

    values = LISTS if kind == "pooled" else KEYS
    encoder = TargetStatistics(
        pooled=kind == "pooled",
        smoothing=draw(st.sampled_from([0.5, 1.0, 3.0])),
        n_folds=draw(st.integers(1, 5)),
        random_state=draw(st.integers(0, 3)),
    )
    return Case(
        keys(values, size),
        draw(st.lists(TARGETS, min_size=size, max_size=size)),
        draw(st.lists(st.integers(-2, 5), min_size=size, max_size=size)),
        keys(values | st.just("unseen"), n_later),
        encoder,
    )


@settings(deadline=None, max_examples=150)
@given(case=cases())
def test_later_rows_are_told_what_plain_loops_tell_them(case):
    expected = plain_transform(case.X, case.y, case.later, case.encoder.pooled, case.encoder.smoothing)
    given = case.encoder.fit(case.X, case.y).transform(case.later)
    np.testing.assert_allclose(given, np.reshape(expected, (-1, 6)), rtol=1e-6, atol=1e-5)


@settings(deadline=None, max_examples=150)
@given(case=cases())
def test_rows_of_train_are_told_what_plain_loops_over_the_other_folds_tell_them(case):
    folds = assign_folds(np.array(case.groups), case.encoder.n_folds, case.encoder.random_state).tolist()
    expected = plain_fit_transform(case.X, case.y, folds, case.encoder.pooled, case.encoder.smoothing)
    given = case.encoder.fit_transform(case.X, case.y, np.array(case.groups))
    np.testing.assert_allclose(given, expected, rtol=1e-6, atol=1e-5)


@settings(deadline=None)
@given(case=cases())
def test_fit_transform_teaches_later_rows_what_fit_does(case):
    once, apart = clone(case.encoder), clone(case.encoder)
    once.fit_transform(case.X, case.y, np.array(case.groups))
    np.testing.assert_array_equal(once.transform(case.later), apart.fit(case.X, case.y).transform(case.later))


# --- blind to the own group ----------------------------------------------------------------------------------------


def out_of_fold(encoder: TargetStatistics) -> Encode:
    return lambda X, y, groups: clone(encoder).fit_transform(X, y, groups)


def assert_blind_to_own_group(encode: Encode, X: pd.DataFrame, y: np.ndarray, groups: np.ndarray) -> None:
    """Another target of some or all rows of a group changes nothing that the rows of that group are told."""
    y = np.asarray(y, dtype=np.float64)
    before = encode(X, y, groups)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        # Higher and lower than any other, so that an extreme cannot hide a leak.
        for rows, other in ((own, 200), (own, -100), (own[:1], 200), (own[-1:], -100)):
            changed = y.copy()
            changed[rows] = other
            np.testing.assert_array_equal(encode(X, changed, groups)[own], before[own])


@settings(deadline=None, max_examples=50)
@given(case=cases())
def test_rows_are_told_nothing_of_their_own_group(case):
    assert_blind_to_own_group(out_of_fold(case.encoder), case.X, np.array(case.y), np.array(case.groups))


@settings(deadline=None, max_examples=50)
@given(case=cases())
def test_rows_of_ordered_groups_are_told_of_earlier_folds_alone(case):
    encoder = clone(case.encoder).set_params(ordered=True)
    y, groups = np.array(case.y), np.array(case.groups)
    before = encoder.fit_transform(case.X, y, groups)
    folds = ordered_folds(groups, encoder.n_folds)
    for fold in range(folds.max() + 1):
        for other in (200, -100):
            changed = encoder.fit_transform(case.X, np.where(folds >= fold, other, y), groups)
            np.testing.assert_array_equal(changed[folds <= fold], before[folds <= fold])
    # Of earlier folds, as if they were all there is.
    last = folds == folds.max()
    if not last.all():
        earlier = clone(encoder).fit(case.X[~last], y[~last])
        np.testing.assert_allclose(before[last], earlier.transform(case.X[last]), rtol=1e-5)


@given(st.lists(st.integers(0, 30), min_size=1), st.integers(1, 12))
def test_ordered_folds_follow_each_other(groups: list[int], n_folds: int):
    folds = ordered_folds(np.array(groups), n_folds)
    order = np.argsort(groups, kind="stable")
    assert (np.diff(folds[order]) >= 0).all()
    assert len(set(zip(groups, folds, strict=True))) == len(set(groups))
    assert set(folds) == set(range(min(n_folds, len(set(groups)))))


def grouped(pooled: bool) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Sixty rows of twenty groups, whose keys their groups share with others, as do albums of several recordings."""
    rng = np.random.default_rng(0)
    keys = [f"{a};{b}" if pooled else f"{a}" for a, b in rng.integers(0, 6, (60, 2))]
    return table(*keys), rng.integers(0, 400, 60) / 4, np.arange(60) // 3


def told_themselves(encoder: TargetStatistics) -> Encode:
    return lambda X, y, groups: clone(encoder).fit(X, y).transform(X)


def without_groups(encoder: TargetStatistics) -> Encode:
    return lambda X, y, groups: clone(encoder).fit_transform(X, y)


def overall_prior(encoder: TargetStatistics) -> Encode:
    return lambda X, y, groups: clone(encoder).fit_transform(X, y, groups, np.full(len(y), y.mean()))


@pytest.mark.parametrize("pooled", [False, True])
def test_grouped_rows_are_told_nothing_of_their_own_group(pooled):
    assert_blind_to_own_group(out_of_fold(TargetStatistics(pooled=pooled)), *grouped(pooled))


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("leak", [told_themselves, without_groups, overall_prior])
def test_planted_leak_is_caught(leak, pooled):
    with pytest.raises(AssertionError, match="not equal"):
        assert_blind_to_own_group(leak(TargetStatistics(pooled=pooled)), *grouped(pooled))


def folds_of_rows(groups: np.ndarray, n_folds: int, random_state: int) -> np.ndarray:
    return assign_folds(np.arange(len(groups)), n_folds, random_state)


def extremes_of_all(values: np.ndarray, first: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    highest = np.maximum.reduceat(values, first)
    return highest, highest[codes]


def prior_of_all(y: np.ndarray, folds: np.ndarray, n_folds: int, *, earlier: bool) -> np.ndarray:
    return np.full(n_folds, y.mean())


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(
    ("module", "name", "leaky"),
    [
        (statistics, "assign_folds", folds_of_rows),
        (target_sums, "without_each", extremes_of_all),
        (statistics, "mean_of_other_folds", prior_of_all),
    ],
)
def test_leak_planted_in_the_encoder_is_caught(monkeypatch, module, name, leaky, pooled):
    monkeypatch.setattr(module, name, leaky)
    with pytest.raises(AssertionError, match="not equal"):
        assert_blind_to_own_group(out_of_fold(TargetStatistics(pooled=pooled)), *grouped(pooled))


def test_rows_are_told_of_the_groups_of_other_folds():
    # The counterpart: an encoder that told nothing at all would be blind to its own group, too.
    X, y, groups = grouped(pooled=False)
    told = TargetStatistics().fit_transform(X, y, groups)
    others = pd.DataFrame({"key": X["key"], "group": groups}).merge(X.assign(group=groups), on="key")
    in_other_groups = (others["group_x"] != others["group_y"]).groupby([others["key"], others["group_x"]]).any()
    assert in_other_groups.all()
    assert (told[:, 1] > 0).all()


# --- folds ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    groups=st.lists(st.integers(-5, 30), min_size=1, max_size=60), n_folds=st.integers(1, 12), seed=st.integers(0, 9)
)
def test_folds_divide_no_group_and_each_has_one(groups, n_folds, seed):
    folds = assign_folds(np.array(groups), n_folds, seed)
    fold_of = dict(zip(groups, folds.tolist(), strict=True))
    assert [fold_of[group] for group in groups] == folds.tolist()
    assert sorted(set(fold_of.values())) == list(range(min(n_folds, len(fold_of))))


def test_folds_hold_about_as_many_groups_each():
    sizes = np.bincount(assign_folds(np.arange(103), 10, 0))
    assert sorted(set(sizes)) == [10, 11]


def test_folds_follow_random_state():
    groups = np.arange(200) // 2
    np.testing.assert_array_equal(assign_folds(groups, 10, 1), assign_folds(groups, 10, 1))
    assert (assign_folds(groups, 10, 1) != assign_folds(groups, 10, 2)).any()


def test_statistics_follow_random_state():
    X, y, groups = grouped(pooled=False)
    first, again, other = (TargetStatistics(random_state=s, n_folds=3).fit_transform(X, y, groups) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


def test_rows_are_their_own_groups_by_default():
    X, y, _ = grouped(pooled=False)
    by_row = TargetStatistics().fit_transform(X, y, np.arange(len(X)))
    np.testing.assert_array_equal(TargetStatistics().fit_transform(X, y), by_row)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("groups", [[7, 7, 7], None])
def test_one_single_group_is_told_nothing(pooled, groups):
    encoder = TargetStatistics(pooled=pooled, n_folds=10 if groups else 1)
    told = encoder.fit_transform(table("a", "a", None), [1.0, 2.0, 3.0], groups)
    np.testing.assert_array_equal(told, [[MIDDLE, 0, np.nan, np.nan, np.nan, np.nan]] * 3)


# --- values by hand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("smoothing", "mean"), [(1.0, 18.75), (5.0, 21.875), (1e-9, 50 / 3)])
def test_mean_leans_to_the_prior_by_smoothing(smoothing, mean):
    # Three rows of the key sum to 50, and the mean of all four is 25: (50 + s·25) / (3 + s).
    encoder = TargetStatistics(smoothing=smoothing).fit(table("a", "a", "a", "b"), [10.0, 0.0, 40.0, 50.0])
    assert encoder.transform(table("a"))[0, 0] == pytest.approx(mean)


def test_prior_may_be_given_by_row():
    encoder = TargetStatistics().fit(table("a", "b"), [10.0, 50.0])
    given = encoder.transform(table("a", "unseen"), np.array([20.0, 70.0]))
    assert given[:, 0].tolist() == [15, 70]
    told = encoder.fit_transform(table("a", "a", "b"), [10.0, 30.0, 90.0], np.arange(3), np.array([20.0, 50.0, 70.0]))
    assert told[:, 0].tolist() == [25, 30, 70]


def test_unseen_keys_get_the_prior_and_no_statistics():
    encoder = TargetStatistics().fit(table("a", "b"), [10.0, 50.0])
    np.testing.assert_array_equal(encoder.transform(table("c", None)), [[30, 0, *[np.nan] * 4]] * 2)


@pytest.mark.parametrize(("target", "share"), [(0, 1), (0.5, 1), (1, 1), (1.5, 0), (2, 0), (100, 0)])
def test_dead_is_a_popularity_of_1_or_less(target, share):
    assert TargetStatistics().fit(table("a"), [target]).transform(table("a"))[0, 3] == share


def test_constant_target_has_no_spread():
    X, _, groups = grouped(pooled=True)
    told = TargetStatistics(pooled=True).fit_transform(X, np.full(60, 42.0), groups)
    np.testing.assert_array_equal(told[:, [0, 2, 3, 4, 5]], [[42, 0, 0, 42, 42]] * 60)


def test_constant_target_that_is_no_binary_fraction_has_next_to_no_spread():
    X, _, groups = grouped(pooled=False)
    told = TargetStatistics().fit_transform(X, np.full(60, 100 / 3), groups)
    np.testing.assert_allclose(told[:, [0, 2, 3]], [[100 / 3, 0, 0]] * 60, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("pooled", [False, True])
def test_tables_without_any_key_are_told_the_prior(pooled):
    encoder = TargetStatistics(pooled=pooled)
    told = encoder.fit_transform(table(None, None), [10.0, 20.0], np.array([0, 1]))
    np.testing.assert_array_equal(told, [[20, 0, *[np.nan] * 4], [10, 0, *[np.nan] * 4]])
    np.testing.assert_array_equal(encoder.transform(table("a", None)), [[15, 0, *[np.nan] * 4]] * 2)


@pytest.mark.parametrize("empty", ["", ";", ";;", None])
def test_empty_lists_pool_nobody_and_teach_nothing(empty):
    encoder = TargetStatistics(pooled=True).fit(table("a", empty, "a;b"), [10.0, 90.0, 20.0])
    given = encoder.transform(table(empty, "a;"))
    np.testing.assert_array_equal(given[0], [40, 0, *[np.nan] * 4])
    np.testing.assert_allclose(given[1], [70 / 3, 2, 5, 0, 20, 10], rtol=1e-6)


def test_empty_string_is_no_key():
    encoder = TargetStatistics().fit(table("", "", "a"), [10.0, 20.0, 30.0])
    assert encoder.transform(table(""))[0, 1] == 0


def test_unseen_key_gets_the_prior_without_smoothing_too():
    encoder = TargetStatistics(smoothing=0).fit(table("a", "b"), [10.0, 50.0])
    assert encoder.transform(table("unseen"))[0, 0] == 30


def test_members_are_pooled_and_repeated_ones_counted_once():
    encoder = TargetStatistics(pooled=True).fit(table("a;b", "b;c;b", "c"), [10.0, 20.0, 60.0])
    assert encoder.transform(table("b", "b;b", "a;c"))[:, [1, 4, 5]].tolist() == [[2, 20, 10], [2, 20, 10], [3, 60, 10]]
    # A row counts once for each of the members that it shares.
    assert encoder.transform(table("a;b"))[0, 1] == 3


def test_ten_thousand_members_in_one_list():
    everybody = ";".join(f"member {number}" for number in range(10_000))
    encoder = TargetStatistics(pooled=True)
    told = encoder.fit_transform(table(everybody, "member 1", "nobody"), [10.0, 20.0, 60.0], np.arange(3))
    assert told[:, 1].tolist() == [1, 1, 0]
    assert told[:2, 4].tolist() == [20, 10]
    given = encoder.transform(table(everybody, "member 1", "member 2;member 9999", "member 10000"))
    assert given[:, 1].tolist() == [10_001, 2, 2, 0]
    assert given[0, 4:].tolist() == [20, 10]


def test_columns_make_one_key_together():
    X = table(first=["a", "ab", "a", "b"], second=["bc", "c", None, "a"])
    encoder = TargetStatistics().fit(X, [10.0, 20.0, 30.0, 40.0])
    later = table(first=["a", "ab", "a", "a", "bc", None], second=["bc", "c", None, "b", "a", "c"])
    assert encoder.transform(later)[:, 1].tolist() == [1, 1, 0, 0, 0, 0]


# --- an estimator as others ----------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["keys", "lists"])
def fitted(request: pytest.FixtureRequest) -> tuple[TargetStatistics, pd.DataFrame]:
    X, y, groups = grouped(request.param)
    encoder = TargetStatistics(pooled=request.param)
    encoder.fit_transform(X, y, groups)
    return encoder, pd.concat([X, table("unseen", None)], ignore_index=True)


def test_rows_are_transformed_each_for_itself(fitted):
    encoder, rows = fitted
    together = encoder.transform(rows)
    order = np.random.default_rng(1).permutation(len(rows))
    np.testing.assert_array_equal(encoder.transform(rows.iloc[order]), together[order])
    alone = np.vstack([encoder.transform(rows.iloc[[row]]) for row in range(len(rows))])
    np.testing.assert_array_equal(alone, together)


def test_text_and_categories_give_the_same(fitted):
    encoder, rows = fitted
    X, y, groups = grouped(encoder.pooled)
    # Categories that do not occur teach nothing.
    categories = rows.astype("category")
    again = clone(encoder)
    told = again.fit_transform(categories.iloc[: len(X)], y, groups)
    np.testing.assert_array_equal(told, clone(encoder).fit_transform(X, y, groups))
    np.testing.assert_array_equal(again.transform(categories), encoder.transform(rows))


def test_fit_does_not_depend_on_the_order_of_rows(fitted):
    encoder, rows = fitted
    X, y, _ = grouped(encoder.pooled)
    order = np.random.default_rng(2).permutation(len(X))
    again = clone(encoder).fit(X.iloc[order], y[order])
    np.testing.assert_array_equal(again.transform(rows), encoder.transform(rows))


def test_index_of_rows_does_not_matter(fitted):
    encoder, _ = fitted
    X, y, groups = grouped(encoder.pooled)
    told = clone(encoder).fit_transform(X.set_index(np.zeros(len(X), dtype=int)), pd.Series(y, index=groups), groups)
    np.testing.assert_array_equal(told, clone(encoder).fit_transform(X, y, groups))


def test_values_are_float32_in_named_columns(fitted):
    encoder, rows = fitted
    X, y, groups = grouped(encoder.pooled)
    assert encoder.get_feature_names_out().tolist() == list(STATISTICS)
    for matrix in (encoder.transform(rows), clone(encoder).fit_transform(X, y, groups)):
        assert matrix.dtype == np.float32
        assert matrix.shape[1] == len(STATISTICS)
    assert encoder.transform(rows.iloc[:0]).shape == (0, len(STATISTICS))


def test_what_is_given_is_left_as_it_is(fitted):
    encoder, _ = fitted
    X, y, groups = grouped(encoder.pooled)
    before = X.copy(), y.copy(), groups.copy()
    clone(encoder).fit_transform(X, y, groups)
    pd.testing.assert_frame_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    np.testing.assert_array_equal(groups, before[2])


def test_clone_is_unfitted_and_pickling_keeps_the_fit(fitted):
    encoder, rows = fitted
    parameters = {"pooled": encoder.pooled, "smoothing": 2.5, "n_folds": 4, "random_state": 9, "ordered": True}
    copy = clone(encoder.set_params(**parameters))
    assert copy.get_params() == parameters
    with pytest.raises(NotFittedError):
        copy.transform(rows)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoder)).transform(rows), encoder.transform(rows))
