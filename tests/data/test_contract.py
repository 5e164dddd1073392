"""Tests of what a model takes as raw rows, in whatever types they come, and of what it refuses."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from spotify_ml.data.contract import check_rows, scoring_rows
from spotify_ml.data.schema import AUDIO, TEXT
from spotify_ml.data.sources import RawTracks
from spotify_ml.utils.errors import DataError


@pytest.fixture
def rows(sample: RawTracks) -> pd.DataFrame:
    return sample.frame.head(20).drop(columns="popularity")


FORMS = {
    "integers as floats": lambda rows: rows.astype({"key": float, "duration_ms": float, "mode": float}),
    "flags as numbers": lambda rows: rows.astype({"explicit": int}),
    "flags as words": lambda rows: rows.assign(explicit=rows["explicit"].map({True: "True", False: "false"})),
    "nullable types": lambda rows: rows.convert_dtypes(),
    "numbers as text": lambda rows: rows.astype(dict.fromkeys(AUDIO, "str")),
    "objects": lambda rows: rows.astype(object),
    "categories": lambda rows: rows.astype(dict.fromkeys([*TEXT, "key"], "category")),
    "another order": lambda rows: rows[list(rows.columns)[::-1]],
    "further columns": lambda rows: rows.assign(note="extra", popularity=200),
    "another index": lambda rows: rows.set_axis([7] * len(rows)),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_the_same_in_every_form(rows: pd.DataFrame, form: str):
    checked = check_rows(FORMS[form](rows))
    assert checked.problems == []
    pd.testing.assert_frame_equal(checked.frame(), scoring_rows(rows).frame())


def test_rows_are_typed_in_schema_order(rows: pd.DataFrame):
    scored = scoring_rows(rows).frame()
    assert set(scored.columns) == {*AUDIO, *TEXT}
    np.testing.assert_array_equal(scored[list(AUDIO)], rows[list(AUDIO)].astype(float))
    assert (scored["artists"] == rows["artists"]).all()


def test_text_may_be_absent(rows: pd.DataFrame):
    assert scoring_rows(rows[list(AUDIO)]).frame()[list(TEXT)].isna().all(axis=None)


def test_every_absent_column_is_named_with_the_nearest_that_is_there(rows: pd.DataFrame):
    with pytest.raises(DataError) as caught:
        scoring_rows(rows.drop(columns="energy").rename(columns={"tempo": "tempos"}))
    assert "energy, tempo (did you mean 'tempos'?)" in str(caught.value)


def test_an_optional_column_of_another_name_is_to_be_renamed(rows: pd.DataFrame):
    with pytest.raises(
        DataError, match=r"lack the columns key \(did you mean 'keys'\?\); rename what is meant by them$"
    ):
        scoring_rows(rows.rename(columns={"key": "keys"}))
    assert scoring_rows(rows.drop(columns="key")).frame()["key"].isna().all()


@pytest.mark.parametrize("empty", [np.nan, None, "", " NaN "])
def test_a_missing_number_is_no_problem(rows: pd.DataFrame, empty: object):
    values = rows["tempo"].astype(object)
    values.iloc[3] = empty
    scored = scoring_rows(rows.assign(tempo=values)).frame()
    assert scored.index[scored["tempo"].isna()].tolist() == [3]


BAD = {
    "tempo": ("fast", "tempo is not numeric in 1 row (row 4: fast)"),
    "explicit": (2, "explicit is not true or false in 1 row (row 4: 2)"),
    "key": (3.5, "key is not a whole number in 1 row (row 4: 3.5)"),
    "loudness": (np.inf, "loudness is infinite in 1 row (row 4: inf)"),
    "energy": (1.5, "energy is outside 0 to 1 in 1 row (row 4: 1.5)"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_with_row_and_value(rows: pd.DataFrame, name: str):
    value, message = BAD[name]
    values = rows[name].astype(object)
    values.iloc[3] = value
    with pytest.raises(DataError) as caught:
        scoring_rows(rows.assign(**{name: values}))
    assert message in str(caught.value)


def test_all_problems_are_found_at_once(rows: pd.DataFrame):
    broken = rows.assign(energy=[2.0, -1.0, *rows["energy"][2:]], key=[99, *rows["key"][1:]])
    checked = check_rows(broken)
    assert {problem.column: np.flatnonzero(problem.where).tolist() for problem in checked.problems} == {
        "energy": [0, 1],
        "key": [0],
    }
    assert np.flatnonzero(checked.refused()).tolist() == [0, 1]


def test_values_out_of_range_are_clipped_and_counted(rows: pd.DataFrame):
    broken = rows.assign(energy=[2.0, -1.0, *rows["energy"][2:]], key=[99, *rows["key"][1:]])
    before = broken.copy()
    checked = check_rows(broken, "clip")
    assert checked.problems == []
    assert checked.clipped == {"energy": 2, "key": 1}
    assert checked.frame()["energy"].head(2).tolist() == [1.0, 0.0]
    assert checked.frame()["key"].iloc[0] == 11
    pd.testing.assert_frame_equal(broken, before)


@pytest.mark.parametrize("name", ["tempo", "explicit", "key", "loudness"])
def test_only_numbers_out_of_range_can_be_clipped(rows: pd.DataFrame, name: str):
    values = rows[name].astype(object)
    values.iloc[3] = BAD[name][0]
    with pytest.raises(DataError, match=name):
        scoring_rows(rows.assign(**{name: values}), "clip")


# --- text


def of_one(column: str, value: object, rows: pd.DataFrame) -> pd.DataFrame:
    values = rows[column].astype(object)
    values.iloc[3] = value
    return rows.assign(**{column: values})


TEXTS = {
    "a list of names": ("artists", ["A", "B"], "A;B"),
    "a tuple of names": ("artists", ("A",), "A"),
    "an array of names": ("track_genre", np.array(["rock", "pop"], dtype=object), "rock;pop"),
    "no names": ("artists", [], None),
    "a number": ("album_name", 25, "25"),
    "a whole number that became a float": ("album_name", 1989.0, "1989"),
    "a decimal": ("track_name", Decimal("1.50"), "1.50"),
    "UTF-8": ("artists", "Björk".encode(), "Björk"),
    "no value": ("track_name", pd.NA, None),
}


@pytest.mark.parametrize("name", TEXTS)
def test_names_and_numbers_are_text(rows: pd.DataFrame, name: str):
    column, value, expected = TEXTS[name]
    text = scoring_rows(of_one(column, value, rows)).frame()[column]
    assert (None if text.isna()[3] else text[3]) == expected
    assert text.drop(3).tolist() == rows[column].reset_index(drop=True).drop(3).tolist()


NO_TEXTS = {
    "objects": [{"name": "A"}],
    "an object": {"name": "A"},
    "lists of lists": [["A"], ["B"]],
    "an empty name": ["A", ""],
    "a blank name": ["A", " "],
    "no name": ["A", None],
    "a number": ["A", 5],
    "a flag": True,
    "other bytes": b"\xff",
    "a set": {"A"},
    "a time": pd.Timestamp("2022-01-01"),
}


@pytest.mark.parametrize("column", TEXT)
@pytest.mark.parametrize("name", NO_TEXTS)
def test_what_is_no_text_is_refused_with_row_and_column(rows: pd.DataFrame, name: str, column: str):
    with pytest.raises(DataError, match=rf"{column} is not text.* in 1 row \(row 4: "):
        scoring_rows(of_one(column, NO_TEXTS[name], rows))


@pytest.mark.parametrize("column", ["album_name", "track_name", "track_id"])
def test_only_artists_and_genres_may_be_lists(rows: pd.DataFrame, column: str):
    with pytest.raises(DataError, match=rf"{column} is not text in 1 row \(row 4: "):
        scoring_rows(of_one(column, ["A", "B"], rows))


def test_lists_of_any_type_are_the_same(rows: pd.DataFrame):
    split = rows["artists"].str.split(";")
    arrow = pd.array(split.tolist(), dtype=pd.ArrowDtype(pa.list_(pa.string())))
    categories = pd.Categorical(split.map(tuple))
    for given in (split, arrow, categories):
        assert scoring_rows(rows.assign(artists=given)).frame()["artists"].tolist() == rows["artists"].tolist()


HALF = "\ud800"


@pytest.mark.parametrize("column", ["artists", "track_name"])
@pytest.mark.parametrize("value", [HALF, [HALF], np.array("x")])
def test_half_of_a_character_and_a_single_array_are_no_text(rows: pd.DataFrame, column: str, value: object):
    with pytest.raises(DataError, match=rf"{column} is not text.* in 1 row \(row 4: "):
        scoring_rows(of_one(column, value, rows))


# --- numbers that are none


class Untold:
    def __str__(self) -> str:
        raise RuntimeError


NO_NUMBERS = {
    "half of a character": HALF,
    "other bytes": b"\xff",
    "a year": pd.Period("2022"),
    "a date": pd.Timestamp("2022-01-01"),
    "what has no text": Untold(),
    "a list": [0.5],
}


@pytest.mark.parametrize("column", ["tempo", "key", "explicit"])
@pytest.mark.parametrize("name", NO_NUMBERS)
@pytest.mark.parametrize("out_of_range", ["refuse", "clip"])
def test_an_object_that_is_no_number_is_refused(rows: pd.DataFrame, column: str, name: str, out_of_range: str):
    with pytest.raises(DataError, match=rf"{column} is not numeric in 1 row \(row 4: "):
        scoring_rows(of_one(column, NO_NUMBERS[name], rows), out_of_range)


@pytest.mark.parametrize("kind", ["period[Y]", pd.ArrowDtype(pa.binary())])
def test_a_column_that_holds_no_numbers_is_refused(rows: pd.DataFrame, kind: object):
    values = (
        pd.Series([b"\xff"] * len(rows), dtype=kind) if kind != "period[Y]" else pd.Series(["2022"] * 20, dtype=kind)
    )
    with pytest.raises(DataError, match="tempo is not numeric in 20 rows"):
        scoring_rows(rows.assign(tempo=values.to_numpy(object) if kind == "period[Y]" else values.set_axis(rows.index)))


@pytest.mark.parametrize("text", ["x" * 100_000, "a\nb\r\x1b[31m", "\u202e1"])
def test_a_value_is_told_in_one_short_line(rows: pd.DataFrame, text: str):
    with pytest.raises(DataError) as caught:
        scoring_rows(of_one("tempo", text, rows))
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


# --- flags


@pytest.mark.parametrize("value", [True, "true", "FALSE", np.False_])
@pytest.mark.parametrize("column", [name for name in AUDIO if name != "explicit"])
def test_only_the_flag_knows_true_and_false(rows: pd.DataFrame, column: str, value: object):
    with pytest.raises(DataError, match=rf"{column} is not numeric in 1 row \(row 4: {value}\)"):
        scoring_rows(of_one(column, value, rows))


@pytest.mark.parametrize("kind", ["bool", "boolean", "bool[pyarrow]"])
def test_swapped_columns_are_refused(rows: pd.DataFrame, kind: str):
    swapped = rows.assign(explicit=rows["mode"], mode=rows["explicit"].astype(kind))
    with pytest.raises(DataError, match="mode is not numeric in 20 rows"):
        scoring_rows(swapped)


# --- units


@pytest.mark.parametrize(("scale", "count", "is_told"), [(100, 20, True), (100, 1, True), (1.5, 1, False)])
def test_a_column_of_another_unit_is_told_from_single_mistakes(
    rows: pd.DataFrame, scale: float, count: int, is_told: bool
):
    with pytest.raises(DataError) as caught:
        scoring_rows(rows.head(count).assign(energy=scale))
    assert ("energy looks like another unit; convert the column to 0 to 1" in str(caught.value)) is is_told
