"""Tests of packed files, and of many files as one table: read alike by all readers, or refused by name."""

import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from spotify_ml.config.run import DataConfig
from spotify_ml.data import parts
from spotify_ml.data.parts import FILE_COLUMN, digest_of, parts_of
from spotify_ml.data.schema import NAMES
from spotify_ml.data.sources import RawTracks, inspect_tracks, read_tracks
from spotify_ml.data.unseen_rows import same_data
from spotify_ml.utils.errors import DataError
from tests.layouts import as_csv, written

reading = pytest.importorskip("spotify_ml.backends.dask.reading")
N_ROWS = 90
PACK: dict[str, Callable[[bytes], bytes]] = {
    ".csv": lambda content: content,
    ".csv.gz": gzip.compress,
    ".csv.zst": lambda content: _zst(content),
    ".CSV.GZ": gzip.compress,
}


def _zst(content: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(content)
    return packed.getvalue().to_pybytes()


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in files.items():
            archive.writestr(name, each)
    return content.getvalue()


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return sample.frame.sample(N_ROWS, random_state=5, ignore_index=True)


def by_training(path: Path | str) -> pd.DataFrame:
    return read_tracks(DataConfig(name="file", path=str(path))).frame


def by_profile(path: Path | str) -> pd.DataFrame:
    raw, violations = inspect_tracks(DataConfig(name="file", path=str(path)))
    if violations:
        raise DataError("; ".join(map(str, violations)))
    return raw.frame


def by_cluster(path: Path | str) -> pd.DataFrame:
    _, slices = reading.find_slices(DataConfig(name="file", path=str(path)))
    found = [reading.read_slice(each) for each in slices]
    if any(each.violations for each in found):
        raise DataError("; ".join(str(violation) for each in found for violation in each.violations))
    return pd.concat([each.frame for each in found], ignore_index=True)


READERS = [by_training, by_profile, by_cluster]


def pieces(tracks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {"a": tracks[:40], "b": tracks[40:41], "c": tracks[41:]}


def with_files(tracks: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    own = [name for name, piece in zip(names, pieces(tracks).values(), strict=True) for _ in range(len(piece))]
    return tracks.assign(**{FILE_COLUMN: pd.array(own, dtype="str")})


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("suffix", PACK)
def test_a_packed_file_is_read_as_the_file_in_it(tracks: pd.DataFrame, tmp_path: Path, suffix: str, read):
    path = tmp_path / f"tracks{suffix}"
    path.write_bytes(PACK[suffix](as_csv(tracks)))
    assert_frame_equal(read(path)[list(NAMES)], tracks)
    path.write_bytes(PACK[suffix](as_csv(written(tracks, "exportify"))))
    assert_frame_equal(read(path)[list(NAMES)], tracks)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("how", ["folder", "pattern", "zip", "packed", "parquet"])
def test_many_files_are_one_table(tracks: pd.DataFrame, tmp_path: Path, how: str, read):
    suffix = {"packed": ".csv.gz", "parquet": ".parquet"}.get(how, ".csv")
    names = [f"{name}{suffix}" for name in pieces(tracks)]
    folder = tmp_path / "playlists"
    folder.mkdir()
    if how == "zip":
        path: Path | str = tmp_path / "playlists.zip"
        files = {name: as_csv(piece) for name, piece in zip(names, pieces(tracks).values(), strict=True)}
        Path(path).write_bytes(zipped(files))
    else:
        for name, piece in zip(names, pieces(tracks).values(), strict=True):
            piece.to_parquet(folder / name) if how == "parquet" else piece.to_csv(folder / name, index=False)
        (folder / "notes.txt").write_text("no table")
        (folder / ".hidden.csv").write_text("no table")
        path = f"{folder}/*{suffix}" if how == "pattern" else folder
    assert_frame_equal(read(path), with_files(tracks, names), check_dtype=False)


def test_playlists_without_tracks_say_nothing(tracks: pd.DataFrame, tmp_path: Path):
    tracks.to_csv(tmp_path / "a.csv", index=False)
    tracks[:0].to_csv(tmp_path / "b.csv", index=False)
    assert_frame_equal(by_training(tmp_path)[list(NAMES)], tracks)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(DataError, match="no rows"):
        by_training(tmp_path)


@pytest.mark.parametrize("read", READERS)
def test_files_of_different_layouts_are_refused_by_name(tracks: pd.DataFrame, tmp_path: Path, read):
    (tmp_path / "a.csv").write_bytes(as_csv(written(tracks, "exportify")))
    (tmp_path / "b.csv").write_bytes(as_csv(written(tracks, "tracks_1m")))
    with pytest.raises(DataError, match=r"different layouts: a.csv is layout=exportify, b.csv layout=tracks_1m"):
        read(tmp_path)


@pytest.mark.parametrize("read", READERS[:2])
def test_rows_that_break_the_schema_are_named_by_their_file(tracks: pd.DataFrame, tmp_path: Path, read):
    tracks[:40].to_csv(tmp_path / "a.csv", index=False)
    tracks[40:].assign(energy=2.0).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(DataError, match=r"energy: outside 0 to 1 in 50 rows \(b.csv, row 1: 2.0, b.csv, row 2: 2.0"):
        read(tmp_path)


BAD_ZIPS = {
    "a folder": ({"playlists/a.csv": b"x"}, "'playlists/a.csv', which is a folder or in one"),
    "only a folder": ({"playlists/": b""}, "'playlists/', which is a folder or in one"),
    "a path that leaves": ({"../a.csv": b"x"}, "'../a.csv', whose path leaves the folder"),
    "an absolute path": ({"/etc/a.csv": b"x"}, "'/etc/a.csv', whose path leaves the folder"),
    "a drive": ({"C:\\a.csv": b"x"}, "whose path leaves the folder"),
    "a path that leaves by backslashes": ({"..\\a.csv": b"x"}, "whose path leaves the folder"),
    "no CSV": ({"a.csv": b"x", "notes.txt": b"x"}, "'notes.txt', which is no CSV by its name"),
    "nothing": ({}, "holds no file"),
    "an empty CSV": ({"a.csv": b""}, "a.csv is empty"),
    "a picture": ({"a.csv": b"\x89PNG\r\n\x1a\n\0\0"}, "a.csv is not a CSV but a picture"),
    "another table": ({"a.csv": b"city,people\nOslo,1\n"}, "does not have the columns"),
    "what grows a thousandfold": ({"a.csv": b"a,b\n" + b"1,2\n" * 2_000_000}, "grows more than a thousandfold"),
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", BAD_ZIPS)
def test_a_zip_that_is_no_table_is_refused(
    tmp_path: Path, name: str, read: Callable[[Path], pd.DataFrame], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parts, "_MOST_GROWTH", 300)
    files, message = BAD_ZIPS[name]
    path = tmp_path / "playlists.zip"
    path.write_bytes(zipped(files))
    with pytest.raises(DataError, match=message.replace("(", r"\(")) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert not list(tmp_path.glob("*.csv"))


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zst", ".zip"])
@pytest.mark.parametrize("read", READERS)
def test_damage_is_said_in_one_line(tracks: pd.DataFrame, tmp_path: Path, suffix: str, read):
    path = tmp_path / f"tracks{suffix}"
    whole = zipped({"a.csv": as_csv(tracks)}) if suffix == ".zip" else PACK[suffix](as_csv(tracks))
    for content in (whole[: len(whole) // 2], b"not packed at all", b""):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_zip_bomb_of_gzip_is_refused(tmp_path: Path):
    path = tmp_path / "tracks.csv.gz"
    header = ",".join(NAMES).encode() + b"\n"
    path.write_bytes(gzip.compress(header + b"\n" * 50_000_000))
    with pytest.raises(DataError, match="thousandfold"):
        by_training(path)


def test_names_are_from_the_common_folder_on(tracks: pd.DataFrame, tmp_path: Path):
    for name in ("2020/a.csv", "2021/a.csv"):
        (tmp_path / name).parent.mkdir()
        tracks.to_csv(tmp_path / name, index=False)
    assert [part.name for part in parts_of(f"{tmp_path}/*/*.csv")] == ["2020/a.csv", "2021/a.csv"]
    with pytest.raises(DataError, match="matches no file"):
        parts_of(f"{tmp_path}/*.csv")


def test_a_file_with_brackets_in_its_name_is_a_file(tracks: pd.DataFrame, tmp_path: Path):
    path = tmp_path / "tracks [1].csv"
    tracks.to_csv(path, index=False)
    assert_frame_equal(by_training(path), tracks)


def test_the_digest_is_of_names_and_bytes(tracks: pd.DataFrame, tmp_path: Path):
    folder, one = tmp_path / "playlists", tmp_path / "tracks.csv.gz"
    folder.mkdir()
    tracks.to_csv(folder / "a.csv", index=False)
    one.write_bytes(gzip.compress(as_csv(tracks)))
    assert digest_of(str(one)) == hashlib.sha256(one.read_bytes()).hexdigest()
    assert digest_of(str(tmp_path / "gone")) is None
    raw = read_tracks(DataConfig(name="file", path=str(folder)))
    assert same_data(DataConfig(name="file", path=str(folder)), raw.sha256).path == str(folder)
    (folder / "a.csv").rename(folder / "b.csv")
    assert digest_of(str(folder)) != raw.sha256
    with pytest.raises(DataError, match="not there any more, or was changed"):
        same_data(DataConfig(name="file", path=str(folder)), raw.sha256)
