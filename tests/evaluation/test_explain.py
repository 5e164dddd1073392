"""Tests of what predictions come from: families of features, and what features add."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from spotify_ml.config.models import ClassificationConfig, RegressionConfig
from spotify_ml.evaluation.explain import explain
from spotify_ml.evaluation.importance import family_importance
from spotify_ml.features.subsets import Subset
from spotify_ml.models.fit import FittedEstimators
from tests.evaluation.conftest import ResultOf

REGRESSION = RegressionConfig(name="regression", weights="none", registered_model="m")
POPULAR = ClassificationConfig(
    name="classification", label="popular", threshold=50, weights="none", registered_model="m"
)
COLUMNS = ["energy", "genre_rock", "artist_mean", "album_mean", "album_max", "title_words"]


class Reader:
    """Predicts the mean of some columns, and of classes that a track above 50 is of the second."""

    def __init__(self, *columns: str) -> None:
        self.places = [COLUMNS.index(column) for column in columns]

    def predict(self, X: np.ndarray) -> np.ndarray:
        return X[:, self.places].mean(axis=1)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        popular = np.where(self.predict(X) >= 50, 0.9, 0.1)
        return np.column_stack([1 - popular, popular])


@pytest.fixture
def telling() -> Subset:
    """Rows whose album says everything, in both of its columns."""
    rng = np.random.default_rng(0)
    popularity = rng.uniform(0, 100, 500)
    features = pd.DataFrame(rng.uniform(0, 100, (500, len(COLUMNS))), columns=COLUMNS)
    return Subset(features.assign(album_mean=popularity, album_max=popularity), popularity)


def test_families_that_are_not_used_are_worth_nothing_and_the_used_one_its_loss(telling: Subset):
    table = family_importance(Reader("album_mean", "album_max"), telling, REGRESSION, seed=1)
    assert table.index.tolist() == ["audio", "genre", "artist", "album", "text"]
    others = table.drop("album")
    assert (others == 0).all(axis=None)
    # Of a shuffled copy of the truth R² is 1 − 2 (1 − r), with r near 0.
    assert table["importance"]["album"] == pytest.approx(2, abs=0.15)
    assert 0 < table["std"]["album"] < 0.2


def test_columns_of_a_family_change_places_together(telling: Subset):
    """Two columns of equal values stay equal, so their difference still says nothing."""

    class Difference(Reader):
        def predict(self, X: np.ndarray) -> np.ndarray:
            first, second = self.places
            return 50 + X[:, first] - X[:, second]

    table = family_importance(Difference("album_mean", "album_max"), telling, REGRESSION, seed=1)
    assert (table == 0).all(axis=None)


def test_of_classes_the_loss_is_that_of_the_log_loss(telling: Subset):
    table = family_importance(Reader("album_mean"), telling, POPULAR, seed=1)
    assert (table.drop("album") == 0).all(axis=None)
    rows = np.random.default_rng(5).permutation(500)
    popular = telling.target >= 50
    shuffled = log_loss(popular, Reader("album_mean").predict_proba(telling.matrix()[rows]))
    right = log_loss(popular, Reader("album_mean").predict_proba(telling.matrix()))
    assert table["importance"]["album"] == pytest.approx(shuffled - right, rel=0.2)


def test_equal_seeds_shuffle_equally_and_others_otherwise(telling: Subset):
    tables = [family_importance(Reader("album_mean"), telling, REGRESSION, seed) for seed in (1, 1, 2)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert tables[0]["importance"]["album"] != tables[2]["importance"]["album"]


def test_rows_without_any_variance_have_no_importance(telling: Subset):
    assert family_importance(Reader("energy"), replace(telling, target=np.full(500, 3.0)), REGRESSION, 1).empty


def test_contributions_are_those_of_test_rows_and_add_up(result_of: ResultOf):
    _, result = result_of()
    added, test = result.explanation.contributions, result.subsets.test
    assert added is not None
    assert set(added.index) <= set(test.features.index)
    assert added.index.is_unique
    assert added.columns.tolist() == test.features.columns.tolist()
    predicted = result.fitted.refit.predict(test.features.loc[added.index])
    base = predicted - added.sum(axis=1).to_numpy()
    assert np.ptp(base) < 1e-3
    table = result.explanation.importance.set_index("feature")
    pd.testing.assert_series_equal(table["contribution"], added.abs().mean()[table.index], check_names=False)


def test_families_are_metrics_with_their_spread(result_of: ResultOf):
    _, result = result_of()
    metrics = result.metrics()
    for family, row in result.explanation.families.iterrows():
        assert metrics[f"importance/{family}"] == row["importance"]
        assert metrics[f"importance/{family}_std"] == row["std"]
    assert metrics["importance/album"] > metrics["importance/audio"]


@pytest.mark.parametrize(
    "overrides", [("task=classification",), ("model=extra_trees", "model.n_estimators=5", "model.n_jobs=1")]
)
def test_what_has_no_contributions_in_points_is_explained_without(result_of: ResultOf, overrides: tuple[str, ...]):
    _, result = result_of("features=reference", *overrides)
    assert result.explanation.contributions is None
    assert "contribution" not in result.explanation.importance
    assert result.explanation.families.index.tolist() == ["audio", "genre"]


def test_a_larger_model_is_explained_on_fewer_rows(result_of: ResultOf, monkeypatch: pytest.MonkeyPatch):
    config, result = result_of()
    counts: list[int] = []

    def counting(estimator: Any, matrix: np.ndarray) -> np.ndarray:
        counts.append(len(matrix))
        return np.zeros((len(matrix), matrix.shape[1] + 1))

    monkeypatch.setattr("spotify_ml.evaluation.explain.contributions", counting)
    for work in (1e4, 1e7, 1e12):
        monkeypatch.setattr("spotify_ml.evaluation.explain._WORK", work)
        explain(FittedEstimators(None, result.fitted.refit), result.subsets, config.task, 0)
    assert counts[0] < counts[1] <= counts[2] <= len(result.split.test)
