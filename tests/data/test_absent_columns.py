"""Tests of files to be trained on that lack raw columns, or leave them empty."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from spotify_ml.config.layouts import AUTO, LayoutConfig
from spotify_ml.config.run import DataConfig
from spotify_ml.data import batches
from spotify_ml.data.duplicates import find_duplicates
from spotify_ml.data.etl import clean
from spotify_ml.data.quality import quality_report
from spotify_ml.data.schema import FURTHER_NAMES, MEASURED, NAMES, OPTIONAL, absent_columns
from spotify_ml.data.sources import RawTracks, inspect_tracks, read_tracks
from spotify_ml.data.splits import group_codes, split_tracks
from spotify_ml.utils.errors import DataError
from tests.layouts import WITH_POPULARITY, as_csv, as_raw, written
from tests.support import configured

reading = pytest.importorskip("spotify_ml.backends.dask.reading")
N_ROWS = 600


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return sample.frame.sample(N_ROWS, random_state=3, ignore_index=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracks.csv"


def read(path: Path, layout: LayoutConfig = AUTO) -> pd.DataFrame:
    return read_tracks(DataConfig(name="file", path=str(path)), layout).frame


def by_cluster(path: Path) -> pd.DataFrame:
    _, slices = reading.find_slices(DataConfig(name="file", path=str(path)))
    assert len(slices) > 2
    read = [reading.read_slice(each) for each in slices]
    assert not any(each.violations for each in read)
    return pd.concat([each.frame for each in read], ignore_index=True)


def as_floats(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return frame.astype({name: float for name in names if name not in ("track_id", "artists", "album_name")})


@pytest.mark.parametrize("layout", WITH_POPULARITY)
def test_a_file_in_a_layout_is_trained_on_as_its_raw_rows(
    tracks: pd.DataFrame, path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
):
    path.write_bytes(as_csv(written(tracks, layout)))
    found = read(path)
    wanted = as_raw(tracks, layout)
    further = [name for name in FURTHER_NAMES if name in wanted]
    absent = absent_columns(wanted)
    assert absent_columns(found) == absent
    known = [*(name for name in NAMES if name not in absent), *further]
    assert_frame_equal(found[known], wanted[known], check_dtype=layout != "spotify_features")
    assert all(found[name].dtype == float for name in absent if name in ("explicit", "time_signature"))
    monkeypatch.setattr(batches, "_BLOCK", 20_000)
    # A cluster does without columns that not all tracks have.
    assert_frame_equal(by_cluster(path), found[list(NAMES)])
    assert_frame_equal(inspect_tracks(DataConfig(name="file", path=str(path)))[0].frame, found)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("how", ["absent", "empty"])
@pytest.mark.parametrize("column", OPTIONAL)
def test_raw_rows_may_be_without_a_column(tracks: pd.DataFrame, tmp_path: Path, column: str, how: str, suffix: str):
    frame = tracks.drop(columns=column) if how == "absent" else tracks.assign(**{column: None})
    path = tmp_path / f"tracks{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    found = read(path)
    assert list(found) == list(NAMES)
    assert absent_columns(found) == [column]
    assert_frame_equal(found.drop(columns=column), tracks.drop(columns=column))
    for cleaning in ("rows", "tracks"):
        cleaned = clean(found, cleaning).frame
        assert len(cleaned) >= (N_ROWS if column == "track_id" else 0)
        quality_report(RawTracks(found, path, ""), clean(found, cleaning)).as_text()
    assert find_duplicates(found).copies.sum() >= (N_ROWS if column == "track_id" else 1)


def test_raw_columns_have_no_single_empty_cells(tracks: pd.DataFrame, path: Path):
    tracks.assign(track_genre=tracks["track_genre"].where(tracks.index != 5)).to_csv(path, index=False)
    with pytest.raises(DataError, match=r"track_genre: empty or NaN in 1 row \(row 6"):
        read(path)


def test_a_column_of_a_similar_name_is_rather_meant_than_absent(tracks: pd.DataFrame, path: Path):
    tracks.rename(columns={"track_genre": "genre"}).to_csv(path, index=False)
    with pytest.raises(DataError, match=r"missing: track_genre \(did you mean 'genre'\?\)"):
        read(path)


@pytest.mark.parametrize("form", ["{}.1", "{}s", "x{}", "{} (raw)", "'{}'", "old {}"])
@pytest.mark.parametrize("column", OPTIONAL)
def test_a_column_that_was_renamed_is_not_taken_for_absent(tracks: pd.DataFrame, path: Path, column: str, form: str):
    tracks.rename(columns={column: form.format(column)}).to_csv(path, index=False)
    with pytest.raises(DataError, match=f"missing: {column}|blanks around them"):
        read(path)


def test_words_that_hold_a_short_name_are_others(tracks: pd.DataFrame, path: Path):
    frame = tracks.drop(columns=["key", "mode"]).assign(keywords="x", commodes="y", monkey="z")
    frame.to_csv(path, index=False)
    assert absent_columns(read(path)) == ["key", "mode"]


@pytest.mark.parametrize("column", ["popularity", *MEASURED[:2], "duration_ms"])
def test_popularity_and_audio_features_are_needed(tracks: pd.DataFrame, path: Path, column: str):
    tracks.drop(columns=column).to_csv(path, index=False)
    with pytest.raises(DataError, match=f"missing: {column}"):
        read(path)
    tracks.assign(**{column: None}).to_csv(path, index=False)
    with pytest.raises(DataError, match=f"{column}: empty or NaN in 600 rows"):
        read(path)


def test_a_layout_may_say_what_its_files_never_have(tracks: pd.DataFrame, path: Path):
    tracks.drop(columns=["loudness", "duration_ms"]).to_csv(path, index=False)
    layout = LayoutConfig.model_validate({"name": "custom", "lacks": ["loudness", "duration_ms"]})
    found = read(path, layout)
    assert absent_columns(found) == ["duration_ms", "loudness"]
    # Copies are found by the features that there are.
    twice = pd.concat([found, found], ignore_index=True).assign(artists=None)
    groups = group_codes(twice, "recording")
    np.testing.assert_array_equal(groups[:N_ROWS], groups[N_ROWS:])


def gaps(tracks: pd.DataFrame, layout: str = "exportify") -> bytes:
    """Write a playlist with three local files, and tracks without genres and flags."""
    frame = written(tracks, layout).astype(object)
    frame.loc[[1, 5, 7], [name for name in frame if name.lower().replace(" ", "_") in (*MEASURED, "key", "mode")]] = (
        None
    )
    frame.loc[[1, 5, 7], "Time Signature"] = None
    frame.loc[20:40, ["Genres", "Explicit"]] = None
    frame.loc[41:50, "Genres"] = "rock,pop"
    return as_csv(frame)


@pytest.mark.parametrize("cleaning", ["rows", "tracks"])
def test_rows_without_any_audio_feature_are_left_out_and_counted(tracks: pd.DataFrame, path: Path, cleaning: str):
    path.write_bytes(gaps(tracks))
    found = read(path)
    assert found[list(MEASURED)].isna().all(axis=1).sum() == 3
    cleaned = clean(found, cleaning)
    assert cleaned.dropped["no audio feature"] == 3
    assert cleaned.frame["energy"].notna().all()
    assert cleaned.frame["explicit"].isna().sum() == 21
    if cleaning == "tracks":
        assert set(cleaned.frame.loc[cleaned.frame["track_id"].isin(tracks["track_id"][41:50]), "track_genre"]) == {
            "pop;rock"
        }
    else:
        assert_frame_equal(cleaned.frame, clean(found.drop(index=[1, 5, 7]).reset_index(drop=True), "rows").frame)


def test_a_part_of_the_audio_features_is_no_row(tracks: pd.DataFrame, path: Path):
    frame = written(tracks, "exportify").astype(object)
    frame.loc[3, "Energy"] = None
    path.write_bytes(as_csv(frame))
    with pytest.raises(DataError, match=r"energy: empty or NaN in 1 row \(row 4"):
        read(path)


def test_genres_of_the_rows_of_a_track_become_one_set(tracks: pd.DataFrame):
    rows = pd.concat([tracks.head(1)] * 4, ignore_index=True).assign(track_genre=["rock;pop", None, "folk", "pop"])
    rows = pd.concat([rows, tracks[1:3].assign(track_genre=[None, "b;a;b"])], ignore_index=True)
    assert list(clean(rows, "tracks").frame["track_genre"].fillna("-")) == ["folk;pop;rock", "-", "a;b"]


def test_rows_without_a_track_id_are_tracks_of_their_own(tracks: pd.DataFrame):
    rows = pd.concat([tracks.head(3)] * 2, ignore_index=True).assign(track_id=["a", None, None, "a", None, None])
    assert len(clean(rows, "tracks").frame) == 5


@pytest.mark.parametrize(
    ("split", "absent", "others"),
    [
        ("album", "album_name", "split=recording or split=artist or split=random"),
        ("album", "artists", "split=recording or split=random"),
        ("artist", "artists", "split=recording or split=random"),
    ],
)
def test_a_split_that_needs_an_absent_column_is_refused(tracks: pd.DataFrame, split: str, absent: str, others: str):
    config = configured(f"split={split}").split
    with pytest.raises(DataError, match=f"split={split} needs {absent}, .* set {others}$"):
        split_tracks(tracks.assign(**{absent: pd.Series(None, tracks.index, dtype="str")}), config, 1)


def test_the_report_has_no_range_of_what_is_not_there(tracks: pd.DataFrame, path: Path):
    path.write_bytes(as_csv(written(tracks, "tidytuesday_2020")))
    report = quality_report(RawTracks(read(path), path, ""), clean(read(path), "tracks"))
    assert "explicit" not in report.ranges
    assert report.nulls["explicit"] == N_ROWS
    assert report.ranges["energy"]["min"] >= 0


def test_a_file_whose_last_part_is_empty_is_refused_by_the_cluster_as_by_one_process(
    tracks: pd.DataFrame, path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = tracks.assign(explicit=tracks["explicit"].where(tracks.index < 300)).to_csv(index=False)
    path.write_text(text)
    monkeypatch.setattr(batches, "_BLOCK", 10_000)
    with pytest.raises(DataError, match="explicit: empty or NaN in 300 rows"):
        read(path)
    _, slices = reading.find_slices(DataConfig(name="file", path=str(path)))
    found = reading.read_slice(slices[-1], filled=["explicit"]).violations
    assert [(each.column, each.problem) for each in found] == [("explicit", "empty or NaN")]
    assert reading.read_slice(slices[-1]).violations == []
