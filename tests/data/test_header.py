"""Tests of headers: what a file seems to be that is no CSV of raw tracks, and the names that say the same."""

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, orc

from spotify_ml.config.run import DataConfig
from spotify_ml.data.batches import open_input
from spotify_ml.data.header import column_hint
from spotify_ml.data.schema import NAMES
from spotify_ml.data.sources import RawTracks, read_tracks
from spotify_ml.utils.errors import DataError


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return sample.frame.head(5).assign(artists="A", album_name="B", track_name="C")


def as_csv(tracks: pd.DataFrame, **options: object) -> bytes:
    return tracks.to_csv(index=False, lineterminator="\n", **options).encode()


def zipped(tracks: pd.DataFrame, name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, as_csv(tracks))
    return content.getvalue()


def arrow(tracks: pd.DataFrame, write: Callable[..., object]) -> bytes:
    content = io.BytesIO()
    write(pa.Table.from_pandas(tracks, preserve_index=False), content)
    return content.getvalue()


def sqlite() -> bytes:
    with sqlite3.connect(":memory:") as database:
        database.execute("create table tracks (track_id text)")
        return database.serialize()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 20118244\n"
HTML = b"<!DOCTYPE html>\n<html><body>404</body></html>\n"
FORMATS: dict[str, tuple[Callable[[pd.DataFrame], bytes], str]] = {
    "gzip": (lambda tracks: gzip.compress(as_csv(tracks)), "gzip.*unpack it"),
    "bzip2": (lambda tracks: bz2.compress(as_csv(tracks)), "bzip2.*unpack it"),
    "xz": (lambda tracks: lzma.compress(as_csv(tracks)), "xz.*unpack it"),
    "zstd": (lambda tracks: pa.Codec("zstd").compress(as_csv(tracks), asbytes=True), "zstd.*unpack it"),
    "lz4": (lambda tracks: pa.Codec("lz4").compress(as_csv(tracks), asbytes=True), "lz4.*unpack it"),
    "zip": (lambda tracks: zipped(tracks, "tracks.csv"), "zip.*unpack it"),
    "xlsx": (lambda tracks: zipped(tracks, "[Content_Types].xml"), r"Excel \(xlsx\).*save it as CSV"),
    "xls": (lambda tracks: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), r"Excel \(xls\).*save it as CSV"),
    "7z": (lambda tracks: b"7z\xbc\xaf\x27\x1c\0\4" + bytes(64), "7z.*unpack it"),
    "Feather": (lambda tracks: arrow(tracks, feather.write_feather), "Feather.*save it as CSV"),
    "ORC": (lambda tracks: arrow(tracks, orc.write_table), "ORC.*save it as CSV"),
    "SQLite": (lambda tracks: sqlite(), "SQLite.*save it as CSV"),
    "JSON records": (lambda tracks: tracks.to_json(orient="records").encode(), "JSON.*save it as CSV"),
    "JSON lines": (lambda tracks: tracks.to_json(orient="records", lines=True).encode(), "JSON.*save it as CSV"),
    "JSON, indented": (lambda tracks: json.dumps({"tracks": []}, indent=2).encode(), "JSON.*save it as CSV"),
    "HTML": (lambda tracks: HTML, "HTML.*Download the file itself"),
    "Git LFS": (lambda tracks: LFS, "Git LFS pointer.*git lfs pull"),
    "UTF-16": (lambda tracks: as_csv(tracks).decode().encode("utf-16"), "UTF-16.*comma-separated UTF-8"),
    "UTF-16 without a mark": (lambda tracks: as_csv(tracks).decode().encode("utf-16-le"), "UTF-16.*comma-separated"),
    "UTF-32": (lambda tracks: as_csv(tracks).decode().encode("utf-32"), "UTF-32.*comma-separated UTF-8"),
    "returns alone": (lambda tracks: as_csv(tracks).replace(b"\n", b"\r"), "carriage return alone"),
    "semicolons": (lambda tracks: as_csv(tracks, sep=";"), "separated by semicolons"),
    "decimal commas": (lambda tracks: as_csv(tracks, sep=";", decimal=","), "separated by semicolons"),
    "tabs": (lambda tracks: as_csv(tracks, sep="\t"), "separated by tabs"),
    "bars": (lambda tracks: as_csv(tracks, sep="|"), "separated by vertical bars"),
    "Excel's line": (lambda tracks: b"sep=,\n" + as_csv(tracks), "first line is Excel's 'sep=,'; remove that line$"),
    "Excel's line and semicolons": (
        lambda tracks: b"sep=;\r\n" + as_csv(tracks, sep=";"),
        "remove that line, and save it as comma-separated UTF-8: its columns are separated by semicolons",
    ),
    "other quotes": (lambda tracks: as_csv(tracks, quotechar="'", quoting=1), "quoted by '"),
    "blanks in names": (lambda tracks: as_csv(tracks).replace(b",", b", ", 19), "blanks around them"),
    "no header": (lambda tracks: as_csv(tracks, header=False), "first line seems to be a row; give the file a header"),
}


@pytest.mark.parametrize("read", [lambda path: read_tracks(DataConfig(name="file", path=str(path))), open_input])
@pytest.mark.parametrize("name", FORMATS)
def test_what_a_file_seems_to_be_is_said_in_one_line(
    tracks: pd.DataFrame, tmp_path: Path, name: str, read: Callable[[Path], object]
):
    make, message = FORMATS[name]
    path = tmp_path / "tracks.csv"
    path.write_bytes(make(tracks))
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ORCHESTRA", "PARENT", "ARROW1", "BZh9", "FEA1", "Object", "Rar!", "PKID"])
def test_a_first_column_that_begins_as_a_format_is_a_column(tracks: pd.DataFrame, tmp_path: Path, name: str):
    path = tmp_path / "tracks.csv"
    tracks.assign(**{name: 1})[[name, *tracks.columns]].to_csv(path, index=False)
    assert len(read_tracks(DataConfig(name="file", path=str(path))).frame) == len(tracks)


SAME = {
    "genre": "track_genre",
    "Genres": "track_genre",
    "Track Genre": "track_genre",
    "trackGenre": "track_genre",
    "name": "track_name",
    "title": "track_name",
    "song": "track_name",
    "track_artist": "artists",
    "artist_name": "artists",
    "Artist(s)": "artists",
    "album": "album_name",
    "track_album_name": "album_name",
    "id": "track_id",
    "duration": "duration_ms",
    "durationMs": "duration_ms",
    "Duration (ms)": "duration_ms",
    "track_popularity": "popularity",
    "dancability": "danceability",
    "timesignature": "time_signature",
    "TEMPO": "tempo",
    "bpm": "tempo",
    "loudness_db": "loudness",
    "is_explicit": "explicit",
}
OTHERS = [
    *("track_url", "track_number", "album_popularity", "artist_id", "artist_genres", "album_id", "duration_min"),
    *("duration_s", "year", "mood", "playlist_genre", "key_mode", "live", "Unnamed: 0", "", "isrc", "label"),
]


@pytest.mark.parametrize("given", SAME)
def test_a_name_that_says_the_same_is_the_hint_of_that_column_alone(given: str):
    hinted = [name for name in NAMES if column_hint(name, ["track_url", given, "mood"])]
    assert hinted == [SAME[given]]
    assert column_hint(SAME[given], ["track_url", given, "mood"]) == f" (did you mean '{given}'?)"


def test_other_names_are_no_hint():
    assert [name for name in NAMES if column_hint(name, OTHERS)] == []


def test_the_hint_stands_beside_the_missing_column(tracks: pd.DataFrame, tmp_path: Path):
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv(tracks.rename(columns={"track_genre": "genre", "tempo": "tempos"}).assign(url="x")))
    with pytest.raises(DataError) as caught:
        read_tracks(DataConfig(name="file", path=str(path)))
    lines = str(caught.value).splitlines()
    assert lines[1] == "  missing: tempo (did you mean 'tempos'?), track_genre (did you mean 'genre'?)"
    with pytest.raises(DataError, match=r"lack the columns tempo \(did you mean 'tempos'\?\);"):
        open_input(path)
