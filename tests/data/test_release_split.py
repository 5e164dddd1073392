"""Tests of the split by release date: no later release, and no copy of an earlier one, is learned from."""

import itertools
import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.dates import day_of, parse_dates
from spotify_ml.data.etl import clean
from spotify_ml.data.release_split import split_by_release
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.utils.errors import DataError
from tests.layouts import dated

DATES = [None, "0000", "2000", "2001", "2001-05", "2001-05-03", "2002-01"]


def config(**changes: object) -> SplitConfig:
    return SplitConfig(**{"name": "release", "test_size": 0.2, "val_size": 0.12, "names": "normal", **changes})


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    frame = dated(clean(sample.frame, "tracks").frame)
    frame.loc[frame.index % 7 == 0, "release_date"] = frame["release_date"].str[:4]
    frame.loc[frame.index % 11 == 0, "release_date"] = frame["release_date"].str[:7]
    frame.loc[frame.index % 13 == 0, "release_date"] = None
    return frame


@pytest.mark.parametrize("changes", [{}, {"cut": "2015-06-15"}, {"test_size": 0.05, "val_size": 0.4}])
def test_parts_follow_each_other_in_time(tracks: pd.DataFrame, changes: dict[str, object]):
    split = split_tracks(tracks, config(**changes), 42)
    dates = parse_dates(tracks["release_date"])
    parts = [split.train, split.validation, split.test]
    for earlier, later in itertools.pairwise(parts):
        assert dates.last[earlier].max() < dates.first[later].min()
    if "cut" in changes:
        assert dates.first[split.test].min() >= day_of("2015-06-15")
    rows = np.concatenate(parts)
    assert len(np.unique(rows)) == len(rows)
    assert (dates.precision[rows] > 0).all()
    groups = [set(split.groups[part]) for part in parts]
    assert not (groups[0] & groups[1])
    assert not (groups[0] & groups[2])
    assert not (groups[1] & groups[2])
    # Nothing else decides it.
    again = split_tracks(tracks, config(**changes), 7)
    np.testing.assert_array_equal(again.test, split.test)


def test_sizes_are_shares_of_the_groups(tracks: pd.DataFrame):
    split = split_tracks(tracks, config(), 42)
    dated_groups = len(np.unique(split.groups[tracks["release_date"].notna()]))
    assert len(np.unique(split.groups[split.test])) / dated_groups == pytest.approx(0.2, abs=0.05)


def test_groups_are_numbered_by_their_first_release(tracks: pd.DataFrame):
    split = split_tracks(tracks, config(), 42)
    assert split.ordered
    first = pd.Series(parse_dates(tracks["release_date"]).first).groupby(split.groups).min().dropna()
    assert first.is_monotonic_increasing


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "0000", "2000", "2001", "2001-05", "2001-05-03", "2002-01"]), st.integers(0, 5)
        ),
        min_size=6,
        max_size=25,
    ),
    st.sampled_from([None, "2001-01-01", "2001-05-02", "2001-05-03"]),
)
@settings(deadline=None)
def test_no_copy_of_what_is_learned_is_tested(rows: list[tuple[str | None, int]], cut: str | None):
    frame = pd.DataFrame({"release_date": pd.array([date for date, _ in rows], dtype="str")})
    groups = np.array([group for _, group in rows])
    try:
        train, validation, test = split_by_release(frame, groups, config(cut=cut))
    except DataError:
        # Too few dates.
        return
    dates = parse_dates(frame["release_date"])
    assert dates.last[train].max() < dates.first[validation].min()
    assert dates.last[validation].max() < dates.first[test].min()
    assert not set(groups[test]) & set(groups[np.concatenate([train, validation])])
    assert not set(groups[train]) & set(groups[validation])


def test_what_is_left_out_is_counted(tracks: pd.DataFrame, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        split = split_tracks(tracks, config(), 42)
    n_undated = int(tracks["release_date"].isna().sum())
    n_others = len(tracks) - n_undated - sum(map(len, (split.train, split.validation, split.test)))
    assert f"left out: {n_undated:,} tracks without a date, {n_others:,} whose date" in caplog.text


@pytest.mark.parametrize(
    ("dates", "changes", "said"),
    [
        (None, {}, "needs release_date, of which the tracks have no value; add dates"),
        ("0000", {}, "no track has a known release_date"),
        ("2001-01-01", {}, "leaves no .*rows: the 10 dated tracks are of 2001-01-01 to 2001-01-01"),
        ("2001-01-01", {"cut": "2050-01-01"}, "leaves no .*test rows"),
    ],
)
def test_what_cannot_be_split_is_refused(dates: str | None, changes: dict[str, object], said: str):
    frame = pd.DataFrame({"energy": np.arange(10)})
    if dates is not None:
        frame["release_date"] = pd.array([dates] * 10, dtype="str")
    with pytest.raises(DataError, match=said):
        split_by_release(frame, np.arange(10), config(**changes))
