"""The raw columns, and the check of names and values against them."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from spotify_ml.data.schema import (
    AUDIO,
    COLUMNS,
    EXAMPLES,
    NAMES,
    NUMERIC,
    TARGET,
    TEXT,
    Violation,
    check_names,
    check_values,
)
from spotify_ml.data.sources import RawTracks
from spotify_ml.utils.errors import DataError

DATASET_HEADER = (
    "track_id,artists,album_name,track_name,popularity,duration_ms,explicit,danceability,energy,key,loudness,mode,"
    "speechiness,acousticness,instrumentalness,liveness,valence,tempo,time_signature,track_genre"
)
BOUNDED = [column for column in COLUMNS if np.isfinite(column.maximum)]


@pytest.fixture
def table(sample: RawTracks) -> pa.Table:
    return pa.Table.from_pandas(sample.frame.head(20), preserve_index=False)


def with_values(table: pa.Table, name: str, values: object) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def with_value(table: pa.Table, name: str, row: int, value: object) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    return with_values(table, name, pa.array(values))


def test_columns_are_those_of_the_dataset_in_its_order():
    assert ",".join(NAMES) == DATASET_HEADER


def test_every_column_is_text_or_numeric():
    assert sorted(TEXT + NUMERIC) == sorted(NAMES)


def test_audio_is_what_a_track_to_score_has_to_bring():
    assert len(AUDIO) == 14
    assert TARGET not in AUDIO


def test_complete_header_passes_in_any_order_and_with_further_columns():
    check_names(["extra", *reversed(NAMES), ""], "x.csv")


@pytest.mark.parametrize("name", NAMES)
def test_every_missing_column_is_named(name):
    with pytest.raises(DataError) as caught:
        check_names([other for other in NAMES if other != name], "x.csv")
    problems, _, _ = str(caught.value).partition("Its header is")
    assert problems.startswith("x.csv ")
    assert set(re.findall(r"\w+", problems)) & set(NAMES) == {name}


def test_all_missing_columns_are_named_at_once():
    with pytest.raises(DataError) as caught:
        check_names([name for name in NAMES if name not in ("tempo", "key", "artists")], "x.csv")
    problems, _, _ = str(caught.value).partition("Its header is")
    assert [name for name in NAMES if name in problems] == ["artists", "key", "tempo"]


def test_schema_accepts_its_own_sample(table, sample):
    frame, violations = check_values(table)
    assert violations == []
    pd.testing.assert_frame_equal(frame, sample.frame.head(20))


@pytest.mark.parametrize("column", BOUNDED, ids=lambda column: column.name)
def test_range_includes_both_of_its_ends(table, column):
    assert check_values(with_value(table, column.name, 0, column.minimum))[1] == []
    assert check_values(with_value(table, column.name, 0, column.maximum))[1] == []


@pytest.mark.parametrize("column", BOUNDED, ids=lambda column: column.name)
@pytest.mark.parametrize("beyond", ["below", "above"])
def test_value_just_outside_a_range_is_a_violation_of_that_row(table, column, beyond):
    step = 1 if column.kind.value == pa.int64() else 1e-6
    value = column.minimum - step if beyond == "below" else column.maximum + step
    (violation,) = check_values(with_value(table, column.name, 4, value))[1]
    assert (violation.column, violation.count) == (column.name, 1)
    assert violation.examples[0].startswith("row 5: ")


@pytest.mark.parametrize(
    "column", [column for column in COLUMNS if not column.nullable], ids=lambda column: column.name
)
def test_null_is_a_violation_where_a_row_may_not_leave_the_column_empty(table, column):
    (violation,) = check_values(with_value(table, column.name, 2, None))[1]
    assert (violation.column, violation.count) == (column.name, 1)
    assert violation.examples[0].startswith("row 3: ")


@pytest.mark.parametrize("column", [column for column in COLUMNS if column.nullable], ids=lambda column: column.name)
def test_names_may_be_null(table, column):
    frame, violations = check_values(with_value(table, column.name, 2, None))
    assert violations == []
    assert frame[column.name].isna().tolist() == [row == 2 for row in range(20)]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", [name for name in NUMERIC if name != "explicit"])
def test_no_numeric_column_takes_nan_or_infinity(table, name, value):
    values = table[name].cast(pa.float64()).to_pylist()
    values[0] = float(value)
    (violation,) = check_values(with_values(table, name, pa.array(values)))[1]
    assert (violation.column, violation.count) == (name, 1)


def test_violation_counts_all_rows_and_shows_the_first(table):
    (violation,) = check_values(with_values(table, "energy", pa.array([2.0] * 20)))[1]
    assert violation.count == 20
    assert [example.partition(":")[0] for example in violation.examples] == [f"row {n}" for n in range(1, EXAMPLES + 1)]


def test_row_numbers_are_those_of_the_file_where_rows_were_left_out(table):
    numbers = np.array([*range(1, 11), *range(14, 24)])
    (violation,) = check_values(with_value(table, "energy", 10, 2.0), numbers)[1]
    assert violation.examples[0].startswith("row 14: ")


def test_violation_reads_as_one_line():
    violation = Violation("energy", "outside 0 to 1", 1200, ("row 3: 1.7", "row 8: 2.0"))
    assert str(violation) == "energy: outside 0 to 1 in 1,200 rows (row 3: 1.7, row 8: 2.0)"


def test_violation_of_one_row_is_not_a_plural():
    assert " in 1 row (" in str(Violation("energy", "outside 0 to 1", 1, ("row 3: 1.7",)))
