"""Tests of reading raw rows in batches: nothing is lost, changed or misnumbered, wherever a batch ends."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from spotify_ml.data import batches
from spotify_ml.data.batches import Batch, open_input
from spotify_ml.data.schema import REQUIRED_AUDIO
from spotify_ml.data.scored import with_types
from spotify_ml.data.sources import RawTracks
from spotify_ml.utils.errors import DataError

TRICKY = ['Say "Hi"', "two\nlines", "a,b", "NA", "", "null", "Ünïcode 🎵", "two\r\nlines"]


@pytest.fixture
def rows(sample: RawTracks) -> pd.DataFrame:
    titles = TRICKY * 25
    return sample.frame.head(len(titles)).assign(track_name=titles, note=[f"n{row}" for row in range(len(titles))])


@pytest.fixture(params=[batches._BLOCK, 700])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks of all rows, and of about four."""
    monkeypatch.setattr(batches, "_BLOCK", request.param)
    monkeypatch.setattr(batches, "_BATCH_ROWS", 45_000 if request.param > 1000 else 4)
    return request.param


def _csv(rows: pd.DataFrame, path: Path, line_end: str = "\n") -> Path:
    rows.to_csv(path, index=False, lineterminator=line_end)
    return path


def _read(path: Path) -> tuple[list[Batch], pd.DataFrame]:
    rows = open_input(path)
    read = list(rows.batches())
    table = pa.concat_tables([with_types(batch.table, rows.schema)[0] for batch in read])
    return read, table.to_pandas()


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_csv_is_read_whole(rows: pd.DataFrame, tmp_path: Path, block: int, line_end: str):
    read, table = _read(_csv(rows, tmp_path / "rows.csv", line_end))
    assert (len(read) > 10) == (block < 1000)
    # An empty field is no value.
    expected = rows.assign(track_name=rows["track_name"].astype("str").mask(rows["track_name"] == ""))
    pd.testing.assert_frame_equal(table, expected.astype({"popularity": float}), check_dtype=False)
    assert [number for batch in read for number in batch.numbers] == list(range(1, len(rows) + 1))


def test_its_lines_are_those_of_the_file(rows: pd.DataFrame, tmp_path: Path, block: int):
    path = _csv(rows, tmp_path / "rows.csv")
    lines = [line for batch in _read(path)[0] for line in batch.lines]
    assert b"\n".join([open_input(path).header, *lines, b""]) == path.read_bytes()


def test_parquet_is_read_whole(rows: pd.DataFrame, tmp_path: Path, block: int):
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    read, table = _read(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(table, rows)
    assert sum(len(batch.lines) for batch in read) == len(rows)


def test_what_does_not_read_as_a_number_is_text_in_its_batch_and_empty_by_type(
    rows: pd.DataFrame, tmp_path: Path, block: int
):
    text = rows["tempo"].astype(object)
    text.iloc[100] = "fast"
    read, table = _read(_csv(rows.assign(tempo=text, key=rows["key"].astype(float)), tmp_path / "rows.csv"))
    (wrong,) = (batch for batch in read if batch.table.schema.field("tempo").type == pa.string())
    assert wrong.table["tempo"][int(100 - wrong.numbers[0] + 1)].as_py() == "fast"
    assert table.index[table["tempo"].isna()].tolist() == [100]
    assert table["key"].dtype == "int64"
    assert table["tempo"].drop(100).tolist() == rows["tempo"].reset_index(drop=True).drop(100).tolist()


def test_rows_with_too_few_or_too_many_fields_are_set_aside_and_numbered(
    rows: pd.DataFrame, tmp_path: Path, block: int
):
    path = _csv(rows.assign(track_name="x"), tmp_path / "rows.csv")
    lines = path.read_bytes().split(b"\n")
    lines[5], lines[150] = b"1,2,3", lines[150] + b",more"
    path.write_bytes(b"\n".join(lines))
    read, table = _read(path)
    assert [(row.number, row.text[:5]) for batch in read for row in batch.broken] == [
        (5, "1,2,3"),
        (150, lines[150].decode()[:5]),
    ]
    assert [number for batch in read for number in batch.numbers] == [
        number for number in range(1, len(rows) + 1) if number not in (5, 150)
    ]
    assert [line for batch in read for line in batch.lines] == [*lines[1:5], *lines[6:150], *lines[151:-1]]
    assert table["note"].tolist() == rows["note"].drop(rows.index[[4, 149]]).tolist()


def test_blank_lines_and_a_byte_order_mark_are_no_rows(rows: pd.DataFrame, tmp_path: Path):
    path = _csv(rows.assign(track_name="x"), tmp_path / "rows.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"n7\n", b"n7\n\n") + b"\n\n")
    read, table = _read(path)
    assert len(table) == len(rows) == sum(len(batch.lines) for batch in read)
    assert table.columns[0] == "track_id"


WRONG = {
    "empty": (lambda content: b"", "is empty"),
    "Latin-1": (lambda content: content.replace(b"n150", b"n\xe9"), "row 151 is not in UTF-8 .*0xe9"),
    "UTF-16": (lambda content: content.decode().encode("utf-16"), "not a CSV in UTF-8"),
    "old line ends": (lambda content: content.replace(b"\n", b"\r"), "whose lines end in a newline"),
    "one name twice": (lambda content: content.replace(b",note\n", b",key\n"), "columns of one name: 'key'"),
    "no tempo": (lambda content: content.replace(b"tempo", b"speed", 1), "lack the columns tempo"),
    "damaged Parquet": (lambda content: b"PAR1" + content, "damaged Parquet"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_named(rows: pd.DataFrame, tmp_path: Path, name: str):
    change, message = WRONG[name]
    path = _csv(rows.assign(track_name="x"), tmp_path / "rows.csv")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        list(open_input(path).batches())
    assert str(path) in str(caught.value)


def test_an_open_quote_does_not_swallow_a_large_file(
    rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batches, "_BLOCK", 700)
    monkeypatch.setattr(batches, "_LONGEST_ROW", 5000)
    path = _csv(rows.assign(track_name="x"), tmp_path / "rows.csv")
    path.write_bytes(path.read_bytes().replace(b"n20\n", b'"n20\n'))
    with pytest.raises(DataError, match="is a quote left open"):
        list(open_input(path).batches())


def test_a_quote_within_a_field_opens_nothing(rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "_BLOCK", 700)
    monkeypatch.setattr(batches, "_LONG_ROW", 300)
    monkeypatch.setattr(batches, "_LONGEST_ROW", 5000)
    titles = ["a,\nb" if number % 7 == 0 else f"n{number}" for number in range(len(rows))]
    path = _csv(rows.assign(track_name=titles), tmp_path / "rows.csv")
    path.write_bytes(path.read_bytes().replace(b"n20,", b'Mix 12",').replace(b"n20\n", b'Mix 12"\n'))
    found = pd.concat([batch.table.to_pandas() for batch in open_input(path).batches()])
    assert found["track_name"].tolist() == [*titles[:20], 'Mix 12"', *titles[21:]]


def test_every_audio_column_is_asked_for(rows: pd.DataFrame, tmp_path: Path):
    with pytest.raises(DataError) as caught:
        open_input(_csv(rows[["track_id"]], tmp_path / "rows.csv"))
    assert all(name in str(caught.value) for name in REQUIRED_AUDIO)
