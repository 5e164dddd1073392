"""Tests of the errors by genre."""

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.models import ClassificationConfig, RegressionConfig
from spotify_ml.evaluation.by_group import errors_by_genre, row_errors

REGRESSION = RegressionConfig(name="regression", weights="none", registered_model="m")
POPULAR = ClassificationConfig(
    name="classification", label="popular", threshold=50, weights="none", registered_model="m"
)
GENRES = pd.Series(["rock;soul", "rock", "soul", "rare", None], index=[7, 3, 9, 1, 5])
ALONE = np.arange(5)


def test_a_track_counts_for_each_of_its_genres_and_the_worst_comes_first():
    actual = np.array([10.0, 50.0, 80.0, 0.0, 0.0])
    rows = row_errors(REGRESSION, actual, actual + np.array([4, -8, 2, 90, 100]))
    errors = errors_by_genre(GENRES, rows, ALONE, 2)
    assert errors.index.tolist() == ["rock", "soul"]
    assert errors["tracks"].tolist() == [2, 2]
    assert errors["rmse"].tolist() == pytest.approx([np.sqrt((16 + 64) / 2), np.sqrt((16 + 4) / 2)])
    assert errors["mae"].tolist() == pytest.approx([6, 3])
    assert errors["bias"].tolist() == pytest.approx([-2, 3])
    assert errors_by_genre(GENRES, rows, ALONE, 3).empty


def test_classes_are_judged_by_the_probability_of_the_right_one():
    right = np.array([0.9, 0.2, 0.6, 0.5, 0.5])
    popular = np.array([True, False, True, True, True])
    probabilities = np.where(popular[:, None], np.column_stack([1 - right, right]), np.column_stack([right, 1 - right]))
    rows = row_errors(POPULAR, np.where(popular, 90.0, 10.0), probabilities)
    errors = errors_by_genre(GENRES, rows, ALONE, 2)
    assert errors.index.tolist() == ["rock", "soul"]
    assert errors["log_loss"].tolist() == pytest.approx([-np.log([0.9, 0.2]).mean(), -np.log([0.9, 0.6]).mean()])
    assert errors["accuracy"].tolist() == pytest.approx([0.5, 1])


def test_the_interval_is_that_of_whole_groups():
    rows = row_errors(REGRESSION, np.zeros(5), np.array([4.0, 8, 2, 9, 9]))
    alone, together = (errors_by_genre(GENRES, rows, groups, 2) for groups in (ALONE, np.array([0, 0, 1, 2, 3])))
    assert (alone["lower"] < alone["rmse"]).all()
    assert (alone["rmse"] < alone["upper"]).all()
    assert np.isnan(together.loc["rock", ["lower", "upper"]]).all()
    pd.testing.assert_series_equal(together.loc["soul"], alone.loc["soul"])


@pytest.mark.parametrize("genres", [GENRES, pd.Series([None] * 5, dtype="str")])
def test_no_genre_with_enough_tracks_is_an_empty_table(genres: pd.Series):
    assert errors_by_genre(genres, row_errors(REGRESSION, np.zeros(5), np.ones(5)), ALONE).empty
