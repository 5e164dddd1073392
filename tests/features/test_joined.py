"""Tests of features from joined tables: what they are called, that they do not leak, and that nothing else changes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.joined_columns import joined_kinds
from spotify_ml.data.schema import TARGET, Kind
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, split_tracks
from spotify_ml.evaluation.baselines import predict_flag_mean
from spotify_ml.features.builder import build_features, build_subsets
from spotify_ml.features.display_names import families, label
from spotify_ml.features.incomplete import IncompleteFeatures
from spotify_ml.features.on_disk import matrix_path, read_columns, write_matrices
from spotify_ml.features.transformers.key import KeyStatistics
from spotify_ml.features.transformers.statistics import STATISTICS
from spotify_ml.utils.errors import DataError

SEED = 5
ADDED = ["charts_weeks", "matched_charts", *(f"charts_studios_{name}" for name in STATISTICS)]


@pytest.fixture(scope="module")
def plain(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame.sample(2500, random_state=1, ignore_index=True), "tracks").frame


@pytest.fixture(scope="module")
def split(plain: pd.DataFrame) -> Split:
    return split_tracks(plain, SplitConfig(name="recording", test_size=0.2, val_size=0.12, names="normal"), SEED)


@pytest.fixture(scope="module")
def joined(plain: pd.DataFrame) -> pd.DataFrame:
    """Tracks of which every second is in a table."""
    n, rng = len(plain), np.random.default_rng(0)
    matched = np.arange(n) % 2 == 0
    studios = np.array(["Abbey Road;Sun", "sun", "Motown"])[rng.integers(0, 3, n)]
    return plain.assign(
        charts_weeks=np.where(matched, rng.integers(1, 90, n), np.nan),
        charts_studios=pd.array(np.where(matched, studios, None), dtype="str"),
        matched_charts=matched.astype(float),
    )


def test_joined_columns_are_features_beside_the_others(plain: pd.DataFrame, joined: pd.DataFrame, split: Split):
    alone, both = (build_subsets("full", tracks, split, SEED).test for tracks in (plain, joined))
    own = [name for name in both.features if name not in alone.features]
    assert own == ADDED
    pd.testing.assert_frame_equal(both.features[list(alone.features)], alone.features)
    for name in ("charts_weeks", "matched_charts"):
        np.testing.assert_array_equal(both.features[name], joined[name].iloc[split.test].astype(np.float32))
    # Lists count by their members, in any spelling.
    seen = joined.iloc[split.trainval]
    with_sun = seen.loc[seen["charts_studios"].str.lower().str.contains("sun", na=False), TARGET]
    row = int(np.flatnonzero(joined["charts_studios"].iloc[split.test] == "sun")[0])
    assert both.features["charts_studios_count"].iloc[row] == len(with_sun)
    assert both.features["charts_studios_max"].iloc[row] == with_sun.max()


@pytest.mark.parametrize("name", ["audio", "reference"])
def test_other_feature_sets_do_without(plain: pd.DataFrame, joined: pd.DataFrame, split: Split, name: str):
    alone, both = (build_subsets(name, tracks, split, SEED).test.features for tracks in (plain, joined))
    pd.testing.assert_frame_equal(both, alone)


def test_features_in_files_are_those_in_memory(joined: pd.DataFrame, split: Split, tmp_path: Path):
    write_matrices("full", joined, split, SEED, tmp_path)
    subsets = build_subsets("full", joined, split, SEED)
    for name in ("train", "validation", "trainval", "test"):
        features = getattr(subsets, name).features
        assert read_columns(tmp_path, name) == list(features)
        np.testing.assert_array_equal(np.load(matrix_path(tmp_path, name)), features.to_numpy())


def told_to_train(joined: pd.DataFrame, split: Split) -> np.ndarray:
    return build_subsets("full", joined, split, SEED).train.features.filter(like="charts_key_").to_numpy()


def told_themselves(joined: pd.DataFrame, split: Split) -> np.ndarray:
    """Statistics made the wrong way: from the rows that are told them."""
    train = joined.iloc[split.train]
    return KeyStatistics("charts_key").fit(train, train[TARGET].to_numpy()).transform(train)


def assert_blind_to_own_group(tell: Callable[..., np.ndarray], joined: pd.DataFrame, split: Split) -> None:
    """Other targets in some groups change nothing that their rows are told of a key that only their group has."""
    groups = split.groups[split.train]
    largest = np.bincount(groups).argsort()[-3:]
    before = tell(joined, split)
    for group in (*largest, groups[0], groups[1]):
        rows = split.train[groups == group]
        changed = joined.copy()
        changed.loc[changed.index[rows], TARGET] = 100 - changed[TARGET].iloc[rows]
        own = np.isin(split.train, rows)
        np.testing.assert_array_equal(tell(changed, split)[own], before[own])


@pytest.fixture(scope="module")
def keyed(plain: pd.DataFrame, split: Split) -> pd.DataFrame:
    """Tracks with a joined key that is one of their group alone."""
    keys = [f"key {group}" for group in split.groups]
    return plain.assign(charts_key=pd.array(keys, dtype="str"), matched_charts=1.0)


def test_a_key_of_one_group_tells_nothing_of_it(keyed: pd.DataFrame, split: Split):
    assert_blind_to_own_group(told_to_train, keyed, split)
    told = build_subsets("full", keyed, split, SEED).train.features
    assert (told["charts_key_count"] == 0).all()
    assert told.filter(regex="charts_key_(std|dead_share|max|min)").isna().all(axis=None)


def test_a_key_that_is_told_its_own_group_is_found_out(keyed: pd.DataFrame, split: Split):
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_blind_to_own_group(told_themselves, keyed, split)


def test_features_of_incomplete_rows_keep_joined_columns(joined: pd.DataFrame, split: Split):
    test = build_subsets("full", joined, split, SEED).test
    features, every = IncompleteFeatures(tuple(test.features)), np.ones(len(test.target), dtype=bool)
    view = features.view(features.without(test.matrix(), dict.fromkeys(("artist", "genre"), every), {}), every)
    kept = [features.names[position] for position in features.kept]
    own = [name for name in kept if name.startswith("charts_") or name == "matched_charts"]
    assert len(own) == len(ADDED)
    np.testing.assert_array_equal(view[:, [kept.index(name) for name in own]], test.features[own])


def test_joined_features_are_a_family(joined: pd.DataFrame, split: Split):
    columns = list(build_subsets("full", joined, split, SEED).test.features)
    found = dict(zip(columns, families(columns), strict=True))
    own = [name for name, family in found.items() if family == "joined"]
    assert own == [name for name in columns if name.startswith("charts_") or name == "matched_charts"]
    assert label("matched_charts") == "is in charts"


@pytest.mark.parametrize(
    "joined",
    [
        {"artist_mean": Kind.NUMBER, "matched_artist": Kind.NUMBER},
        {"genre_x": Kind.NUMBER, "matched_genre": Kind.NUMBER},
        {"a_b": Kind.TEXT, "a_b_max": Kind.NUMBER, "matched_a": Kind.NUMBER},
    ],
)
def test_a_column_with_the_name_of_another_feature_is_refused(joined: dict[str, Kind]):
    with pytest.raises(DataError, match="is the name of another feature as well; rename the file, or its column"):
        build_features("full", joined=joined)


def test_columns_of_tracks_are_no_joined_ones(plain: pd.DataFrame):
    assert joined_kinds(plain.assign(matched_track=1.0, matched_popularity=1.0)) == {
        "matched_track": Kind.NUMBER,
        "matched_popularity": Kind.NUMBER,
    }


def test_the_control_predicts_the_mean_of_rows_with_the_same_flags():
    seen = pd.DataFrame({"matched_a": [0, 0, 1, 1], "matched_b": [0, 0, 0, 1]})
    rows = pd.DataFrame({"matched_a": [0, 1, 1, 0], "matched_b": [0, 0, 1, 1]})
    found = predict_flag_mean(seen, np.array([10.0, 20.0, 60.0, 90.0]), rows)
    np.testing.assert_array_equal(found, [15, 60, 90, 45])
