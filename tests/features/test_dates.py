"""Tests of the features of release dates and of one more key."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from spotify_ml.data.dates import COLLECTED_COLUMN, day_of
from spotify_ml.data.etl import clean
from spotify_ml.data.schema import AUDIO
from spotify_ml.data.sources import RawTracks
from spotify_ml.features.builder import build_features, fit_features
from spotify_ml.features.incomplete import IncompleteFeatures
from spotify_ml.features.transformers.catalogue import LEVELS
from spotify_ml.features.transformers.dates import FEATURES, ReleaseDates
from spotify_ml.features.transformers.key import KeyStatistics
from spotify_ml.features.transformers.statistics import STATISTICS
from spotify_ml.features.transformers.words import FEATURES as WORDS
from tests.layouts import dated

COLLECTED = float(day_of("2020-01-21"))


def table(*rows: tuple[str | None, str | None]) -> pd.DataFrame:
    dates, artists = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "release_date": pd.array(dates, dtype="str"),
            "artists": pd.array(artists, dtype="str"),
            COLLECTED_COLUMN: COLLECTED,
        }
    )


def features(*rows: tuple[str | None, str | None]) -> pd.DataFrame:
    return pd.DataFrame(ReleaseDates().fit_transform(table(*rows)), columns=list(FEATURES))


def test_a_day_tells_age_season_and_weekday():
    (row,) = features(("2019-01-21", "A")).to_dict("records")
    assert row["release_age"] == pytest.approx(365 / 365.25)
    # A Monday.
    assert (row["release_month"], row["release_weekday"], row["release_precision"]) == (1, 0, 3)


def test_what_a_date_does_not_tell_is_missing():
    rows = features(("2019-03", "A"), ("2018", "B"), ("1900-01-01", "C"), (None, "D"))
    assert list(rows["release_precision"]) == [2, 1, 0, 0]
    np.testing.assert_array_equal(rows["release_month"].isna(), [False, True, True, True])
    assert rows["release_weekday"].isna().all()
    np.testing.assert_array_equal(rows["release_age"].isna(), [False, False, True, True])


def test_a_row_is_told_of_the_first_release_of_other_groups():
    rows = table(("2010-01-01", "A"), ("2010-01-01", "a ;B"), ("2012-01-01", "A"), ("2015-01-01", "Z"), ("2011", None))
    encoder = ReleaseDates()
    found = encoder.fit_transform(rows, groups=np.array([0, 0, 1, 2, 3]))[:, 4]
    # The first two are copies of each other, of whose artist the third row is the only other release.
    np.testing.assert_allclose(found, [-730 / 365.25, -730 / 365.25, 730 / 365.25, np.nan, np.nan], rtol=1e-5)
    later = encoder.transform(table(("2009-01-01", "A;X"), ("2016-01-01", "Z"), ("2016-01-01", "new"), (None, "A")))
    np.testing.assert_allclose(later[:, 4], [-365 / 365.25, 365 / 365.25, np.nan, np.nan], rtol=1e-5)


def test_rows_that_do_not_say_the_day_of_their_popularity_get_that_of_the_fit():
    encoder = ReleaseDates().fit(table(("2019-01-21", "A")))
    rows = table(("2019-01-21", "A")).drop(columns=COLLECTED_COLUMN)
    assert encoder.transform(rows)[0, 0] == pytest.approx(365 / 365.25)
    with pytest.raises(NotFittedError):
        clone(encoder).transform(rows)


def test_without_any_date_there_is_no_age():
    encoder = ReleaseDates()
    found = encoder.fit_transform(table((None, "A"), ("0000", "B")).assign(**{COLLECTED_COLUMN: np.nan}))
    assert np.isnan(found[:, [0, 1, 2, 4]]).all()
    assert np.isfinite(encoder.transform(table(("2019-01-21", "A")))[0, [1, 2, 3]]).all()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "1999", "2001-02", "2001-02-03", "0000"]), st.sampled_from([None, "A", "B;A"])
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_row_alone_is_told_the_same_as_among_others(rows: list[tuple[str | None, str | None]]):
    encoder = ReleaseDates().fit(table(("2000", "A"), ("2001-02-03", "B")))
    together = encoder.transform(table(*rows))
    alone = np.concatenate([encoder.transform(table(row)) for row in rows])
    np.testing.assert_array_equal(together, alone)


def test_a_key_is_equal_whatever_its_case_and_spaces():
    labels = pd.DataFrame({"label": ["Warner Bros.", "warner  bros.", "Own", None]})
    encoder = KeyStatistics("label").fit(labels, np.array([80.0, 60, 10, 50]))
    found = encoder.transform(pd.DataFrame({"label": ["WARNER BROS.", "other", None]}))
    np.testing.assert_array_equal(found[:, 1], [2, 0, 0])
    assert found[0, 4] == 80
    assert encoder.get_feature_names_out()[0] == "label_mean"


def test_features_see_dates_and_labels_where_tracks_have_them(sample: RawTracks):
    tracks = dated(clean(sample.frame, "tracks").frame.head(300)).assign(**{COLLECTED_COLUMN: COLLECTED})
    steps = {step for step, *_ in build_features("full", given=tracks.columns).transformers}
    assert {"release_date", "label"} <= steps
    rows, groups = np.arange(200), np.arange(300) // 2
    seen, unseen, fitted = fit_features("full", tracks, groups, rows, np.arange(200, 300), 3)
    added = {*FEATURES, *fitted.named_transformers_["label"].get_feature_names_out()}
    assert added <= set(seen.features)
    without = tracks.drop(columns=["release_date", "label", COLLECTED_COLUMN])
    plain, plain_unseen, _ = fit_features("full", without, groups, rows, np.arange(200, 300), 3)
    pd.testing.assert_frame_equal(seen.features.drop(columns=list(added)), plain.features)
    pd.testing.assert_frame_equal(unseen.features.drop(columns=list(added)), plain_unseen.features)
    for name in ("audio", "reference"):
        assert not added & set(fit_features(name, tracks, groups, rows, rows, 3)[0].features)


def test_another_catalogue_is_not_asked_about_labels_either():
    levels = [*LEVELS, "label"]
    names = (*AUDIO, *(f"{level}_{statistic}" for level in levels for statistic in STATISTICS), "n_genres", *WORDS)
    features = IncompleteFeatures(names)
    view = np.zeros((2, len(names)), dtype=np.float32)
    asked = np.isnan(features.without_statistics(view)[0])
    assert [name for name, is_gone in zip(names, asked, strict=True) if not is_gone] == list(AUDIO)


def test_a_planted_leak_of_a_label_is_caught(sample: RawTracks):
    tracks = clean(sample.frame, "tracks").frame.head(400)
    # Each group has a label of its own, which tells everything about it, and nothing to itself.
    groups = np.arange(400) // 4
    leak = tracks.assign(label=pd.array([f"label {group}" for group in groups], dtype="str"))
    popularity = leak["popularity"].to_numpy(float)
    encoder = KeyStatistics("label")
    blind = encoder.fit_transform(leak, popularity, groups)
    assert (blind[:, 1] == 0).all()
    assert (encoder.fit_transform(leak, popularity, np.arange(400))[:, 1] > 0).mean() > 0.9
