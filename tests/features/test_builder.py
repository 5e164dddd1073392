"""Feature sets: their columns, and that nothing fitted sees rows it must not see."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import add_derived_columns, clean
from spotify_ml.data.schema import AUDIO, NAMES
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, split_tracks
from spotify_ml.features.builder import build_features, build_subsets, fit_features
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.features.transformers.catalogue import CatalogueStatistics
from spotify_ml.features.transformers.names import NameFeatures
from spotify_ml.features.transformers.words import FEATURES as WORDS

SEED = 42
FEATURES = ["full", "audio", "reference"]
# Of a key that is not known, and of a name without a year.
MAY_BE_MISSING = r"_(std|dead_share|max|min|year)$"
SCALED = ["duration_ms", "loudness", "tempo", "duration_min", "track_genre_encoded", "key"]
REFERENCE_LISTING = """
duration_ms explicit danceability energy key loudness speechiness acousticness instrumentalness liveness valence tempo
duration_min track_genre_encoded
energy_danceability valence_energy acousticness_energy energy_squared danceability_squared valence_squared
is_short_track is_long_track high_energy_happy low_energy_sad
mode_1 time_signature_1 time_signature_3 time_signature_4 time_signature_5
"""
REFERENCE = {
    *REFERENCE_LISTING.split(),
    "mood_energy_Energetic/Sad",
    "mood_energy_Happy/High Energy",
    "mood_energy_Sad/Low Energy",
    "energy_category_Medium Energy",
    "energy_category_High Energy",
    "tempo_category_Moderate",
    "tempo_category_Fast",
    "tempo_category_Very Fast",
}

Builder = Callable[[str, pd.DataFrame, Split, int], Subsets]
Change = Callable[[pd.DataFrame], dict[str, Any]]


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame


@pytest.fixture(scope="module")
def split(tracks: pd.DataFrame) -> Split:
    return split_tracks(tracks, SplitConfig(name="recording", test_size=0.2, val_size=0.12), SEED)


@pytest.fixture(scope="module", params=FEATURES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def subsets(name: str, tracks: pd.DataFrame, split: Split) -> Subsets:
    return build_subsets(name, tracks, split, SEED)


@pytest.fixture(scope="module")
def reference(tracks: pd.DataFrame, split: Split) -> Subsets:
    return build_subsets("reference", tracks, split, SEED)


# --- columns -----------------------------------------------------------------------------------------------------


def test_reference_gives_the_37_columns(reference):
    assert len(REFERENCE) == 37
    assert sorted(reference.trainval.features) == sorted(REFERENCE)


def test_audio_gives_the_14_audio_columns_as_they_are(tracks, split):
    features = build_subsets("audio", tracks, split, SEED).test.features
    assert features.columns.tolist() == list(AUDIO)
    np.testing.assert_array_equal(features, tracks.loc[split.test, list(AUDIO)].astype(float).astype(np.float32))


def test_full_gives_audio_genres_catalogue_names_and_words(tracks, split):
    n_genres = tracks["track_genre"].str.split(";").explode().nunique()
    columns = build_subsets("full", tracks, split, SEED).trainval.features.columns.tolist()
    components = [f"genre_component_{number}" for number in range(1, min(n_genres, 24) + 1)]
    catalogue, names = (step.get_feature_names_out() for step in (CatalogueStatistics(), NameFeatures()))
    assert columns == [*AUDIO, *components, "n_genres", *catalogue, *names, *WORDS]


def test_reference_columns_do_not_depend_on_the_levels_that_occur(tracks):
    few = tracks[(tracks["mode"] == 1) & (tracks["time_signature"] == 4) & (tracks["tempo"] < 90)]
    features = build_features("reference").fit(few)
    assert sorted(features.get_feature_names_out()) == sorted(REFERENCE)


@pytest.mark.parametrize("column", SCALED)
def test_scaled_columns_have_mean_0_and_deviation_1_on_the_fitting_rows(reference, column):
    values = reference.trainval.features[column].astype(float)
    assert values.mean() == pytest.approx(0, abs=1e-5)
    assert values.std(ddof=0) == pytest.approx(1, abs=1e-5)


def test_test_rows_are_scaled_by_the_fitting_rows(reference, tracks, split):
    trainval, test = (tracks["tempo"].iloc[rows] for rows in (split.trainval, split.test))
    expected = (test - trainval.mean()) / trainval.std(ddof=0)
    np.testing.assert_allclose(reference.test.features["tempo"], expected, atol=1e-5)


def test_reference_keeps_ratios_and_flags_unscaled(reference, tracks, split):
    kept = ["explicit", "danceability", "energy", "speechiness", "acousticness", "valence"]
    expected = tracks.loc[split.test, kept].astype(float).astype(np.float32)
    np.testing.assert_array_equal(reference.test.features[kept], expected)


@pytest.mark.parametrize("column", ["mode", "time_signature", "mood_energy", "energy_category", "tempo_category"])
def test_reference_marks_the_level_of_every_track(reference, tracks, split, column):
    flags = reference.test.features.filter(regex=f"^{column}_")
    levels = tracks[column].iloc[split.test].astype(str)
    for flag in flags:
        np.testing.assert_array_equal(flags[flag], levels == flag.removeprefix(f"{column}_"), err_msg=flag)


def test_parts_are_float32_named_by_row_and_bring_their_target(subsets, tracks, split):
    for part in ("train", "validation", "trainval", "test"):
        built, rows = getattr(subsets, part), getattr(split, part)
        assert set(built.features.dtypes) == {np.dtype(np.float32)}, part
        np.testing.assert_array_equal(built.features.index, rows, err_msg=part)
        np.testing.assert_array_equal(built.target, tracks["popularity"].iloc[rows], err_msg=part)


def test_no_feature_is_the_target_or_an_identifier(subsets):
    forbidden = {"popularity", "popularity_category", "track_id", "artists", "album_name", "track_name", "track_genre"}
    assert forbidden.isdisjoint(subsets.trainval.features.columns)
    missing = subsets.trainval.features.isna().any()
    assert missing[missing].index.str.contains(MAY_BE_MISSING).all()


@pytest.mark.full
def test_full_rows_give_the_reference_columns_scaled(full):
    rows = clean(full.frame, "rows").frame
    split = split_tracks(rows, SplitConfig(name="random", test_size=0.2, val_size=0.12), SEED)
    features = build_subsets("reference", rows, split, SEED).trainval.features
    assert features.shape == (91_200, 37)
    assert sorted(features) == sorted(REFERENCE)
    np.testing.assert_allclose(features[SCALED].astype(float).mean(), 0, atol=1e-4)
    np.testing.assert_allclose(features[SCALED].astype(float).std(ddof=0), 1, atol=1e-4)


# --- one row at a time, any order --------------------------------------------------------------------------------


def test_rows_one_at_a_time_give_what_they_give_together(subsets, tracks, split):
    alone = np.vstack([subsets.transformer.transform(tracks.iloc[[row]]) for row in split.test[:25]])
    np.testing.assert_array_equal(alone, subsets.test.features[:25])


def test_transforming_does_not_depend_on_the_order_of_rows(subsets, tracks, split):
    shuffled = np.random.default_rng(0).permutation(split.test)
    given = subsets.transformer.transform(tracks.iloc[shuffled])
    np.testing.assert_array_equal(given, subsets.test.features.loc[shuffled])


def test_fitting_does_not_depend_on_the_order_of_rows(name, subsets, tracks, split):
    shuffled = tracks.iloc[np.random.default_rng(0).permutation(split.trainval)]
    again = build_features(name, SEED).fit(shuffled, shuffled["popularity"]).transform(tracks.iloc[split.test])
    # The regression of words is solved step by step, and stops early.
    words = subsets.test.features.columns.isin(WORDS)
    np.testing.assert_allclose(again[:, ~words], subsets.test.features.loc[:, ~words], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(again[:, words], subsets.test.features.loc[:, words], atol=0.01)


@pytest.mark.parametrize("genre", ["unheard", "", None])
def test_unseen_or_missing_genre_gives_numbers(subsets, tracks, genre):
    row = tracks.head(1).assign(track_genre=pd.array([genre], dtype="str"))
    given = pd.DataFrame(subsets.transformer.transform(row), columns=subsets.trainval.features.columns)
    assert np.isfinite(given.drop(columns=given.filter(regex=MAY_BE_MISSING))).all(axis=None)
    assert not np.isinf(given).any(axis=None)


def test_clone_is_unfitted_and_builds_the_same(subsets, tracks, split):
    again = clone(subsets.transformer)
    assert not hasattr(again, "transformers_")
    seen = tracks.iloc[split.trainval]
    given = again.fit(seen, seen["popularity"]).transform(tracks.iloc[split.test])
    np.testing.assert_array_equal(given, subsets.test.features)


def test_building_leaves_what_it_is_given(name, tracks, split):
    before = tracks.copy()
    build_subsets(name, tracks, split, SEED)
    pd.testing.assert_frame_equal(tracks, before)


# --- leakage -----------------------------------------------------------------------------------------------------


def fitted_state(estimator: BaseEstimator) -> dict[str, Any]:
    """Return everything that an estimator and those inside it have learnt, by name."""
    if isinstance(estimator, Pipeline):
        return {name: fitted_state(step) for name, step in estimator.steps}
    state = {key: value for key, value in vars(estimator).items() if key.endswith("_")}
    for name, inner in state.pop("levels_", {}).items():
        state[name] = fitted_state(inner)
    for name, inner, _ in state.pop("transformers_", []):
        state[name] = fitted_state(inner)
    state.pop("output_indices_", None)
    return state


def assert_same_part(one: Subset, other: Subset) -> None:
    pd.testing.assert_frame_equal(one.features, other.features, check_exact=True)
    np.testing.assert_array_equal(one.target, other.target)


def changed(tracks: pd.DataFrame, rows: np.ndarray, change: Change) -> pd.DataFrame:
    """Return tracks with other values in some rows, and the derived columns that follow from them."""
    raw = tracks[list(NAMES)].copy()
    for column, values in change(raw.iloc[rows]).items():
        raw[column] = raw[column].astype(object)
        raw.iloc[rows, raw.columns.get_loc(column)] = values
    return add_derived_columns(raw.astype(tracks[list(NAMES)].dtypes))


def other_everything(rows: pd.DataFrame) -> dict[str, Any]:
    everything = {**other_audio(rows), **other_genres(rows), **other_target(rows)}
    return {**everything, "artists": "Nobody", "album_name": "Nothing", "track_name": None, "track_id": "x"}


def other_audio(rows: pd.DataFrame) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    extremes = {"duration_ms": 86_400_000, "tempo": 300.0, "loudness": -100.0, "key": 0, "time_signature": 0}
    return {**{column: rng.permutation(rows[column]) for column in AUDIO}, **extremes}


def other_genres(rows: pd.DataFrame) -> dict[str, Any]:
    return {"track_genre": np.resize(["aaa-unheard", "zzz-unheard;country", "metal;rock"], len(rows))}


def other_target(rows: pd.DataFrame) -> dict[str, Any]:
    return {"popularity": 100 - rows["popularity"].to_numpy()}


CHANGES = [other_everything, other_audio, other_genres, other_target]


def assert_blind_to_changed_test_rows(build: Builder, name: str, tracks: pd.DataFrame, split: Split, change: Change):
    before, after = build(name, tracks, split, SEED), build(name, changed(tracks, split.test, change), split, SEED)
    for part in ("train", "validation", "trainval"):
        assert_same_part(getattr(before, part), getattr(after, part))
    np.testing.assert_equal(fitted_state(before.transformer), fitted_state(after.transformer))


def assert_blind_to_changed_validation_rows(
    build: Builder, name: str, tracks: pd.DataFrame, split: Split, change: Change
):
    before, after = (
        build(name, tracks, split, SEED),
        build(name, changed(tracks, split.validation, change), split, SEED),
    )
    assert_same_part(before.train, after.train)


def assert_blind_to_further_test_rows(build: Builder, name: str, tracks: pd.DataFrame, split: Split):
    further = changed(tracks.head(500), np.arange(500), other_everything)
    more = pd.concat([tracks, further], ignore_index=True)
    added = np.arange(len(tracks), len(more))
    groups = np.concatenate([split.groups, split.groups.max() + 1 + np.arange(len(further))])
    larger = replace(split, test=np.concatenate([split.test, added]), groups=groups)
    before, after = build(name, tracks, split, SEED), build(name, more, larger, SEED)
    for part in ("train", "validation", "trainval"):
        assert_same_part(getattr(before, part), getattr(after, part))
    np.testing.assert_equal(fitted_state(before.transformer), fitted_state(after.transformer))


def build_leaky(name: str, tracks: pd.DataFrame, split: Split, seed: int) -> Subsets:
    """Build matrices the wrong way, as the reference pipeline did: fit on all rows, test included."""
    features = build_features(name, seed).fit(tracks, tracks["popularity"])

    def part(rows: np.ndarray) -> Subset:
        matrix = features.transform(tracks.iloc[rows])
        named = pd.DataFrame(matrix, index=rows, columns=features.get_feature_names_out())
        return Subset(named, tracks["popularity"].to_numpy()[rows])

    parts = (part(rows) for rows in (split.train, split.validation, split.trainval, split.test))
    return Subsets(*parts, features)


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_fitted_sees_test_rows(name, tracks, split, change):
    assert_blind_to_changed_test_rows(build_subsets, name, tracks, split, change)


@pytest.mark.parametrize("change", CHANGES)
def test_train_part_does_not_see_validation_rows(name, tracks, split, change):
    assert_blind_to_changed_validation_rows(build_subsets, name, tracks, split, change)


def test_validation_part_is_made_by_what_the_train_rows_taught(name, subsets, tracks, split):
    seen = tracks.iloc[split.train]
    fitted = build_features(name, SEED).fit(seen, seen["popularity"])
    np.testing.assert_array_equal(subsets.validation.features, fitted.transform(tracks.iloc[split.validation]))


def test_further_test_rows_change_nothing_fitted(name, tracks, split):
    assert_blind_to_further_test_rows(build_subsets, name, tracks, split)


def test_final_features_do_see_validation_rows(tracks, split):
    # Shows that a change of rows that are fitted on is noticed.
    before = build_subsets("reference", tracks, split, SEED)
    after = build_subsets("reference", changed(tracks, split.validation, other_audio), split, SEED)
    with pytest.raises(AssertionError):
        np.testing.assert_equal(fitted_state(before.transformer), fitted_state(after.transformer))


@pytest.mark.parametrize(
    ("leaky_name", "change"),
    [
        ("reference", other_everything),
        ("reference", other_audio),
        ("reference", other_genres),
        ("full", other_everything),
        ("full", other_genres),
        ("full", other_target),
    ],
)
def test_planted_leak_is_caught(tracks, split, leaky_name, change):
    with pytest.raises(AssertionError):
        assert_blind_to_changed_test_rows(build_leaky, leaky_name, tracks, split, change)
    with pytest.raises(AssertionError):
        assert_blind_to_changed_validation_rows(build_leaky, leaky_name, tracks, split, change)


@pytest.mark.parametrize("leaky_name", ["reference", "full"])
def test_planted_leak_of_further_test_rows_is_caught(tracks, split, leaky_name):
    with pytest.raises(AssertionError):
        assert_blind_to_further_test_rows(build_leaky, leaky_name, tracks, split)


def test_state_compared_for_leaks_holds_what_the_reference_features_learn(reference):
    state = fitted_state(reference.transformer)
    assert len(state["scaled"]["standardscaler"]["mean_"]) == 5
    assert state["genre"]["firstgenrecode"]["genres_"]


def test_state_compared_for_leaks_holds_what_the_catalogue_taught(tracks, split):
    state = fitted_state(build_subsets("full", tracks, split, SEED).transformer)
    assert len(state["catalogue"]["artist"]["keys_"]) > 100
    assert state["genres"]["genres_"]


def test_train_rows_learn_of_other_groups_alone(tracks, split):
    """Another target of its group changes nothing for a row of train, and something for the others."""
    groups, column = split.groups[split.train], tracks.columns.get_loc("popularity")
    names, sizes = np.unique(groups, return_counts=True)
    for group in names[np.argsort(sizes)[-5:]]:
        own = split.train[groups == group]
        other = tracks.copy()
        other.iloc[own, column] = 100 - tracks["popularity"].to_numpy()[own]
        before, after = (
            fit_features("full", table, split.groups, split.train, split.validation, SEED)[0].features
            for table in (tracks, other)
        )
        pd.testing.assert_frame_equal(before.loc[own], after.loc[own], check_exact=True)
        assert not before.equals(after)
