"""Tests of what estimators are fitted on: classes at their edges, and how much each track counts."""

import numpy as np
import pytest

from spotify_ml.config.models import ClassificationConfig, RegressionConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.models.targets import BANDS, Task, band_codes, class_names, sample_weights, task_target

POPULARITY = np.array([0, 0.5, 1, 33, 33.5, 66, 66.5, 67, 100])
CATEGORIES = [0, 0, 0, 0, 1, 1, 2, 2, 2]


def regression(weights: str = "none") -> RegressionConfig:
    return RegressionConfig(name="regression", weights=weights, registered_model="m")


def classification(label: str = "category", weights: str = "none", threshold: float = 67) -> ClassificationConfig:
    return ClassificationConfig(
        name="classification", label=label, threshold=threshold, weights=weights, registered_model="m"
    )


def test_class_names_stand_in_the_order_of_their_codes():
    assert class_names(regression()) == ()
    assert class_names(classification()) == ("Low Popularity", "Medium Popularity", "High Popularity")
    assert class_names(classification("popular")) == ("not popular", "popular")


def test_regression_predicts_popularity_itself():
    np.testing.assert_array_equal(task_target(regression(), POPULARITY), POPULARITY)


def test_the_upper_edge_belongs_to_a_category():
    codes = task_target(classification(), POPULARITY)
    assert codes.tolist() == CATEGORIES
    assert np.issubdtype(codes.dtype, np.integer)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (67, [0, 0, 0, 0, 0, 0, 0, 1, 1]),
        (66.5, [0, 0, 0, 0, 0, 0, 1, 1, 1]),
        (0.5, [0, 1, 1, 1, 1, 1, 1, 1, 1]),
        (100, [0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ],
)
def test_popular_begins_at_the_threshold(threshold: float, expected: list[int]):
    codes = task_target(classification("popular", threshold=threshold), POPULARITY)
    assert codes.tolist() == expected
    assert np.issubdtype(codes.dtype, np.integer)


def test_threshold_is_of_no_concern_to_the_categories():
    assert task_target(classification(threshold=5), POPULARITY).tolist() == CATEGORIES


def test_categories_are_those_of_the_cleaned_data(sample: RawTracks):
    frame = clean(sample.frame, "tracks").frame
    names = np.array(class_names(classification()))
    named = names[task_target(classification(), frame["popularity"].to_numpy())]
    np.testing.assert_array_equal(named, frame["popularity_category"].astype(str))


def test_popularity_zero_is_a_band_of_its_own():
    named = [BANDS[code] for code in band_codes(POPULARITY)]
    assert named == ["zero", "low", "low", "low", "medium", "medium", "high", "high", "high"]


@pytest.mark.parametrize("task", [regression(), classification(), classification("popular")], ids=repr)
def test_without_weights_there_are_none(task: Task):
    assert sample_weights(task, POPULARITY) is None


@pytest.mark.parametrize(
    ("task", "popularity", "expected"),
    [
        # Bands zero, zero, zero and high.
        (regression("balanced"), [0, 0, 0, 90], [2 / 3, 2 / 3, 2 / 3, 2]),
        # Zero and low are different bands, but the same category.
        (regression("balanced"), [0, 1, 2, 3, 50], [5 / 3, 5 / 9, 5 / 9, 5 / 9, 5 / 3]),
        (classification(weights="balanced"), [0, 1, 2, 3, 50], [5 / 8, 5 / 8, 5 / 8, 5 / 8, 5 / 2]),
        (classification("popular", "balanced"), [66, 67, 68], [3 / 2, 3 / 4, 3 / 4]),
        # Of one kind alone, every track counts the same.
        (regression("balanced"), [40, 50, 60], [1, 1, 1]),
    ],
)
def test_weights_worked_out_by_hand(task: Task, popularity: list[float], expected: list[float]):
    np.testing.assert_allclose(sample_weights(task, np.array(popularity, dtype=float)), expected)


@pytest.mark.parametrize(
    "task",
    [regression("balanced"), classification(weights="balanced"), classification("popular", "balanced")],
    ids=["bands", "categories", "popular"],
)
def test_balanced_gives_every_kind_the_same_sum(task: Task, sample: RawTracks):
    popularity = sample.frame["popularity"].to_numpy(dtype=float)
    weights = sample_weights(task, popularity)
    kinds = task_target(task, popularity) if class_names(task) else band_codes(popularity)
    n_kinds = len(class_names(task)) or len(BANDS)
    np.testing.assert_allclose(np.bincount(kinds, weights=weights), np.full(n_kinds, len(popularity) / n_kinds))
    assert weights.mean() == pytest.approx(1)
