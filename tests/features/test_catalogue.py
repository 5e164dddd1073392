"""What the catalogue says of a track: levels and their fallbacks, and nothing of the track's own group."""

import pickle
import unicodedata
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.names import normal_list, normal_name
from spotify_ml.data.schema import TARGET
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import group_codes, split_tracks
from spotify_ml.features.builder import build_features, fit_features, with_categories
from spotify_ml.features.transformers.catalogue import COLUMNS, CatalogueStatistics
from spotify_ml.features.transformers.statistics import TargetStatistics, assign_folds

SPLITS = ["recording", "album", "artist", "random"]
LISTING = [
    f"{level}_{statistic}"
    for level in ("genres", "artist", "any_artist", "artists", "album", "artist_album", "artist_genres", "album_genres")
    for statistic in ("mean", "count", "std", "dead_share", "max", "min")
]

Encode = Callable[[pd.DataFrame, np.ndarray, np.ndarray], np.ndarray]


def catalogue(*rows: tuple[str | None, str | None, str | None]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.array([row[i] for row in rows], dtype="str") for i, name in enumerate(COLUMNS)})


def named(matrix: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(matrix, columns=CatalogueStatistics().get_feature_names_out())


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame


@pytest.fixture(scope="module")
def popularity(tracks: pd.DataFrame) -> np.ndarray:
    return tracks[TARGET].to_numpy()


@pytest.fixture(scope="module")
def fitted(tracks: pd.DataFrame, popularity: np.ndarray) -> CatalogueStatistics:
    """Fitted on every other track, so that the rest has known and unknown keys."""
    return CatalogueStatistics().fit(tracks[COLUMNS].iloc[::2], popularity[::2])


# Popularity 80, 60, 20 and 40: the mean is 50, of pop (140 + 50) / 3, of rock (60 + 50) / 3.
TINY = catalogue(("A", "X", "pop"), ("A;B", "X", "pop"), ("B", "Y", "rock"), ("C", "Z", "rock"))
TINY_POPULARITY = np.array([80.0, 60.0, 20.0, 40.0])
POP, ROCK = 190 / 3, 110 / 3
A, B = (140 + POP) / 3, (20 + ROCK) / 2
A_POP, X = (140 + A) / 3, (140 + A) / 3
X_POP = (140 + X) / 3


@pytest.fixture
def tiny() -> CatalogueStatistics:
    return CatalogueStatistics().fit(TINY, TINY_POPULARITY)


# --- columns -------------------------------------------------------------------------------------------------------


def test_columns_are_six_statistics_of_eight_levels(tiny):
    assert len(LISTING) == 48
    assert tiny.get_feature_names_out().tolist() == LISTING
    for matrix in (tiny.transform(TINY), CatalogueStatistics().fit_transform(TINY, TINY_POPULARITY)):
        assert matrix.shape == (4, 48)
        assert matrix.dtype == np.float32


def test_statistics_stand_in_their_columns(tiny):
    row = named(tiny.transform(TINY)).iloc[1]
    expected = {"count": 2, "std": 10, "dead_share": 0, "max": 80, "min": 60}
    assert {name: row[f"artist_{name}"] for name in expected} == expected
    assert {name: row[f"album_{name}"] for name in expected} == expected
    assert row["any_artist_count"] == 4
    assert [row["any_artist_max"], row["any_artist_min"]] == [80, 20]
    assert [row["artists_count"], row["artists_max"]] == [1, 60]


def test_only_the_means_are_known_of_a_track_of_which_nothing_is(tiny):
    row = named(tiny.transform(catalogue(("?", "?", "?")))).iloc[0]
    assert (row.filter(like="_count") == 0).all()
    assert (row.filter(like="_mean") == 50).all()
    assert row.filter(regex="_(std|dead_share|max|min)$").isna().all()


# --- levels and fallbacks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("track", "means"),
    [
        # The means, in order: genres, artist, any artist, artists, album, artist's album, artist's and album's genres.
        pytest.param(("?", "?", "?"), [50] * 8, id="nothing known"),
        pytest.param(("?", "?", "pop"), [POP] * 8, id="genre known"),
        pytest.param(("A", "?", "?"), [50, 190 / 3, 190 / 3, (80 + 190 / 3) / 2] + [190 / 3] * 4, id="artist known"),
        pytest.param(("A", "X", "pop"), [POP, A, A, (80 + A) / 2, X, X, A_POP, X_POP], id="all known"),
        pytest.param(("A;B", "X", "pop"), [POP, A, (220 + POP) / 5, (60 + A) / 2, X, X, A_POP, X_POP], id="two"),
        pytest.param(
            ("B;A", "?", "pop"), [POP, (20 + POP) / 2, (220 + POP) / 5] + [(20 + POP) / 2] * 5, id="other order"
        ),
        pytest.param(
            ("B", "X", "rock"),
            [ROCK, B, (80 + ROCK) / 3, (20 + B) / 2, (140 + B) / 3, B, (20 + B) / 2, (140 + B) / 3],
            id="other's album",
        ),
        pytest.param(
            ("?", "X", "pop"),
            [POP, POP, POP, POP, (140 + POP) / 3, POP, POP, (140 + (140 + POP) / 3) / 3],
            id="album known",
        ),
        pytest.param(("?;B", "?", "pop"), [POP, POP, (80 + POP) / 3] + [POP] * 5, id="only a further artist known"),
        pytest.param(("?", "?", "pop;rock"), [50] * 8, id="unknown set of known genres"),
    ],
)
def test_mean_falls_back_from_artist_to_genres_to_all(tiny, track, means):
    given = named(tiny.transform(catalogue(track))).filter(like="_mean")
    np.testing.assert_allclose(given.iloc[0], means, rtol=1e-6)


def test_rows_of_train_fall_back_on_the_other_folds():
    # Each row is a fold. The first is told of 60, 20 and 40: their mean is 40, and A, pop and X have the 60 alone.
    told = named(CatalogueStatistics().fit_transform(TINY, TINY_POPULARITY, np.arange(4))).filter(like="_mean")
    np.testing.assert_allclose(told.iloc[0], [50, 55, 55, 55, 57.5, 57.5, 57.5, 58.75], rtol=1e-6)
    # Nothing else is by C: rock has the 20 beside a mean of 160 / 3.
    np.testing.assert_allclose(told.iloc[3], [(20 + 160 / 3) / 2] * 8, rtol=1e-6)


def test_rows_of_train_are_told_nothing_of_other_rows_of_their_group():
    # The first two rows are one group: they are told of 20 and 40 alone, which share an artist with the second.
    told = named(CatalogueStatistics().fit_transform(TINY, TINY_POPULARITY, np.array([0, 0, 1, 2])))
    assert told["artist_count"].tolist()[:2] == [0, 0]
    np.testing.assert_allclose(told.filter(like="_mean").iloc[0], [30] * 8)
    np.testing.assert_allclose(told.filter(like="_mean").iloc[1], [30, 30, 25, 30, 30, 30, 30, 30])


@pytest.mark.parametrize("smoothing", [0.5, 4.0])
def test_smoothing_counts_for_the_fallback_on_every_level(smoothing):
    encoder = CatalogueStatistics(smoothing=smoothing).fit(TINY, TINY_POPULARITY)
    pop = (140 + smoothing * 50) / (2 + smoothing)
    artist = (140 + smoothing * pop) / (2 + smoothing)
    given = named(encoder.transform(TINY.iloc[[0]])).iloc[0]
    expected = [pop, artist, (140 + smoothing * artist) / (2 + smoothing)]
    np.testing.assert_allclose(given[["genres_mean", "artist_mean", "album_mean"]], expected, rtol=1e-6)


def test_genres_are_a_set():
    encoder = CatalogueStatistics().fit(catalogue(("A", "X", "rock;pop"), ("B", "Y", "pop")), [10.0, 50.0])
    given = named(
        encoder.transform(catalogue(*(("?", "?", genres) for genres in ("pop;rock", " rock; pop;rock;", "rock"))))
    )
    assert given["genres_count"].tolist() == [1, 1, 0]


def test_lists_of_artists_are_pooled_on_real_tracks(tracks, popularity, fitted):
    rows = tracks.iloc[1::2]
    together = rows[rows["artists"].str.contains(";")].head(40)
    known = [set(artists.split(";")) for artists in tracks["artists"].iloc[::2]]
    given = named(fitted.transform(together[COLUMNS]))
    for position, artists in enumerate(together["artists"]):
        pool = [popularity[2 * row] for row, own in enumerate(known) for _ in own & set(artists.split(";"))]
        assert given["any_artist_count"].iloc[position] == len(pool)
        assert given["any_artist_max"].iloc[position] == pytest.approx(max(pool, default=np.nan), nan_ok=True)
        assert given["any_artist_std"].iloc[position] == pytest.approx(
            np.std(pool) if pool else np.nan, abs=1e-3, nan_ok=True
        )
    assert given["any_artist_count"].max() > 1


def test_real_counts_are_those_of_a_plain_count(tracks, popularity):
    encoder = CatalogueStatistics().fit(tracks[COLUMNS], popularity)
    given = named(encoder.transform(tracks[COLUMNS]))
    artists, album = tracks["artists"].map(normal_list), tracks["album_name"].map(normal_name)
    first = artists.str.split(";").str[0]
    for level, keys in {
        "genres": [tracks["track_genre"]],
        "artist": [first],
        "artists": [artists],
        "album": [album],
        "artist_album": [first, album],
    }.items():
        by_key = tracks.groupby(keys)[TARGET]
        np.testing.assert_array_equal(given[f"{level}_count"], by_key.transform("size"), err_msg=level)
        np.testing.assert_allclose(given[f"{level}_max"], by_key.transform("max"), rtol=1e-6, err_msg=level)
        np.testing.assert_allclose(given[f"{level}_min"], by_key.transform("min"), rtol=1e-6, err_msg=level)


OTHERWISE = {
    "case": lambda text: text.upper(),
    "NFD": lambda text: unicodedata.normalize("NFD", text),
    "spaces": lambda text: f"  {text.replace(' ', '  ')} ",
    "quotes": lambda text: text.replace("'", "’"),
    "and": lambda text: text.replace(" & ", " and "),
}


@pytest.mark.parametrize("change", OTHERWISE.values(), ids=OTHERWISE)
def test_keys_written_otherwise_are_the_same(tracks, popularity, change):
    encoder = CatalogueStatistics().fit(tracks[COLUMNS], popularity)
    written = tracks[COLUMNS].map(change, na_action="ignore")
    assert not written.equals(tracks[COLUMNS])
    np.testing.assert_array_equal(encoder.transform(written), encoder.transform(tracks[COLUMNS]))


def test_a_genre_that_the_catalogue_lacks_is_its_nearest(tiny):
    rows = catalogue(("A", "X", "rap"), ("A", "X", "hip hop"))
    given = CatalogueStatistics().fit(catalogue(("A", "X", "hip-hop"), ("B", "Y", "pop")), [10.0, 50.0]).transform(rows)
    np.testing.assert_array_equal(given[0], given[1])
    assert named(given)["genres_count"].tolist() == [1, 1]
    known = CatalogueStatistics().fit(catalogue(("A", "X", "hip-hop"), ("B", "Y", "rap")), [10.0, 50.0]).transform(rows)
    assert named(known)["genres_mean"].tolist() == [40.0, 20.0]


# --- empty values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [None, ""])
def test_empty_values_are_unknown_keys(tiny, empty):
    given = named(tiny.transform(catalogue((empty, "X", "pop"), ("A", empty, "pop"), ("A", "X", empty), (empty,) * 3)))
    unknown = named(tiny.transform(catalogue(("?", "X", "pop"), ("A", "?", "pop"), ("A", "X", "?"), ("?",) * 3)))
    pd.testing.assert_frame_equal(given, unknown)


def test_empty_values_teach_no_key():
    X = pd.concat([TINY, catalogue((None,) * 3, ("A", None, None), (None, "X", None))], ignore_index=True)
    encoder = CatalogueStatistics()
    told = named(encoder.fit_transform(X, np.append(TINY_POPULARITY, [5.0, 6.0, 7.0]), np.arange(7)))
    assert (told.filter(like="_count").iloc[4] == 0).all()
    given = named(encoder.transform(X))
    assert given["artist_count"].tolist() == [3, 3, 1, 1, 0, 3, 0]
    assert given["album_count"].tolist() == [3, 3, 1, 1, 0, 0, 3]
    assert given["artist_album_count"].tolist() == [2, 2, 1, 1, 0, 0, 0]
    assert given["genres_count"].tolist() == [2, 2, 2, 2, 0, 0, 0]


@pytest.mark.parametrize("column", [0, 2])
def test_empty_artists_and_genres_teach_nothing_as_missing_ones(column):
    rows = [["D", "V", "folk"], ["E", "W", "folk"]]
    subsets = []
    for empty in ("", None):
        X = catalogue(*(tuple(empty if i == column else value for i, value in enumerate(row)) for row in rows))
        subsets.append(CatalogueStatistics().fit_transform(X, [10.0, 30.0], np.arange(2)))
    np.testing.assert_array_equal(*subsets)


def test_empty_albums_teach_nothing_as_missing_ones():
    encoder = CatalogueStatistics().fit(catalogue(("A", "", "pop"), ("B", "", "pop")), [10.0, 30.0])
    assert named(encoder.transform(catalogue(("A", "", "pop"))))["album_count"].iloc[0] == 0


def test_columns_without_any_value_are_fine():
    X = catalogue((None,) * 3, (None,) * 3)
    encoder = CatalogueStatistics()
    told = named(encoder.fit_transform(X, [10.0, 20.0], np.arange(2)))
    np.testing.assert_array_equal(told.filter(like="_mean"), [[20] * 8, [10] * 8])
    np.testing.assert_array_equal(named(encoder.transform(TINY)).filter(like="_mean"), [[15] * 8] * 4)


# --- one row at a time, any order, any type ------------------------------------------------------------------------


def test_text_and_categories_give_the_same(tracks, popularity, fitted):
    categories = with_categories(tracks)
    assert categories["artists"].dtype == "category"
    again = CatalogueStatistics().fit(categories[COLUMNS].iloc[::2], popularity[::2])
    np.testing.assert_array_equal(again.transform(categories[COLUMNS]), fitted.transform(tracks[COLUMNS]))
    groups = group_codes(tracks, "artist")
    told = [CatalogueStatistics().fit_transform(X[COLUMNS], popularity, groups) for X in (tracks, categories)]
    np.testing.assert_array_equal(*told)


def test_transforming_does_not_depend_on_the_order_of_rows(tracks, fitted):
    order = np.random.default_rng(0).permutation(len(tracks))
    rows = tracks[COLUMNS]
    np.testing.assert_array_equal(fitted.transform(rows.iloc[order]), fitted.transform(rows)[order])


def test_rows_one_at_a_time_give_what_they_give_together(tracks, fitted):
    rows = tracks[COLUMNS].iloc[1::98]
    together = fitted.transform(rows)
    alone = np.vstack([fitted.transform(rows.iloc[[row]]) for row in range(len(rows))])
    np.testing.assert_array_equal(alone, together)
    # Known and unknown keys are both among them.
    assert named(together)["artist_count"].min() == 0 < named(together)["artist_count"].max()


def test_no_rows_give_no_rows(fitted):
    assert fitted.transform(TINY.iloc[:0]).shape == (0, 48)


# --- blind to the own group ----------------------------------------------------------------------------------------


def by_groups(X: pd.DataFrame, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return CatalogueStatistics().fit_transform(X, y, groups)


def by_rows(X: pd.DataFrame, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return CatalogueStatistics().fit_transform(X, y)


def told_themselves(X: pd.DataFrame, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return CatalogueStatistics().fit(X, y).transform(X)


def genres_told_themselves(X: pd.DataFrame, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Leak through one fallback alone."""
    encoder = CatalogueStatistics()
    told = encoder.fit_transform(X, y, groups)
    prior = encoder.transform(X)[:, 0]
    artist = TargetStatistics().fit_transform(X[["artists"]], y, groups, prior)
    return np.hstack([told[:, :6], artist, told[:, 12:]])


def assert_blind_to_own_group(encode: Encode, X: pd.DataFrame, y: np.ndarray, groups: np.ndarray) -> None:
    """Other targets in a group change nothing that its rows are told, in the largest groups and in some others."""
    before = encode(X, y, groups)
    sizes = np.bincount(groups)
    some = np.random.default_rng(0).choice(len(sizes), 3, replace=False)
    for group in [*np.argsort(sizes)[-2:], *some]:
        own = np.flatnonzero(groups == group)
        for rows, other in ((own, 100 - y[own]), (own[:1], 200.0)):
            changed = y.copy()
            changed[rows] = other
            # A few real targets are thirds, whose sums are rounded.
            np.testing.assert_allclose(encode(X, changed, groups)[own], before[own], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("split", SPLITS)
def test_real_tracks_are_told_nothing_of_their_own_group(tracks, popularity, split):
    rows = split_tracks(tracks, SplitConfig(name=split, test_size=0.2, val_size=0.12), 42).trainval
    groups = np.unique(group_codes(tracks, split)[rows], return_inverse=True)[1]
    assert_blind_to_own_group(by_groups, with_categories(tracks)[COLUMNS].iloc[rows], popularity[rows], groups)


@pytest.mark.parametrize("split", ["recording", "album", "artist"])
@pytest.mark.parametrize("leak", [by_rows, told_themselves, genres_told_themselves])
def test_planted_leak_is_caught(tracks, popularity, split, leak):
    with pytest.raises(AssertionError, match="Not equal"):
        assert_blind_to_own_group(leak, with_categories(tracks)[COLUMNS], popularity, group_codes(tracks, split))


def test_whole_folds_are_blind_to_themselves(tracks, popularity):
    groups = group_codes(tracks, "recording")
    X, folds = with_categories(tracks)[COLUMNS], assign_folds(groups, 10, 0)
    before = by_groups(X, popularity, groups)
    for fold in range(10):
        own = folds == fold
        after = by_groups(X, np.where(own, 100 - popularity, popularity), groups)
        np.testing.assert_allclose(after[own], before[own], rtol=1e-6, atol=1e-4)
        assert not np.allclose(after[~own], before[~own], equal_nan=True)


def test_no_track_of_an_unheard_artist_is_told_of_its_artist(tracks, popularity):
    told = named(by_groups(tracks[COLUMNS], popularity, group_codes(tracks, "artist")))
    levels = ["artist", "artists", "artist_album"]
    assert (told[[f"{level}_count" for level in levels]] == 0).all(axis=None)
    assert told[[f"{level}_max" for level in levels]].isna().all(axis=None)


# --- groups reach it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_groups_of_the_split_reach_it_through_the_feature_set(tracks, popularity, split):
    parts = split_tracks(tracks, SplitConfig(name=split, test_size=0.2, val_size=0.12), 42)
    rows, X = parts.trainval, tracks[COLUMNS].iloc[parts.trainval]
    trainval, test, _ = fit_features("full", tracks, parts.groups, rows, parts.test, 5)
    encoder = CatalogueStatistics(random_state=5)
    np.testing.assert_array_equal(
        trainval.features[LISTING], encoder.fit_transform(X, popularity[rows], parts.groups[rows])
    )
    np.testing.assert_array_equal(test.features[LISTING], encoder.transform(tracks[COLUMNS].iloc[parts.test]))
    features = build_features("full", 5)
    without = features.fit_transform(tracks.iloc[rows], popularity[rows])
    told = pd.DataFrame(without, columns=features.get_feature_names_out())[LISTING]
    # Where every row is a group there is nothing else to hand on.
    same = np.array_equal(told, trainval.features[LISTING], equal_nan=True)
    assert same == (split == "random")


# --- an estimator as others ----------------------------------------------------------------------------------------


def test_fit_transform_teaches_later_rows_what_fit_does(tracks, popularity, fitted):
    once = CatalogueStatistics()
    once.fit_transform(tracks[COLUMNS].iloc[::2], popularity[::2], group_codes(tracks, "recording")[::2])
    np.testing.assert_array_equal(once.transform(tracks[COLUMNS]), fitted.transform(tracks[COLUMNS]))


def test_what_is_told_follows_random_state(tracks, popularity):
    groups = group_codes(tracks, "recording")
    first, again, other = (
        CatalogueStatistics(random_state=seed).fit_transform(tracks[COLUMNS], popularity, groups) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


def test_parameters_reach_every_level():
    encoder = CatalogueStatistics(smoothing=3.0, n_folds=4, random_state=8, ordered=True).fit(TINY, TINY_POPULARITY)
    for name, level in encoder.levels_.items():
        expected = {"pooled": name == "any_artist", "smoothing": 3.0, "n_folds": 4, "random_state": 8, "ordered": True}
        assert level.get_params() == expected, name


def test_clone_is_unfitted_and_pickling_keeps_the_fit(tracks):
    parameters = {"smoothing": 3.0, "n_folds": 4, "random_state": 8, "ordered": True}
    encoder = CatalogueStatistics(**parameters).fit(TINY, TINY_POPULARITY)
    copy = clone(encoder)
    assert copy.get_params() == encoder.get_params() == parameters
    with pytest.raises(NotFittedError):
        copy.transform(TINY)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoder)).transform(TINY), encoder.transform(TINY))


def test_what_is_given_is_left_as_it_is(tracks, popularity):
    X, y, groups = tracks[COLUMNS].copy(), popularity.copy(), group_codes(tracks, "album")
    before = X.copy(), y.copy(), groups.copy()
    by_groups(X, y, groups)
    pd.testing.assert_frame_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    np.testing.assert_array_equal(groups, before[2])
