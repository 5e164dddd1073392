"""Tests of several catalogues as one training table, and of the split that tests on one of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.cli.run_check import check_run
from spotify_ml.config.run import CleaningConfig, DataConfig, SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.parts import FILE_COLUMN, SOURCE_COLUMN, source_name
from spotify_ml.data.quality import quality_report
from spotify_ml.data.schema import NAMES
from spotify_ml.data.sources import RawTracks, inspect_tracks, read_tracks
from spotify_ml.data.splits import group_codes, split_tracks
from spotify_ml.data.unseen_rows import coarsest, novelty, read_split, same_data
from spotify_ml.utils.errors import ConfigError, DataError
from tests.layouts import as_csv, as_raw, written
from tests.support import composed

N_SHARED = 100
SPLIT = SplitConfig(name="source", source="songs", test_size=0.2, val_size=0.12)


@pytest.fixture(scope="module")
def pair(sample: RawTracks) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of two catalogues with 100 tracks in both, of another popularity in the older."""
    shuffled = sample.frame.drop_duplicates("track_id").sample(2000, random_state=6, ignore_index=True)
    newer, older = shuffled[:1200], shuffled[1200 - N_SHARED :].reset_index(drop=True)
    return newer, older.assign(popularity=100 - older["popularity"])


@pytest.fixture
def config(pair: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> DataConfig:
    newer, older = pair
    newer.to_parquet(tmp_path / "tracks.parquet")
    (tmp_path / "songs.csv").write_bytes(as_csv(written(older, "tidytuesday_2020")))
    return DataConfig(name="file", path=[str(tmp_path / "tracks.parquet"), str(tmp_path / "songs.csv")])


@pytest.fixture
def tracks(config: DataConfig) -> pd.DataFrame:
    return clean(read_tracks(config).frame, "tracks").frame


def test_catalogues_of_different_layouts_are_one_table(pair: tuple[pd.DataFrame, pd.DataFrame], config: DataConfig):
    newer, older = pair
    raw = read_tracks(config)
    assert raw.path.name == "tracks + songs"
    assert set(raw.frame) == {*NAMES, "release_date", FILE_COLUMN, SOURCE_COLUMN}
    assert list(raw.frame[SOURCE_COLUMN]) == ["tracks"] * len(newer) + ["songs"] * len(older)
    expected = pd.concat([newer, as_raw(older, "tidytuesday_2020")], ignore_index=True)
    for name in NAMES:
        np.testing.assert_array_equal(raw.frame[name].isna(), expected[name].isna())
        known = expected[name].notna()
        assert list(raw.frame.loc[known, name]) == list(expected.loc[known, name])
    assert len(inspect_tracks(config)[0].frame) == len(raw.frame)


def test_a_track_in_several_is_one_track_of_the_newest(pair: tuple[pd.DataFrame, pd.DataFrame], tracks: pd.DataFrame):
    newer, older = pair
    assert len(tracks) == len(newer) + len(older) - N_SHARED
    shared = tracks[tracks[SOURCE_COLUMN] == "songs;tracks"]
    assert len(shared) == N_SHARED
    own = newer.set_index("track_id")["popularity"]
    assert list(shared["popularity"]) == list(own[shared["track_id"]])
    assert list(tracks["popularity"][len(newer) :]) == list(older["popularity"][N_SHARED:])


def test_differences_are_counted(config: DataConfig):
    raw = read_tracks(config)
    report = quality_report(raw, clean(raw.frame, "tracks"))
    differing = report.duplicates["track_ids whose rows differ in popularity"]
    assert N_SHARED * 0.9 < differing <= N_SHARED


def test_the_source_is_the_test_part_and_no_copy_of_it_is_fitted(tracks: pd.DataFrame):
    # A copy under another id, in the other catalogue.
    copy = tracks[tracks[SOURCE_COLUMN] == "songs"].head(5).assign(track_id=list("abcde"), source="tracks")
    tracks = pd.concat([tracks, copy], ignore_index=True)
    split = split_tracks(tracks, SPLIT, 1)
    is_own = tracks[SOURCE_COLUMN].str.contains("songs").to_numpy()
    np.testing.assert_array_equal(split.test, np.flatnonzero(is_own))
    assert not is_own[split.trainval].any()
    groups = group_codes(tracks, "recording")
    assert not np.isin(groups[split.trainval], groups[split.test]).any()
    assert not np.isin(groups[split.train], groups[split.validation]).any()
    assert not np.isin(np.flatnonzero(tracks["track_id"].isin(list("abcde"))), split.trainval).any()
    left_out = len(tracks) - len(split.trainval) - len(split.test)
    assert left_out >= 5
    assert 0.05 < len(split.validation) / len(split.trainval) < 0.2
    assert set(novelty(tracks, split, SPLIT)) <= {"recording", "album", "artist"}


def test_each_catalogue_in_turn(tracks: pd.DataFrame):
    one, other = (split_tracks(tracks, SPLIT.model_copy(update={"source": name}), 1) for name in ("songs", "tracks"))
    assert set(tracks[SOURCE_COLUMN].iloc[one.trainval]) == {"tracks"}
    assert set(tracks[SOURCE_COLUMN].iloc[other.trainval]) == {"songs"}


def test_a_catalogue_that_is_not_there_is_named(tracks: pd.DataFrame, config: DataConfig):
    with pytest.raises(DataError, match="there are songs, tracks"):
        split_tracks(tracks, SPLIT.model_copy(update={"source": "song"}), 1)
    with pytest.raises(DataError, match=r"name several catalogues: data\.path=\[a\.csv,b\.csv\]"):
        split_tracks(tracks.drop(columns=SOURCE_COLUMN), SPLIT, 1)
    only = tracks.assign(source="songs")
    with pytest.raises(DataError, match="all other tracks are copies"):
        split_tracks(only, SPLIT, 1)


def test_a_run_is_refused_before_it_reads(config: DataConfig, tmp_path: Path):
    paths = f"data.path=[{','.join(config.path)}]"
    typed = ["data=file", "split=source", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"]
    assert check_run(composed("train", *typed, paths, "split.source=songs")).split.source == "songs"
    with pytest.raises(
        ConfigError, match=r"split.source=song: no catalogue .* \(did you mean 'songs'\?\); there are tr"
    ):
        check_run(composed("train", *typed, paths, "split.source=song"))
    with pytest.raises(ConfigError, match="there are only one; name several"):
        check_run(composed("train", *typed, f"data.path={config.path[0]}", "split.source=songs"))
    with pytest.raises(ConfigError, match="engine=dask with split=source"):
        check_run(composed("train", *typed, paths, "split.source=songs", "engine=dask"))
    with pytest.raises(DataError, match="several catalogues 'songs'"):
        check_run(composed("train", *typed, f"data.path=[{config.path[1]},{config.path[1]}]", "split.source=songs"))
    with pytest.raises(DataError, match=r"gone\.csv does not exist"):
        check_run(composed("train", *typed, f"data.path=[{config.path[1]},gone.csv]", "split.source=songs"))


def test_the_rows_of_a_run_are_found_again(config: DataConfig):
    raw = read_tracks(config)
    assert same_data(config, raw.sha256) == config
    found = read_split(config, CleaningConfig(name="tracks"), SPLIT, 1)
    assert set(found.test[SOURCE_COLUMN]) == {"songs", "songs;tracks"}


def test_it_is_compared_with_itself_alone():
    assert coarsest(["source", "source"]) == "source"
    with pytest.raises(DataError, match="not compared with split=artist, recording"):
        coarsest(["source", "recording", "artist"])


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b.csv.gz", "b"), ("x.parquet", "x"), ("folder", "folder"), ("v1.2.csv", "v1.2"), ("p.ZIP", "p")],
)
def test_a_catalogue_is_called_as_its_file_without_endings(path: str, name: str):
    assert source_name(path) == name
