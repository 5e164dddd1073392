"""Tests of the errors by genre."""

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config import ClassificationConfig, RegressionConfig
from spotify_ml.evaluation.genres import genre_errors

REGRESSION = RegressionConfig(name="regression", weights="none", registered_model="m")
POPULAR = ClassificationConfig(
    name="classification", label="popular", threshold=50, weights="none", registered_model="m"
)
GENRES = pd.Series(["rock;soul", "rock", "soul", "rare"], index=[7, 3, 9, 1])


def test_a_track_counts_for_each_of_its_genres_and_the_worst_comes_first():
    actual = np.array([10.0, 50.0, 80.0, 0.0])
    errors = genre_errors(REGRESSION, GENRES, actual, actual + np.array([4, -8, 2, 100]), fewest_tracks=2)
    assert errors.index.tolist() == ["rock", "soul"]
    assert errors["tracks"].tolist() == [2, 2]
    assert errors["rmse"].tolist() == pytest.approx([np.sqrt((16 + 64) / 2), np.sqrt((16 + 4) / 2)])
    assert errors["mae"].tolist() == pytest.approx([6, 3])
    assert errors["bias"].tolist() == pytest.approx([-2, 3])


def test_classes_are_judged_by_the_probability_of_the_right_one():
    right = np.array([0.9, 0.2, 0.6, 0.5])
    popular = np.array([True, False, True, True])
    probabilities = np.where(popular[:, None], np.column_stack([1 - right, right]), np.column_stack([right, 1 - right]))
    errors = genre_errors(POPULAR, GENRES, np.where(popular, 90.0, 10.0), probabilities, fewest_tracks=2)
    assert errors.index.tolist() == ["rock", "soul"]
    assert errors["log_loss"].tolist() == pytest.approx([-np.log([0.9, 0.2]).mean(), -np.log([0.9, 0.6]).mean()])
    assert errors["accuracy"].tolist() == pytest.approx([0.5, 1])


def test_no_genre_with_enough_tracks_is_an_empty_table():
    assert genre_errors(REGRESSION, GENRES, np.zeros(4), np.ones(4)).empty
