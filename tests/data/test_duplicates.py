"""Tests of what is said about copies of tracks."""

import numpy as np
import pandas as pd
import pytest

from spotify_ml.data.duplicates import find_duplicates
from spotify_ml.data.sources import RawTracks


@pytest.fixture(scope="module")
def distinct(sample: RawTracks) -> pd.DataFrame:
    """Sixty real tracks that share neither recording nor artist."""
    frame = sample.frame.assign(first=sample.frame["artists"].str.partition(";")[0])
    frame = frame.drop_duplicates("first").drop_duplicates(["danceability", "tempo"]).drop_duplicates("track_name")
    return frame.drop(columns="first").head(60).reset_index(drop=True)


def test_a_file_without_copies_has_nothing_on_both_sides(distinct: pd.DataFrame):
    found = find_duplicates(distinct)
    assert found.copies.to_dict() == {1: 60}
    assert len(found.spreads) == len(found.kinds) == 0
    assert set(found.both_sides.values()) == {0}
    assert np.isnan(found.lookup_r2)


def test_rows_of_a_track_and_second_ids_of_a_recording_are_told_apart(distinct: pd.DataFrame):
    again = distinct.iloc[[0, 0, 1]].assign(track_genre="another", popularity=[0.0, 90.0, 20.0])
    second_id = distinct.iloc[[2]].assign(track_id="second", popularity=distinct["popularity"].iloc[2] + 7)
    found = find_duplicates(pd.concat([distinct, again, second_id], ignore_index=True))
    assert found.copies.to_dict() == {1: 59, 2: 1, 3: 1}
    assert sorted(found.kinds) == ["one track_id", "one track_id", "several track_ids"]
    own = dict(zip(found.kinds.index, found.spreads, strict=True))
    assert own[2] == 7
    assert own[0] == 90


def test_copies_on_the_other_side_can_be_looked_up(distinct: pd.DataFrame):
    twenty_times = pd.concat([distinct] * 20, ignore_index=True)
    found = find_duplicates(twenty_times)
    assert found.both_sides["the same track_id"] == 1
    assert found.lookup_r2 == pytest.approx(1)
    shuffled = twenty_times.assign(
        popularity=np.random.default_rng(0).permutation(twenty_times["popularity"].to_numpy())
    )
    assert find_duplicates(shuffled).lookup_r2 < 0.3


def test_each_kind_of_copy_counts_those_before(sample: RawTracks):
    shares = list(find_duplicates(sample.frame).both_sides.values())
    assert len(shares) == 4
    assert shares == sorted(shares)


def test_two_rows_are_too_few_to_divide(distinct: pd.DataFrame):
    found = find_duplicates(distinct.head(2))
    assert found.both_sides == {}
    assert np.isnan(found.lookup_r2)
