"""Tests of tracks with popularity: how they are read, what is refused, and that copies of scored rows are left out."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.data.duplicates import copied, copy_groups
from spotify_ml.data.sources import RawTracks
from spotify_ml.scoring.known_rows import FEWEST, open_inputs, read_known, without_copies
from spotify_ml.utils.errors import DataError
from tests.layouts import written as in_layout


@pytest.fixture
def tracks(sample: RawTracks) -> pd.DataFrame:
    """240 tracks of which none is a copy of another."""
    frame = sample.frame.sample(frac=1, random_state=0)
    return frame[~pd.Series(copy_groups(frame), frame.index).duplicated()].head(240).reset_index(drop=True)


@pytest.fixture
def known(tracks: pd.DataFrame) -> pd.DataFrame:
    return tracks.head(120)


@pytest.fixture
def new(tracks: pd.DataFrame) -> pd.DataFrame:
    return tracks.tail(120).reset_index(drop=True)


def written(rows: pd.DataFrame, path: Path) -> str:
    rows.to_parquet(path, index=False) if path.suffix == ".parquet" else rows.to_csv(path, index=False)
    return str(path)


# --- reading


def test_every_format_gives_the_same_rows(known: pd.DataFrame, tmp_path: Path):
    (tmp_path / "many").mkdir()
    written(known.head(50), tmp_path / "many" / "a.csv")
    written(known.tail(70), tmp_path / "many" / "b.parquet")
    for number, part in enumerate((known.head(50), known.tail(70))):
        written(part, tmp_path / f"part{number}.csv")
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for name in ("part0.csv", "part1.csv"):
            archive.write(tmp_path / name, name)
    paths = [written(known, tmp_path / name) for name in ("rows.csv", "rows.parquet", "rows.csv.gz")]
    paths += [str(tmp_path / "many"), str(tmp_path / "many.zip"), str(tmp_path / "part?.csv")]
    for path in paths:
        read = read_known(path)
        assert read.origin == path
        np.testing.assert_array_equal(read.popularity, known["popularity"])
        assert read.rows["track_name"].tolist() == known["track_name"].tolist()
        np.testing.assert_array_equal(read.rows["tempo"], known["tempo"])


def test_another_layout_is_recognised(known: pd.DataFrame, tmp_path: Path):
    read = read_known(written(in_layout(known, "tidytuesday_2020"), tmp_path / "songs.csv"))
    np.testing.assert_array_equal(read.popularity, known["popularity"])
    assert read.rows["track_name"].tolist() == known["track_name"].tolist()
    assert read.rows["explicit"].isna().all()


def test_the_first_row_of_a_track_id_counts(known: pd.DataFrame, tmp_path: Path):
    again = known.head(7).assign(popularity=1)
    read = read_known(written(pd.concat([known, again]), tmp_path / "rows.csv"))
    np.testing.assert_array_equal(read.popularity, known["popularity"])
    assert read.n_repeated == 7
    assert read.left_out() == "7 further rows of a track_id"


def test_rows_without_track_id_count_each(known: pd.DataFrame, tmp_path: Path):
    bare = known.drop(columns=["track_id", "artists", "track_name", "album_name", "track_genre"])
    read = read_known(written(bare, tmp_path / "rows.csv"))
    assert len(read.rows) == 120
    assert read.n_repeated == 0
    assert len(np.unique(read.groups)) == 120


BAD = {
    "no popularity": ({"popularity": ["", "55"]}, r"popularity is empty in 1 row \(row 1: "),
    "text": ({"popularity": ["high", "55"]}, r"popularity is not numeric in 1 row \(row 1: high\)"),
    "below": ({"popularity": ["55", "-1"]}, r"popularity is not from 0 to 100 in 1 row \(row 2: -1.0\)"),
    "above": ({"popularity": ["101", "inf"]}, r"popularity is not from 0 to 100 in 2 rows"),
    "sound": ({"tempo": ["fast", "120"]}, r"tempo is not numeric in 1 row \(row 1: fast\)"),
    "range": ({"energy": ["1.5", "0.5"]}, r"energy is outside 0 to 1 in 1 row"),
}


@pytest.mark.parametrize("name", BAD)
def test_rows_that_cannot_be_used_are_named(known: pd.DataFrame, tmp_path: Path, name: str):
    columns, message = BAD[name]
    rows = known.astype(dict.fromkeys(columns, object))
    for column, values in columns.items():
        rows.loc[[0, 1], column] = values
    with pytest.raises(DataError, match=message) as caught:
        read_known(written(rows, tmp_path / "rows.csv"))
    assert f"{tmp_path / 'rows.csv'}: " in str(caught.value)
    assert "cannot be used to calibrate:" in str(caught.value)
    assert "on_error" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda popularity: popularity / 100, "popularity up to .*, where it is from 0 to 100"),
        (lambda popularity: popularity * 0 + 50, "has one popularity, 50, in all rows"),
    ],
)
def test_popularity_that_teaches_nothing_is_refused(known: pd.DataFrame, tmp_path: Path, change, message: str):
    rows = known.assign(popularity=change(known["popularity"]))
    with pytest.raises(DataError, match=message):
        read_known(written(rows, tmp_path / "rows.csv"))


def test_a_row_with_too_few_fields_is_named(known: pd.DataFrame, tmp_path: Path):
    path = Path(written(known, tmp_path / "rows.csv"))
    path.write_text(path.read_text() + "lost,1\n")
    with pytest.raises(DataError, match=r"2 fields in place of 20 in 1 row \(row 121\)"):
        read_known(str(path))


def test_out_of_range_may_be_clipped_but_not_popularity(known: pd.DataFrame, tmp_path: Path):
    rows = known.assign(energy=known["energy"].where(known.index != 0, 1.5))
    read = read_known(written(rows, tmp_path / "rows.csv"), out_of_range="clip")
    assert read.rows["energy"][0] == 1
    rows["popularity"] = rows["popularity"].where(rows.index != 0, 200)
    with pytest.raises(DataError, match="popularity is not from 0 to 100") as caught:
        read_known(written(rows, tmp_path / "rows.csv"), out_of_range="clip")
    assert "out_of_range=" not in str(caught.value)


def test_no_popularity_at_all_names_the_column_that_looks_like_it(known: pd.DataFrame, tmp_path: Path):
    path = written(known.rename(columns={"popularity": "popularty"}), tmp_path / "rows.csv")
    with pytest.raises(DataError, match=r"has no column popularity \(did you mean 'popularty'\?\)"):
        read_known(path)
    with pytest.raises(DataError, match="has a header but no rows"):
        read_known(written(known.head(0), tmp_path / "none.csv"))


# --- copies


def left(known: pd.DataFrame, new: pd.DataFrame, folder: Path) -> int:
    path = written(new, folder / "new.csv")
    return len(without_copies(read_known(written(known, folder / "known.csv")), open_inputs(path)).rows)


COPIES = {
    "track_id": ["track_id"],
    "nine features": [
        *("danceability", "energy", "loudness", "speechiness", "acousticness"),
        *("instrumentalness", "liveness", "valence", "tempo"),
    ],
    "artists and title": ["artists", "track_name"],
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_rows_to_be_scored_are_left_out(known: pd.DataFrame, new: pd.DataFrame, tmp_path: Path, kind: str):
    assert left(known, new, tmp_path) == 120
    names = COPIES[kind]
    new.loc[:9, names] = known.loc[:9, names].to_numpy()
    assert left(known, new, tmp_path) == 110
    # One of several columns alone makes no copy.
    if len(names) > 1:
        new.loc[:9, names[0]] = known.loc[10, names[0]]
        assert left(known, new, tmp_path) == 120


def test_names_are_compared_in_normal_form(known: pd.DataFrame, new: pd.DataFrame, tmp_path: Path):
    known.loc[0, ["artists", "track_name"]] = ["Simon & Garfunkel", "Don’t (feat. Kid)"]
    new.loc[5, ["artists", "track_name"]] = ["SIMON AND  GARFUNKEL", "don't ft. kid"]
    assert left(known, new, tmp_path) == 119


def test_a_feature_that_one_file_lacks_does_not_hide_copies(known: pd.DataFrame, new: pd.DataFrame, tmp_path: Path):
    names = COPIES["nine features"]
    new.loc[:9, names] = known.loc[:9, names].to_numpy()
    assert left(known.drop(columns="loudness"), new, tmp_path) == 110
    assert left(known, new.drop(columns="loudness"), tmp_path) == 110


def test_copies_are_found_in_any_of_many_files(known: pd.DataFrame, new: pd.DataFrame, tmp_path: Path):
    (tmp_path / "many").mkdir()
    for number in range(3):
        rows = new.iloc[number * 40 : number * 40 + 40].assign(track_id=lambda rows: rows["track_id"] + "x")
        rows.iloc[:4, rows.columns.get_loc("track_id")] = known["track_id"][number * 4 : number * 4 + 4].to_numpy()
        written(rows, tmp_path / "many" / f"{number}.csv")
    read = read_known(written(known, tmp_path / "known.csv"))
    kept = without_copies(read, open_inputs(str(tmp_path / "many")))
    assert kept.n_copies == 12
    assert kept.rows["track_id"].tolist() == known["track_id"].tolist()[12:]
    np.testing.assert_array_equal(kept.popularity, known["popularity"][12:])
    assert kept.left_out() == "12 copies of rows to be scored"


def test_a_copy_of_a_known_copy_is_one_in_whatever_batch(known: pd.DataFrame, new: pd.DataFrame):
    """The second known row is a copy of the first by sound, which is one of a new row by its names."""
    known.loc[1, COPIES["nine features"]] = known.loc[0, COPIES["nine features"]]
    new.loc[7, ["artists", "track_name"]] = known.loc[0, ["artists", "track_name"]].to_numpy()
    together = copied(known, new)
    assert together.nonzero()[0].tolist() == [0, 1]
    by_row = np.logical_or.reduce([copied(known, new.iloc[[row]]) for row in range(len(new))])
    np.testing.assert_array_equal(by_row, together)


def test_too_few_rows_are_refused_with_their_number(known: pd.DataFrame, new: pd.DataFrame, tmp_path: Path):
    assert left(known.head(FEWEST), new, tmp_path) == 100
    new.loc[:2, "track_id"] = known.loc[:2, "track_id"]
    assert left(known.head(103), new, tmp_path) == 100
    with pytest.raises(DataError) as caught:
        left(known.head(102), new, tmp_path)
    assert str(caught.value) == (
        f"calibrate={tmp_path / 'known.csv'} has 99 rows with popularity (3 copies of rows to be scored left out); at "
        "least 100 different ones are needed: add rows, or score without calibrate=…"
    )


def test_copies_of_a_few_tracks_are_too_few(known: pd.DataFrame, new: pd.DataFrame, tmp_path: Path):
    same = known.assign(**{name: known.loc[0, name] for name in COPIES["nine features"]})
    with pytest.raises(DataError, match=r"has 120 rows that are copies of 1 with popularity; at least 100"):
        left(same, new, tmp_path)
