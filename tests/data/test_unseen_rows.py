"""Tests of which tracks are new to models, on real tracks and against sets made the plain way."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.run import CleaningConfig, DataConfig, LocalCacheConfig, SplitConfig
from spotify_ml.data import prepare
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import FINGERPRINT, group_codes
from spotify_ml.data.unseen_rows import as_new_as, coarsest, novelty, read_split, same_data, unseen_rows
from spotify_ml.utils.errors import DataError
from tests.conftest import SAMPLE

DATA = DataConfig(name="sample", path=str(SAMPLE))
TRACKS, ROWS = (CleaningConfig(name=name) for name in ("tracks", "rows"))
KINDS = ("recording", "album", "artist", "random")


def split_config(name: str) -> SplitConfig:
    return SplitConfig(name=name, test_size=0.2, val_size=0.12, names="normal")


def keys(tracks: pd.DataFrame, kind: str) -> list[set[tuple[object, ...]]]:
    """What a track must not have in common with a fitted one, a set for each kind of key."""
    names = tracks[["artists", "track_name"]].apply(lambda column: column.str.casefold())
    artist = tracks["artists"].str.partition(";")[0]
    found = [tracks[list(FINGERPRINT)], names]
    found += [pd.DataFrame({"artist": artist, "album": tracks["album_name"]})] * (kind == "album")
    found += [pd.DataFrame({"artist": artist})] * (kind == "artist")
    return [set(table.dropna().itertuples(index=False, name=None)) for table in found]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", ["random", "artist"])
def test_nothing_of_a_fitted_track_is_among_the_rows(kind: str, other: str):
    chosen = read_split(DATA, TRACKS, split_config(kind), 1)
    fitted = [chosen.trainval, read_split(DATA, ROWS, split_config(other), 2).trainval]
    rows, groups = unseen_rows(chosen.test, fitted, kind)
    assert 0 < len(rows) < len(chosen.test)
    for seen in fitted:
        for own, theirs in zip(keys(chosen.test.iloc[rows], kind), keys(seen, kind), strict=True):
            assert not own & theirs
    assert len(groups) == len(rows)
    assert len(np.unique(groups)) <= len(rows)


@pytest.mark.parametrize("kind", ["recording", "album", "artist"])
def test_all_test_rows_of_the_same_split_are_new_whatever_file_they_were_read_from(kind: str, tmp_path: Path):
    copy = DataConfig(name="file", path=str(shutil.copy(SAMPLE, tmp_path / "tracks.parquet")))
    chosen, again = (read_split(data, TRACKS, split_config(kind), 42) for data in (DATA, copy))
    rows, groups = unseen_rows(chosen.test, [chosen.trainval, again.trainval], kind)
    assert len(rows) == len(chosen.test)
    own = pd.Series(chosen.split.groups[chosen.split.test])
    assert (pd.crosstab(groups, own) > 0).to_numpy().sum() == own.nunique() == len(np.unique(groups))


@pytest.mark.parametrize("finer", KINDS)
@pytest.mark.parametrize("larger", KINDS)
def test_the_coarsest_groups_join_what_all_others_do(finer: str, larger: str):
    tracks = read_split(DATA, TRACKS, split_config("recording"), 1).frame
    joined = coarsest([finer, larger])
    assert joined in (finer, larger)
    inner, outer = pd.Series(group_codes(tracks, finer)), group_codes(tracks, joined)
    assert pd.Series(outer).groupby(inner).nunique().eq(1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_novelty_names_the_largest_groups_that_keep_a_row_from_fitted_ones(kind: str):
    chosen = read_split(DATA, TRACKS, split_config(kind), 1)
    found = novelty(chosen.frame, chosen.split, split_config(kind))
    assert len(set(found)) == {"random": 4, "recording": 3, "album": 2, "artist": 1}[kind]
    for larger in ("recording", "album", "artist"):
        new, _ = unseen_rows(chosen.test, [chosen.trainval], larger)
        assert list(np.flatnonzero(as_new_as(pd.Series(found), larger))) == list(new)
    assert as_new_as(pd.Series(found), "random").all()


def test_no_row_is_left_out_without_reason():
    chosen = read_split(DATA, TRACKS, split_config("recording"), 1)
    other = read_split(DATA, TRACKS, split_config("recording"), 2)
    rows, _ = unseen_rows(chosen.test, [chosen.trainval, other.trainval], "recording")
    # One split groups all tracks, so a row is new to both exactly where it is a test row of both.
    assert list(chosen.split.test[rows]) == sorted(set(chosen.split.test) & set(other.split.test))


def test_the_same_data_is_found_where_it_was_or_is_now(sample: RawTracks, tmp_path: Path):
    gone = DataConfig(name="file", path=str(tmp_path / "gone.parquet"))
    moved = DataConfig(name="file", path=str(shutil.copy(SAMPLE, tmp_path / "moved.parquet")))
    assert same_data(moved, sample.sha256) == moved
    assert same_data(gone, sample.sha256, moved).path == moved.path
    # The bundled sample of another checkout is the bundled sample.
    assert same_data(DataConfig(name="sample", path=gone.path), sample.sha256).path == DATA.path


def test_changed_data_is_not_the_same(sample: RawTracks, tmp_path: Path):
    changed = tmp_path / "changed.parquet"
    changed.write_bytes(SAMPLE.read_bytes() + b"\n")
    with pytest.raises(DataError, match=rf"{sample.sha256}.*{changed}"):
        same_data(DataConfig(name="file", path=str(changed)), sample.sha256)


def test_what_a_run_has_kept_is_not_read_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = LocalCacheConfig(name="local", folder=str(tmp_path), max_gb=1)
    settings = DATA, TRACKS, split_config("recording"), 1
    first = read_split(*settings, cache)
    read_split.cache_clear()
    monkeypatch.setattr(prepare, "parse_tracks", pytest.fail)
    monkeypatch.setattr(prepare, "split_tracks", pytest.fail)
    again = read_split(*settings, cache)
    pd.testing.assert_frame_equal(again.frame, first.frame)
    np.testing.assert_array_equal(again.split.test, first.split.test)
    assert again.sha256 == first.sha256
