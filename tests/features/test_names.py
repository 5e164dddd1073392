"""What names tell: the words, years and scripts of titles and albums, and how many artists there are."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from spotify_ml.data.etl import clean
from spotify_ml.data.names import normal_name
from spotify_ml.data.sources import RawTracks
from spotify_ml.features.builder import with_categories
from spotify_ml.features.transformers.names import COLUMNS, WORDS, NameFeatures

DESCRIPTIONS = """
length words remix live remaster christmas featured acoustic compilation soundtrack year not_latin
"""
LISTING = [
    *(f"title_{name}" for name in DESCRIPTIONS.split()),
    *(f"album_{name}" for name in DESCRIPTIONS.split()),
    "n_artists",
    "title_is_album",
]
# Where patterns, letters and white space of Python and of RE2 could differ.
ODD = [
    "live\n",
    "\nlive",
    "a\x0bb c",
    "Noël 1999",
    "é1999",
    "1999é",
    "²live",
    "live‿",
    "e\u0301dit",
    "עברית (Live)",
    "1990 2000",
]
YEARS = ["title_year", "album_year"]


def names(title: str | None = "Song", album: str | None = "Album", artists: str | None = "Artist") -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.array([value], dtype="str") for name, value in zip(COLUMNS, (title, album, artists), strict=True)}
    )


def described(rows: pd.DataFrame) -> pd.DataFrame:
    features = NameFeatures()
    return pd.DataFrame(features.fit_transform(rows), columns=features.get_feature_names_out())


def of_title(title: str | None) -> pd.Series:
    return described(names(title=title)).iloc[0].filter(like="title_").rename(lambda name: name.removeprefix("title_"))


def of_album(album: str | None) -> pd.Series:
    return described(names(album=album)).iloc[0].filter(like="album_").rename(lambda name: name.removeprefix("album_"))


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame


def test_there_are_26_columns():
    assert len(LISTING) == 26
    features = NameFeatures()
    assert features.get_feature_names_out().tolist() == LISTING
    matrix = features.fit_transform(names())
    assert matrix.shape == (1, 26)
    assert matrix.dtype == np.float32


# --- words ---------------------------------------------------------------------------------------------------------

MARKED = {
    "remix": [
        "Believer (Remix)",
        "TEQUILA - MUSHROOM PEOPLE REMIX",
        "Butterflies (Snowfall Remixes)",
        "Blue Monday - Remixed",
        "Sandstorm - Radio Edit",
        "All Too Well (10 Minute Version) (Taylor's Version)",
        "Club Mix",
    ],
    "live": [
        "When You Say Nothing at All (Live in Nashville)",
        "Zoio De Lula - Ao Vivo",
        "De Música Ligera - En Vivo",
        "MTV Unplugged",
        "LIVE",
    ],
    "remaster": ["Bad Moon Rising - Remastered 1985", "Heroes (2017 Remaster)", "The Wall (Remasterizado)"],
    "christmas": [
        "Take Me Home for Christmas",
        "Merry Xmas Everybody",
        "X-Mas Time",
        "Feliz Navidad",
        "Fröhliche Weihnacht (Macht euch bereit)",
        "Oratorio de Noël, Op. 12: 10. Tollite hostias",
        "PETIT PAPA NOËL",
        "Holiday Classics",
        "Santa Baby",
        "Let It Snow",
        "Frosty the Snowman",
    ],
    "featured": [
        "Be Like That - feat. Swae Lee & Khalid",
        "Savage (Ft. Beyoncé)",
        "Whiskey Lullaby (feat. Alison Krauss)",
        "Numb (with Linkin Park)",
    ],
    "acoustic": ["Ghost - Acoustic", "Piano Sonata No. 14", "Hello (Instrumental)", "Let It Go - Karaoke", "Acoustics"],
    "compilation": [
        "Greatest Hits",
        "The Best of 2Pac",
        "The Ultimate Collection",
        "Essential Mozart",
        "Anthology",
        "Feel Good Playlist",
        "Chill Vibes",
        "House Party",
        "Summer Latin",
        "Dancehall, Vol. 2",
        "vol 7",
    ],
    "soundtrack": [
        "Frozen (Original Motion Picture Soundtrack)",
        "Naruto OST",
        'I Need Some Sleep - From "Shrek 2"',
        "Theme of Laura",
        "Hamilton: An American Musical",
        "Glittery - From The Kacey Musgraves Christmas Show",
    ],
}
UNMARKED = {
    "remix": [
        "Mixtape",
        "Credits",
        "Meditation",
        "Edith Piaf",
        "Aversion",
        "Mixer",
        "Édith",
        "",
        "Premixing",
        "Intermix",
    ],
    "live": ["Stayin' Alive", "Olive Tree", "Deliverance", "Vivo por ella", "Lives", "Oblivion", "Viva la Vida"],
    "remaster": ["Master of Puppets", "The Masterplan", "Remain", "Mastered"],
    "christmas": ["Chris Martin", "Maxima", "Navy Blue", "Nowhere", "Sand", "Now"],
    "featured": ["Featherweight", "Without Me", "Withered", "Soft", "Feature", "After Hours", "Defeat"],
    "acoustic": ["Acoust", "Pia", "Instruments of Darkness", "Pied Piper", "Kara"],
    "compilation": ["White Ship", "Volcano", "Shitshow", "The Best", "Revolver", "Collector", "Great Expectations"],
    "soundtrack": ["Lost", "Ghost Town", "Frome", "Themes", "Original Sin", "Post", "Music", "Sound and Colour"],
}


def cases(titles: dict[str, list[str]]) -> list:
    return [pytest.param(word, title, id=f"{word}: {title}") for word, own in titles.items() for title in own]


def test_every_word_pattern_is_tried():
    assert set(MARKED) == set(UNMARKED) == set(WORDS)


@pytest.mark.parametrize(("word", "title"), cases(MARKED))
def test_words_are_found_in_titles_and_albums(word, title):
    assert of_title(title)[word] == of_album(title)[word] == 1


@pytest.mark.parametrize(("word", "title"), cases(UNMARKED))
def test_words_are_not_found_where_they_are_part_of_others_or_absent(word, title):
    assert of_title(title)[word] == of_album(title)[word] == 0


@pytest.mark.parametrize(
    ("word", "title"), [("christmas", "Santana's Greatest Hits"), ("featured", "Wenn Baby nicht schläft")]
)
def test_words_are_not_found_within_names_and_words_with_accents(word, title):
    assert of_title(title)[word] == 0


def test_a_name_may_hold_several_words_and_marks_only_its_own_text():
    row = described(names("Winter Song (feat. Sia) [Live] - 2009 Remaster", "Hits")).iloc[0]
    marked = {name for name in LISTING if name.removeprefix("title_").removeprefix("album_") in WORDS and row[name]}
    assert marked == {"title_featured", "title_live", "title_remaster", "album_compilation"}


def test_real_marks_are_those_of_a_plain_search(tracks):
    given = described(tracks[COLUMNS])
    for word in ("remaster", "acoustic"):
        for column, text in (("track_name", "title"), ("album_name", "album")):
            plain = tracks[column].str.lower().str.contains(WORDS[word])
            np.testing.assert_array_equal(given[f"{text}_{word}"], plain, err_msg=f"{text}_{word}")
            assert 0 < plain.sum() < len(plain) / 2


# --- year, length, script ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "year"),
    [
        ("Bad Moon Rising - Remastered 1985", 1985),
        ("Hits 2022", 2022),
        ("1999", 1999),
        ("(1900)", 1900),
        ("2099!", 2099),
        ("1979 - Remastered 2012", 1979),
        ("夏1998年", 1998),
        ("Summer '69", None),
        ("Symphony No. 1899", None),
        ("2112", None),
        ("19991", None),
        ("A1999", None),
        ("90s", None),
        ("1990s", None),
        ("", None),
        (None, None),
    ],
)
def test_year_is_the_first_one_of_four_digits_from_1900_to_2099(name, year):
    expected = np.nan if year is None else year
    np.testing.assert_equal([of_title(name)["year"], of_album(name)["year"]], [expected] * 2)


@pytest.mark.parametrize(
    ("name", "length", "words"),
    [
        ("", 0, 0),
        (None, 0, 0),
        ("Hello", 5, 1),
        ("Let It Be", 9, 3),
        ("Beyoncé", 7, 1),
        ("夜に駆ける", 5, 1),
        ("🔥 🔥", 3, 2),
    ],
)
def test_length_is_in_characters_and_words_are_counted(name, length, words):
    for text in (of_title(name), of_album(name)):
        assert (text["length"], text["words"]) == (length, words)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("Hello", 0),
        ("Déjà Vu – Ñandú, Zażółć, Đà Nẵng", 0),
        ("99 Luftballons (2022) [#1]!? & ¿Qué?", 0),
        ("♥ 🔥 ★", 0),
        ("Группа крови", 11),
        ("Кино - Live", 4),
        ("夜に駆ける", 5),
        ("ロック★with you", 3),
        ("사랑", 2),
        ("Αθήνα", 5),
        ("حبيبي", 5),
        ("", 0),
        (None, 0),
    ],
)
def test_characters_of_other_scripts_are_counted(name, count):
    assert of_title(name)["not_latin"] == of_album(name)["not_latin"] == count


@pytest.mark.parametrize("name", ["Cafe\u0301", "Ik Tu Hai ❤\ufe0f"])
def test_combining_marks_are_of_no_other_script(name):
    assert of_title(name)["not_latin"] == 0


# --- artists, title and album --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("artists", "count"),
    [("Abba", 1), ("Ingrid Michaelson;ZAYN", 2), ("A;B;C;D", 4), ("Simon & Garfunkel", 1), (None, 0)],
)
def test_artists_are_counted(artists, count):
    assert described(names(artists=artists))["n_artists"].iloc[0] == count


def test_empty_artists_are_none():
    assert described(names(artists=""))["n_artists"].iloc[0] == 0


@pytest.mark.parametrize(
    ("title", "album", "same"),
    [
        ("Hello", "Hello", 1),
        ("Hello", "25", 0),
        ("Hello", "hello", 1),
        ("Hello", "Hello (Deluxe)", 0),
        ("Hello", None, 0),
        (None, "Hello", 0),
        ("Hello", "", 0),
    ],
)
def test_title_is_album_where_they_are_equal(title, album, same):
    assert described(names(title, album))["title_is_album"].iloc[0] == same


@pytest.mark.parametrize("empty", [None, ""])
def test_empty_names_have_no_words_and_no_year(empty):
    for text in (of_title(empty), of_album(empty)):
        assert np.isnan(text["year"])
        assert (text.drop("year") == 0)[["length", "words", *WORDS, "not_latin"]].all()


def test_columns_without_any_name_are_fine():
    rows = pd.concat([names(None, None, None)] * 3, ignore_index=True)
    assert described(rows)[["title_length", "album_length", "n_artists"]].to_numpy().tolist() == [[0, 0, 0]] * 3
    of_floats = rows.assign(track_name=np.nan, album_name=np.nan, artists=np.nan)
    pd.testing.assert_frame_equal(described(of_floats), described(rows))


# --- learns nothing, each row for itself ---------------------------------------------------------------------------


def test_fit_learns_nothing_but_its_columns(tracks):
    features = NameFeatures().fit(names(), [1.0])
    assert vars(features).keys() == {"feature_names_in_"}
    other = NameFeatures().fit(tracks[COLUMNS], tracks["popularity"])
    np.testing.assert_array_equal(features.transform(tracks[COLUMNS]), other.transform(tracks[COLUMNS]))


def test_real_tracks_have_finite_features_but_for_years(tracks):
    given = described(tracks[COLUMNS])
    assert np.isfinite(given.drop(columns=YEARS)).all(axis=None)
    assert given[YEARS].isna().any().all()
    for year in YEARS:
        assert given[year].dropna().between(1900, 2099).all()
    flags = [f"{text}_{word}" for text in ("title", "album") for word in WORDS]
    assert given[[*flags, "title_is_album"]].isin([0, 1]).all(axis=None)
    # A column that never changes would tell nothing.
    assert (given.max() > given.min()).all()


def test_real_counts_are_those_of_a_plain_count(tracks):
    given = described(tracks[COLUMNS])
    np.testing.assert_array_equal(given["n_artists"], tracks["artists"].str.split(";").str.len())
    np.testing.assert_array_equal(
        given["title_is_album"], tracks["track_name"].map(normal_name) == tracks["album_name"].map(normal_name)
    )
    np.testing.assert_array_equal(given["album_length"], [len(name) for name in tracks["album_name"]])
    np.testing.assert_array_equal(given["title_words"], [len(name.split()) for name in tracks["track_name"]])


def test_text_objects_and_categories_give_the_same(tracks):
    expected = described(tracks[COLUMNS])
    for rows in (
        with_categories(tracks),
        tracks.astype({"track_name": "category"}),
        tracks.astype(dict.fromkeys(COLUMNS, object)),
    ):
        pd.testing.assert_frame_equal(described(rows[COLUMNS]), expected)


def test_categories_that_do_not_occur_and_missing_ones_are_fine():
    rows = pd.concat(
        [names("Live", "Hits 1999", "A;B"), names(None, None, None), names("x", "y", "z")], ignore_index=True
    )
    categories = rows.astype("category").iloc[:2]
    pd.testing.assert_frame_equal(described(categories), described(rows.iloc[:2]))


def test_rows_are_described_each_for_itself(tracks):
    rows = tracks[COLUMNS]
    features = NameFeatures().fit(rows)
    together = features.transform(rows)
    order = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_array_equal(features.transform(rows.iloc[order]), together[order])
    some = range(0, len(rows), 120)
    alone = np.vstack([features.transform(rows.iloc[[row]]) for row in some])
    np.testing.assert_array_equal(alone, together[some])
    assert features.transform(rows.iloc[:0]).shape == (0, 26)


@settings(deadline=None)
@given(st.lists(st.text() | st.sampled_from(ODD), min_size=1, max_size=5))
def test_few_names_are_described_as_many_are(titles):
    few = pd.DataFrame(dict.fromkeys(COLUMNS, pd.array(titles, dtype="str")))
    others = pd.DataFrame(dict.fromkeys(COLUMNS, pd.array([f"title {number}" for number in range(70)], dtype="str")))
    features = NameFeatures().fit(few)
    many = features.transform(pd.concat([few, others], ignore_index=True))
    np.testing.assert_array_equal(features.transform(few), many[: len(few)])


def test_what_is_given_is_left_as_it_is(tracks):
    rows = tracks[COLUMNS].copy()
    described(rows)
    pd.testing.assert_frame_equal(rows, tracks[COLUMNS])


def test_unfitted_and_cloned_features_do_not_transform(tracks):
    fitted = NameFeatures().fit(names())
    for features in (NameFeatures(), clone(fitted)):
        with pytest.raises(NotFittedError):
            features.transform(names())
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(tracks[COLUMNS]), fitted.transform(tracks[COLUMNS]))
