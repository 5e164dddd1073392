"""The files a run leaves: reports always, data when asked for."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.outputs import REPORTS, feature_info, write_data, write_reports
from spotify_ml.data.quality import QualityReport, quality_report
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.subsets import Subsets

PARQUET = [
    "cleaned_spotify_data.parquet",
    "X_train.parquet",
    "X_test.parquet",
    "y_train.parquet",
    "y_test.parquet",
    "ml_ready_data.parquet",
]


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame


@pytest.fixture(scope="module")
def matrices(tracks: pd.DataFrame) -> Subsets:
    split = split_tracks(tracks, SplitConfig(name="recording", test_size=0.2, val_size=0.12), 42)
    return build_subsets("reference", tracks, split, 42)


@pytest.fixture(scope="module")
def quality(sample: RawTracks) -> QualityReport:
    return quality_report(sample, clean(sample.frame, "tracks"))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, quality: QualityReport, matrices: Subsets) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    write_reports(folder, quality, matrices.trainval.blocks())
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tracks: pd.DataFrame, matrices: Subsets) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, tracks, {"train": matrices.trainval.features, "test": matrices.test.features})
    return folder


def test_reports_are_the_documented_files(reports):
    assert {path.name for path in reports.iterdir()} == set(REPORTS)
    assert set(REPORTS) == {"data_quality_report.txt", "data_quality_report.json", "feature_info.csv"}


def test_quality_report_is_written_as_text_and_json(reports, quality):
    assert (reports / "data_quality_report.txt").read_text(encoding="utf-8") == quality.as_text()
    assert json.loads((reports / "data_quality_report.json").read_text(encoding="utf-8")) == quality.as_dict()


def test_feature_info_has_the_documented_columns_and_a_row_per_feature(reports, matrices):
    info = pd.read_csv(reports / "feature_info.csv")
    assert info.columns.tolist() == ["feature", "dtype", "missing", "unique", "mean", "std"]
    assert info["feature"].tolist() == matrices.trainval.features.columns.tolist()


def test_feature_info_describes_the_values():
    info = feature_info(pd.DataFrame({"a": [1.0, 3.0], "b": [2.0, 2.0]}))
    assert info.loc["a"].tolist() == ["float64", 0, 2, 2.0, pytest.approx(2**0.5)]
    assert info.loc["b"].tolist() == ["float64", 0, 1, 2.0, 0.0]


def test_feature_info_leaves_missing_values_out_of_mean_and_deviation():
    info = feature_info(pd.DataFrame({"a": [1.0, 3.0, None]}))
    assert info.loc["a"].tolist() == ["float64", 1, 2, 2.0, pytest.approx(2**0.5)]


def test_feature_info_adds_up_in_double_precision():
    # In float32 the mean of that many equal values drifts.
    info = feature_info(pd.DataFrame({"a": np.full(1_000_000, 0.1, dtype=np.float32)}))
    assert info.loc["a", "mean"] == pytest.approx(float(np.float32(0.1)), rel=1e-9)


def test_data_is_the_documented_files(data):
    assert {path.name for path in data.iterdir()} == {"cleaned_spotify_data.csv", *PARQUET}


@pytest.mark.parametrize("name", PARQUET)
def test_parquet_files_are_compressed_by_snappy(data, name):
    metadata = pq.read_metadata(data / name)
    assert {metadata.row_group(0).column(i).compression for i in range(metadata.num_columns)} == {"SNAPPY"}


@pytest.mark.parametrize("name", PARQUET)
def test_parquet_files_carry_no_index_column(data, name):
    assert not [column for column in pq.read_schema(data / name).names if column.startswith("__index")]


def test_cleaned_parquet_holds_the_tracks(data, tracks):
    pd.testing.assert_frame_equal(pd.read_parquet(data / "cleaned_spotify_data.parquet"), tracks)


def test_cleaned_csv_equals_the_parquet(data):
    parquet = pd.read_parquet(data / "cleaned_spotify_data.parquet")
    csv = pd.read_csv(data / "cleaned_spotify_data.csv", keep_default_na=False, na_values=[""])
    categories = dict.fromkeys(parquet.select_dtypes("category"), "str")
    pd.testing.assert_frame_equal(csv, parquet.astype(categories))


@pytest.mark.parametrize(("file", "part"), [("train", "trainval"), ("test", "test")])
def test_features_of_each_part_survive(data, matrices, file, part):
    expected = getattr(matrices, part).features.reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(data / f"X_{file}.parquet"), expected)


@pytest.mark.parametrize(("file", "part"), [("train", "trainval"), ("test", "test")])
def test_target_of_each_part_survives(data, matrices, file, part):
    expected = pd.DataFrame({"popularity": getattr(matrices, part).target})
    pd.testing.assert_frame_equal(pd.read_parquet(data / f"y_{file}.parquet"), expected)


def test_ml_ready_data_is_features_and_target_in_the_order_of_tracks(data, matrices, tracks):
    ready = pd.read_parquet(data / "ml_ready_data.parquet")
    assert ready.columns.tolist() == [*matrices.trainval.features.columns, "popularity"]
    assert len(ready) == len(tracks)
    for part in (matrices.trainval, matrices.test):
        rows = part.features.index
        pd.testing.assert_frame_equal(ready.loc[rows, part.features.columns], part.features)
        assert ready.loc[rows, "popularity"].tolist() == part.target.tolist()


def test_writing_again_replaces_the_files(data, tracks, matrices):
    write_data(data, tracks, {"train": matrices.trainval.features, "test": matrices.test.features})
    assert len(pd.read_parquet(data / "ml_ready_data.parquet")) == len(tracks)
