"""Genres as flags and as a label code: several, unseen and missing ones."""

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
from spotify_ml.features.transformers.genres import FirstGenreCode, GenreComponents, GenreSet

ENCODERS = [
    pytest.param(GenreSet(), id="set"),
    pytest.param(GenreComponents(), id="components"),
    pytest.param(FirstGenreCode(), id="first"),
]
LISTS = st.lists(st.sampled_from(["pop", "k-pop", "rock", "metal", "unheard"]), max_size=4)


def genres(*values: str | None) -> pd.DataFrame:
    return pd.DataFrame({"track_genre": pd.array(list(values), dtype="str")})


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame[["track_genre"]]


@pytest.fixture
def genre_set() -> GenreSet:
    return GenreSet().fit(genres("rock", "pop;rock", "metal"))


@pytest.fixture
def first_genre() -> FirstGenreCode:
    return FirstGenreCode().fit(genres("rock", "pop", "metal"))


def test_set_has_a_flag_per_genre_in_alphabetical_order_and_a_count(genre_set):
    assert genre_set.genres_ == ["metal", "pop", "rock"]
    assert genre_set.get_feature_names_out().tolist() == ["genre_metal", "genre_pop", "genre_rock", "n_genres"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("rock", [0, 0, 1, 1]),
        ("pop;rock", [0, 1, 1, 2]),
        ("rock;pop", [0, 1, 1, 2]),
        ("rock; pop ;", [0, 1, 1, 2]),
        ("rock;rock", [0, 0, 1, 1]),
        ("unheard", [0, 0, 0, 1]),
        ("rock;unheard", [0, 0, 1, 2]),
        ("", [0, 0, 0, 0]),
        (";", [0, 0, 0, 0]),
        (None, [0, 0, 0, 0]),
    ],
)
def test_set_flags_known_genres_and_counts_all(genre_set, value, expected):
    assert genre_set.transform(genres(value)).tolist() == [expected]


@pytest.mark.parametrize(
    ("value", "code"),
    [("metal", 0), ("pop", 1), ("rock", 2), ("rock;metal", 0), ("unheard", -1), ("", -1), (None, -1)],
)
def test_code_is_the_place_of_the_first_genre_in_the_alphabet(first_genre, value, code):
    assert first_genre.transform(genres(value)).tolist() == [[code]]


@settings(deadline=None)
@given(known=st.lists(LISTS, min_size=1, max_size=8), rows=st.lists(LISTS, min_size=1, max_size=8))
def test_set_is_membership(known, rows):
    encoder = GenreSet().fit(genres(*(";".join(own) for own in known)))
    learnt = sorted({genre for own in known for genre in own})
    expected = [[*(float(genre in own) for genre in learnt), len(set(own))] for own in rows]
    assert encoder.transform(genres(*(";".join(own) for own in rows))).tolist() == expected


def test_set_of_real_tracks_counts_each_genre_as_often_as_it_occurs(tracks):
    encoder = GenreSet().fit(tracks)
    flags = pd.DataFrame(encoder.transform(tracks), columns=encoder.get_feature_names_out()).sum()
    occurring = tracks["track_genre"].str.split(";").explode().value_counts()
    assert flags.drop("n_genres").to_dict() == occurring.add_prefix("genre_").to_dict()
    assert flags["n_genres"] == occurring.sum()


@pytest.mark.full
def test_all_114_genres_have_a_code_in_alphabetical_order(full):
    rows = full.frame[["track_genre"]]
    codes = FirstGenreCode().fit_transform(rows)[:, 0]
    np.testing.assert_array_equal(codes, rows["track_genre"].rank(method="dense") - 1)
    assert codes.max() == 113


@pytest.mark.parametrize("encoder", ENCODERS)
def test_fit_on_no_genre_at_all_gives_what_an_unseen_one_gives(encoder):
    fitted = clone(encoder).fit(genres(None, ""))
    assert fitted.transform(genres("pop")).tolist() == [[-1 if isinstance(encoder, FirstGenreCode) else 1]]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_text_and_categories_give_the_same(encoder, tracks):
    categories = tracks.astype("category")
    text_fitted, fitted = clone(encoder).fit(tracks), clone(encoder).fit(categories)
    assert text_fitted.genres_ == fitted.genres_
    np.testing.assert_array_equal(text_fitted.transform(tracks), fitted.transform(categories))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_fit_learns_only_genres_of_its_rows_though_their_type_knows_more(encoder):
    rows = genres("pop", "rock", "metal").astype("category").iloc[:2]
    assert clone(encoder).fit(rows).genres_ == ["pop", "rock"]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_fit_does_not_depend_on_the_order_of_rows(encoder, tracks):
    assert clone(encoder).fit(tracks).genres_ == clone(encoder).fit(tracks.iloc[::-1]).genres_


@pytest.mark.parametrize("encoder", ENCODERS)
def test_rows_are_encoded_each_for_itself(encoder, tracks):
    fitted = clone(encoder).fit(tracks)
    together = fitted.transform(tracks)
    order = np.random.default_rng(0).permutation(len(tracks))
    np.testing.assert_array_equal(fitted.transform(tracks.iloc[order]), together[order])
    alone = np.vstack([fitted.transform(tracks.iloc[[row]]) for row in range(50)])
    np.testing.assert_array_equal(alone, together[:50])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_transform_leaves_what_it_is_given(encoder, tracks):
    before = tracks.copy()
    clone(encoder).fit(tracks).transform(tracks)
    pd.testing.assert_frame_equal(tracks, before)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_unfitted_encoder_does_not_transform(encoder):
    with pytest.raises(NotFittedError):
        clone(encoder).transform(genres("pop"))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_fitted_encoder_survives_pickling_and_its_clone_is_unfitted(encoder, tracks):
    fitted = clone(encoder).fit(tracks)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(tracks), fitted.transform(tracks))
    assert not hasattr(clone(fitted), "genres_")
    assert clone(fitted).get_params() == fitted.get_params()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_names_match_columns_and_values_are_float32(encoder, tracks):
    encoder = clone(encoder)
    matrix = encoder.fit_transform(tracks)
    assert matrix.shape == (len(tracks), len(encoder.get_feature_names_out()))
    assert matrix.dtype == np.float32


def test_components_tell_as_much_as_flags_where_there_are_as_many(tracks):
    flags = GenreSet().fit(tracks).transform(tracks)[:, :-1]
    components = GenreComponents(n_components=1000).fit(tracks).transform(tracks)[:, :-1]
    # A rotation keeps the products of rows.
    np.testing.assert_allclose(components[:50] @ components.T, flags[:50] @ flags.T, atol=1e-4)


def test_components_of_often_seen_sets_come_first():
    encoder = GenreComponents(n_components=1).fit(genres(*["pop;dance"] * 9, "metal"))
    assert abs(encoder.transform(genres("pop", "metal"))[:, 0]) == pytest.approx([0.5**0.5, 0], abs=1e-6)


def test_a_set_of_genres_is_the_same_beside_any_others():
    rng = np.random.default_rng(0)
    names = [f"genre {number}" for number in range(60)]
    sets = genres(*(";".join(rng.choice(names, rng.integers(1, 9), replace=False)) for _ in range(400)))
    encoder = GenreComponents().fit(sets)
    together = encoder.transform(sets)
    alone = np.vstack([encoder.transform(sets.iloc[[row]]) for row in range(len(sets))])
    np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(encoder.transform(sets.iloc[:37]), together[:37])
