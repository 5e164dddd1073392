"""Tests that scoring loses nothing of what it was given: text for numbers, columns of any type, columns in an index."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spotify_ml.data import batches
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.scoring.files import rejected_path, score_file
from spotify_ml.scoring.rows import Scorer, Tally
from spotify_ml.utils.errors import DataError

ADDED = ["popularity_predicted", "model_version"]


@pytest.fixture(autouse=True)
def _many_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "_BLOCK", 10_000)
    monkeypatch.setattr(batches, "_BATCH_ROWS", 70)


@pytest.fixture
def scorer(model: PopularityModel) -> Scorer:
    return Scorer(model.predict, 7, (), "null", "refuse")


def score(source: Path, target: Path, scorer: Scorer) -> Tally:
    tally = Tally()
    score_file(source, target, scorer, tally, lambda _: None)
    assert not list(target.parent.glob(".*"))
    return tally


# What no column of its type has a value for, and whether the row is scored all the same.
CELLS = {
    "key": ("5e-324", False),
    "duration_ms": ("+0.5", False),
    "explicit": ("-1", False),
    "mode": ("TRUE", False),
    "tempo": ("1e400", False),
    "energy": ("n/a", False),
    "time_signature": ("12345678901234567890", False),
    "popularity": ("not known", True),
}


@pytest.fixture
def cells(rows: pd.DataFrame, tmp_path: Path) -> Path:
    """One cell in a row each, the first in a late batch."""
    changed = rows.astype(dict.fromkeys(CELLS, object))
    for row, (name, (text, _)) in enumerate(CELLS.items(), start=200):
        changed.loc[changed.index[row], name] = text
    changed.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


@pytest.mark.parametrize("name", ["scored.parquet", "scored.pq"])
def test_what_cannot_be_read_stands_beside_the_empty_cell(cells: Path, rows: pd.DataFrame, scorer: Scorer, name: str):
    target = cells.with_name(name)
    score(cells, target, scorer)
    scored = pd.read_parquet(target)
    assert list(scored.columns) == [*rows.columns, *ADDED, "unreadable"]
    found = scored["unreadable"].dropna()
    assert found.index.tolist() == [200 + row for row in range(len(CELLS))]
    for row, (column, (text, is_scored)) in enumerate(CELLS.items(), start=200):
        assert json.loads(found[row]) == {column: text}
        assert pd.isna(scored[column][row]) or np.isinf(scored[column][row])
        assert pd.notna(scored["popularity_predicted"][row]) is is_scored
    others = scored.index.difference(found.index)
    pd.testing.assert_frame_equal(
        scored.loc[others, list(rows.columns)],
        rows.reset_index(drop=True).loc[others],
        check_dtype=False,
    )


def test_a_number_that_is_clipped_is_kept_though_its_type_has_no_room(cells: Path, rows: pd.DataFrame, scorer: Scorer):
    huge = rows.astype({"duration_ms": object}).assign(duration_ms=["1e30", *rows["duration_ms"][1:]])
    huge.to_csv(cells, index=False)
    score(cells, cells.with_name("scored.parquet"), replace(scorer, out_of_range="clip"))
    scored = pd.read_parquet(cells.with_name("scored.parquet"))
    assert json.loads(scored["unreadable"][0]) == {"duration_ms": "1e30"}
    assert scored["popularity_predicted"].notna().all()


def test_rows_that_are_set_aside_leave_no_empty_column(cells: Path, scorer: Scorer):
    target = cells.with_name("scored.parquet")
    score(cells, target, replace(scorer, on_error="skip"))
    scored = pd.read_parquet(target)
    assert scored["unreadable"].dropna().map(json.loads).tolist() == [{"popularity": "not known"}]
    aside = pd.read_csv(rejected_path(target), dtype=str, keep_default_na=False)
    for (column, (text, _)), (_, row) in zip(CELLS.items(), aside.iterrows(), strict=False):
        assert row[column] == text


def test_a_csv_stays_as_it_is(cells: Path, scorer: Scorer):
    target = cells.with_name("scored.csv")
    score(cells, target, scorer)
    pairs = zip(cells.read_bytes().splitlines(), target.read_bytes().splitlines(), strict=True)
    assert all(after.startswith(before + b",") for before, after in pairs)
    assert "unreadable" not in pd.read_csv(target).columns


def test_what_can_be_read_has_no_such_column(cells: Path, rows: pd.DataFrame, scorer: Scorer):
    rows.to_csv(cells, index=False)
    score(cells, cells.with_name("scored.parquet"), scorer)
    assert list(pd.read_parquet(cells.with_name("scored.parquet")).columns) == [*rows.columns, *ADDED]


def test_an_input_with_such_a_column_is_refused(cells: Path, rows: pd.DataFrame, scorer: Scorer):
    rows.assign(unreadable="x").to_csv(cells, index=False)
    with pytest.raises(DataError, match="has a column unreadable already; rename or remove it"):
        score(cells, cells.with_name("scored.parquet"), scorer)


# --- Parquet


@pytest.fixture
def table(rows: pd.DataFrame) -> pa.Table:
    """Rows with columns of types that few functions know, and a bad one."""
    others = {
        "nested": pa.array([{"a": [row, None]} for row in range(len(rows))]),
        "views": pa.array([f"view {row}" for row in range(len(rows))], pa.string_view()),
        "nested views": pa.array(
            [{"a": f"view {row}"} for row in range(len(rows))], pa.struct([("a", pa.string_view())])
        ),
        "ids": pa.array([bytes([row % 256] * 16) for row in range(len(rows))], pa.uuid()),
        "times": pa.array(range(len(rows)), pa.timestamp("us", "UTC")),
    }
    table = pa.Table.from_pandas(rows.assign(energy=[7.0, *rows["energy"][1:]]), preserve_index=False)
    for name, values in others.items():
        table = table.append_column(name, values)
    return table


@pytest.mark.parametrize("on_error", ["null", "skip"])
def test_columns_of_any_type_stay_as_they_are_in_parquet(
    table: pa.Table, scorer: Scorer, tmp_path: Path, on_error: str
):
    source, target = tmp_path / "rows.parquet", tmp_path / "scored.parquet"
    pq.write_table(table, source)
    score(source, target, replace(scorer, on_error=on_error))
    scored = pq.read_table(target)
    kept = table if on_error == "null" else table.slice(1)
    assert scored.select(table.column_names).to_pylist() == kept.to_pylist()
    assert scored.schema.field("nested").type == table.schema.field("nested").type
    assert scored.schema.field("ids").type == pa.uuid()
    if on_error == "skip":
        aside = pd.read_csv(rejected_path(target))
        assert aside["nested"].tolist() == ['{"a": [0, null]}']
        assert aside["energy"].tolist() == [7]


def test_columns_of_any_type_are_text_in_a_csv(table: pa.Table, scorer: Scorer, tmp_path: Path):
    pq.write_table(table, tmp_path / "rows.parquet")
    score(tmp_path / "rows.parquet", tmp_path / "scored.csv", scorer)
    scored = pd.read_csv(tmp_path / "scored.csv")
    assert scored["nested"].map(json.loads).tolist() == table["nested"].to_pylist()
    assert scored["views"].tolist() == table["views"].to_pylist()
    assert scored["ids"].tolist() == list(map(str, table["ids"].to_pylist()))


@pytest.mark.parametrize("index", [["artists"], ["tempo", "track_genre", "key"]])
@pytest.mark.parametrize("name", ["scored.csv", "scored.parquet"])
def test_columns_in_an_index_are_columns(
    rows: pd.DataFrame, scorer: Scorer, tmp_path: Path, index: list[str], name: str
):
    rows.set_index(index).to_parquet(tmp_path / "rows.parquet")
    score(tmp_path / "rows.parquet", tmp_path / name, scorer)
    scored = pd.read_csv(tmp_path / name) if name.endswith("csv") else pd.read_parquet(tmp_path / name)
    np.testing.assert_array_equal(scored["popularity_predicted"], scorer.predict(rows))


def test_damaged_metadata_of_pandas_is_left_out(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    table = pa.Table.from_pandas(rows).replace_schema_metadata({"pandas": "{broken", "other": "kept"})
    pq.write_table(table, tmp_path / "rows.parquet")
    score(tmp_path / "rows.parquet", tmp_path / "scored.parquet", scorer)
    np.testing.assert_array_equal(
        pd.read_parquet(tmp_path / "scored.parquet")["popularity_predicted"], scorer.predict(rows)
    )
    assert pq.read_schema(tmp_path / "scored.parquet").metadata[b"other"] == b"kept"


@pytest.mark.parametrize("name", ["scored.csv", "scored.parquet"])
def test_a_csv_with_columns_of_one_name_is_scored_into_a_csv(
    rows: pd.DataFrame, scorer: Scorer, tmp_path: Path, name: str
):
    twice = pd.concat([rows, pd.DataFrame(7, rows.index, ["", ""])], axis=1)
    twice.to_csv(tmp_path / "rows.csv", index=False)
    if name.endswith("parquet"):
        with pytest.raises(DataError, match=r"columns of one name: ''; rename or remove them, or set output=….csv"):
            score(tmp_path / "rows.csv", tmp_path / name, scorer)
        assert not (tmp_path / name).exists()
    else:
        score(tmp_path / "rows.csv", tmp_path / name, scorer)
        np.testing.assert_array_equal(pd.read_csv(tmp_path / name)["popularity_predicted"], scorer.predict(rows))


# --- rows that are broken as a whole

BROKEN = {
    "too many fields": lambda line: line + b",more",
    "too few fields": lambda line: b"1,2",
    "a zero byte": lambda line: b",".join([*line.split(b",")[:-3], b"12\0", *line.split(b",")[-2:]]),
    "a cut": lambda line: line[:40],
    "a cut within quotes": lambda line: b'"' + line[:40],
}


@pytest.mark.parametrize("target", ["scored.csv", "scored.parquet"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_at_the_end_is_set_aside(
    rows: pd.DataFrame, scorer: Scorer, tmp_path: Path, name: str, target: str
):
    lines = rows.head(20).drop(columns="note").to_csv(index=False).encode().splitlines()
    last = BROKEN[name](lines[-1])
    # Without a line end, the last row is a batch of its own.
    (tmp_path / "rows.csv").write_bytes(b"\n".join([*lines[:-1], last]))
    tally = score(tmp_path / "rows.csv", tmp_path / target, replace(scorer, on_error="skip"))
    assert (tally.n_rows, tally.n_bad) == (20, 1)
    assert rejected_path(tmp_path / target).read_bytes().splitlines()[-1].endswith(last)


# --- another unit


@pytest.mark.parametrize(("scale", "is_other"), [(100.0, True), (1.0, False)])
def test_clipping_is_not_offered_for_a_column_of_another_unit(
    rows: pd.DataFrame, scorer: Scorer, tmp_path: Path, scale: float, is_other: bool
):
    energy = rows["energy"] * scale
    rows.assign(energy=[1.5, *energy[1:]], tempo=[999.0, *rows["tempo"][1:]]).to_csv(tmp_path / "rows.csv", index=False)
    for on_error in ("fail", "null"):
        asked = replace(scorer, on_error=on_error)
        if on_error == "fail":
            with pytest.raises(DataError) as caught:
                score(tmp_path / "rows.csv", tmp_path / "scored.csv", asked)
            assert ("\nenergy looks like another unit; convert the column to 0 to 1" in str(caught.value)) is is_other
            assert "tempo looks like" not in str(caught.value)
            # Of the tempo, a single value is beyond its range.
            assert "out_of_range=clip" in str(caught.value)
        else:
            tally = score(tmp_path / "rows.csv", tmp_path / "scored.csv", asked)
            assert list(tally.scales.advice()) == ["energy"] * is_other
    (tmp_path / "rows.csv").write_bytes(rows.assign(energy=energy).to_csv(index=False).encode())
    if is_other:
        with pytest.raises(DataError) as caught:
            score(tmp_path / "rows.csv", tmp_path / "scored.csv", replace(scorer, on_error="fail"))
        assert "out_of_range=clip" not in str(caught.value)
