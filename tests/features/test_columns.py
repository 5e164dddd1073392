"""Numeric columns, interactions and one-hot levels, against their rules."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.features.transformers.columns import INTERACTIONS, Interactions, NumericColumns, OneHotLevels

INPUTS = ["energy", "danceability", "valence", "acousticness", "duration_min"]
LEVELS = {"mode": [0, 1], "mood": ["Happy", "Sad", "Angry"]}


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame


def interactions_by_the_book(row: dict[str, float]) -> list[float]:
    energy, valence, danceability = row["energy"], row["valence"], row["danceability"]
    return [
        energy * danceability,
        valence * energy,
        row["acousticness"] * energy,
        energy * energy,
        danceability * danceability,
        valence * valence,
        1.0 if row["duration_min"] < 3 else 0.0,
        1.0 if row["duration_min"] > 5 else 0.0,
        1.0 if energy > 0.7 and valence > 0.7 else 0.0,
        1.0 if energy < 0.3 and valence < 0.3 else 0.0,
    ]


UNIT = st.sampled_from([0.0, 0.3, 0.7, 1.0, np.nextafter(0.3, 0), np.nextafter(0.7, 1)]) | st.floats(0, 1)
MINUTES = st.sampled_from([3.0, 5.0, np.nextafter(3, 0), np.nextafter(5, 6)]) | st.floats(0, 1440)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(UNIT, UNIT, UNIT, UNIT, MINUTES), min_size=1, max_size=10))
def test_interactions_follow_their_rules(rows):
    frame = pd.DataFrame(rows, columns=INPUTS)
    expected = [interactions_by_the_book(row) for row in frame.to_dict("records")]
    np.testing.assert_allclose(Interactions().fit_transform(frame), expected, rtol=1e-6, atol=1e-30)


def test_interactions_of_real_tracks_follow_their_rules(tracks):
    expected = [interactions_by_the_book(row) for row in tracks[INPUTS].to_dict("records")]
    np.testing.assert_allclose(Interactions().fit_transform(tracks[INPUTS]), expected, rtol=1e-6)


def test_numeric_columns_are_the_values_in_the_order_given(tracks):
    names = ["tempo", "energy", "explicit", "key"]
    encoder = NumericColumns().fit(tracks[names])
    assert encoder.get_feature_names_out().tolist() == names
    np.testing.assert_array_equal(encoder.transform(tracks[names]), tracks[names].astype(float).astype(np.float32))


def test_one_hot_has_a_column_per_level_but_the_first():
    encoder = OneHotLevels(LEVELS).fit(pd.DataFrame({"mode": [0], "mood": ["Sad"]}))
    assert encoder.get_feature_names_out().tolist() == ["mode_1", "mood_Sad", "mood_Angry"]


def test_one_hot_marks_the_level_of_each_row():
    rows = pd.DataFrame({"mode": [0, 1, 1], "mood": ["Happy", "Sad", "Angry"]})
    assert OneHotLevels(LEVELS).fit_transform(rows).tolist() == [[0, 0, 0], [1, 1, 0], [1, 0, 1]]


@pytest.mark.parametrize("mood", ["unknown", None])
def test_one_hot_marks_nothing_for_a_level_it_does_not_know(mood):
    rows = pd.DataFrame({"mode": [1], "mood": pd.array([mood], dtype="str")})
    assert OneHotLevels(LEVELS).fit_transform(rows).tolist() == [[1, 0, 0]]


def test_one_hot_takes_text_and_categories_alike():
    text = pd.DataFrame({"mode": [0, 1], "mood": ["Sad", "Angry"]})
    encoder = OneHotLevels(LEVELS).fit(text)
    np.testing.assert_array_equal(encoder.transform(text), encoder.transform(text.astype({"mood": "category"})))


ENCODERS = [
    pytest.param(NumericColumns(), ["energy", "tempo"], id="numeric"),
    pytest.param(Interactions(), INPUTS, id="interactions"),
    pytest.param(OneHotLevels({"mode": [0, 1], "time_signature": [3, 4]}), ["mode", "time_signature"], id="levels"),
]


@pytest.mark.parametrize(("encoder", "columns"), ENCODERS)
def test_names_match_columns_and_values_are_float32(tracks, encoder, columns):
    encoder = clone(encoder)
    matrix = encoder.fit_transform(tracks[columns])
    assert matrix.shape == (len(tracks), len(encoder.get_feature_names_out()))
    assert matrix.dtype == np.float32


@pytest.mark.parametrize(("encoder", "columns"), ENCODERS)
def test_unfitted_encoder_does_not_transform(tracks, encoder, columns):
    with pytest.raises(NotFittedError):
        clone(encoder).transform(tracks[columns])


@pytest.mark.parametrize(("encoder", "columns"), ENCODERS)
def test_clone_is_unfitted_and_has_the_same_parameters(tracks, encoder, columns):
    fitted = clone(encoder).fit(tracks[columns])
    assert clone(fitted).get_params() == fitted.get_params()
    assert not [name for name in vars(clone(fitted)) if name.endswith("_")]


@pytest.mark.parametrize(("encoder", "columns"), ENCODERS)
def test_fitted_encoder_survives_pickling(tracks, encoder, columns):
    fitted = clone(encoder).fit(tracks[columns])
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(tracks[columns]), fitted.transform(tracks[columns]))


@pytest.mark.parametrize(("encoder", "columns"), ENCODERS)
def test_rows_are_encoded_each_for_itself(tracks, encoder, columns):
    fitted = clone(encoder).fit(tracks[columns])
    order = np.random.default_rng(0).permutation(len(tracks))
    shuffled = fitted.transform(tracks[columns].iloc[order])
    np.testing.assert_array_equal(shuffled, fitted.transform(tracks[columns])[order])


def test_interactions_are_the_ten_documented():
    assert len(INTERACTIONS) == len(set(INTERACTIONS)) == 10
    assert Interactions().get_feature_names_out().tolist() == list(INTERACTIONS)
