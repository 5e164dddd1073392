"""Tests of scoring a folder: each file once, and again when it or the settings changed."""

import os
from pathlib import Path

import pandas as pd
import pytest

from spotify_ml.models.popularity import PopularityModel
from spotify_ml.scoring.files import score_folder
from spotify_ml.scoring.rows import Scorer, Tally
from spotify_ml.utils.errors import DataError


class Job:
    """A folder of three files, and one for what becomes of them."""

    def __init__(self, rows: pd.DataFrame, model: PopularityModel, folder: Path) -> None:
        self.scorer = Scorer(model.predict, 7, (), "fail", "refuse")
        self.source, self.target = folder / "rows", folder / "scored"
        self.source.mkdir()
        rows.head(100).to_csv(self.source / "a.csv", index=False)
        rows.tail(100).to_parquet(self.source / "b.parquet")
        rows.head(50).to_csv(self.source / "c.csv", index=False)
        (self.source / "notes.txt").write_text("not a table")

    def run(self, **settings: str) -> Tally:
        tally = Tally()
        score_folder(self.source, self.target, self.scorer, tally, lambda _: None, {"model": "m/7", **settings})
        return tally


@pytest.fixture
def job(rows: pd.DataFrame, model: PopularityModel, tmp_path: Path) -> Job:
    return Job(rows, model, tmp_path)


def test_every_file_is_scored_into_one_of_its_name(job: Job):
    tally = job.run()
    assert (tally.n_rows, tally.n_kept_files) == (250, 0)
    assert sorted(path.name for path in job.target.iterdir() if path.name[0] != ".") == ["a.csv", "b.parquet", "c.csv"]
    assert len(pd.read_csv(job.target / "a.csv")["popularity_predicted"].dropna()) == 100
    assert len(pd.read_parquet(job.target / "b.parquet")["popularity_predicted"].dropna()) == 100


def test_an_interrupted_job_does_only_what_is_left(job: Job):
    good = (job.source / "c.csv").read_bytes()
    (job.source / "c.csv").write_bytes(good.replace(b",False,", b",maybe,"))
    with pytest.raises(DataError, match="explicit is not numeric"):
        job.run()
    done = {path.name: path.stat().st_mtime_ns for path in job.target.glob("[ab].*")}
    assert set(done) == {"a.csv", "b.parquet"}
    (job.source / "c.csv").write_bytes(good)
    tally = job.run()
    assert (tally.n_rows, tally.n_kept_files) == (50, 2)
    assert {path.name: path.stat().st_mtime_ns for path in job.target.glob("[ab].*")} == done
    assert job.run().n_kept_files == 3


CHANGES = {
    "the input": lambda job: (job.source / "a.csv").write_bytes((job.source / "c.csv").read_bytes()),
    "its time": lambda job: os.utime(job.source / "a.csv", ns=(0, 0)),
    "the output": lambda job: (job.target / "a.csv").write_text("cut off"),
    "no output": lambda job: (job.target / "a.csv").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_is_scored_again(job: Job, change: str):
    job.run()
    CHANGES[change](job)
    assert job.run().n_kept_files == 2
    assert job.run().n_kept_files == 3


def test_another_model_scores_all_files_again(job: Job):
    job.run()
    assert job.run(model="m/8").n_kept_files == 0


def test_a_folder_without_tables_is_named(job: Job):
    for path in [*job.source.glob("*.csv"), *job.source.glob("*.parquet")]:
        path.unlink()
    with pytest.raises(DataError, match=r"has no file whose name ends in \.parquet, \.pq or \.csv"):
        job.run()


def test_names_may_be_in_capitals_and_parquet_has_two_endings(rows: pd.DataFrame, job: Job):
    (job.source / "a.csv").rename(job.source / "A.CSV")
    (job.source / "b.parquet").rename(job.source / "B.PARQUET")
    rows.head(30).to_parquet(job.source / "d.pq")
    (job.source / "more").mkdir()
    (job.source / ".hidden").touch()
    tally = job.run()
    assert (tally.n_rows, tally.passed_over) == (280, ["more/", "notes.txt"])
    read = {"A.CSV": pd.read_csv, "B.PARQUET": pd.read_parquet, "c.csv": pd.read_csv, "d.pq": pd.read_parquet}
    assert sorted(path.name for path in job.target.iterdir() if path.name[0] != ".") == list(read)
    for name, reader in read.items():
        assert reader(job.target / name)["popularity_predicted"].notna().all()


def test_a_target_within_the_folder_is_not_passed_over(job: Job):
    job.target = job.source / "scored"
    assert job.run().passed_over == ["notes.txt"]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst", ".ZIP"])
def test_compressed_tables_are_refused_before_any_is_scored(job: Job, ending: str):
    (job.source / "c.csv").rename(job.source / f"c.csv{ending}")
    with pytest.raises(DataError, match=rf"compressed tables: c\.csv\{ending}; unpack them"):
        job.run()
    assert not job.target.exists()
