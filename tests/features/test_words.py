"""The regression of words: what it learns, and nothing of a track's own group or of later releases."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score
from threadpoolctl import threadpool_info, threadpool_limits

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.schema import TARGET
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.features.builder import with_categories
from spotify_ml.features.transformers import words
from spotify_ml.features.transformers.words import COLUMNS, FEATURES, WordRegression

MIXED = ["Live in Rome", "", "Best of Abba", None, "Live at Home", "夜に駆ける", "!!!", "Don’t Stop"]


def names(album: list[str | None], **others: object) -> pd.DataFrame:
    return pd.DataFrame({"album_name": album, "track_name": "A", "artists": "B", "track_genre": "pop", **others})


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame.iloc[::3]


@pytest.fixture(scope="module")
def target(tracks: pd.DataFrame) -> np.ndarray:
    return tracks[TARGET].to_numpy(dtype=np.float64)


@pytest.fixture(scope="module")
def fitted(tracks: pd.DataFrame, target: np.ndarray) -> WordRegression:
    return WordRegression().fit(tracks[COLUMNS], target)


def test_words_tell_popularity_of_tracks_that_were_not_in_train(tracks, target):
    config = SplitConfig(name="recording", test_size=0.2, val_size=0.12)
    split = split_tracks(tracks, config, 42)
    regression = WordRegression().fit(tracks.iloc[split.train], target[split.train])
    expected = regression.transform(tracks.iloc[split.validation])[:, 0]
    assert r2_score(target[split.validation], expected) > 0.2


def test_the_expectation_is_the_sum_of_what_each_text_adds(tracks, fitted):
    expected, *added = fitted.transform(tracks).T
    np.testing.assert_allclose(expected, np.sum(added, axis=0) + fitted.intercept_, rtol=1e-5, atol=1e-4)
    assert fitted.get_feature_names_out().tolist() == list(FEATURES)


def test_a_text_that_is_absent_adds_nothing_and_leaves_what_the_others_add(tracks, fitted):
    whole = pd.DataFrame(fitted.transform(tracks), columns=FEATURES)
    for absent in ("", None):
        without = pd.DataFrame(fitted.transform(tracks.assign(album_name=absent)), columns=FEATURES)
        assert (without["words_album"] == 0).all()
        np.testing.assert_array_equal(without.iloc[:, 2:], whole.iloc[:, 2:])
        np.testing.assert_allclose(
            without["words_expected"], whole["words_expected"] - whole["words_album"], rtol=1e-4, atol=1e-4
        )


def test_rows_of_a_group_do_not_see_each_other(tracks, target):
    groups = np.arange(len(tracks)) // 3
    told = WordRegression().fit_transform(tracks, target, groups)
    # A planted leak: were its own target seen, one track of a group would tell of the others.
    changed = target.copy()
    changed[groups == 7] = 1000
    again = WordRegression().fit_transform(tracks, changed, groups)
    np.testing.assert_array_equal(again[groups == 7], told[groups == 7])
    assert not np.array_equal(again, told)
    assert not np.array_equal(WordRegression().fit_transform(tracks, changed)[groups == 7], told[groups == 7])


def test_ordered_rows_see_earlier_folds_alone(tracks, target):
    groups = np.arange(len(tracks))
    told = WordRegression(ordered=True).fit_transform(tracks, target, groups)
    changed = np.where(groups > len(groups) // 2, 0, target)
    again = WordRegression(ordered=True).fit_transform(tracks, changed, groups)
    earlier = groups < len(groups) * 2 // 5
    np.testing.assert_array_equal(again[earlier], told[earlier])
    assert not np.array_equal(again[~earlier], told[~earlier])
    # Nothing is known before the first releases.
    assert (told[: len(groups) // 5 - 1] == [50, 0, 0, 0, 0]).all()


def test_equal_names_are_equal_whatever_their_case_and_signs(fitted, tracks):
    album = tracks["album_name"]
    shouted = tracks.assign(album_name="  " + album.str.upper() + " ")
    same = ~album.str.contains("ß|ı", na=False).to_numpy()
    np.testing.assert_array_equal(fitted.transform(shouted)[same], fitted.transform(tracks)[same])


def test_rows_one_at_a_time_give_what_they_give_together(fitted, tracks):
    some = pd.concat([tracks[COLUMNS].iloc[:20], names(MIXED)])
    alone = np.vstack([fitted.transform(some.iloc[[row]]) for row in range(len(some))])
    np.testing.assert_allclose(alone, fitted.transform(some), rtol=1e-6)


def test_text_and_categories_give_the_same(tracks, target):
    told = [WordRegression().fit_transform(X, target) for X in (tracks, with_categories(tracks))]
    np.testing.assert_allclose(*told, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "X",
    [
        pytest.param(names(MIXED), id="mixed"),
        pytest.param(names([""] * 8), id="empty albums"),
        pytest.param(names([None] * 8, track_name=None, artists=None, track_genre=None), id="nothing at all"),
        pytest.param(names(["!?"] * 8, track_name="...", artists="-", track_genre=";"), id="signs alone"),
        pytest.param(names(["Same"] * 8), id="one value"),
        pytest.param(names(["word " * 200_000] * 8), id="a name of 1 MB"),
    ],
)
def test_every_text_gives_a_sensible_number(X, fitted):
    y = np.array([10.0, 30, 20, 40, 50, 0, 20, 30])
    regression = WordRegression()
    for matrix in (regression.fit_transform(X, y), regression.transform(X), fitted.transform(X)):
        assert matrix.shape == (8, 5)
        assert matrix.dtype == np.float32
        assert np.isfinite(matrix).all()
        assert (matrix[:, 0] > -100).all()
        assert (matrix[:, 0] < 200).all()


def test_no_rows_give_no_rows(fitted, tracks):
    assert fitted.transform(tracks.iloc[:0]).shape == (0, 5)


def test_more_rows_than_are_needed_are_told_by_a_regression_on_some(monkeypatch, tracks, target):
    whole = WordRegression().fit_transform(tracks, target)
    monkeypatch.setattr(words, "_MOST_ROWS", len(tracks) // 2)
    groups = np.arange(len(tracks))
    told = WordRegression().fit_transform(tracks, target, groups)
    assert told.shape == whole.shape
    assert np.corrcoef(told[:, 0], whole[:, 0])[0, 1] > 0.8
    changed = np.where(groups == 5, 1000, target)
    np.testing.assert_array_equal(WordRegression().fit_transform(tracks, changed, groups)[5], told[5])


def test_the_number_of_threads_changes_nothing(tracks, target):
    told = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            told.append(WordRegression().fit_transform(tracks, target))
            # The limit of who calls is as it was.
            assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {threads}
    np.testing.assert_array_equal(*told)
