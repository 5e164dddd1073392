"""Tests of tables joined to tracks: what they add, by which key, and what is refused."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from spotify_ml.config.run import CleaningConfig, DataConfig, LocalCacheConfig, SplitConfig
from spotify_ml.data.cache import StageCache
from spotify_ml.data.contract import scoring_rows
from spotify_ml.data.dates import COLLECTED_COLUMN
from spotify_ml.data.joined_columns import columns_by_flag, joined_kinds
from spotify_ml.data.place import check_data
from spotify_ml.data.prepare import RowSettings, origin_of, prepare_tracks
from spotify_ml.data.schema import AUDIO, NAMES, Kind
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.unseen_rows import same_data
from spotify_ml.utils.errors import DataError
from tests.conftest import SAMPLE
from tests.layouts import as_csv, dated, written

TRACKS = CleaningConfig(name="tracks")
SPLIT = SplitConfig(name="recording", test_size=0.2, val_size=0.12, names="normal")


def settings(*paths: Path, data: Path = SAMPLE) -> RowSettings:
    join = tuple(map(str, paths)) or None
    return RowSettings(DataConfig(name="file", path=str(data), join=join), TRACKS, SPLIT, 1)


def joined(*paths: Path, data: Path = SAMPLE) -> pd.DataFrame:
    return prepare_tracks(settings(*paths, data=data), StageCache(None))[1].frame


@pytest.fixture(scope="module")
def plain() -> pd.DataFrame:
    return joined()


@pytest.fixture
def some(plain: pd.DataFrame) -> pd.DataFrame:
    """A hundred tracks."""
    return plain.sample(100, random_state=3, ignore_index=True)


def releases(some: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "track_id": some["track_id"],
            "weeks": np.arange(len(some)) / 4,
            "is single": np.arange(len(some)) % 3 == 0,
            "studios": ["Abbey Road; Sun" if number % 2 else "Motown" for number in range(len(some))],
        }
    )


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["releases.csv", "releases.csv.gz", "releases.parquet"])
def test_a_table_adds_its_columns_by_track(plain: pd.DataFrame, some: pd.DataFrame, tmp_path: Path, name: str):
    table = releases(some)
    found = joined(write(table.sample(frac=1, random_state=1), tmp_path / name))
    assert_frame_equal(found[list(plain)], plain)
    by_track = table.set_index("track_id").reindex(plain["track_id"])
    np.testing.assert_array_equal(found["releases_weeks"], by_track["weeks"])
    np.testing.assert_array_equal(found["releases_is_single"], by_track["is single"].astype(float))
    assert list(found["releases_studios"].dropna()) == list(by_track["studios"].dropna())
    np.testing.assert_array_equal(found["matched_releases"], plain["track_id"].isin(some["track_id"]).astype(float))
    kinds = joined_kinds(found)
    assert kinds.pop("releases_studios") is Kind.TEXT
    assert kinds == dict.fromkeys(["releases_weeks", "releases_is_single", "matched_releases"], Kind.NUMBER)


def test_an_artist_table_is_joined_by_first_artist_in_any_spelling(plain: pd.DataFrame, tmp_path: Path):
    first = plain["artists"].str.partition(";")[0]
    wanted = list(first.value_counts().index[:40])
    table = pd.DataFrame({"artists": [f"  {name.upper()} " for name in wanted], "members": range(40)})
    found = joined(write(table, tmp_path / "bands.csv"))
    expected = first.map(dict(zip(wanted, range(40), strict=True)))
    matched = found["matched_bands"] > 0
    assert set(first[matched].str.lower()) == {name.lower() for name in wanted}
    exact = expected.notna()
    np.testing.assert_array_equal(found.loc[exact, "bands_members"], expected[exact])


def test_lists_are_read_in_any_form(some: pd.DataFrame, tmp_path: Path):
    ids = some["track_id"].head(3)
    as_text = pd.DataFrame({"track_id": ids, "moods": ["['calm', 'blue']", "[]", '["It\'s fine"]']})
    as_list = pd.DataFrame({"track_id": ids, "moods": [["calm", "blue"], [], ["It's fine"]]})
    found = joined(write(as_text, tmp_path / "text.csv"), write(as_list, tmp_path / "lists.parquet"))
    for name in ("text_moods", "lists_moods"):
        assert set(found[name].dropna()) == {"calm;blue", "It's fine"}


@pytest.mark.parametrize("layout", ["tracks_1921_2020", "exportify"])
def test_a_table_in_a_layout_fills_dates_and_labels_and_says_what_it_leaves_out(
    plain: pd.DataFrame, sample: RawTracks, tmp_path: Path, layout: str
):
    tracks = dated(sample.frame.drop_duplicates("track_id").head(300))
    if layout == "exportify":
        tracks = tracks[~tracks["artists"].str.contains(";")]
    path = tmp_path / "other.csv"
    path.write_bytes(as_csv(written(tracks, layout)))
    clean = prepare_tracks(settings(path), StageCache(None))[1]
    by_track = tracks.set_index("track_id").reindex(plain["track_id"])
    for name in ("release_date", "label")[: 2 if layout == "exportify" else 1]:
        assert list(clean.frame[name].dropna()) == list(by_track[name].dropna())
    assert COLLECTED_COLUMN in clean.frame
    np.testing.assert_array_equal(clean.frame["other_popularity"], by_track["popularity"])
    (told,) = clean.joins
    assert "other_popularity" in told.near_popularity
    assert "release_date" in told.filled
    assert {"energy", "tempo", "track_name"} <= set(told.left_out)
    assert "near popularity itself: other_popularity" in str(told)
    assert f"{len(tracks):,} of {len(plain):,} tracks are in it by track_id" in str(told)


def test_dates_of_the_tracks_themselves_count_first(sample: RawTracks, tmp_path: Path):
    tracks = dated(sample.frame.drop_duplicates("track_id").head(200))
    own = tracks.assign(release_date=tracks["release_date"].where(np.arange(200) % 2 == 0))
    data = write(own, tmp_path / "tracks.parquet")
    other = pd.DataFrame({"track_id": tracks["track_id"], "release_date": "1999"})
    found = joined(write(other, tmp_path / "dates.csv"), data=data).set_index("track_id")["release_date"]
    expected = own.set_index("track_id")["release_date"].fillna("1999").reindex(found.index)
    assert list(found) == list(expected)


def test_what_is_known_of_tracks_in_a_table_is_told(plain: pd.DataFrame, tmp_path: Path):
    hits = plain[plain["popularity"] > 60]
    clean = prepare_tracks(settings(write(hits[["track_id"]].assign(weeks=1), tmp_path / "hits.csv")), StageCache(None))
    (told,) = clean[1].joins
    assert (told.n_matched, told.n_tracks) == (len(hits), len(plain))
    assert told.popularity == pytest.approx(hits["popularity"].mean())
    assert told.others_popularity == pytest.approx(plain.loc[plain["popularity"] <= 60, "popularity"].mean())


ROWS = pd.DataFrame({"track_id": ["a", "b"], "weeks": [1, 2]})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pd.DataFrame({"id": ["a"], "weeks": [1]}), r"neither track_id nor artists.*its header is: 'id', 'weeks'"),
        (pd.DataFrame({"Artist": ["a"], "weeks": [1]}), r"did you mean 'Artist'\?"),
        (ROWS, r"none of its 2 values of track_id is that of a track, such as 'a' beside"),
        (ROWS.iloc[:0], "has a header but no rows"),
        (ROWS[["track_id"]], r"no column to add beside track_id; .* a column that is 1 in every row"),
        (
            ROWS[["track_id"]].assign(tempo=1, none=None),
            "'tempo' is a column of the tracks themselves, 'none' has no value",
        ),
        (ROWS.assign(track_id=[None, None]), "has no value of track_id"),
        (ROWS.assign(**{"a b": 1, "a-b": 2}), r"'a-b' would be 't_a_b', a name that another column has"),
    ],
    ids=[
        "no key",
        "a key of another name",
        "no match",
        "no rows",
        "no columns",
        "none that is used",
        "no values",
        "names alike",
    ],
)
def test_a_table_that_cannot_be_joined_is_refused(table: pd.DataFrame, said: str, tmp_path: Path):
    with pytest.raises(DataError, match=said):
        joined(write(table, tmp_path / "t.csv"))


def test_a_table_without_a_value_for_any_track_is_refused(some: pd.DataFrame, tmp_path: Path):
    table = pd.DataFrame({"track_id": [some["track_id"][0], "another"], "weeks": [None, 2]})
    with pytest.raises(DataError, match="'weeks' has no value for a track; if being in it is what counts"):
        joined(write(table, tmp_path / "t.csv"))


def test_several_rows_of_a_key_that_differ_are_refused_and_equal_ones_are_not(some: pd.DataFrame, tmp_path: Path):
    table = releases(some)
    again = pd.concat([table, table.head(5)], ignore_index=True)
    assert_frame_equal(
        joined(write(again, tmp_path / "releases.csv")), joined(write(table, tmp_path / "releases.parquet"))
    )
    again.loc[102, "weeks"] = 1000
    said = (
        rf"several rows for track_id '{some['track_id'][2]}' \(rows 3, 103\) that differ in 'releases_weeks', as 1 key"
    )
    with pytest.raises(DataError, match=said):
        joined(write(again, tmp_path / "releases.csv"))


@pytest.mark.parametrize(("wrong", "count"), [("n/a", 1), ("inf", 1), ("1e300", 1)])
def test_numbers_that_cannot_be_read_are_named(some: pd.DataFrame, tmp_path: Path, wrong: str, count: int):
    table = releases(some).astype({"weeks": object})
    table.loc[4, "weeks"] = wrong
    said = rf"weeks is no number in {count} row \(row 5: '{wrong}'\); mend these values, or leave them empty"
    with pytest.raises(DataError, match=said):
        joined(write(table, tmp_path / "releases.csv"))


def test_a_date_that_is_none_is_named(some: pd.DataFrame, tmp_path: Path):
    table = some[["track_id"]].assign(release_date=["soon", *["2001"] * 99])
    with pytest.raises(DataError, match=r"release_date is not a date .* \(row 1: 'soon'\)"):
        joined(write(table, tmp_path / "dates.csv"))


def test_tables_whose_columns_cannot_be_told_apart_are_refused(some: pd.DataFrame, tmp_path: Path):
    ids = some[["track_id"]]
    first = write(ids.assign(b_c=1.5), tmp_path / "a.csv")
    with pytest.raises(DataError, match="a_b_c of the table 'a' could be one of another table"):
        joined(first, write(ids.assign(d=1.5), tmp_path / "a_b.csv"))
    with pytest.raises(DataError, match="a_b_c is a column of another joined table"):
        joined(first, write(ids.assign(c=1.5), tmp_path / "a_b.csv"))
    with pytest.raises(DataError, match="'name' would be 'track_name', a name that another column has"):
        joined(write(ids.assign(name="x"), tmp_path / "track.csv"))
    with pytest.raises(DataError, match="'category' would be 'popularity_category'"):
        joined(write(ids.assign(category="x"), tmp_path / "popularity.csv"))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["gone.csv"], "gone.csv does not exist; check the join"),
        (["a.csv", "a.parquet"], "two tables 'a'"),
        (["matched_a.csv"], "no name that columns can begin with"),
        (["."], "is a folder"),
    ],
)
def test_files_that_cannot_be_joined_are_refused_before_anything_is_read(names: list[str], said: str, tmp_path: Path):
    for name in names:
        if name not in ("gone.csv", "."):
            write(ROWS, tmp_path / name)
    with pytest.raises(DataError, match=said):
        check_data(settings(*(tmp_path / name for name in names)).data)


def test_tracks_without_the_key_are_refused(sample: RawTracks, tmp_path: Path):
    data = write(sample.frame.drop(columns="track_id").head(500), tmp_path / "tracks.csv")
    with pytest.raises(DataError, match="joined by track_id, which the tracks do not have"):
        joined(write(ROWS, tmp_path / "t.csv"), data=data)


def test_the_cache_takes_nothing_made_with_another_table(some: pd.DataFrame, tmp_path: Path):
    cache = StageCache.of(LocalCacheConfig(name="local", folder=str(tmp_path / "cache"), max_gb=1.0))
    path = tmp_path / "releases.csv"

    def weeks() -> np.ndarray:
        tracks = prepare_tracks(settings(path), cache)[1]
        assert [each.name for each in tracks.joins] == ["releases"]
        return tracks.frame["releases_weeks"].dropna().to_numpy()

    write(releases(some), path)
    before = weeks()
    np.testing.assert_array_equal(weeks(), before)
    assert len(list((tmp_path / "cache").glob("tracks-*"))) == 1
    write(releases(some).assign(weeks=7.0), path)
    assert set(weeks()) == {7.0}
    assert "releases_weeks" not in prepare_tracks(settings(), cache)[1].frame


def test_what_decides_the_rows_holds_the_digest_and_the_name_of_a_table(some: pd.DataFrame, tmp_path: Path):
    origins = []
    for name in ("one.csv", "two.csv"):
        given = settings(write(releases(some), tmp_path / name))
        origins.append(origin_of(given, prepare_tracks(given, StageCache(None))[0]))
    (one, first), (two, second) = origins[0]["joins"][0], origins[1]["joins"][0]
    assert (one, two) == ("one", "two")
    assert first == second
    assert "joins" not in origin_of(settings(), prepare_tracks(settings(), StageCache(None))[0])


def test_a_table_is_found_again_where_it_was_or_is_now_and_only_as_it_was(some: pd.DataFrame, tmp_path: Path):
    config = settings(write(releases(some), tmp_path / "releases.csv")).data
    raw = prepare_tracks(RowSettings(config, TRACKS, SPLIT, 1), StageCache(None))[0]
    digests = dict(raw.joins)
    assert same_data(config, raw.sha256, joins=digests) == config
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "releases.csv").rename(tmp_path / "elsewhere" / "releases.csv")
    said = r"joined table releases \(sha256 .*\) is not there any more, or was changed: .*data.join=… says where it is"
    with pytest.raises(DataError, match=said):
        same_data(config, raw.sha256, joins=digests)
    found = same_data(config, raw.sha256, settings(moved).data, digests)
    assert found.join == (str(moved),)
    moved.write_text(moved.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="joined table releases"):
        same_data(config, raw.sha256, settings(moved).data, digests)


FURTHER = {"a_n": Kind.NUMBER, "a_t": Kind.TEXT, "matched_a": Kind.NUMBER, "release_date": Kind.TEXT}


def rows(some: pd.DataFrame, **columns: object) -> dict[str, object]:
    given = some.loc[:2, [*AUDIO]].assign(**columns)
    return scoring_rows(given, further=FURTHER).further


def test_a_flag_of_rows_to_score_follows_from_what_is_given(some: pd.DataFrame):
    assert list(rows(some)["matched_a"]) == [0, 0, 0]
    assert list(rows(some, a_n=[1, None, None], a_t=[None, "x", None])["matched_a"]) == [1, 1, 0]
    assert list(rows(some, a_n=[1, 2, 3], matched_a=[0, None, 1])["matched_a"]) == [0, 1, 1]
    assert list(rows(some, a_n=[True, False, None])["a_n"])[:2] == [1, 0]
    assert list(rows(some, a_n=["2.5", "", "nan"])["matched_a"]) == [1, 0, 0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a_n": ["x", 1, 2]}, r"a_n is not numeric in 1 row \(row 1: x\)"),
        ({"a_n": [np.inf, 1, 2]}, "a_n is infinite in 1 row"),
        ({"matched_a": [2, 0, 1]}, r"matched_a is not true or false in 1 row \(row 1: 2\)"),
        ({"a_t": [True, "x", "y"]}, "a_t is not text"),
    ],
)
def test_joined_columns_of_rows_to_score_are_checked(some: pd.DataFrame, columns: dict[str, object], said: str):
    with pytest.raises(DataError, match=said):
        rows(some, **columns)


def test_columns_belong_to_the_table_with_the_longest_name():
    names = [*NAMES, "track_x", "a_b", "a_b_c", "matched_a", "matched_a_b", "matched_track"]
    assert columns_by_flag(names) == {"matched_a": ["a_b"], "matched_a_b": ["a_b_c"], "matched_track": ["track_x"]}
