"""Tests of what a request holds, without a server."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spotify_ml.data.contract import scoring_rows
from spotify_ml.scoring.requests import CSV, JSON, PARQUET, read_request
from spotify_ml.utils.errors import DataError

HALF = "\ud800"
LONG = "x" * 100_000


def sent(rows: pd.DataFrame, **change: object) -> bytes:
    records = json.loads(rows.head(2).to_json(orient="records", double_precision=15))
    return json.dumps({"inputs": [row | change for row in records]}).encode()


@pytest.mark.parametrize("value", [HALF, LONG, "a\nb\r\x1b[31m", [HALF], {"a": HALF}])
@pytest.mark.parametrize("column", ["tempo", "artists"])
def test_what_is_no_text_or_number_is_told_by_its_column_in_one_short_line(
    rows: pd.DataFrame, column: str, value: object
):
    frame, _ = read_request(sent(rows, **{column: value}), JSON)
    if column == "artists" and isinstance(value, str) and value != HALF:
        assert scoring_rows(frame).frame()["artists"].tolist() == [value] * 2
        return
    with pytest.raises(DataError, match=f"{column} is not") as caught:
        scoring_rows(frame)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"inputs": [{"tempo": 1, HALF: 1}]}, "whose name is no text", id="half of a character as a name"),
        pytest.param({"inputs": [{"tempo": 1}], HALF: 1}, "unknown key", id="half of a character as a key"),
        pytest.param({"inputs": [{"tempo": 1}], LONG: 1}, "unknown key", id="a long key"),
        *(
            pytest.param({"inputs": [{"tempo": 1}], "params": value}, "params is not an object", id=f"params {value!r}")
            for value in (0, "", [], False)
        ),
    ],
)
def test_an_odd_key_is_told_in_one_short_line(body: dict[str, object], message: str):
    with pytest.raises(DataError, match=message) as caught:
        read_request(json.dumps(body).encode(), JSON)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("values", [pa.array([{"a": 1}] * 20), pa.array([[b"\xff"]] * 20), pa.array([b"\xff"] * 20)])
def test_columns_of_parquet_are_read_as_they_are_whatever_pandas_wrote_of_them(rows: pd.DataFrame, values: pa.Array):
    table = pa.Table.from_pandas(rows.head(20))
    changed = table.set_column(table.schema.get_field_index("artists"), "artists", values)
    written = pa.BufferOutputStream()
    pq.write_table(changed, written)
    frame, _ = read_request(written.getvalue().to_pybytes(), PARQUET)
    with pytest.raises(DataError, match="artists is not text or a list of names in 20 rows"):
        scoring_rows(frame)


def test_an_index_of_pandas_in_parquet_is_columns(rows: pd.DataFrame):
    indexed = rows.head(20).set_index(["tempo", "artists"])
    written = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(indexed), written)
    frame, _ = read_request(written.getvalue().to_pybytes(), PARQUET)
    np.testing.assert_array_equal(scoring_rows(frame).frame()["tempo"], rows.head(20)["tempo"])


@pytest.mark.parametrize("kind", [JSON, CSV, PARQUET])
def test_more_rows_than_are_taken_are_refused(rows: pd.DataFrame, kind: str):
    many = pd.concat([rows.head(2)] * 3, ignore_index=True)
    bodies = {
        JSON: lambda: json.dumps({"inputs": json.loads(many.to_json(orient="records"))}).encode(),
        CSV: lambda: many.to_csv(index=False).encode(),
        PARQUET: lambda: many.to_parquet(index=False),
    }
    assert len(read_request(bodies[kind](), kind, 6)[0]) == 6
    with pytest.raises(DataError, match=r"more than 5 rows \(max_rows\)"):
        read_request(bodies[kind](), kind, 5)
