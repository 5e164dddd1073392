"""Tests of SHAP values: equal to XGBoost's own, whatever trees they are of and whatever rows they are for."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xgboost import Booster, DMatrix, train

from spotify_ml.data.schema import AUDIO, TARGET
from spotify_ml.data.sources import RawTracks
from spotify_ml.models.tree_shap import TreeShap

# Points of popularity: both sum thousands of float32 numbers.
EQUAL = 2e-4
PARAMETERS: dict[str, dict[str, Any]] = {
    "deep": {"max_depth": 8, "subsample": 0.8},
    "odd depth": {"max_depth": 5},
    "stumps": {"max_depth": 1},
    "leaf by leaf": {"max_depth": 0, "max_leaves": 60, "grow_policy": "lossguide"},
    "no splits": {"gamma": 1e9},
    "some without splits": {"max_depth": 3, "gamma": 2e4},
    "forest": {"max_depth": 4, "num_parallel_tree": 3, "subsample": 0.5},
    "one feature again and again": {"max_depth": 9, "colsample_bynode": 0.05},
}


@pytest.fixture(scope="module")
def matrix(sample: RawTracks) -> np.ndarray:
    matrix = sample.frame[list(AUDIO)].to_numpy(np.float32)
    # Missing values go where the rows of the fit without one went.
    matrix[::7, AUDIO.index("tempo")] = np.nan
    return matrix


@pytest.fixture(scope="module")
def boosters(sample: RawTracks, matrix: np.ndarray) -> dict[str, Booster]:
    rows = DMatrix(matrix, sample.frame[TARGET])
    return {name: train({"nthread": 1, "seed": 0, **each}, rows, 12) for name, each in PARAMETERS.items()}


def xgboosts_own(booster: Booster, matrix: np.ndarray) -> np.ndarray:
    return booster.predict(DMatrix(matrix), pred_contribs=True)


@pytest.mark.parametrize("name", PARAMETERS)
def test_they_are_those_of_xgboost(boosters: dict[str, Booster], matrix: np.ndarray, name: str):
    booster, rows = boosters[name], matrix[::40]
    added = TreeShap(booster).contributions(rows)
    np.testing.assert_allclose(added, xgboosts_own(booster, rows), atol=EQUAL)
    np.testing.assert_allclose(added.sum(axis=1), booster.predict(DMatrix(rows)), atol=EQUAL)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.just(float("nan")), min_size=len(AUDIO), max_size=len(AUDIO)),
    st.integers(0, 5999),
    st.integers(0, 2**14 - 1),
)
def test_they_are_those_of_xgboost_for_any_row(
    boosters: dict[str, Booster], matrix: np.ndarray, values: list[float], row: int, mixed: int
):
    strange = np.array(values, dtype=np.float32)
    rows = np.where([mixed >> column & 1 for column in range(len(AUDIO))], strange, matrix[row])[np.newaxis]
    rows = rows.astype(np.float32)
    added = TreeShap(boosters["odd depth"]).contributions(rows)
    np.testing.assert_allclose(added, xgboosts_own(boosters["odd depth"], rows), atol=EQUAL)


@pytest.mark.parametrize("n_rows", [0, 1, 15, 33])
def test_rows_alone_and_together_are_equal(boosters: dict[str, Booster], matrix: np.ndarray, n_rows: int):
    shap = TreeShap(boosters["deep"])
    together = shap.contributions(matrix[:n_rows])
    assert together.shape == (n_rows, len(AUDIO) + 1)
    for row in range(n_rows):
        np.testing.assert_array_equal(shap.contributions(matrix[[row]])[0], together[row])
