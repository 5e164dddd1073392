"""The four splits: what never stands on two sides, checked without the code that groups."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupShuffleSplit

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.names import normal_list, normal_name
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, group_codes, split_tracks
from spotify_ml.utils.errors import DataError

GROUPED = ["recording", "album", "artist"]
SPLITS = [*GROUPED, "random"]
NINE = [
    "danceability",
    "energy",
    "loudness",
    "speechiness",
    "acousticness",
    "instrumentalness",
    "liveness",
    "valence",
    "tempo",
]


def config(name: str, test_size: float = 0.2, val_size: float = 0.12) -> SplitConfig:
    return SplitConfig(name=name, test_size=test_size, val_size=val_size, names="normal")


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame


@pytest.fixture(scope="module")
def full_tracks(full: RawTracks) -> pd.DataFrame:
    return clean(full.frame, "tracks").frame


def keys(tracks: pd.DataFrame, split: str) -> dict[str, pd.DataFrame]:
    """Return the tables of values that must not stand on two sides, by their meaning; rows without a value left out."""
    artists, title, album = (
        tracks[column].map(form, na_action="ignore").replace("", np.nan)
        for column, form in (("artists", normal_list), ("track_name", normal_name), ("album_name", normal_name))
    )
    first_artist = artists.map(lambda names: names.split(";")[0], na_action="ignore")
    named = {
        "same audio": tracks[NINE],
        "same artists and title": pd.DataFrame({"artists": artists, "title": title}),
    }
    if split == "album":
        named["same first artist's album"] = pd.DataFrame({"artist": first_artist, "album": album})
    if split == "artist":
        named["same first artist"] = pd.DataFrame({"artist": first_artist})
    return {meaning: table.dropna().reset_index(names="row") for meaning, table in named.items()}


def straddling(tracks: pd.DataFrame, split: Split, name: str) -> dict[str, int]:
    """Count the pairs of tracks in different parts that the split promises to keep together."""
    pairs = {}
    for meaning, table in keys(tracks, name).items():
        values = [column for column in table if column != "row"]
        parts = [table[table["row"].isin(rows)] for rows in (split.train, split.validation, split.test)]
        pairs[meaning] = sum(len(one.merge(other, on=values)) for one, other in combinations(parts, 2))
    return pairs


def slow_groups(tracks: pd.DataFrame, split: str) -> list[int]:
    """Group rows by joining every pair that shares a value, until nothing changes."""
    leader = list(range(len(tracks)))

    def find(row: int) -> int:
        while leader[row] != row:
            row = leader[row]
        return row

    for table in keys(tracks, split).values():
        records = [(row, tuple(values)) for row, *values in table.itertuples(index=False)]
        for (row, values), (other, other_values) in combinations(records, 2):
            if values == other_values:
                leader[find(row)] = find(other)
    return [find(row) for row in range(len(tracks))]


def same_partition(one: list[int], other: list[int]) -> bool:
    return len(set(one)) == len(set(other)) == len(set(zip(one, other, strict=True)))


def equal(one: Split, other: Split) -> bool:
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in ("train", "validation", "test"))


# --- what a split promises ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("seed", [0, 42])
def test_nothing_that_belongs_together_stands_on_two_sides(tracks, name, seed):
    assert not any(straddling(tracks, split_tracks(tracks, config(name), seed), name).values())


@pytest.mark.full
@pytest.mark.parametrize("name", GROUPED)
def test_nothing_that_belongs_together_stands_on_two_sides_of_the_full_tracks(full_tracks, name):
    assert not any(straddling(full_tracks, split_tracks(full_tracks, config(name), 42), name).values())


@pytest.mark.parametrize("name", GROUPED)
def test_random_split_breaks_every_one_of_those_promises(tracks, name):
    # Shows that the check above can fail.
    assert all(straddling(tracks, split_tracks(tracks, config("random"), 42), name).values())


@pytest.mark.parametrize("name", ["recording", "album"])
def test_weaker_split_does_not_keep_an_artist_on_one_side(tracks, name):
    assert straddling(tracks, split_tracks(tracks, config(name), 42), "artist")["same first artist"]


@pytest.mark.parametrize("name", SPLITS)
def test_no_group_stands_on_two_sides(tracks, name):
    split = split_tracks(tracks, config(name), 42)
    parts = [set(split.groups[rows]) for rows in (split.train, split.validation, split.test)]
    assert all(one.isdisjoint(other) for one, other in combinations(parts, 2))


@pytest.mark.parametrize("name", SPLITS)
def test_every_row_stands_in_exactly_one_part(tracks, name):
    split = split_tracks(tracks, config(name), 42)
    rows = np.concatenate([split.train, split.validation, split.test])
    assert sorted(rows) == list(range(len(tracks)))


@pytest.mark.parametrize("name", SPLITS)
def test_rows_of_every_part_ascend(tracks, name):
    split = split_tracks(tracks, config(name), 42)
    assert all((np.diff(rows) > 0).all() for rows in (split.train, split.validation, split.test, split.trainval))


def test_fitting_rows_are_train_and_validation(tracks):
    split = split_tracks(tracks, config("recording"), 42)
    assert set(split.trainval) == {*split.train, *split.validation}
    assert len(split.trainval) == len(split.train) + len(split.validation)


@pytest.mark.parametrize("name", SPLITS)
def test_sizes_are_shares_of_the_groups(tracks, name):
    split = split_tracks(tracks, config(name, test_size=0.3, val_size=0.25), 42)
    train, validation, test = (len(set(split.groups[rows])) for rows in (split.train, split.validation, split.test))
    total = len(set(split.groups))
    assert test == pytest.approx(0.3 * total, abs=1)
    assert validation == pytest.approx(0.25 * (train + validation), abs=1)


@pytest.mark.parametrize("name", SPLITS)
def test_same_seed_gives_the_same_split(tracks, name):
    assert equal(split_tracks(tracks, config(name), 7), split_tracks(tracks, config(name), 7))


@pytest.mark.parametrize("name", SPLITS)
def test_other_seed_gives_another_split(tracks, name):
    assert not equal(split_tracks(tracks, config(name), 7), split_tracks(tracks, config(name), 8))


def test_split_depends_neither_on_target_nor_genre(tracks):
    other = tracks.assign(popularity=0.0, track_genre="x")
    assert equal(split_tracks(tracks, config("album"), 7), split_tracks(other, config("album"), 7))


# --- groups ------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["A", "a", "A;B", "B;A", "ß", "SS", None])
TABLES = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), NAMES, st.sampled_from(["x", "X", "y", None]), NAMES),
    min_size=1,
    max_size=14,
)


def small_table(rows: list[tuple[float, str | None, str | None, str | None]]) -> pd.DataFrame:
    energy, artists, titles, albums = zip(*rows, strict=True)
    constant = dict.fromkeys(NINE, 0.5)
    texts = {"artists": artists, "track_name": titles, "album_name": albums}
    return pd.DataFrame({name: pd.array(list(values), dtype="str") for name, values in texts.items()}).assign(
        **{**constant, "energy": list(energy)}
    )


@pytest.mark.parametrize("name", GROUPED)
@settings(deadline=None, max_examples=60)
@given(rows=TABLES)
def test_groups_are_the_connected_components(name, rows):
    tracks = small_table(rows)
    assert same_partition(group_codes(tracks, name).tolist(), slow_groups(tracks, name))


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize(
    "empty", [["artists"], ["track_name"], ["album_name"], ["artists", "album_name", "track_name"]]
)
def test_column_without_any_name_joins_nothing(name, empty):
    tracks = small_table([(0.1, "A", "x", "L"), (0.2, "B", "y", "M"), (0.3, "C", "z", "N")])
    tracks[empty] = pd.DataFrame({column: pd.array([None] * 3, dtype="str") for column in empty})
    assert len(set(group_codes(tracks, name))) == 3


def test_recordings_are_joined_through_a_third():
    # The first two share their audio, the last two their artists and title.
    tracks = small_table([(0.1, "A", "x", "L"), (0.1, "B", "y", "M"), (0.2, "b", "Y", "N"), (0.3, "C", "z", "O")])
    assert same_partition(group_codes(tracks, "recording").tolist(), [0, 0, 0, 1])


@pytest.mark.parametrize("column", NINE)
def test_recordings_differ_by_any_of_the_nine_audio_features(column):
    tracks = small_table([(0.5, "A", "x", "L"), (0.5, "B", "y", "M")])
    assert len(set(group_codes(tracks, "recording"))) == 1
    tracks.loc[1, column] = 0.25
    assert len(set(group_codes(tracks, "recording"))) == 2


def test_only_the_first_artist_makes_an_artist_group():
    tracks = small_table([(0.1, "A;B", "x", "L"), (0.2, "B", "y", "M"), (0.3, "A;C", "z", "N")])
    assert same_partition(group_codes(tracks, "artist").tolist(), [0, 1, 0])


def test_albums_of_one_name_by_other_artists_are_other_albums():
    tracks = small_table([(0.1, "A", "x", "Greatest Hits"), (0.2, "B", "y", "Greatest Hits")])
    assert len(set(group_codes(tracks, "album"))) == 2


@pytest.mark.parametrize(
    ("finer", "coarser"), [("random", "recording"), ("recording", "album"), ("recording", "artist")]
)
def test_groups_of_a_stricter_split_hold_whole_groups(tracks, finer, coarser):
    fine, coarse = group_codes(tracks, finer), group_codes(tracks, coarser)
    assert pd.Series(coarse).groupby(fine).nunique().eq(1).all()


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "names", "count", "largest"),
    [
        ("recording", "exact", 80_809, 45),
        ("album", "exact", 50_325, 250),
        ("artist", "exact", 17_597, 419),
        ("recording", "normal", 80_804, 45),
        ("album", "normal", 50_308, 250),
        ("artist", "normal", 17_588, 419),
    ],
)
def test_full_tracks_make_the_documented_groups(full_tracks, name, names, count, largest):
    sizes = np.bincount(group_codes(full_tracks, name, names))
    assert (len(sizes), sizes.max()) == (count, largest)


@pytest.mark.full
def test_random_split_of_all_rows_is_as_large_as_the_reference_split(full):
    split = split_tracks(clean(full.frame, "rows").frame, config("random"), 42)
    assert (len(split.trainval), len(split.test)) == (91_200, 22_800)


# --- too little to split -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_tracks_than_parts_are_refused(tracks, name, count):
    with pytest.raises(DataError, match=f"split={name}"):
        split_tracks(tracks.head(count), config(name), 42)


def test_one_artist_cannot_be_split_by_artist(tracks):
    by_one = tracks[tracks["artists"] == tracks["artists"].mode()[0]].reset_index(drop=True)
    assert len(by_one) > 10
    with pytest.raises(DataError, match=r"split=artist.*1 group "):
        split_tracks(by_one, config("artist"), 42)


def test_three_tracks_make_three_parts(tracks):
    split = split_tracks(tracks.head(3), config("random"), 42)
    assert [len(rows) for rows in (split.train, split.validation, split.test)] == [1, 1, 1]


@pytest.mark.parametrize(("size", "cause"), [({"test_size": 0.9999}, "test_size"), ({"val_size": 0.9999}, "val_size")])
def test_size_that_leaves_nothing_to_fit_on_is_named(tracks, size, cause):
    with pytest.raises(DataError, match=cause):
        split_tracks(tracks.head(30), config("random", **size), 42)


@pytest.mark.parametrize("seed", [0, 42])
def test_parts_are_those_of_scikit_learns_splitter(tracks, seed):
    split = split_tracks(tracks, config("album"), seed)
    rows = np.arange(len(tracks))
    for size, part in ((0.2, split.test), (0.12, split.validation)):
        kept, cut = next(GroupShuffleSplit(1, test_size=size, random_state=seed).split(rows, groups=split.groups[rows]))
        assert rows[cut].tolist() == part.tolist()
        rows = rows[kept]
    assert rows.tolist() == split.train.tolist()


def test_minus_zero_is_zero():
    assert group_codes(small_table([(0.0, None, None, None), (-0.0, None, None, None)]), "recording").tolist() == [0, 0]
