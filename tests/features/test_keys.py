"""Keys: what is equal is held once, whether there are few rows or many."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ml.features.keys import distinct_values

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
