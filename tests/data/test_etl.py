"""Cleaning: derived columns by their rules, and one row per track."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ml.config.run import DataConfig
from spotify_ml.data.etl import add_derived_columns, clean, clean_consuming, track_codes
from spotify_ml.data.schema import NAMES
from spotify_ml.data.sources import RawTracks, read_tracks

DERIVED = ["duration_min", "mood_energy", "energy_category", "tempo_category", "popularity_category"]
MERGED = "further rows of a track_id, merged into its first"
NAMELESS = "no artists, album and title"
GENRES = ["ambient", "black-metal", "pop", "k-pop", "rock"]


def near(edges: list[float], lowest: float, highest: float) -> st.SearchStrategy[float]:
    """Draw bin edges, their float neighbours and anything between the ends of the range."""
    exact = [float(edge) for edge in [lowest, *edges, highest]]
    neighbours = [math.nextafter(edge, way) for edge in exact for way in (-math.inf, math.inf)]
    inside = [value for value in exact + neighbours if lowest <= value <= highest]
    return st.sampled_from(inside) | st.floats(min_value=lowest, max_value=highest)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "energy": near([0.33, 0.5, 0.66], 0, 1),
            "valence": near([0.5], 0, 1),
            "tempo": near([90, 120, 150], 0, 300),
            "popularity": near([33, 66], 0, 100),
            "duration_ms": st.integers(min_value=0, max_value=86_400_000),
        }
    ),
    min_size=1,
    max_size=30,
)


def level(value: float, upper_ends: dict[str, float]) -> str:
    return next(name for name, end in upper_ends.items() if value <= end)


def derived_by_the_book(row: dict[str, float]) -> list[object]:
    if row["valence"] > 0.5 and row["energy"] > 0.5:
        mood = "Happy/High Energy"
    elif row["valence"] <= 0.5 and row["energy"] > 0.5:
        mood = "Energetic/Sad"
    elif row["valence"] > 0.5 and row["energy"] <= 0.5:
        mood = "Chill/Happy"
    else:
        mood = "Sad/Low Energy"
    return [
        row["duration_ms"] / 60_000,
        mood,
        level(row["energy"], {"Low Energy": 0.33, "Medium Energy": 0.66, "High Energy": 1}),
        level(row["tempo"], {"Slow": 90, "Moderate": 120, "Fast": 150, "Very Fast": 300}),
        level(row["popularity"], {"Low Popularity": 33, "Medium Popularity": 66, "High Popularity": 100}),
    ]


def tracks_by_the_book(raw: pd.DataFrame) -> dict[str, tuple[float, str]]:
    """Return popularity and genres of every track_id that has any name, one row after the other."""
    rows: dict[str, list[tuple[float, str]]] = {}
    names = ["artists", "album_name", "track_name"]
    for identifier, popularity, genre, nameless in zip(
        raw["track_id"], raw["popularity"], raw["track_genre"], raw[names].isna().all(axis=1), strict=True
    ):
        if not nameless:
            rows.setdefault(identifier, []).append((popularity, genre))
    return {
        identifier: (sum(p for p, _ in own) / len(own), ";".join(sorted({genre for _, genre in own})))
        for identifier, own in rows.items()
    }


def assert_tracks_by_the_book(raw: pd.DataFrame) -> None:
    tracks = clean(raw, "tracks").frame
    expected = tracks_by_the_book(raw)
    assert tracks["track_id"].is_unique
    assert set(tracks["track_id"]) == set(expected)
    popularity, genres = zip(*(expected[identifier] for identifier in tracks["track_id"]), strict=True)
    np.testing.assert_allclose(tracks["popularity"], popularity, rtol=1e-12)
    different = tracks["track_genre"] != pd.Series(genres)
    assert not different.any(), f"{different.sum()} tracks have other genres than their own"


def raw_rows(sample: RawTracks, identifiers: list[str], **columns: list[object]) -> pd.DataFrame:
    """Return real rows under other ids."""
    return sample.frame.head(len(identifiers)).assign(track_id=identifiers, **columns)


# --- derived columns ---------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(rows=ROWS)
def test_derived_columns_follow_their_rules(rows):
    derived = add_derived_columns(pd.DataFrame(rows))[DERIVED]
    assert derived.astype(object).to_numpy().tolist() == [derived_by_the_book(row) for row in rows]


def test_derived_columns_of_real_tracks_follow_their_rules(sample):
    derived = clean(sample.frame, "rows").frame[DERIVED]
    expected = [derived_by_the_book(row) for row in sample.frame.to_dict("records")]
    assert derived.astype(object).to_numpy().tolist() == expected


@pytest.mark.parametrize(
    ("column", "ordered"),
    [
        ("energy_category", ["Low Energy", "Medium Energy", "High Energy"]),
        ("tempo_category", ["Slow", "Moderate", "Fast", "Very Fast"]),
        ("popularity_category", ["Low Popularity", "Medium Popularity", "High Popularity"]),
    ],
)
def test_levels_are_known_and_ordered_whatever_occurs(sample, column, ordered):
    categories = add_derived_columns(sample.frame.head(1))[column].cat
    assert list(categories.categories) == ordered
    assert categories.ordered


def test_track_without_a_target_has_no_popularity_category(sample):
    derived = add_derived_columns(sample.frame.drop(columns="popularity"))
    assert [name for name in DERIVED if name not in derived] == ["popularity_category"]


def test_missing_value_stands_in_no_bin(sample):
    derived = add_derived_columns(sample.frame.head(2).assign(energy=[np.nan, 0.9]))
    assert derived["energy_category"].isna().tolist() == [True, False]


def test_derived_columns_leave_what_they_are_given(sample):
    before = sample.frame.copy()
    add_derived_columns(sample.frame)
    pd.testing.assert_frame_equal(sample.frame, before)


# --- cleaning=rows -----------------------------------------------------------------------------------------------


def test_rows_keeps_every_row_as_it_is(sample):
    cleaned = clean(sample.frame, "rows")
    pd.testing.assert_frame_equal(cleaned.frame[list(NAMES)], sample.frame)
    assert not any(cleaned.dropped.values())


def test_rows_keeps_a_row_without_names(sample):
    raw = raw_rows(sample, ["a", "b"], artists=[None, "x"], album_name=[None, "x"], track_name=[None, "x"])
    assert clean(raw, "rows").frame["track_id"].tolist() == ["a", "b"]


# --- cleaning=tracks ---------------------------------------------------------------------------------------------


def test_tracks_of_the_sample_by_the_book(sample):
    assert_tracks_by_the_book(sample.frame)


@pytest.mark.parametrize("seed", range(5))
def test_tracks_of_the_shuffled_sample_by_the_book(sample, seed):
    assert_tracks_by_the_book(sample.frame.sample(frac=1, random_state=seed).reset_index(drop=True))


@settings(deadline=None, max_examples=50)
@given(
    own=st.lists(
        st.tuples(st.sampled_from("abcdefg"), st.sampled_from(GENRES), st.integers(0, 100), st.booleans()), min_size=1
    )
)
def test_tracks_of_any_rows_by_the_book(sample, own):
    identifiers, genres, popularity, named = (list(values) for values in zip(*own, strict=True))
    names = [str(identifier) if has_name else None for identifier, has_name in zip(identifiers, named, strict=True)]
    raw = sample.frame.sample(len(own), replace=True, random_state=0).assign(
        track_id=identifiers,
        track_genre=genres,
        popularity=[float(value) for value in popularity],
        **{column: pd.array(names, dtype="str") for column in ("artists", "album_name", "track_name")},
    )
    if any(named):
        assert_tracks_by_the_book(raw.reset_index(drop=True))


def test_tracks_joins_genres_once_each_in_alphabetical_order(sample):
    raw = raw_rows(sample, ["a"] * 4, track_genre=["rock", "ambient", "rock", "k-pop"])
    assert clean(raw, "tracks").frame["track_genre"].tolist() == ["ambient;k-pop;rock"]


def test_tracks_takes_the_mean_popularity_of_a_tracks_rows(sample):
    raw = raw_rows(sample, ["a", "b", "a"], popularity=[10.0, 50.0, 15.0])
    assert clean(raw, "tracks").frame["popularity"].tolist() == [12.5, 50.0]


def test_tracks_keeps_the_order_of_first_rows(sample):
    assert clean(raw_rows(sample, list("cabacb")), "tracks").frame["track_id"].tolist() == ["c", "a", "b"]


def test_tracks_numbers_its_rows_from_zero(sample):
    frame = clean(raw_rows(sample, list("aabb")).set_index(pd.Index([7, 3, 9, 9])), "tracks").frame
    assert frame.index.tolist() == [0, 1]


def test_tracks_drops_and_counts_rows_without_any_name(sample):
    raw = raw_rows(sample, list("abc"), artists=["x", None, None], album_name=["x", None, None])
    cleaned = clean(raw.assign(track_name=["x", None, "x"]), "tracks")
    assert cleaned.frame["track_id"].tolist() == ["a", "c"]
    assert cleaned.dropped == {NAMELESS: 1, MERGED: 0}


def test_tracks_counts_every_row_that_is_no_longer_there(sample):
    cleaned = clean(sample.frame, "tracks")
    assert len(cleaned.frame) + sum(cleaned.dropped.values()) == len(sample.frame)
    assert cleaned.dropped[MERGED] == sample.frame["track_id"].duplicated().sum() > 0


def test_cleaning_clean_tracks_again_changes_nothing(sample):
    once = clean(sample.frame, "tracks").frame
    pd.testing.assert_frame_equal(clean(once, "tracks").frame, once)


def test_cleaning_leaves_what_it_is_given(sample):
    before = sample.frame.copy()
    clean(sample.frame, "tracks")
    pd.testing.assert_frame_equal(sample.frame, before)


# --- the full dataset --------------------------------------------------------------------------------------------


@pytest.mark.full
def test_full_dataset_is_the_documented_number_of_tracks(full):
    cleaned = clean(full.frame, "tracks")
    assert len(cleaned.frame) == 89_740
    assert cleaned.dropped == {NAMELESS: 1, MERGED: 24_259}
    assert cleaned.frame["artists"].str.split(";").str[0].nunique() == 17_648
    assert cleaned.frame["album_name"].nunique() == 46_589


@pytest.mark.full
def test_full_tracks_by_the_book(full):
    assert_tracks_by_the_book(full.frame)


@pytest.mark.full
def test_full_tracks_do_not_depend_on_the_order_of_rows(full):
    tracks, shuffled = (
        clean(rows, "tracks").frame.sort_values("track_id", ignore_index=True)
        for rows in (full.frame, full.frame.sample(frac=1, random_state=0))
    )
    different = [column for column in tracks if not tracks[column].equals(shuffled[column])]
    assert not different


@pytest.mark.full
def test_full_popularity_categories_hold_the_documented_shares(full):
    shares = clean(full.frame, "rows").frame["popularity_category"].value_counts(normalize=True, sort=False)
    assert (100 * shares).round(1).tolist() == [48.8, 44.5, 6.7]


@pytest.mark.parametrize("cleaning", ["tracks", "rows"])
def test_consuming_rows_gives_the_same_tracks(sample, cleaning):
    raw = sample.frame.copy(deep=False)
    consumed = clean_consuming(raw, cleaning, track_codes(raw))
    expected = clean(sample.frame, cleaning)
    pd.testing.assert_frame_equal(consumed.frame, expected.frame)
    assert consumed.dropped == expected.dropped


def test_consuming_rows_leaves_none_of_their_columns_in_memory(sample, tmp_path):
    path = tmp_path / "tracks.csv"
    sample.frame.to_csv(path, index=False)
    before = pa.total_allocated_bytes()
    raw = read_tracks(DataConfig(name="file", path=str(path))).frame
    held = pa.total_allocated_bytes() - before
    tracks = clean_consuming(raw, "tracks", track_codes(raw)).frame
    # Numbers are then NumPy's; the text of all but repeated tracks stays.
    assert pa.total_allocated_bytes() - before < 0.7 * held
    assert len(tracks) > 0.9 * len(sample.frame)
