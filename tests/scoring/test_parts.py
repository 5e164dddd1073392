"""Tests of scoring packed files, and many files: into one table, or each into a file of its own."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.data.parts import FILE_COLUMN, parts_of
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.scoring.files import rejected_path, score_file, score_parts
from spotify_ml.scoring.rows import Scorer, Tally
from spotify_ml.utils.errors import DataError
from tests.layouts import as_csv, written


@pytest.fixture
def scorer(model: PopularityModel) -> Scorer:
    return Scorer(model.predict, 7, (), "fail", "refuse")


@pytest.fixture
def archive(rows: pd.DataFrame, tmp_path: Path) -> Path:
    """The zip of three playlists, of which one has no tracks."""
    path = tmp_path / "playlists.zip"
    playlist = written(rows.drop(columns="note"), "exportify")
    with zipfile.ZipFile(path, "w") as archive:
        for name, piece in {"a": playlist[:100], "b": playlist[100:], "c": playlist[:0]}.items():
            archive.writestr(f"{name}.csv", as_csv(piece))
    return path


def score(source: Path | str, target: Path, scorer: Scorer) -> Tally:
    tally = Tally()
    score_parts(parts_of(str(source)), target, scorer, tally, lambda _: None)
    return tally


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_zip_becomes_one_table_with_the_file_of_each_row(
    rows: pd.DataFrame, archive: Path, scorer: Scorer, tmp_path: Path, suffix: str
):
    tally = score(archive, tmp_path / f"scored{suffix}", scorer)
    scored = read(tmp_path / f"scored{suffix}")
    own = list(written(rows.drop(columns="note"), "exportify"))
    assert list(scored) == [*own, FILE_COLUMN, "popularity_predicted", "model_version"]
    assert list(scored[FILE_COLUMN]) == ["a.csv"] * 100 + ["b.csv"] * 200
    np.testing.assert_allclose(scored["popularity_predicted"], scorer.predict(rows), atol=1e-9)
    assert tally.n_rows == 300


def test_a_zip_becomes_a_folder(rows: pd.DataFrame, archive: Path, scorer: Scorer, tmp_path: Path):
    tally = score(archive, tmp_path / "scored", scorer)
    assert sorted(path.name for path in (tmp_path / "scored").iterdir()) == ["a.csv", "b.csv"]
    assert tally.passed_over == ["c.csv"]
    assert FILE_COLUMN not in read(tmp_path / "scored" / "a.csv")
    np.testing.assert_allclose(
        read(tmp_path / "scored" / "b.csv")["popularity_predicted"], scorer.predict(rows[100:]), atol=1e-9
    )


def test_a_packed_file_is_scored_as_the_file_in_it(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    source, target = tmp_path / "rows.csv.gz", tmp_path / "scored.csv"
    source.write_bytes(gzip.compress(rows.to_csv(index=False).encode()))
    score_file(source, target, scorer, Tally(), lambda _: None)
    np.testing.assert_array_equal(read(target)["popularity_predicted"], scorer.predict(rows))
    assert list(read(target))[:-2] == list(rows)


def test_files_of_a_pattern_in_both_formats(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    rows[:100].to_parquet(tmp_path / "a.parquet")
    rows[100:].to_parquet(tmp_path / "b.parquet")
    score(f"{tmp_path}/*.parquet", tmp_path / "scored" / "all.parquet", scorer)
    scored = read(tmp_path / "scored" / "all.parquet")
    np.testing.assert_array_equal(scored["popularity_predicted"], scorer.predict(rows))
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(rows.to_csv(index=False).encode()))
    score(f"{tmp_path}/*", tmp_path / "each", scorer)
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["a.parquet", "b.parquet", "c.csv"]


def test_files_with_other_columns_make_no_table(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    rows.to_csv(tmp_path / "a.csv", index=False)
    rows.rename(columns={"note": "remark"}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(DataError, match=r"different columns \('note', 'remark'\); name a folder"):
        score(tmp_path, tmp_path / "scored" / "all.csv", scorer)
    rows.to_csv(tmp_path / "b.csv", index=False, columns=list(rows)[::-1])
    with pytest.raises(DataError, match="columns in another order"):
        score(tmp_path, tmp_path / "scored" / "all.csv", scorer)
    (tmp_path / "b.csv").write_bytes(as_csv(written(rows.drop(columns="note"), "tracks_1m")))
    with pytest.raises(DataError, match=r"different layouts \(raw and tracks_1m\)"):
        score(tmp_path, tmp_path / "scored" / "all.csv", scorer)
    assert not list((tmp_path / "scored").glob("*"))


def test_bad_rows_are_named_by_their_file(rows: pd.DataFrame, scorer: Scorer, tmp_path: Path):
    rows[:100].to_csv(tmp_path / "a.csv", index=False)
    rows[100:].assign(energy=7).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(DataError, match=r"energy is outside 0 to 1 in 200 rows \(b.csv, row 1: 7"):
        score(tmp_path, tmp_path / "scored" / "all.csv", scorer)
    skipping = Scorer(scorer.predict, 7, (), "skip", "refuse")
    target = tmp_path / "scored" / "all.csv"
    assert score(tmp_path, target, skipping).n_bad == 200
    aside = pd.read_csv(rejected_path(target))
    assert aside["reason"].iloc[0] == "b.csv: energy is outside 0 to 1"
    assert list(read(target)[FILE_COLUMN]) == ["a.csv"] * 100
