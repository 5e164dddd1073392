"""Tests of the tables behind the figures: they are about the test rows, and agree with the run's metrics."""

import numpy as np
import pytest

from spotify_ml.evaluation.by_group import BAND_LABELS
from spotify_ml.models.targets import BANDS
from tests.evaluation.conftest import ResultOf, figure_data


def test_bands_are_those_of_the_metrics(result_of: ResultOf):
    config, result = result_of()
    (data, _), metrics = figure_data(config, result), result.metrics()
    assert data.bands.index.tolist() == list(BAND_LABELS)
    assert data.bands["rmse"].tolist() == pytest.approx([metrics[f"test_{band}/rmse"] for band in BANDS])
    assert data.bands["bias"].tolist() == pytest.approx([metrics[f"test_{band}/bias"] for band in BANDS])
    assert ((data.bands["lower"] < data.bands["rmse"]) & (data.bands["rmse"] < data.bands["upper"])).all()
    assert data.error == metrics["test/rmse"]


def test_every_test_row_is_of_one_band_and_one_number_of_known_tracks(result_of: ResultOf):
    config, result = result_of()
    (data, _), n_rows = figure_data(config, result), len(result.split.test)
    assert data.bands["tracks"].sum() == data.known_tracks["tracks"].sum() == data.calibration["tracks"].sum() == n_rows
    known = set(result.tracks.frame["artists"].iloc[result.split.trainval].str.partition(";")[0])
    unknown = ~result.tracks.frame["artists"].iloc[result.split.test].str.partition(";")[0].isin(known)
    assert data.known_tracks["tracks"]["0"] == unknown.sum() > 0


def test_contributions_and_values_are_of_the_same_rows_and_plainly_named(result_of: ResultOf):
    config, result = result_of()
    (_, data), added = figure_data(config, result), result.explanation.contributions
    assert data.contributions.index.tolist() == data.values.index.tolist() == added.index.tolist()
    assert data.contributions.columns.tolist() == data.values.columns.tolist()
    assert (np.diff(data.contributions.abs().mean()) <= 0).all()
    np.testing.assert_array_equal(
        data.values["same-named albums' other recordings: mean popularity"],
        result.subsets.test.features["album_mean"].loc[added.index],
    )
    assert "album_mean" not in set(data.importance["feature"])


def test_classes_have_their_own_errors_and_no_contributions(result_of: ResultOf):
    config, result = result_of("features=reference", "task=classification")
    data, explained = figure_data(config, result)
    assert data.error == result.metrics()["test/log_loss"]
    weights = data.bands["tracks"]
    assert np.average(data.bands["log_loss"], weights=weights) == pytest.approx(data.error)
    assert data.calibration.groupby("class")["tracks"].sum().tolist() == [weights.sum()] * 3
    assert explained.contributions.empty
    assert data.coverage.empty
