"""Tests of the errors by kinds of tracks, and of how sure they are."""

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.models import ClassificationConfig, RegressionConfig
from spotify_ml.evaluation.by_group import (
    KNOWN_LABELS,
    errors_by,
    grouped_means,
    known_tracks,
    known_tracks_codes,
    row_errors,
)

REGRESSION = RegressionConfig(name="regression", weights="none", registered_model="m")
POPULAR = ClassificationConfig(
    name="classification", label="popular", threshold=50, weights="none", registered_model="m"
)


def test_the_error_of_a_kind_is_that_of_its_rows():
    actual = np.array([10.0, 20, 30, 40, 50])
    errors = row_errors(REGRESSION, actual, actual + np.array([3, -4, 1, 1, 100]))
    table = errors_by(np.array([2, 2, 0, 0, -1]), errors, np.arange(5))
    assert table.index.tolist() == [0, 2]
    assert table["tracks"].tolist() == [2, 2]
    assert table["rmse"].tolist() == pytest.approx([1, np.sqrt((9 + 16) / 2)])
    assert table["mae"].tolist() == pytest.approx([1, 3.5])
    assert table["bias"].tolist() == pytest.approx([1, -0.5])


def test_of_classes_the_error_is_the_log_loss():
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]])
    table = errors_by(np.zeros(2, int), row_errors(POPULAR, np.array([80.0, 20]), probabilities), np.arange(2))
    assert table["log_loss"].tolist() == pytest.approx([-np.log([0.75, 0.5]).mean()])
    assert table["accuracy"].tolist() == [1.0]
    assert "bias" not in table


def test_an_interval_of_rows_that_are_alone_is_the_ordinary_one():
    values = np.random.default_rng(0).normal(50, 10, 200)
    codes = np.repeat([0, 1], 100)
    counts, means, margins = grouped_means(values, codes, np.arange(200))
    for code in (0, 1):
        own = values[codes == code]
        assert counts[code] == 100
        assert means[code] == pytest.approx(own.mean())
        assert margins[code] == pytest.approx(1.96 * own.std(ddof=1) / np.sqrt(100))


def test_copies_of_rows_make_an_interval_no_narrower():
    values = np.random.default_rng(0).normal(50, 10, 60)
    codes = np.zeros(60, int)
    once = grouped_means(values, codes, np.arange(60))
    thrice = grouped_means(np.tile(values, 3), np.tile(codes, 3), np.tile(np.arange(60), 3))
    assert thrice[1] == pytest.approx(once[1])
    assert thrice[2] == pytest.approx(once[2])


def test_a_single_group_has_no_interval():
    table = errors_by(np.zeros(3, int), row_errors(REGRESSION, np.zeros(3), np.array([1.0, 2, 3])), np.zeros(3, int))
    assert np.isnan(table[["lower", "upper"]].to_numpy()).all()
    assert np.isfinite(table["rmse"]).all()


def test_an_artist_is_known_by_the_rows_of_the_fit_alone():
    tracks = pd.DataFrame(
        {
            "artists": ["Abba", "Abba;Cher", "Cher", "Abba", "Abba", None, "Cher;Abba", None],
            "track_id": ["a", "b", "c", "d", "d", "e", "f", "g"],
        }
    )
    fitted, asked = np.array([0, 1, 3, 4, 5]), np.array([2, 6, 7, 0])
    # The same track under a second genre is no further track, and Cher is known of no track of her own.
    assert known_tracks(tracks, fitted, asked).tolist() == [0, 0, 0, 3]
    assert known_tracks(tracks, np.array([2, 5]), asked).tolist() == [1, 1, 0, 0]


def test_test_rows_do_not_make_their_artists_known(result_of):
    _, result = result_of("features=reference", "split=artist")
    counts = known_tracks(result.tracks.frame, result.split.trainval, result.split.test)
    assert (counts == 0).all()
    everything = np.arange(len(result.tracks.frame))
    assert known_tracks(result.tracks.frame, everything, result.split.test).min() > 0


def test_numbers_of_known_tracks_are_called_by_their_range():
    counts = np.array([0, 1, 2, 5, 6, 20, 21, 50, 51, 5000])
    labels = [KNOWN_LABELS[code] for code in known_tracks_codes(counts)]
    assert labels == ["0", "1", "2–5", "2–5", "6–20", "6–20", "21–50", "21–50", "over 50", "over 50"]
