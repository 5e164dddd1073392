"""Tests of release dates: what is one, what it means, and what is refused."""

import logging
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ml.config.run import DataConfig
from spotify_ml.data.dates import (
    COLLECTED_COLUMN,
    PLACEHOLDERS,
    collected_days,
    day_of,
    day_text,
    parse_dates,
    read_dates,
)
from spotify_ml.data.prepare import say_dates
from spotify_ml.data.sources import RawFile, RawTracks, read_tracks
from spotify_ml.utils.errors import ConfigError, DataError
from tests.support import configured


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("2019-07-05", "2019-07-05"),
        ("2019-7-5", "2019-07-05"),
        (" 2019-07 ", "2019-07"),
        ("2019", "2019"),
        ("2019.0", "2019"),
        ("2019-07-05T00:00:00Z", "2019-07-05"),
        ("2019-07-05 00:00:00", "2019-07-05"),
        ("1860", "1860"),
        ("", None),
        *((each, each) for each in PLACEHOLDERS),
    ],
)
def test_a_date_is_read_in_one_form(given: str, read: str | None):
    found, wrong = read_dates(pa.chunked_array([[given, None]]))
    assert found.to_pylist() == [read, None]
    assert not wrong.any()


@pytest.mark.parametrize(
    "given", ["2091", "1859", "1066-10-14", "2019-13", "2019-02-30", "2019-00", "05/07/2019", "July 2019", "19", "x"]
)
def test_what_is_no_date_is_found(given: str):
    found, wrong = read_dates(pa.chunked_array([["2019", given, given]]))
    assert wrong.tolist() == [False, True, True]
    assert found.to_pylist() == ["2019", None, None]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (pd.Series([2019, 2020]), ["2019", "2020"]),
        (pd.Series([2019.0, np.nan]), ["2019", None]),
        (pd.Series([pd.Timestamp("2019-07-05"), pd.NaT]), ["2019-07-05", None]),
        (pd.Series([date(2019, 7, 5), None], dtype=object), ["2019-07-05", None]),
        (pd.Series([datetime(2019, 7, 5, 10), "2019-07"], dtype=object), ["2019-07-05", "2019-07"]),
        (pd.Series(["2019", None], dtype="category"), ["2019", None]),
        (pa.chunked_array([pa.array([date(2019, 7, 5)], pa.date32())]), ["2019-07-05"]),
    ],
)
def test_years_and_times_are_dates(values: pd.Series, read: list[str | None]):
    found, wrong = read_dates(values)
    assert found.to_pylist() == read
    assert not wrong.any()


def test_other_values_are_none():
    assert read_dates(pd.Series([True, ["2019"], {}], dtype=object))[1].all()


@given(st.dates(date(1860, 1, 1), date(2026, 12, 31)), st.sampled_from([1, 2, 3]))
def test_a_date_stands_for_the_days_that_it_may_mean(day: date, precision: int):
    text = day.isoformat()[: (0, 4, 7, 10)[precision]]
    found = parse_dates(pd.Series([text, "0000", None]))
    assert found.precision.tolist() == [precision, 0, 0]
    own = np.datetime64(day).astype(int)
    assert found.first[0] <= own <= found.last[0]
    assert found.last[0] - found.first[0] + 1 in {1: (365, 366), 2: (28, 29, 30, 31), 3: (1,)}[precision]
    assert np.isnan(found.first[1:]).all()
    assert np.isnan(found.last[1:]).all()
    for edge in (found.first[0], found.last[0]):
        assert day_text(edge).startswith(text)


def test_popularity_is_of_the_day_that_is_given_else_of_the_newest_release():
    dates = parse_dates(pd.Series(["2019-01-02", "2020", None]))
    newest = day_of("2020-01-01")
    np.testing.assert_array_equal(collected_days(dates, None), [newest] * 3)
    np.testing.assert_array_equal(collected_days(dates, np.array([5.0, np.nan, 7])), [5, newest, 7])


def test_a_day_of_the_configuration_is_a_day():
    assert day_text(day_of("2020-01-21")) == "2020-01-21"


def test_a_file_with_other_dates_is_told_that_the_column_may_be_left_out(sample: RawTracks, tmp_path: Path):
    path = tmp_path / "tracks.csv"
    sample.frame.head(5).assign(release_date="05/07/2019").to_csv(path, index=False)
    with pytest.raises(
        DataError, match=r"(?s)release_date: not a date such as .* in 5 rows .*or remove the column release_"
    ):
        read_tracks(DataConfig(name="file", path=str(path)))


def said_of(dates: list[str | None], collected: float, caplog: pytest.LogCaptureFixture) -> str:
    tracks = pd.DataFrame({"release_date": pd.array(dates, dtype="str"), COLLECTED_COLUMN: collected})
    with caplog.at_level(logging.INFO):
        say_dates(RawFile(Path("tracks.csv"), ""), tracks)
    return caplog.text


@pytest.mark.filterwarnings("error")
def test_what_is_known_of_dates_is_said(caplog: pytest.LogCaptureFixture):
    said = said_of(["2019-01-02", "2019-01", "0000", None], np.nan, caplog)
    assert "1 to the day, 1 to the month, 2 not known (1 hold a placeholder" in said
    assert "popularity of 2019-01-02" in said


@pytest.mark.filterwarnings("error")
def test_placeholders_alone_are_said_to_be_unknown(caplog: pytest.LogCaptureFixture):
    assert "popularity of an unknown day" in said_of(["0000", "1900-01-01"], np.nan, caplog)


def test_tracks_of_after_the_count_are_counted(caplog: pytest.LogCaptureFixture):
    said = said_of(["2019-01-02", "1999", "2021-05"], float(day_of("2000-01-01")), caplog)
    assert "2 tracks came out after the day on which popularity was counted; see data.collected=" in said


@pytest.mark.parametrize("key", ["split.cut", "data.collected"])
@pytest.mark.parametrize("given", ["2012", "2012-13-01", "'2012'"])
def test_what_is_no_day_is_told_what_to_give(key: str, given: str):
    with pytest.raises(ConfigError, match=rf"{key}=.*give a day such as 2020-01-21"):
        configured("data=file", "data.path=x.csv", "split=release", f"{key}={given}")
