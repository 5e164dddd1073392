"""Tests of scoring a file: every row as the model scores it, in place, and none that is bad taken quietly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.data import batches
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.scoring.files import rejected_path, score_file
from spotify_ml.scoring.rows import Scorer, Tally
from spotify_ml.utils.errors import DataError, OutputError


@pytest.fixture(autouse=True)
def _many_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "_BLOCK", 10_000)
    monkeypatch.setattr(batches, "_BATCH_ROWS", 70)


@pytest.fixture
def scorer(model: PopularityModel) -> Scorer:
    return Scorer(model.predict, 7, (), "fail", "refuse")


def write(rows: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        rows.to_csv(path, index=False)
    else:
        rows.to_parquet(path, index=False)
    return path


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    return pd.read_parquet(path)


def score(source: Path, target: Path, scorer: Scorer) -> Tally:
    tally, progress = Tally(), []
    score_file(source, target, scorer, tally, progress.append)
    assert len(progress) > 3
    assert sum(progress) == tally.n_rows
    assert not list(target.parent.glob(".*"))
    return tally


@pytest.mark.parametrize("target", ["scored.csv", "scored.parquet"])
@pytest.mark.parametrize("source", ["rows.csv", "rows.parquet"])
def test_every_row_is_scored_in_its_place(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path, source: str, target: str):
    tally = score(write(rows, tmp_path / source), tmp_path / target, scorer)
    scored = read(tmp_path / target)
    assert list(scored.columns) == [*rows.columns, "popularity_predicted", "model_version"]
    pd.testing.assert_frame_equal(scored[list(rows.columns)], rows, check_dtype=False)
    np.testing.assert_array_equal(scored["popularity_predicted"], scorer.predict(rows))
    assert set(scored["model_version"]) == {7}
    assert (tally.n_rows, tally.n_bad, dict(tally.missing), dict(tally.clipped)) == (300, 0, {}, {})


def test_the_lines_of_a_csv_stay_as_they_are(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    source = write(rows.assign(tempo="0120.50"), tmp_path / "rows.csv")
    score(source, tmp_path / "scored.csv", scorer)
    pairs = zip(source.read_bytes().splitlines(), (tmp_path / "scored.csv").read_bytes().splitlines(), strict=True)
    assert all(scored.startswith(line + b",") for line, scored in pairs)


def test_a_classification_gives_a_column_a_class(rows: pd.DataFrame, classifier: PopularityModel, tmp_path: Path):
    scorer = Scorer(classifier.predict, 1, classifier.classes, "null", "refuse")
    source = write(rows.assign(energy=[7.0, *rows["energy"][1:]]), tmp_path / "rows.csv")
    score(source, tmp_path / "scored.parquet", scorer)
    scored = read(tmp_path / "scored.parquet")
    probabilities = scored[[f"probability_{name}" for name in classifier.classes]]
    assert probabilities.iloc[0].isna().all()
    np.testing.assert_array_equal(probabilities[1:], classifier.predict(rows[1:]))


@pytest.mark.parametrize("on_error", ["fail", "null"])
def test_a_line_without_a_field_for_every_column_is_not_for_null_to_keep(
    broken: pd.DataFrame, scorer: Scorer, tmp_path: Path, on_error: str
):
    source = write(broken, tmp_path / "rows.csv")
    source.write_bytes(source.read_bytes() + b"1,2\r\n")
    with pytest.raises(DataError) as caught:
        score(source, tmp_path / "scored.csv", replace(scorer, on_error=on_error))
    message = str(caught.value)
    assert "2 fields in place of" in message
    assert "on_error=skip" in message
    assert "on_error=null" not in message
    assert ("tempo is not numeric" in message) is (on_error == "fail")
    assert message.startswith(f"{source}: {'4 rows' if on_error == 'fail' else '1 row'} cannot be scored:")


@pytest.fixture
def broken(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows 5 and 250 have words for a number, row 100 and 5 a number out of range, row 3 lacks one."""
    tempo, energy = rows["tempo"].astype(object), rows["energy"].copy()
    tempo.iloc[[4, 249]], tempo.iloc[2] = "fast", None
    energy.iloc[[4, 99]] = [1.25, -3.0]
    return rows.assign(tempo=tempo, energy=energy)


def test_bad_rows_end_the_job_and_are_named(broken: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    source, target = write(broken, tmp_path / "rows.csv"), tmp_path / "scored.csv"
    with pytest.raises(DataError) as caught:
        score(source, target, scorer)
    message = str(caught.value)
    assert message.startswith(f"{source}: 3 rows cannot be scored:")
    assert "tempo is not numeric in 2 rows (row 5: fast, row 250: fast)" in message
    assert "energy is outside 0 to 1 in 2 rows (row 5: 1.25, row 100: -3.0)" in message
    assert "on_error=skip" in message
    assert "out_of_range=clip" in message
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("target", ["scored.csv", "scored.parquet"])
def test_bad_rows_are_set_aside_with_the_reason(broken: pd.DataFrame, scorer: Scorer, tmp_path: Path, target: str):
    source = write(broken, tmp_path / "rows.csv")
    lines = source.read_bytes().split(b"\n")
    source.write_bytes(b"\n".join([*lines[:50], b"1,2", *lines[50:]]))
    tally = score(source, tmp_path / target, replace(scorer, on_error="skip"))
    assert (tally.n_rows, tally.n_bad, dict(tally.missing)) == (301, 4, {"tempo": 1})
    good = broken.drop(broken.index[[4, 99, 249]])
    np.testing.assert_array_equal(read(tmp_path / target)["popularity_predicted"], scorer.predict(good))
    aside = rejected_path(tmp_path / target).read_bytes().split(b"\n")
    assert aside == [
        b"row,reason," + lines[0],
        b"5,tempo is not numeric; energy is outside 0 to 1," + lines[5],
        b"50,2 fields in place of 21,1,2",
        b"101,energy is outside 0 to 1," + lines[100],
        b"251,tempo is not numeric," + lines[250],
        b"",
    ]


def test_without_bad_rows_there_is_no_side_file(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    target = tmp_path / "scored.csv"
    score(write(rows, tmp_path / "rows.csv"), target, replace(scorer, on_error="skip"))
    assert not rejected_path(target).exists()


@pytest.mark.parametrize("target", ["scored.csv", "scored.parquet"])
def test_bad_rows_are_kept_without_a_prediction(broken: pd.DataFrame, scorer: Scorer, tmp_path: Path, target: str):
    tally = score(write(broken, tmp_path / "rows.csv"), tmp_path / target, replace(scorer, on_error="null"))
    assert (tally.n_rows, tally.n_bad) == (300, 3)
    predicted = read(tmp_path / target)["popularity_predicted"]
    assert predicted.index[predicted.isna()].tolist() == [4, 99, 249]
    good = broken.drop(broken.index[[4, 99, 249]])
    np.testing.assert_array_equal(predicted.dropna(), scorer.predict(good))


def test_a_row_of_other_length_cannot_be_kept(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    source = write(rows, tmp_path / "rows.csv")
    source.write_bytes(source.read_bytes() + b"1,2\n")
    with pytest.raises(DataError, match=r"  2 fields in place of 21 in 1 row \(row 301\)"):
        score(source, tmp_path / "scored.csv", replace(scorer, on_error="null"))


def test_values_out_of_range_are_clipped_for_the_model_alone(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    loud = rows.assign(energy=[9.0, *rows["energy"][1:]])
    tally = score(
        write(loud, tmp_path / "rows.parquet"), tmp_path / "scored.parquet", replace(scorer, out_of_range="clip")
    )
    scored = read(tmp_path / "scored.parquet")
    assert dict(tally.clipped) == {"energy": 1}
    assert scored["energy"].iloc[0] == 9
    expected = scorer.predict(loud.assign(energy=[1.0, *rows["energy"][1:]]))
    np.testing.assert_array_equal(scored["popularity_predicted"], expected)


def test_a_file_without_rows_is_refused(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(DataError, match="no rows"):
            score(write(rows.head(0), tmp_path / name), tmp_path / "scored.csv", scorer)
    assert not (tmp_path / "scored.csv").exists()


def test_what_was_scored_is_not_scored_again(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    score(write(rows, tmp_path / "rows.csv"), tmp_path / "scored.csv", scorer)
    with pytest.raises(DataError, match="popularity_predicted, model_version already"):
        score(tmp_path / "scored.csv", tmp_path / "again.csv", scorer)


def test_a_place_that_cannot_be_written_is_named(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    source = write(rows, tmp_path / "rows.csv")
    with pytest.raises(OutputError, match=r"scored\.csv cannot be written"):
        score(source, source / "scored.csv", scorer)


FORMULAS = {"artists": "=1+1", "album_name": "@SUM(1)", "track_name": "-1", "+note": '+a, "b"'}


@pytest.mark.parametrize("source", ["rows.csv", "rows.parquet"])
def test_formulas_in_a_csv_are_escaped_where_that_is_asked_for(
    rows: pd.DataFrame, scorer: Scorer, tmp_path: Path, source: str
):
    given = rows.rename(columns={"note": "+note"})
    for name, text in FORMULAS.items():
        given.loc[::7, name] = text
    given.loc[::9, "energy"] = 7.0
    path = write(given, tmp_path / source)
    skipping = replace(scorer, on_error="skip", escape_formulas=True)
    score(path, tmp_path / "escaped.csv", skipping)
    score(path, tmp_path / "kept.csv", replace(scorer, on_error="skip"))
    for name in ("{}.csv", "{}.csv.rejected.csv"):
        escaped, kept = (read(tmp_path / name.format(each)) for each in ("escaped", "kept"))
        assert len(kept)
        wanted = kept.rename(columns={"+note": "'+note"})
        for column, text in {**FORMULAS, "'+note": FORMULAS["+note"]}.items():
            if column in wanted and text != "-1":
                wanted[column] = wanted[column].replace(text, f"'{text}")
        assert (wanted["'+note"] == f"'{FORMULAS['+note']}").any()
        pd.testing.assert_frame_equal(escaped, wanted)


def test_formulas_stay_in_parquet_and_those_of_broken_rows_are_escaped(
    rows: pd.DataFrame, scorer: Scorer, tmp_path: Path
):
    source = write(rows.assign(track_name="=1+1"), tmp_path / "rows.csv")
    with source.open("a") as file:
        file.write("=2+2,-3\n")
    score(source, tmp_path / "scored.parquet", replace(scorer, on_error="skip", escape_formulas=True))
    assert set(read(tmp_path / "scored.parquet")["track_name"]) == {"=1+1"}
    assert (tmp_path / "scored.parquet.rejected.csv").read_text().endswith(",'=2+2,-3\n")
