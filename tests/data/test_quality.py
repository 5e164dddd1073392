"""The quality report, against documented figures and counts made another way."""

import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ml.data.etl import clean
from spotify_ml.data.quality import QualityReport, quality_report
from spotify_ml.data.schema import NUMERIC
from spotify_ml.data.sources import RawTracks


@pytest.fixture(scope="module")
def report(sample: RawTracks) -> QualityReport:
    return quality_report(sample, clean(sample.frame, "tracks"))


def report_of(frame: pd.DataFrame, sample: RawTracks) -> QualityReport:
    raw = RawTracks(frame, sample.path, sample.sha256)
    return quality_report(raw, clean(frame, "rows"))


def test_report_names_its_source(report, sample):
    assert (report.source, report.sha256) == (sample.path.name, sample.sha256)


def test_report_counts_rows_before_and_after_cleaning(report, sample):
    assert (report.raw_rows, report.clean_rows) == (6000, sample.frame["track_id"].nunique())
    assert report.raw_rows - report.clean_rows == sum(report.dropped.values())


def test_ranges_are_those_of_pandas(report, sample):
    assert list(report.ranges) == list(NUMERIC)
    for name, bounds in report.ranges.items():
        assert bounds == pytest.approx(sample.frame[name].astype(float).agg(["min", "mean", "max"]).to_dict())


def test_zeros_are_those_of_pandas(report, sample):
    zeros = (sample.frame[list(NUMERIC)] == 0).sum()
    assert report.zeros == zeros[zeros > 0].to_dict()


def test_complete_sample_has_no_nulls(report):
    assert report.nulls == {}


def test_nulls_are_counted_by_column(sample):
    frame = sample.frame.head(4).assign(artists=[None, "x", None, "x"], track_name=["x", "x", "x", None])
    assert report_of(frame, sample).nulls == {"artists": 2, "track_name": 1}


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["pop", "rock"]), st.integers(0, 1), st.booleans()), min_size=1
    )
)
def test_duplicates_are_those_of_pandas(sample, rows):
    identifiers, genres, popularity, explicit = (list(values) for values in zip(*rows, strict=True))
    # One and the same track, changed only in what is drawn.
    frame = pd.concat([sample.frame.head(1)] * len(rows), ignore_index=True).assign(
        track_id=identifiers, track_genre=genres, popularity=[float(value) for value in popularity], explicit=explicit
    )
    popularity_of = frame.groupby("track_id")["popularity"]
    assert report_of(frame, sample).duplicates == {
        "rows equal to an earlier row": frame.duplicated().sum(),
        "rows with the track_id and genre of an earlier row": frame.duplicated(["track_id", "track_genre"]).sum(),
        "rows with the track_id of an earlier row": frame.duplicated("track_id").sum(),
        "track_ids whose rows differ in popularity": (popularity_of.min() < popularity_of.max()).sum(),
    }


def test_report_survives_json(report):
    assert QualityReport(**json.loads(json.dumps(report.as_dict()))) == report


def test_text_shows_every_count(sample):
    frame = sample.frame.head(4).assign(artists=[None, "x", None, "x"])
    text = report_of(frame, sample).as_text()
    for line in (f"source: {sample.path.name}", f"sha256: {sample.sha256}", "  artists: 2", "rows: 4 raw, 4 after"):
        assert line in text
    assert all(f"\n  {name} " in text for name in NUMERIC)


def test_text_says_none_where_nothing_was_found(report):
    assert "Empty values\n  none\n" in report.as_text()


@pytest.mark.full
def test_full_dataset_has_the_documented_oddities(full):
    report = quality_report(full, clean(full.frame, "tracks"))
    assert (report.raw_rows, report.clean_rows) == (114_000, 89_740)
    assert report.nulls == {"artists": 1, "album_name": 1, "track_name": 1}
    assert report.duplicates["rows equal to an earlier row"] == 450
    assert report.duplicates["rows with the track_id of an earlier row"] == 24_259
    assert report.duplicates["track_ids whose rows differ in popularity"] == 720
    assert report.ranges["popularity"]["mean"] == pytest.approx(33.2385, abs=5e-5)
    expected = {"duration_ms": 1, "tempo": 157, "popularity": 16_020, "time_signature": 163}
    assert {name: report.zeros[name] for name in expected} == expected
