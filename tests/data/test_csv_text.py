"""Tests of what is written as CSV: every reader reads back what was written, whatever stands in the text."""

import uuid
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spotify_ml.data.csv_text import csv_header, csv_lines, split_rows, write_csv
from spotify_ml.data.etl import clean
from spotify_ml.data.outputs import write_data
from spotify_ml.data.sources import RawTracks
from spotify_ml.evaluation.coverage import FILE, write_coverage

PIECES = ["\r", "\n", "\r\n", '"', ",", ";", " ", "\t", "\u2028", "\x85", "\x0b", "'", "\\", "#", "é", "🎵", "NA", "a"]
# An empty text is no value, as it is wherever tracks are read.
TEXT = st.none() | st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
COLUMNS = ("one", "two")


def by_pandas(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(COLUMNS, "str"))


def by_arrow(path: Path) -> pd.DataFrame:
    return pacsv.read_csv(
        path,
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(COLUMNS, pa.string()), null_values=[""], strings_can_be_null=True
        ),
    ).to_pandas()


def by_polars(path: Path) -> pd.DataFrame:
    return pl.read_csv(path, schema_overrides=dict.fromkeys(COLUMNS, pl.String)).to_pandas()


def by_duckdb(path: Path) -> pd.DataFrame:
    # Left to guess, it may take apostrophes for quotes, or a semicolon in a title for what separates columns.
    told = {"header": True, "delimiter": ",", "quotechar": '"', "escapechar": '"'}
    return duckdb.read_csv(str(path), dtype=dict.fromkeys(COLUMNS, "VARCHAR"), **told).df()


READERS = [by_pandas, by_arrow, by_polars, by_duckdb]


def write_table(frame: pd.DataFrame, path: Path) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    path.write_bytes(b"".join([csv_header(table.column_names), b"\n", *(line + b"\n" for line in csv_lines(table))]))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv") / "rows.csv"


@pytest.mark.parametrize("write", [write_csv, write_table])
@settings(deadline=None, max_examples=30)
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
@example(rows=[("lone\rreturn", "line\nfeed"), ("both\r\n", None), (" blanks ", 'say "hi"'), (None, "NA")])
def test_every_reader_reads_back_what_was_written(
    path: Path, write: Callable[[pd.DataFrame, Path], None], rows: list[tuple[str | None, str | None]]
):
    frame = pd.DataFrame(
        {"number": range(len(rows)), **{name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}}
    )
    write(frame.astype(dict.fromkeys(COLUMNS, "str")), path)
    for read in READERS:
        found = read(path)
        assert found["number"].tolist() == frame["number"].tolist(), read
        for place, name in enumerate(COLUMNS):
            values = [None if pd.isna(value) else value for value in found[name]]
            assert values == [row[place] for row in rows], (read, name)


@settings(deadline=None, max_examples=30)
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_rows_are_divided_where_readers_divide_them(path: Path, rows: list[tuple[str | None, str | None]]):
    table = pa.table({"number": range(len(rows)), "text": pa.array([row[0] for row in rows], pa.string())})
    lines = csv_lines(table)
    assert len(lines) == len(rows)
    for end in (b"\n", b"\r\n", b"\r"):
        assert split_rows(end.join([*lines, b""])) == lines


def test_the_files_of_a_run_are_read_back(sample: RawTracks, tmp_path: Path):
    titles = ["lone\rreturn", "line\nfeed", "both\r\n", " blanks ", 'say "hi", he said', "\u2028"]
    raw = sample.frame.head(len(titles)).assign(track_name=titles, track_genre=titles)
    tracks = clean(raw, "rows").frame
    write_data(tmp_path, tracks, {"train": tracks[["energy"]]})
    cleaned = pd.read_csv(tmp_path / "cleaned_spotify_data.csv", keep_default_na=False, na_values=[""])
    assert cleaned["track_name"].tolist() == titles
    write_coverage(tmp_path, pd.DataFrame({"genre": titles, "level": 0.9}))
    assert pd.read_csv(tmp_path / FILE)["genre"].tolist() == titles


def test_what_is_no_single_value_is_written_as_json():
    number = uuid.UUID(int=7)
    table = pa.table(
        {
            "list": [["a", 'b"'], None],
            "object": [{"x": 1, "y": b"z"}, None],
            "view": pa.array(["v", None], pa.string_view()),
            "uuid": pa.array([number.bytes, None], pa.uuid()),
            "bytes": [b"\xff\x00", "é".encode()],
        }
    )
    frame = pd.read_csv(pa.BufferReader(b"\n".join([csv_header(table.column_names), *csv_lines(table)])))
    assert frame.iloc[0].tolist() == ['["a", "b\\""]', '{"x": 1, "y": "z"}', "v", str(number), "ff00"]
    assert frame["bytes"][1] == "é"
    assert frame.drop(columns="bytes").iloc[1].isna().all()


def test_times_that_python_has_no_value_for_are_whole_numbers():
    times = pa.array([2**62, 5], pa.timestamp("us"))
    table = pa.table(
        {"listed": pa.ListArray.from_arrays([0, 2, 2], times), "named": pa.StructArray.from_arrays([times], ["at"])}
    )
    assert csv_lines(table) == [b'"[4611686018427387904, 5]","{""at"": 4611686018427387904}"', b'"[]","{""at"": 5}"']
