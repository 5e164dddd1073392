"""Reading raw tracks: what is accepted, and what a bad file is told."""

import contextlib
import hashlib
import io
import os
import re
import threading
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spotify_ml.config.run import DataConfig
from spotify_ml.data import batches, sources
from spotify_ml.data.schema import EXAMPLES, NAMES, NUMERIC
from spotify_ml.data.sources import RawTracks, inspect_tracks, parse_tracks, read_file, read_tracks
from spotify_ml.utils.errors import DataError

PUBLIC_CSV_SHA256 = "b202fa49909b2d5cef71a04b1d21243cfeb36414535f2ca9272aa646721177bd"
PUBLIC_CSV_BYTES = 20_118_244
N_ROWS = 40

File = Callable[[str | bytes], Path]


def read(path: Path) -> pd.DataFrame:
    return read_tracks(DataConfig(name="file", path=str(path))).frame


def rejected(path: Path) -> str:
    """Return what reading a bad file says; it always names the file."""
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    return message


def found(message: str) -> dict[str, tuple[int, list[int]]]:
    """Return the count and the example row numbers of each violation in a message, by column."""
    lines = re.findall(r"^  (\w+): .+? in ([\d,]+) rows? \((.*)\)$", message, flags=re.MULTILINE)
    return {
        name: (int(count.replace(",", "")), [int(row) for row in re.findall(r"(?:^|, )row (\d+): ", examples)])
        for name, count, examples in lines
    }


def as_csv(frame: pd.DataFrame, **options: object) -> str:
    return frame.to_csv(index=False, lineterminator="\n", **options)


def as_parquet(table: pa.Table | pd.DataFrame) -> bytes:
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def with_values(frame: pd.DataFrame, column: str, rows: Iterable[int], value: object) -> pd.DataFrame:
    """Return a frame with a value at row numbers counted from 1, as messages count them."""
    changed = frame.astype({column: object})
    changed.loc[[row - 1 for row in rows], column] = value
    return changed


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    # One of every few, so that all genres are there.
    return sample.frame.iloc[:: len(sample.frame) // N_ROWS].head(N_ROWS).reset_index(drop=True)


@pytest.fixture(scope="module")
def csv_text(tracks: pd.DataFrame) -> str:
    return as_csv(tracks)


@pytest.fixture(scope="module")
def plain_lines(tracks: pd.DataFrame) -> list[str]:
    """Header and a dozen rows without a quote, so that commas and line ends mean what they say."""
    return as_csv(tracks.head(12).assign(artists="a", album_name="b", track_name="c")).splitlines()


@pytest.fixture(scope="module")
def parquet(tracks: pd.DataFrame) -> bytes:
    return as_parquet(tracks)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> File:
    """Write content to a file whose name says nothing of its format."""
    path = tmp_path_factory.mktemp("sources") / "some_tracks"

    def write(content: str | bytes) -> Path:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# --- no table at all ---------------------------------------------------------------------------------------------


def test_missing_file_says_how_to_name_another(tmp_path):
    message = rejected(tmp_path / "nowhere.csv")
    assert "does not exist" in message
    assert "data.path=" in message


def test_missing_full_dataset_says_how_to_fetch_it(tmp_path):
    with pytest.raises(DataError, match=r"download_data\.py.*SPOTIFY_TRACKS_PATH"):
        read_tracks(DataConfig(name="full", path=str(tmp_path / "dataset.csv")))


def test_folder_says_to_name_a_file_in_it(tmp_path):
    assert "data.path=" in rejected(tmp_path)


def test_file_in_place_of_a_folder_cannot_be_read(file):
    assert "data.path=" in rejected(file("x") / "tracks.csv")


def test_path_too_long_for_the_system_cannot_be_read(tmp_path):
    rejected(tmp_path / ("x" * 300))


def test_empty_file_says_so(file):
    assert "is empty" in rejected(file(""))


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_header_without_rows_says_so(file, csv_text, ending):
    assert "no rows" in rejected(file(csv_text.partition("\n")[0] + ending))


def test_parquet_without_rows_says_so(file, tracks):
    assert "no rows" in rejected(file(as_parquet(tracks.head(0))))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01", id="png"),
        pytest.param(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", id="gzip"),
        pytest.param(b"PK\x03\x04\x14\x00\x00\x00\x08\x00\x9d\xa1", id="zip"),
    ],
)
def test_binary_file_says_which_format_is_read(file, content):
    assert "comma-separated UTF-8" in rejected(file(content))


def test_other_text_names_the_columns_it_lacks(file):
    message = rejected(file("just a note\n"))
    assert all(name in message for name in NAMES)


def test_blank_lines_are_an_empty_file(file):
    assert "is empty" in rejected(file("\n\n"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encoding_says_to_save_as_utf8(file, csv_text, encoding):
    assert "comma-separated UTF-8" in rejected(file(csv_text.encode(encoding)))


def test_latin1_names_the_row_and_says_to_save_as_utf8(file, tracks):
    frame = with_values(tracks.assign(track_name="x", artists="x", album_name="x"), "track_name", [30], "Café")
    message = rejected(file(as_csv(frame).encode("latin-1")))
    assert "row 30 " in message
    assert "comma-separated UTF-8" in message


# --- the header --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_missing_column_is_named(file, tracks, write):
    problems = rejected(file(write(tracks.drop(columns="tempo")))).partition("Its header is")[0]
    assert "missing" in problems
    assert [name for name in NAMES if name in problems] == ["tempo"]


@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_renamed_column_is_named_with_the_nearest_that_is_there(file, tracks, write):
    message = rejected(file(write(tracks.rename(columns={"danceability": "dancability"}))))
    assert re.search(r"danceability.*did you mean 'dancability'", message)


def test_column_that_stands_twice_is_named(file, csv_text):
    header, _, rows = csv_text.partition("\n")
    twice = "\n".join(f"{line},{end}" for line, end in [(header, "energy"), *((row, "0.5") for row in rows.split())])
    problems = rejected(file(twice)).partition("Its header is")[0]
    assert "missing" not in problems
    assert [name for name in NAMES if name in problems] == ["energy"]


def test_column_written_over_another_names_both(file, csv_text):
    problems = rejected(file(csv_text.replace("energy,key", "energy,energy", 1))).partition("Its header is")[0]
    assert [name for name in NAMES if name in problems] in (["energy", "key"], ["key", "energy"])


def test_parquet_of_another_table_names_the_columns_it_lacks(file):
    message = rejected(file(as_parquet(pa.table({"city": ["Oslo"], "people": [700_000]}))))
    assert all(name in message for name in NAMES)
    assert "'city', 'people'" in message


# --- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("energy", 1.7),
        ("energy", -0.1),
        ("popularity", 101),
        ("popularity", -1),
        ("duration_ms", -5),
        ("key", 12),
        ("mode", 2),
        ("tempo", 1000),
        ("loudness", 50),
        ("time_signature", 8),
    ],
)
@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_value_out_of_range_names_column_and_row(file, tracks, write, column, value):
    frame = with_values(tracks, column, [7], value).astype({column: tracks[column].dtype}, errors="ignore")
    message = rejected(file(write(frame)))
    assert found(message) == {column: (1, [7])}
    assert str(value) in message
    assert "Mend or remove" in message


@pytest.mark.parametrize("text", ["loud", "1,5", "1_000", "1.2.3", "--"])
@pytest.mark.parametrize("column", ["energy", "popularity", "duration_ms", "explicit"])
def test_text_in_a_numeric_column_is_counted_with_example_rows(file, tracks, column, text):
    message = rejected(file(as_csv(with_values(tracks, column, [3, 8, 9, 21], text))))
    assert found(message) == {column: (4, [3, 8, 9])}
    assert repr(text) in message


@pytest.mark.parametrize("text", ["", "NaN", "nan", " "])
@pytest.mark.parametrize("column", ["energy", "popularity", "duration_ms", "explicit"])
def test_empty_number_names_column_and_row(file, tracks, column, text):
    message = rejected(file(as_csv(with_values(tracks, column, [5], text))))
    assert found(message) == {column: (1, [5])}
    assert "empty" in message


@pytest.mark.parametrize("text", ["inf", "-inf", "1e400"])
def test_infinity_is_no_number(file, tracks, text):
    assert found(rejected(file(as_csv(with_values(tracks, "tempo", [5], text))))) == {"tempo": (1, [5])}


@pytest.mark.parametrize("write", [as_csv, as_parquet])
@pytest.mark.parametrize("missing", [np.nan, None])
def test_missing_number_names_column_and_row(file, tracks, write, missing):
    frame = with_values(tracks, "valence", [5, 6], missing).astype({"valence": float})
    assert found(rejected(file(write(frame)))) == {"valence": (2, [5, 6])}


@pytest.mark.parametrize("write", [as_csv, as_parquet])
@pytest.mark.parametrize("column", ["track_id", "track_genre"])
@pytest.mark.parametrize("missing", [None, ""])
def test_every_track_has_an_id_and_a_genre(file, tracks, write, column, missing):
    frame = with_values(tracks, column, [5], missing)
    assert found(rejected(file(write(frame)))) == {column: (1, [5])}


@pytest.mark.parametrize("text", ["4.5", "1e-3"])
def test_fraction_in_a_column_of_whole_numbers(file, tracks, text):
    assert found(rejected(file(as_csv(with_values(tracks, "key", [5], text))))) == {"key": (1, [5])}


@pytest.mark.parametrize("text", ["yes", "2", "0.5", "t"])
def test_explicit_is_true_or_false(file, tracks, text):
    assert found(rejected(file(as_csv(with_values(tracks, "explicit", [5], text))))) == {"explicit": (1, [5])}


def test_header_repeated_in_the_middle_is_found_by_its_row(file, csv_text):
    header, *rows = csv_text.splitlines(keepends=True)
    message = rejected(file("".join([header, *rows[:9], header, *rows[9:]])))
    assert found(message) == dict.fromkeys(NUMERIC, (1, [10]))


def test_two_files_put_together_are_found_by_the_second_header(file, csv_text):
    assert found(rejected(file(csv_text + csv_text))) == dict.fromkeys(NUMERIC, (1, [N_ROWS + 1]))


@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_all_violations_are_listed_together(file, tracks, write):
    frame = with_values(tracks, "energy", [1, 2, 30, 40], 1.7).astype({"energy": float})
    frame = with_values(frame, "popularity", [2], 101).astype({"popularity": float})
    frame = with_values(frame, "tempo", [2, 17], np.nan).astype({"tempo": float})
    expected = {"energy": (4, [1, 2, 30]), "popularity": (1, [2]), "tempo": (2, [2, 17])}
    assert found(rejected(file(write(frame)))) == expected


def test_two_kinds_of_violation_of_one_column_are_both_listed(file, tracks):
    frame = with_values(with_values(tracks, "energy", [4], 1.7), "energy", [9], "loud")
    message = rejected(file(as_csv(frame)))
    assert "row 4: '1.7'" in message
    assert "row 9: 'loud'" in message


@pytest.mark.parametrize("write", [as_csv, as_parquet], ids=["csv", "parquet"])
def test_rows_that_keep_to_the_schema_are_told_from_the_others(file, tracks, write):
    broken = tracks.astype({"key": "Int64", "explicit": "boolean"})
    broken.loc[[3, 8], "key"] = pd.NA
    broken.loc[[8, 9], "explicit"] = pd.NA
    broken.loc[21, "energy"] = 1.5
    found, violations = inspect_tracks(DataConfig(name="file", path=str(file(write(broken)))))
    pd.testing.assert_frame_equal(found.frame, tracks.drop(index=[3, 8, 9, 21]).reset_index(drop=True))
    assert [(each.column, each.rows.tolist()) for each in violations] == [
        ("explicit", [8, 9]),
        ("energy", [21]),
        ("key", [3, 8]),
    ]


def test_broken_rows_of_a_csv_are_left_out_by_their_place_in_the_file(file, tracks, plain_lines):
    lines = [*plain_lines]
    lines[5] += ",one,field,too,many"
    lines[10] = lines[10].replace(",True,", ",perhaps,").replace(",False,", ",perhaps,")
    found, violations = inspect_tracks(DataConfig(name="file", path=str(file("\n".join(lines) + "\n"))))
    assert [each.column for each in violations] == ["row", "explicit"]
    assert found.frame["track_id"].tolist() == tracks["track_id"].head(12).drop(index=[4, 9]).tolist()


def test_file_without_any_sound_row_says_what_is_wrong(file, tracks):
    path = file(as_csv(tracks.assign(energy=2.0)))
    with pytest.raises(DataError, match=f"energy: outside 0 to 1 in {N_ROWS} rows"):
        inspect_tracks(DataConfig(name="file", path=str(path)))


def test_row_numbers_hold_in_a_large_file(file, sample):
    # Above the size of one block of the parser, and in more than one thread.
    frame = with_values(pd.concat([sample.frame] * 3, ignore_index=True), "energy", [9_000, 17_999], 1.7)
    lines = as_csv(frame).splitlines()
    lines[12_345] += ",x"
    assert found(rejected(file("\n".join(lines)))) == {"row": (1, [12_345]), "energy": (2, [9_000, 17_999])}


# --- broken rows -------------------------------------------------------------------------------------------------

FAULTY = ["energy", "popularity", "explicit"]
FAULTS = st.sampled_from(["none", "none", "none", "few", "many", "blank line before", *FAULTY])


def break_lines(rows: list[str], faults: list[str]) -> str:
    """Return rows of fields with a fault in each row."""
    lines = []
    for row, fault in zip(rows, faults, strict=True):
        fields = row.split(",")
        if fault == "few":
            fields = fields[:-1]
        elif fault == "many":
            fields = [*fields, "x"]
        elif fault in NAMES:
            fields[NAMES.index(fault)] = "broken"
        elif fault == "blank line before":
            lines.append("")
        lines.append(",".join(fields))
    return "\n".join(lines) + "\n"


@settings(deadline=None, max_examples=60)
@given(faults=st.lists(FAULTS, min_size=12, max_size=12))
@example(faults=["few", "energy", "many", *["none"] * 8, "energy"])
@example(faults=["few"] * 12)
def test_row_numbers_are_those_of_the_file_whatever_else_is_broken(file, plain_lines, faults):
    header, *rows = plain_lines
    path = file(header + "\n" + break_lines(rows, faults))
    expected = {}
    for column, kinds in {"row": ["few", "many"], **{name: [name] for name in FAULTY}}.items():
        numbers = [number for number, fault in enumerate(faults, start=1) if fault in kinds]
        if numbers:
            expected[column] = (len(numbers), numbers[:EXAMPLES])
    if expected:
        assert found(rejected(path)) == expected
    else:
        assert len(read(path)) == 12


def test_line_breaks_in_titles_do_not_shift_row_numbers(file, tracks):
    frame = with_values(tracks, "track_name", [2, 3], 'one\ntwo\r\n"three", four')
    lines = as_csv(with_values(frame, "energy", [30], 1.7)).split("\n")
    lines[-4] += ",x"
    assert found(rejected(file("\n".join(lines)))) == {"row": (1, [N_ROWS - 2]), "energy": (1, [30])}


def test_line_breaks_in_titles_are_read_across_the_blocks_of_a_large_file(file, sample):
    frame = pd.concat([sample.frame] * 3, ignore_index=True).assign(track_name="one,\ntwo\n\nthree")
    pd.testing.assert_frame_equal(read(file(as_csv(frame))), frame)


def test_quote_left_open_is_told(file, csv_text):
    lines = csv_text.splitlines()
    lines[10] = '"' + lines[10]
    message = rejected(file("\n".join(lines) + "\n"))
    assert found(message)["row"] == (1, [10])
    assert "quote" in message


@settings(deadline=None, max_examples=100)
@given(length=st.integers(min_value=1, max_value=400), whole_rows=st.integers(min_value=0, max_value=11))
def test_file_cut_off_inside_a_row_names_that_row(file, plain_lines, length, whole_rows):
    row = plain_lines[whole_rows + 1]
    # A cut in the last field cannot be seen: it is text, and a file need not end with a line end.
    cut = row[: 1 + length % (row.rindex(",") + 1)]
    message = rejected(file("\n".join([*plain_lines[: whole_rows + 1], cut])))
    (numbers,) = {tuple(rows) for _, rows in found(message).values()}
    assert numbers == (whole_rows + 1,)


def test_file_cut_off_inside_a_quote_names_that_row(file, tracks):
    content = as_csv(with_values(tracks, "track_name", [N_ROWS], "one, two\nthree"))
    assert found(rejected(file(content.partition("one, two\nth")[0] + "one, two\nth"))) == {"row": (1, [N_ROWS])}


@settings(deadline=None, max_examples=60)
@given(share=st.floats(min_value=0, max_value=1, exclude_max=True))
def test_parquet_cut_off_anywhere_says_it_is_damaged(file, parquet, share):
    end = max(4, int(share * len(parquet)))
    assert "damaged" in rejected(file(parquet[:end]))


@pytest.mark.parametrize("name", NAMES)
def test_parquet_with_a_damaged_name_is_read_or_refused_but_never_crashes(file, parquet, name):
    for place in re.finditer(name.encode(), parquet):
        path = file(parquet[: place.start()] + b"\x80" + parquet[place.start() + 1 :])
        with contextlib.suppress(DataError):
            assert tuple(read(path).columns) == NAMES


@settings(deadline=None, max_examples=200, derandomize=True)
@given(position=st.integers(min_value=4), junk=st.binary(min_size=1, max_size=30))
def test_overwritten_parquet_is_read_or_refused_but_never_crashes(file, parquet, position, junk):
    content = bytearray(parquet)
    start = 4 + position % (len(content) - 4)
    content[start : start + len(junk)] = junk
    path = file(bytes(content))
    try:
        tracks_read = read(path)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert tuple(tracks_read.columns) == NAMES


@pytest.mark.parametrize("kind", [pa.binary(), pa.string()], ids=["binary", "string"])
def test_parquet_text_that_is_not_utf8_is_refused(file, tracks, kind):
    table = pa.Table.from_pandas(tracks, preserve_index=False)
    table = table.set_column(1, "artists", pa.array([b"Caf\xe9"] * N_ROWS).view(kind))
    rejected(file(as_parquet(table)))


@pytest.mark.parametrize("column", ["artists", "track_genre"])
@pytest.mark.parametrize("value", [[["pop"]], {"name": "pop"}, True], ids=["list of lists", "struct", "flag"])
def test_parquet_text_column_of_another_type_is_named(file, tracks, column, value):
    table = pa.Table.from_pandas(tracks, preserve_index=False)
    table = table.set_column(table.schema.get_field_index(column), column, pa.array([value] * N_ROWS))
    assert column in rejected(file(as_parquet(table)))


@pytest.mark.parametrize(
    "value", [[0.5], pd.Timestamp("2022-01-01"), pd.Timedelta("3min")], ids=["list", "time", "span"]
)
def test_parquet_numeric_column_of_another_type_is_named(file, tracks, value):
    table = pa.Table.from_pandas(tracks, preserve_index=False)
    table = table.set_column(table.schema.get_field_index("energy"), "energy", pa.array([value] * N_ROWS))
    assert found(rejected(file(as_parquet(table)))) == {"energy": (N_ROWS, [1, 2, 3])}


# --- what is accepted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index"])
@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_row_index_in_the_file_changes_nothing(file, tracks, write, name):
    indexed = tracks.copy()
    indexed.insert(0, name, range(N_ROWS))
    pd.testing.assert_frame_equal(read(file(write(indexed))), tracks)


@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_further_columns_change_nothing(file, tracks, write):
    pd.testing.assert_frame_equal(read(file(write(tracks.assign(year=2022, note="ü")))), tracks)


@pytest.mark.parametrize("write", [as_csv, as_parquet])
@settings(deadline=None, max_examples=8)
@given(order=st.permutations(NAMES))
def test_columns_may_stand_in_any_order(file, tracks, write, order):
    pd.testing.assert_frame_equal(read(file(write(tracks[order]))), tracks)


@pytest.mark.parametrize(
    "rewrite",
    [
        pytest.param(lambda text: "\ufeff" + text, id="byte order mark"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(lambda text: "\ufeff" + text.replace("\n", "\r\n"), id="byte order mark and CRLF"),
        pytest.param(lambda text: text.removesuffix("\n"), id="no final newline"),
        pytest.param(lambda text: text + "\n\n", id="blank lines at the end"),
        pytest.param(lambda text: text.replace("\n", "\n\n", 1), id="blank line after the header"),
    ],
)
def test_ways_of_writing_a_csv_change_nothing(file, tracks, csv_text, rewrite):
    pd.testing.assert_frame_equal(read(file(rewrite(csv_text))), tracks)


def test_quoted_header_and_fields_change_nothing(file, tracks):
    quoted = as_csv(tracks, quoting=1)
    assert quoted.startswith('"track_id","artists"')
    pd.testing.assert_frame_equal(read(file(quoted)), tracks)


@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_titles_survive_as_they_are(file, tracks, write):
    titles = [
        'a "q"',
        "one, two",
        "line\nbreak",
        "carriage\r\nreturn",
        '"',
        ",",
        "'",
        " led by a space",
        "日本語 🎵",
        "\\n",
    ]
    assert read(file(write(tracks.head(len(titles)).assign(track_name=titles))))["track_name"].tolist() == titles


@pytest.mark.parametrize("column", ["artists", "album_name", "track_name", "track_genre"])
@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_names_that_look_like_no_name_survive_as_text(file, tracks, write, column):
    names = ["NA", "N/A", "#N/A", "null", "NULL", "None", "nan", "NaN", "-", "true", "1e5", "007"]
    assert read(file(write(tracks.head(len(names)).assign(**{column: names}))))[column].tolist() == names


@pytest.mark.parametrize("write", [as_csv, as_parquet])
@pytest.mark.parametrize("empty", [None, ""])
def test_empty_names_are_null_in_either_format(file, tracks, write, empty):
    names = read(file(write(with_values(tracks, "artists", [4], empty))))["artists"]
    assert names.isna().tolist() == [row == 3 for row in range(N_ROWS)]


@pytest.mark.parametrize(
    ("true", "false"), [("True", "False"), ("true", "false"), ("TRUE", "FALSE"), ("1", "0"), ("1.0", "0.0"), (1, 0)]
)
def test_explicit_may_be_written_in_several_ways(file, tracks, true, false):
    written = tracks.assign(explicit=tracks["explicit"].map({True: true, False: false}))
    assert tracks["explicit"].nunique() == 2
    pd.testing.assert_frame_equal(read(file(as_csv(written))), tracks)


@pytest.mark.parametrize(
    "types",
    [
        pytest.param({"track_genre": pa.dictionary(pa.int32(), pa.string())}, id="dictionary"),
        pytest.param({"artists": pa.large_string(), "track_id": pa.large_string()}, id="large_string"),
        pytest.param({"artists": pa.string_view()}, id="string_view"),
        pytest.param({"duration_ms": pa.float64(), "key": pa.float64(), "popularity": pa.float64()}, id="float64"),
        pytest.param({"popularity": pa.int8(), "mode": pa.int8(), "time_signature": pa.uint8()}, id="int8"),
        pytest.param({"explicit": pa.int8()}, id="explicit as int8"),
        pytest.param({"explicit": pa.string(), "energy": pa.string(), "key": pa.string()}, id="numbers as text"),
    ],
)
def test_parquet_types_change_nothing(file, tracks, types):
    table = pa.Table.from_pandas(tracks, preserve_index=False)
    for name, kind in types.items():
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))
    content = as_parquet(table)
    stored = pq.read_schema(pa.BufferReader(content))
    assert all(stored.field(name).type == kind for name, kind in types.items())
    pd.testing.assert_frame_equal(read(file(content)), tracks)


def test_whole_numbers_written_as_floats_change_nothing(file, sample):
    frame = sample.frame
    pd.testing.assert_frame_equal(read(file(as_csv(frame.astype({"duration_ms": float, "key": float})))), frame)


def test_title_of_a_few_megabytes_is_read_or_refused_by_its_row(file, tracks):
    title = "x" * 3_000_000
    try:
        names = read(file(as_csv(with_values(tracks, "track_name", [4], title))))["track_name"]
    except DataError as error:
        assert "row 4" in str(error)  # noqa: PT017
    else:
        assert names[3] == title


def test_sample_reads_the_same_from_csv(file, sample):
    pd.testing.assert_frame_equal(read(file(as_csv(sample.frame))), sample.frame)


def test_digest_is_of_the_bytes_of_the_file(file, csv_text):
    raw = read_tracks(DataConfig(name="file", path=str(file(csv_text))))
    assert raw.sha256 == hashlib.sha256(csv_text.encode()).hexdigest()


def test_path_is_absolute_whatever_was_given(file, csv_text, monkeypatch):
    path = file(csv_text)
    monkeypatch.chdir(path.parent)
    assert read_tracks(DataConfig(name="file", path=path.name)).path == path.resolve()


def test_sample_is_six_thousand_complete_tracks_of_six_genres(sample):
    assert sample.frame["track_genre"].value_counts().to_dict() == dict.fromkeys(
        ("country", "deep-house", "dubstep", "hip-hop", "metal", "rock"), 1000
    )
    assert not sample.frame.isna().any(axis=None)


@pytest.mark.full
def test_full_csv_is_the_public_one_byte_for_byte(full_csv):
    content = full_csv.read_bytes()
    assert len(content) == PUBLIC_CSV_BYTES
    assert hashlib.sha256(content).hexdigest() == PUBLIC_CSV_SHA256


@pytest.mark.full
def test_full_dataset_reads_the_same_from_csv(full, full_csv):
    raw = read_tracks(DataConfig(name="full", path=str(full_csv)))
    assert raw.sha256 == PUBLIC_CSV_SHA256
    pd.testing.assert_frame_equal(raw.frame, full.frame)


def test_a_file_that_is_written_to_while_it_is_read_is_refused(
    csv_text: str, file: File, monkeypatch: pytest.MonkeyPatch
):
    path, look = file(csv_text), os.fstat

    def look_and_append(descriptor: int) -> os.stat_result:
        before = look(descriptor)
        with path.open("a") as end:
            end.write(csv_text.splitlines(keepends=True)[1])
        return before

    monkeypatch.setattr(sources.os, "fstat", look_and_append)
    assert "while it was read" in rejected(path)


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(
    csv_text: str, file: File, tracks: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    path, look = file(csv_text), os.fstat

    def look_and_replace(descriptor: int) -> os.stat_result:
        other = tmp_path / "other.csv"
        other.write_text(csv_text.splitlines(keepends=True)[0])
        other.replace(path)
        return look(descriptor)

    monkeypatch.setattr(sources.os, "fstat", look_and_replace)
    assert len(read(path)) == len(tracks)


def test_a_pipe_is_read_to_its_end(csv_text: str, tracks: pd.DataFrame, tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=[csv_text])
    writer.start()
    assert len(read(path)) == len(tracks)
    writer.join()


# --- files that are not held in memory ---------------------------------------------------------------------------


@pytest.fixture
def nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_KEPT", 0)
    # So that a small file has many blocks as well.
    monkeypatch.setattr(batches, "_BLOCK", 2**16)


@pytest.mark.usefixtures("nothing_is_held")
@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_a_file_that_is_not_held_reads_the_same(file: File, sample: RawTracks, write: Callable[..., str | bytes]):
    path = file(write(sample.frame))
    raw = read_tracks(DataConfig(name="file", path=str(path)))
    pd.testing.assert_frame_equal(raw.frame, sample.frame)
    assert raw.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.usefixtures("nothing_is_held")
def test_of_a_csv_that_is_not_held_few_blocks_are_in_memory(file: File, sample: RawTracks):
    path = file(as_csv(pd.concat([sample.frame] * 10)))
    found = read_file(DataConfig(name="file", path=str(path)))
    tracemalloc.start()
    try:
        parse_tracks(*found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2


@pytest.mark.usefixtures("nothing_is_held")
@pytest.mark.parametrize("value", ["0.5", "loud"])
def test_a_file_that_is_changed_between_hashing_and_parsing_is_refused(file: File, csv_text: str, value: str):
    path = file(csv_text + "\n")
    raw, content = read_file(DataConfig(name="file", path=str(path)))
    rows = csv_text.splitlines(keepends=True)
    path.write_text("".join([*rows[:-1], rows[1].replace(rows[1].split(",")[-4], value)]))
    with pytest.raises(DataError, match="while it was read"):
        parse_tracks(raw, content)


@pytest.mark.usefixtures("nothing_is_held")
def test_a_file_that_is_gone_before_it_is_parsed_says_so(file: File, csv_text: str):
    path = file(csv_text)
    found = read_file(DataConfig(name="file", path=str(path)))
    path.unlink()
    with pytest.raises(DataError, match="can no longer be read"):
        parse_tracks(*found)


def test_what_is_wrong_with_a_file_is_told_whether_it_is_held_or_not(
    file: File, tracks: pd.DataFrame, csv_text: str, monkeypatch: pytest.MonkeyPatch
):
    of_text = with_values(tracks, "energy", [3, 9], "loud")
    contents = [
        as_csv(with_values(of_text, "tempo", [9], 1000)),
        as_csv(with_values(tracks, "valence", [5], 1.7)),
        as_csv(tracks.drop(columns="tempo")),
        csv_text.replace("\n", ",x\n", 2),
        csv_text.partition("\n")[0],
        as_csv(tracks.assign(artists="x", album_name="x", track_name="Café")).encode("latin-1"),
    ]
    told = [rejected(file(content)) for content in contents]
    monkeypatch.setattr(sources, "_KEPT", 0)
    assert [rejected(file(content)) for content in contents] == told


@pytest.mark.usefixtures("nothing_is_held")
def test_a_pipe_is_held_whatever_its_size(csv_text: str, tracks: pd.DataFrame, tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=[csv_text])
    writer.start()
    pd.testing.assert_frame_equal(read(path), tracks)
    writer.join()
