"""Tests of the tables that raw rows may come in: each is scored as pandas' own, or refused in one line."""

from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from spotify_ml.data.contract import scoring_rows
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.tables import as_frame
from spotify_ml.utils.errors import DataError


@pytest.fixture
def rows(sample: RawTracks) -> pd.DataFrame:
    frame = sample.frame.head(20).drop(columns="popularity")
    return frame.assign(tempo=frame["tempo"].mask(frame.index == 3), artists=frame["artists"].mask(frame.index == 5))


class Exchanged:
    """A table of a library that knows the older protocol alone."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._table = pa.Table.from_pandas(rows, preserve_index=False)

    def __dataframe__(self, **options: Any) -> Any:
        return self._table.__dataframe__(**options)


def related(rows: pd.DataFrame) -> duckdb.DuckDBPyRelation:
    return duckdb.from_arrow(pa.Table.from_pandas(rows, preserve_index=False))


def with_artists(rows: pd.DataFrame, kind: pa.DataType) -> pa.Table:
    table = pa.Table.from_pandas(rows, preserve_index=False)
    names = [None if text is None else text.split(";") for text in table["artists"].to_pylist()]
    return table.set_column(table.schema.get_field_index("artists"), "artists", pa.array(names, kind))


TABLES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "records": lambda rows: rows.to_dict("records"),
    "an iterator": lambda rows: iter(rows.to_dict("records")),
    "a mapping of lists": lambda rows: rows.to_dict("list"),
    "a mapping of arrays": lambda rows: {name: values.to_numpy() for name, values in rows.items()},
    "Arrow": lambda rows: pa.Table.from_pandas(rows, preserve_index=False),
    "Arrow's batch": lambda rows: pa.RecordBatch.from_pandas(rows, preserve_index=False),
    "Arrow that pandas wrote": lambda rows: pa.Table.from_pandas(rows.set_index(["artists", "tempo"])),
    "Polars": lambda rows: pl.from_pandas(rows),
    "Polars' categories": lambda rows: pl.from_pandas(rows).with_columns(pl.col("track_genre").cast(pl.Categorical)),
    "Polars' lists": lambda rows: pl.from_pandas(rows).with_columns(pl.col("artists").str.split(";")),
    "Arrow's views of lists": lambda rows: with_artists(rows, pa.list_view(pa.string_view())),
    "Arrow's large lists": lambda rows: with_artists(rows, pa.large_list(pa.large_string())),
    "DuckDB": related,
    "the older protocol": Exchanged,
    "a column as index": lambda rows: rows.set_index("track_genre"),
    "columns as index": lambda rows: rows.set_index(["artists", "tempo", "key"]),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_the_same(rows: pd.DataFrame, name: str):
    found = scoring_rows(TABLES[name](rows)).frame()
    pd.testing.assert_frame_equal(found, scoring_rows(rows).frame())


def test_an_index_stays_beside_the_columns_that_it_holds(rows: pd.DataFrame):
    indexed = rows.set_index("track_id")
    assert as_frame(indexed).index.equals(indexed.index)
    assert as_frame(rows) is rows


NO_TABLES: dict[str, tuple[Callable[[pd.DataFrame], Any], str]] = {
    "a row": (lambda rows: rows.iloc[0], "a Series, which is a single column or row"),
    "a row as a mapping": (lambda rows: rows.iloc[0].to_dict(), "give one row in a list"),
    "columns of several lengths": (lambda rows: {"tempo": [1.0], "key": [1, 2]}, "no table"),
    "a lazy table": (lambda rows: pl.from_pandas(rows).lazy(), "LazyFrame.*computed before"),
    "Polars' column": (lambda rows: pl.Series([1.0]), "Series, not a table"),
    "Arrow's column": (lambda rows: pa.chunked_array([[1.0]]), "ChunkedArray, not a table"),
    "an array": (lambda rows: rows.to_numpy(), "row 1 is a ndarray"),
    "a row that is a list": (lambda rows: [*rows.head(1).to_dict("records"), [1, 2]], "row 2 is a list"),
    "a name": (lambda rows: "tracks.csv", "a str, not a table"),
    "nothing": (lambda rows: None, "a NoneType, not a table"),
    "a column twice": (lambda rows: pd.concat([rows, rows[["tempo"]]], axis=1), "columns of one name: 'tempo'"),
    "Arrow's column twice": (
        lambda rows: pa.Table.from_pandas(rows).append_column("key", pa.array(rows["key"])),
        "columns of one name: 'key'",
    ),
}


@pytest.mark.parametrize("name", NO_TABLES)
def test_what_is_no_table_is_refused_in_one_line(rows: pd.DataFrame, name: str):
    make, message = NO_TABLES[name]
    with pytest.raises(DataError, match=message) as caught:
        as_frame(make(rows))
    assert "\n" not in str(caught.value)


def test_other_columns_may_stand_twice(rows: pd.DataFrame):
    twice = pd.concat([rows, pd.DataFrame(np.zeros((len(rows), 2)), columns=["", ""])], axis=1)
    pd.testing.assert_frame_equal(scoring_rows(twice).frame(), scoring_rows(rows).frame())


HALF = "\ud800"


@pytest.mark.parametrize("make", [lambda rows: rows, lambda rows: pd.DataFrame(rows).to_dict("list")])
def test_half_of_a_character_is_refused_by_its_column_or_by_its_name(rows: pd.DataFrame, make: Callable[..., Any]):
    records = rows.head(2).to_dict("records")
    values = make(records)
    if isinstance(values, dict):
        values["tempo"] = [HALF, 1.0]
    else:
        values = [{**values[0], "tempo": HALF}, values[1]]
    with pytest.raises(DataError, match="tempo is not numeric in 1 row"):
        scoring_rows(as_frame(values))
    named = {**values, HALF: [1, 2]} if isinstance(values, dict) else [{**row, HALF: 1} for row in records]
    with pytest.raises(DataError, match="make no table"):
        as_frame(named)


def test_a_row_that_lacks_a_key_which_others_have_is_named(rows: pd.DataFrame):
    """It is mistyped, more likely than not known: that is said by None."""
    first, second = rows.head(2).to_dict("records")
    mistyped = {("temp0" if name == "tempo" else name): value for name, value in second.items()}
    with pytest.raises(DataError, match=r"^row 2 lacks tempo \(did you mean 'temp0'\?\); give null, or None, where"):
        as_frame([first, mistyped])
    assert as_frame([first, second | {"tempo": None}])["tempo"].isna().tolist() == [False, True]
    assert len(as_frame([first, {name: value for name, value in second.items() if name != "album_name"}])) == 2
