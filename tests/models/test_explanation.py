"""Tests of reasons: they add up to the prediction, come largest first, and are only given where they are known."""

import json
from typing import Any

import numpy as np
import pytest

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.display_names import label
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.explanation import check_reasons, contributions, is_explainable, reasons
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.utils.errors import ConfigError
from tests.support import configured

SUM = 1e-3


@pytest.fixture(scope="module")
def subsets(sample: RawTracks) -> Subsets:
    tracks = clean(sample.frame, "tracks").frame
    split = split_tracks(tracks, SplitConfig(name="recording", test_size=0.2, val_size=0.12), 42)
    return build_subsets("audio", tracks, split, 42)


def fit(subsets: Subsets, *overrides: str) -> FittedEstimators:
    config = configured("features=audio", *overrides)
    return fit_estimators(config.model, config.task, subsets, config.seed)


@pytest.fixture(scope="module")
def xgboost(subsets: Subsets) -> FittedEstimators:
    return fit(subsets, "model.n_estimators=80", "model.learning_rate=0.3", "model.n_jobs=1")


FAMILIES = {
    "lightgbm": ["model=lightgbm", "model.n_estimators=20", "model.n_jobs=1"],
    "catboost": ["model=catboost", "model.iterations=20"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_contributions_of_other_libraries_add_up(subsets: Subsets, family: str):
    pytest.importorskip(family)
    final, matrix = fit(subsets, *FAMILIES[family]).refit, subsets.test.matrix()
    added = contributions(final, matrix)
    assert added.shape == (len(matrix), matrix.shape[1] + 1)
    np.testing.assert_allclose(added.sum(axis=1), final.predict(matrix), atol=SUM)


def test_contributions_add_up_to_what_each_fit_predicts(subsets: Subsets, xgboost: FittedEstimators):
    matrix = subsets.test.matrix()
    # The first fit stopped early, and has more trees than it predicts with.
    assert xgboost.n_trees < 80
    for estimator in (xgboost.early_stopped, xgboost.refit):
        np.testing.assert_allclose(contributions(estimator, matrix).sum(axis=1), estimator.predict(matrix), atol=SUM)
    booster = xgboost.refit.get_booster()
    np.testing.assert_array_equal(contributions(booster, matrix), contributions(xgboost.refit, matrix))


def points(listed: list[dict[str, Any]]) -> list[float]:
    return [reason["points"] for reason in listed]


@pytest.mark.parametrize("n_reasons", [1, 5, 14])
def test_base_reasons_and_others_add_up_to_the_prediction(subsets: Subsets, xgboost: FittedEstimators, n_reasons: int):
    matrix, names = subsets.test.matrix(), list(subsets.test.features.columns)
    given = reasons(contributions(xgboost.refit, matrix), matrix, names, n_reasons)
    sums = given["base"] + [sum(points(listed)) for listed in given["reasons"]] + given["others"]
    np.testing.assert_allclose(sums, xgboost.refit.predict(matrix), atol=SUM)
    assert (np.abs(given["others"]).max() < SUM) == (n_reasons == 14)
    for listed in given["reasons"]:
        assert len(listed) == n_reasons
        assert points(listed) == sorted(points(listed), key=abs, reverse=True)


def test_a_reason_has_the_plain_name_and_the_value_of_its_feature(subsets: Subsets, xgboost: FittedEstimators):
    matrix, names = subsets.test.matrix()[:20], list(subsets.test.features.columns)
    matrix[:, names.index("tempo")] = np.nan
    added = contributions(xgboost.refit, matrix)
    given = reasons(added, matrix, names, len(names))
    assert json.loads(json.dumps(list(given["reasons"]), allow_nan=False)) == list(given["reasons"])
    for row, listed in enumerate(given["reasons"]):
        by_name = {reason["feature"]: reason for reason in listed}
        assert by_name["tempo"]["value"] is None
        for column, name in enumerate(names):
            assert by_name[label(name)]["points"] == pytest.approx(added[row, column], abs=1e-4)
            if name != "tempo":
                assert by_name[label(name)]["value"] == pytest.approx(matrix[row, column], rel=1e-5)


def test_no_rows_have_no_reasons(subsets: Subsets, xgboost: FittedEstimators):
    matrix, names = subsets.test.matrix()[:0], list(subsets.test.features.columns)
    given = reasons(contributions(xgboost.refit, matrix), matrix, names, 3)
    assert [len(values) for values in given.values()] == [0, 0, 0]


@pytest.mark.parametrize("n_reasons", [-1, 0, 15, 2.5, "5", True])
def test_a_number_of_reasons_that_there_cannot_be_is_refused(xgboost: FittedEstimators, n_reasons: object):
    with pytest.raises(ConfigError, match=rf"explain={n_reasons}: give how many of the 14 features"):
        check_reasons(xgboost.refit, n_reasons, 14)


@pytest.mark.parametrize(
    "overrides", [["model=linear"], ["model=extra_trees", "model.n_estimators=2", "model.n_jobs=1"]]
)
def test_a_model_that_does_not_know_its_reasons_says_which_do(subsets: Subsets, overrides: list[str]):
    final = fit(subsets, *overrides).refit
    assert not is_explainable(final)
    with pytest.raises(ConfigError, match=rf"{type(final).__name__}, does not know .* xgboost, lightgbm or catboost"):
        check_reasons(final, 5, 14)
