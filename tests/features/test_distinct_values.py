"""Keys: what is equal is held once, whether there are few rows or many."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ml.features import distinct_values as keys
from spotify_ml.features.distinct_values import distinct_values

VALUES = st.lists(st.none() | st.sampled_from(["Abba", "Cher", "", "Zaz", "Björk"]) | st.text(), max_size=30)


@pytest.mark.parametrize("kind", ["str", "category", "array", "object"])
@given(values=VALUES)
def test_few_rows_have_the_positions_that_pandas_gives_many(kind, values):
    column = pd.Series(values, dtype="str")
    column = {
        "str": lambda: column,
        "category": lambda: column.astype("category"),
        "array": lambda: column.array,
        "object": lambda: np.array(values, dtype=object),
    }[kind]()
    codes, distinct = distinct_values(column)
    expected_codes, expected = pd.factorize(pd.Series(values, dtype="str"))
    assert codes.tolist() == expected_codes.tolist()
    assert list(distinct) == list(expected)


def test_many_rows_are_as_few():
    values = np.array(["b", "a", None, "b"] * 50, dtype=object)
    codes, distinct = distinct_values(values)
    assert codes.tolist() == [0, 1, -1, 0] * 50
    assert list(distinct) == ["b", "a"]


@pytest.mark.parametrize("chunk", [1, 70, 10_000])
@pytest.mark.parametrize("n_values", [0, 3, 64, 65, 300])
def test_values_are_changed_and_hashed_alike_by_whatever_chunks(
    n_values: int, chunk: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keys, "_CHUNK", chunk)
    values = [f"artist {number}" if number % 3 else "" for number in range(n_values)]
    for given_as in (np.array(values, dtype=object), pd.Index(pd.array(values, dtype="str"))):
        changed = keys.changed(given_as, str.upper)
        assert [None if pd.isna(value) else value for value in changed] == [value.upper() or None for value in values]
        expected = pd.util.hash_array(np.array(values, dtype=object), categorize=False)
        np.testing.assert_array_equal(keys.hashed(given_as), expected)
