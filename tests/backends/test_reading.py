"""Tests of raw files in slices: together they hold what the file holds, and break the schema where it does."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from spotify_ml.backends.dask.reading import ROW, find_slices, read_rows, read_slice
from spotify_ml.config.run import DataConfig
from spotify_ml.data import batches
from spotify_ml.data.sources import RawTracks, read_tracks
from spotify_ml.utils.errors import DataError


def written(frame: pd.DataFrame, path: Path) -> DataConfig:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False, lineterminator="\n")
    else:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=300)
    return DataConfig(name="file", path=str(path))


@pytest.fixture(params=["tracks.csv", "tracks.parquet"])
def path(request, tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(batches, "_BLOCK", 40_000)
    return tmp_path / request.param


@pytest.fixture
def rows(sample: RawTracks) -> pd.DataFrame:
    """Rows with line ends and quotes in titles, every few of them."""
    rows = sample.frame.head(1000).copy()
    rows.loc[::7, "track_name"] = 'A "quoted", \n title'
    return rows


def test_slices_hold_the_rows_of_the_file(client, path, rows):
    config = written(rows, path)
    expected = read_tracks(config)
    file, slices = find_slices(config)
    assert len(slices) > 3
    assert (file.path, file.sha256) == (expected.path, expected.sha256)
    assert_frame_equal(pd.concat([read_slice(each).frame for each in slices], ignore_index=True), expected.frame)
    _, frames, n_rows = read_rows(client, config)
    found = pd.concat(client.gather(client.compute(frames)), ignore_index=True)
    assert n_rows == len(rows)
    assert found.pop(ROW).tolist() == list(range(n_rows))
    assert_frame_equal(found, expected.frame)


def test_what_is_wrong_is_said_as_in_one_process(client, path, rows):
    rows.loc[[150, 700, 710, 990, 995], "tempo"] = -1.0
    rows["energy"] *= 100
    rows.loc[800, "track_id"] = None
    config = written(rows, path)
    with pytest.raises(DataError) as expected:
        read_tracks(config)
    with pytest.raises(DataError) as raised:
        read_rows(client, config)
    assert str(raised.value) == str(expected.value)
    assert "\nenergy looks like another unit; convert the column to 0 to 1.\nMend or" in str(raised.value)
    assert "tempo looks" not in str(raised.value)


def test_rows_with_too_few_fields_are_numbered_in_the_file(client, tmp_path, rows, monkeypatch):
    monkeypatch.setattr(batches, "_BLOCK", 40_000)
    config = written(rows.drop(columns="track_name").assign(track_name="x"), tmp_path / "tracks.csv")
    lines = Path(config.path).read_text().splitlines()
    lines[900] = "too,few"
    Path(config.path).write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"fields.* in 1 row \(row 900: 2 fields in place of 20\)"):
        read_rows(client, config)


def test_a_file_that_is_not_what_was_planned_is_refused(path, rows):
    config = written(rows, path)
    _, slices = find_slices(config)
    written(rows.head(900), path)
    with pytest.raises(DataError, match="changed while it was read"):
        read_slice(slices[0])
    path.unlink()
    with pytest.raises(DataError, match=r"a worker cannot read .*; put the file where all find it"):
        read_slice(slices[0])
    with pytest.raises(DataError, match=r"data\.path"):
        find_slices(config)


def test_a_file_without_a_raw_column_or_rows_is_refused(client, path, rows):
    with pytest.raises(DataError, match="missing: tempo"):
        find_slices(written(rows.drop(columns="tempo"), path))
    with pytest.raises(DataError, match="no rows"):
        read_rows(client, written(rows.head(0), path))
