"""Tests that training, the profile, scoring and the cluster read the same files alike, or refuse them alike."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from spotify_ml.config.run import DataConfig
from spotify_ml.data.arrow import arrow_frame
from spotify_ml.data.batches import open_input
from spotify_ml.data.contract import scoring_rows
from spotify_ml.data.schema import AUDIO, TEXT
from spotify_ml.data.sources import RawTracks, inspect_tracks, read_tracks
from spotify_ml.utils.errors import DataError

# The cluster's reading needs no cluster, but its library.
reading = pytest.importorskip("spotify_ml.backends.dask.reading")
N_ROWS = 12


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    frame = sample.frame.head(N_ROWS).reset_index(drop=True)
    return frame.assign(explicit=[row % 2 == 0 for row in range(N_ROWS)])


def as_csv(tracks: pd.DataFrame, **options: object) -> bytes:
    return tracks.to_csv(index=False, lineterminator="\n", **options).encode()


def as_parquet(table: pa.Table | pd.DataFrame) -> bytes:
    written = pa.BufferOutputStream()
    pq.write_table(table if isinstance(table, pa.Table) else pa.Table.from_pandas(table), written)
    return written.getvalue().to_pybytes()


def as_type(tracks: pd.DataFrame, name: str, values: pa.Array) -> bytes:
    table = pa.Table.from_pandas(tracks, preserve_index=False)
    return as_parquet(table.set_column(table.schema.get_field_index(name), name, values))


def changed(tracks: pd.DataFrame, name: str, value: object, row: int = 4) -> bytes:
    values = tracks[name].astype(object)
    values.iloc[row] = value
    return as_csv(tracks.assign(**{name: values}))


def split(tracks: pd.DataFrame, name: str) -> pa.Array:
    return pa.array([text.split(";") for text in tracks[name]])


def of_another_page(tracks: pd.DataFrame) -> bytes:
    """Change the last byte of the pages of a column, which is a part of a number."""
    written = pa.BufferOutputStream()
    table = pa.Table.from_pandas(tracks, preserve_index=False)
    pq.write_table(table, written, compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray(written.getvalue().to_pybytes())
    tempo = table.schema.get_field_index("tempo")
    column = pq.ParquetFile(pa.BufferReader(bytes(content))).metadata.row_group(0).column(tempo)
    content[column.data_page_offset + column.total_compressed_size - 3] ^= 1
    return bytes(content)


SWAPPED = {"explicit": "mode", "mode": "explicit"}
IN_CAPITALS = {True: "TRUE", False: "0"}
READ: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "CSV": as_csv,
    "CRLF": lambda tracks: as_csv(tracks).replace(b"\n", b"\r\n"),
    "byte order mark": lambda tracks: b"\xef\xbb\xbf" + as_csv(tracks),
    "blank lines": lambda tracks: as_csv(tracks).replace(b"\n", b"\n\n"),
    "two columns without a name": lambda tracks: as_csv(
        pd.concat([pd.DataFrame({0: 1, 1: 2}, index=tracks.index).set_axis(["", ""], axis=1), tracks], axis=1)
    ),
    "another column twice": lambda tracks: as_csv(
        pd.concat([tracks, pd.DataFrame(7, tracks.index, ["note", "note"])], axis=1)
    ),
    "whole numbers as floats": lambda tracks: as_csv(tracks.astype({"key": float, "duration_ms": float})),
    "exponents": lambda tracks: changed(tracks.assign(duration_ms=2000), "duration_ms", "2e3"),
    "blanks around numbers": lambda tracks: changed(tracks.assign(key=5), "key", " 5 "),
    "plus signs": lambda tracks: changed(tracks.assign(key=5), "key", "+5"),
    "flags in capitals": lambda tracks: as_csv(tracks.assign(explicit=tracks["explicit"].map(IN_CAPITALS))),
    "Parquet": lambda tracks: as_parquet(tracks),
    "Parquet with a column as index": lambda tracks: as_parquet(tracks.set_index("energy")),
    "Parquet with columns as index": lambda tracks: as_parquet(tracks.set_index(["artists", "key", "explicit"])),
    "Parquet with other columns": lambda tracks: as_parquet(
        pa.Table.from_pandas(tracks)
        .append_column("nested", pa.array([{"a": [row]} for row in range(N_ROWS)]))
        .append_column("view", pa.array(["x"] * N_ROWS, pa.string_view()))
        .append_column("number", pa.array([bytes(16)] * N_ROWS, pa.uuid()))
    ),
    "Parquet with damaged pandas metadata": lambda tracks: as_parquet(
        pa.Table.from_pandas(tracks).replace_schema_metadata({"pandas": "{broken"})
    ),
    "string_view": lambda tracks: as_type(tracks, "track_name", pa.array(tracks["track_name"], pa.string_view())),
    "dictionary": lambda tracks: as_type(tracks, "artists", pa.array(tracks["artists"]).dictionary_encode()),
    "bytes": lambda tracks: as_type(tracks, "artists", pa.array(tracks["artists"]).cast(pa.binary())),
    "lists of artists": lambda tracks: as_type(tracks, "artists", split(tracks, "artists")),
    "lists of views of artists": lambda tracks: as_type(
        tracks, "artists", pa.array(split(tracks, "artists").to_pylist(), pa.list_(pa.string_view()))
    ),
    "ids as UUID": lambda tracks: as_type(
        tracks, "track_id", pa.array([bytes([row] * 16) for row in range(N_ROWS)], pa.uuid())
    ),
    "large lists of genres": lambda tracks: as_type(
        tracks, "track_genre", split(tracks, "track_genre").cast(pa.large_list(pa.large_string()))
    ),
    "albums as numbers": lambda tracks: as_type(tracks, "album_name", pa.array([25.0] * N_ROWS)),
    "flags as numbers": lambda tracks: as_type(tracks, "explicit", pa.array(tracks["explicit"]).cast(pa.int8())),
}
REFUSED: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "returns alone": lambda tracks: as_csv(tracks).replace(b"\n", b"\r"),
    "a bare return in a title": lambda tracks: as_csv(tracks).replace(tracks["track_name"][3].encode(), b"a\rb"),
    "hexadecimal": lambda tracks: changed(tracks, "key", "0x5"),
    "hexadecimal in capitals": lambda tracks: changed(tracks, "duration_ms", "0X1F4"),
    "true for a number": lambda tracks: changed(tracks, "danceability", "true"),
    "FALSE for a whole number": lambda tracks: changed(tracks, "mode", "FALSE"),
    "digits with underscores": lambda tracks: changed(tracks, "duration_ms", "200_000"),
    "swapped columns": lambda tracks: as_csv(tracks.rename(columns=SWAPPED)),
    "swapped columns in Parquet": lambda tracks: as_parquet(tracks.rename(columns=SWAPPED)),
    "a column twice": lambda tracks: as_csv(pd.concat([tracks, tracks[["key"]]], axis=1)),
    "no column": lambda tracks: as_parquet(pa.table({})),
    "too few fields": lambda tracks: as_csv(tracks) + b"1,2\n",
    "cut off within quotes": lambda tracks: as_csv(tracks) + b'"1,2\n',
    "Latin-1": lambda tracks: as_csv(tracks.assign(track_name="Caf\xe9")).decode().encode("latin-1"),
    "Latin-1 in a row of too few fields": lambda tracks: as_csv(tracks) + b"\xe9,2\n",
    "a zero byte in a number": lambda tracks: changed(tracks, "tempo", "12\x000"),
    "a zero byte in a name": lambda tracks: as_csv(tracks).replace(b"tempo", b"tempo\0", 1),
    "objects": lambda tracks: as_type(tracks, "artists", pa.array([{"name": "A"}] * N_ROWS)),
    "lists of objects": lambda tracks: as_type(tracks, "artists", pa.array([[{"name": "A"}]] * N_ROWS)),
    "lists with an empty name": lambda tracks: as_type(tracks, "artists", pa.array([["A", ""]] * N_ROWS)),
    "lists of titles": lambda tracks: as_type(tracks, "track_name", split(tracks, "track_name")),
    "flags for text": lambda tracks: as_type(tracks, "album_name", pa.array([True] * N_ROWS)),
    "times for text": lambda tracks: as_type(tracks, "album_name", pa.array([0] * N_ROWS, pa.timestamp("s"))),
    "bytes that are no text": lambda tracks: as_type(tracks, "artists", pa.array([b"\xff"] * N_ROWS)),
    "a page that is not as its checksum says": lambda tracks: of_another_page(tracks),
    "times that Python has none for": lambda tracks: as_type(
        tracks, "tempo", pa.array([2**62] * N_ROWS, pa.timestamp("us"))
    ),
    "days that Python has none for": lambda tracks: as_type(
        tracks, "album_name", pa.array([2**31 - 1] * N_ROWS, pa.int32()).cast(pa.date32())
    ),
    "bytes that are no text for numbers": lambda tracks: as_type(tracks, "key", pa.array([b"\xff"] * N_ROWS)),
    "flags for numbers": lambda tracks: as_type(tracks, "key", pa.array([True] * N_ROWS)),
    "a line without an end": lambda tracks: b"x" * 200_000,
    "a quote that is left open in the header": lambda tracks: b'"' + as_csv(tracks),
    "gzip": lambda tracks: b"\x1f\x8b\x08\0",
    "semicolons": lambda tracks: as_csv(tracks, sep=";"),
}


def by_training(path: Path) -> pd.DataFrame:
    return read_tracks(DataConfig(name="file", path=str(path))).frame


def by_profile(path: Path) -> pd.DataFrame:
    raw, violations = inspect_tracks(DataConfig(name="file", path=str(path)))
    if violations:
        raise DataError("; ".join(map(str, violations)))
    return raw.frame


def by_cluster(path: Path) -> pd.DataFrame:
    _, slices = reading.find_slices(DataConfig(name="file", path=str(path)))
    read = [reading.read_slice(each) for each in slices]
    if any(each.violations for each in read):
        raise DataError("; ".join(str(violation) for each in read for violation in each.violations))
    return pd.concat([each.frame for each in read], ignore_index=True)


def by_scoring(path: Path) -> pd.DataFrame:
    def frames() -> Iterator[pd.DataFrame]:
        source = open_input(path)
        known = [name for name in source.schema.names if name in AUDIO or name in TEXT]
        for batch in source.batches():
            if batch.broken:
                raise DataError(batch.broken[0].problem)
            yield scoring_rows(arrow_frame(batch.table.select(known))).frame()

    return pd.concat(frames(), ignore_index=True)


READERS = [by_training, by_profile, by_cluster, by_scoring]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracks"


@pytest.mark.parametrize("name", READ)
def test_what_one_reads_all_read(tracks: pd.DataFrame, path: Path, name: str):
    path.write_bytes(READ[name](tracks))
    training, *others, scoring = (read(path) for read in READERS)
    assert len(training) == N_ROWS
    for frame in others:
        assert_frame_equal(frame, training)
    np.testing.assert_array_equal(scoring[list(AUDIO)], training[list(AUDIO)].astype(float))
    assert_frame_equal(scoring[list(TEXT)], training[list(TEXT)])
    if name.startswith(("Parquet", "CSV", "lists", "large", "string", "dictionary", "bytes")):
        assert_frame_equal(training, tracks)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_one_refuses_all_refuse(tracks: pd.DataFrame, path: Path, name: str, read: Callable[[Path], pd.DataFrame]):
    path.write_bytes(REFUSED[name](tracks))
    with pytest.raises(DataError):
        read(path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("is_complete", [True, False])
def test_ten_thousand_columns_are_no_more_work_than_their_bytes(
    tracks: pd.DataFrame, path: Path, is_complete: bool, read: Callable[[Path], pd.DataFrame]
):
    header, *rows = as_csv(tracks if is_complete else tracks.drop(columns="tempo")).splitlines()
    names = b"".join(b",column %d" % number for number in range(10_000))
    path.write_bytes(b"\n".join([header + names, *(row + b",x" * 10_000 for row in rows)]))
    if is_complete:
        assert len(read(path)) == N_ROWS
    else:
        with pytest.raises(DataError, match="tempo") as caught:
            read(path)
        assert len(str(caught.value)) < 3000
