"""Features of incomplete rows: those that the pipeline itself makes of raw rows without names and genre."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.incomplete import ABSENT, KEYS, KNOWN, UNKNOWN, IncompleteFeatures
from spotify_ml.features.subsets import Subsets
from spotify_ml.features.transformers.columns import transform_columns

COLUMNS = {"artist": "artists", "album": "album_name", "genre": "track_genre", "title": "track_name"}
TAKEN = [keys for size in range(1, len(KEYS) + 1) for keys in combinations(KEYS, size)]


class Rows:
    """The test rows of a split of the sample, and their features."""

    def __init__(self, tracks: pd.DataFrame) -> None:
        split = split_tracks(tracks, SplitConfig(name="recording", test_size=0.2, val_size=0.12, names="normal"), 42)
        self.subsets: Subsets = build_subsets("full", tracks, split, 42)
        self.raw = tracks.iloc[split.test]
        self.matrix = self.subsets.test.matrix()
        self.features = IncompleteFeatures(tuple(self.subsets.test.features.columns))
        self.all = np.ones(len(self.raw), dtype=bool)

    def of(self, raw: pd.DataFrame) -> np.ndarray:
        return transform_columns(self.subsets.transformer, raw)

    def without(self, keys: tuple[str, ...]) -> pd.DataFrame:
        empty = {COLUMNS[key]: pd.array([None] * len(self.raw), dtype="str") for key in keys}
        return self.raw.assign(**empty)


@pytest.fixture(scope="module")
def rows(sample: RawTracks) -> Rows:
    return Rows(clean(sample.frame, "tracks").frame)


@pytest.mark.parametrize("keys", TAKEN, ids="+".join)
def test_taking_keys_away_gives_the_features_of_rows_that_never_had_them(rows: Rows, keys: tuple[str, ...]):
    taken = rows.features.without(rows.matrix, dict.fromkeys(keys, rows.all), {})
    expected = rows.features.view(rows.of(rows.without(keys)), ~rows.all)
    np.testing.assert_allclose(rows.features.view(taken, ~rows.all), expected, rtol=1e-5, atol=1e-3)


def test_forgetting_keys_gives_the_features_of_names_that_nobody_knows(rows: Rows):
    taken = rows.features.without(rows.matrix, {}, {"artist": rows.all, "album": rows.all})
    strangers = rows.of(rows.raw.assign(artists="Qqq", album_name="Zzz"))
    same = [
        position
        for position, name in enumerate(rows.features.names)
        if not name.startswith(("album_length", "album_words")) and ("_mean" in name or "_count" in name)
    ]
    np.testing.assert_allclose(taken[:, same], strangers[:, same], rtol=1e-5)


def test_only_the_rows_asked_for_change(rows: Rows):
    some = np.arange(len(rows.raw)) % 3 == 0
    taken = rows.features.without(rows.matrix, {"genre": some}, {"artist": some})
    np.testing.assert_array_equal(taken[~some], rows.matrix[~some])
    assert not np.array_equal(taken[some], rows.matrix[some], equal_nan=True)


def test_states_tell_absent_unknown_and_known_keys_apart(rows: Rows):
    raw = rows.raw.head(5).reset_index(drop=True)
    raw["artists"] = ["Qqq", None, ";;", " ; ", raw["artists"][4]]
    raw["album_name"] = ["Zzz", None, "  ", raw["album_name"][3], raw["album_name"][4]]
    raw["track_genre"] = ["noise of nowhere", None, ";", raw["track_genre"][3].upper(), raw["track_genre"][4]]
    raw["track_name"] = ["T", None, " ", "T", "T"]
    states = rows.features.states(rows.of(raw))
    assert states["artist"][:4].tolist() == [UNKNOWN, ABSENT, ABSENT, ABSENT]
    assert states["album"][:3].tolist() == [UNKNOWN, ABSENT, ABSENT]
    assert states["genre"].tolist() == [ABSENT, ABSENT, ABSENT, KNOWN, KNOWN]
    assert states["title"].tolist() == [KNOWN, ABSENT, ABSENT, KNOWN, KNOWN]


def test_a_count_of_an_unknown_key_says_nothing_in_another_catalogue(rows: Rows):
    strangers = rows.of(rows.raw.assign(artists="Qqq"))
    count = rows.features.kept.tolist().index(rows.features.names.index("artist_count"))
    assert (rows.features.view(strangers, ~rows.all)[:, count] == 0).all()
    assert np.isnan(rows.features.view(strangers, rows.all)[:, count]).all()


def test_means_are_of_the_key_alone(rows: Rows):
    """The mean of an artist's tracks is the same whatever genre the row says."""
    mean = rows.features.kept.tolist().index(rows.features.names.index("artist_mean"))
    other = rows.raw.assign(track_genre=rows.raw["track_genre"].iloc[::-1].to_numpy())
    views = [rows.features.view(rows.of(raw), ~rows.all)[:, mean] for raw in (rows.raw, other)]
    np.testing.assert_allclose(*views, rtol=1e-4, atol=1e-3)
