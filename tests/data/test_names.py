"""Tests of the form in which names are compared."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ml.data.names import NEAREST, normal_genre, normal_list, normal_name
from spotify_ml.data.sources import RawTracks

EQUAL = {
    "case": ["Beyoncé", "BEYONCÉ", "beyoncé"],
    "Unicode form": ["Beyoncé", unicodedata.normalize("NFD", "Beyoncé")],
    "full width": ["ABBA", "ＡＢＢＡ"],
    "sharp s": ["Große", "GROSSE"],
    "Turkish": ["Işık İzi", "IŞIK İZİ", "ışık izi"],
    "spaces": ["The Weeknd", " The  Weeknd ", "The\u00a0Weeknd", "The\tWeeknd", "The Week\u200bnd", "The Week\u00adnd"],
    "quotes": ["Don't", "Don’t", "Don‘t", "Don`t", "Don´t", "Don′t"],
    "double quotes": ['"Heroes"', "“Heroes”", "„Heroes“", "«Heroes»"],
    "dashes": ["Jay-Z", "Jay–Z", "Jay—Z", "Jay‐Z", "Jay−Z"],
    "and": [
        "Simon & Garfunkel",
        "Simon and Garfunkel",
        "SIMON&GARFUNKEL",
        "Simon And  Garfunkel",
        "Simon ＆ Garfunkel",
    ],
    "featured": [
        "Stay (feat. Kid)",
        "Stay (ft. Kid)",
        "Stay [Feat Kid]",
        "Stay - FEAT. Kid",
        "Stay featuring Kid",
        "stay ft kid",
    ],
}
DIFFERENT = [
    ("Abba", "Abbé"),
    ("Prince", "Princess"),
    ("!!!", "!"),
    ("AC/DC", "AC DC"),
    ("Stay", "Stay (feat. Kid)"),
    ("Feature", "feat ure"),
    ("Andy", "& y"),
    ("Élan", "Elan"),
    ("1 Remix", "1 - Remix"),
]


@pytest.mark.parametrize("names", EQUAL.values(), ids=EQUAL)
def test_what_is_written_otherwise_is_equal(names: list[str]):
    assert len(set(map(normal_name, names))) == 1


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_names_stay_apart(one: str, other: str):
    assert normal_name(one) != normal_name(other)


@given(st.text(max_size=40))
def test_the_form_of_a_form_is_itself(name: str):
    form = normal_name(name)
    assert normal_name(form) == form
    assert form == form.strip()
    assert "  " not in form


@given(st.text(alphabet="aàb é'’&-–fıİi\u0301ABé", max_size=12))
def test_every_unicode_form_and_case_is_equal(name: str):
    forms = [unicodedata.normalize(kind, name) for kind in ("NFC", "NFD", "NFKC", "NFKD")]
    assert len({normal_name(each) for form in forms for each in (form, form.upper(), form.lower())}) == 1


@given(st.text(max_size=20))
def test_what_is_ascii_takes_the_same_way_as_other_text(name: str):
    plain = name.encode("ascii", "ignore").decode()
    # One character beyond ASCII, which is not seen.
    assert normal_name(plain) == normal_name(plain + "\u200b")


def test_members_of_a_list_are_names_of_their_own():
    assert normal_list(" Abba ;CHER;; ") == "abba;cher"
    assert normal_list("ABBA") == "abba"
    assert normal_list(" ; ;") == ""


GENRES = {
    "hip-hop": ["hip-hop", "Hip Hop", "hip_hop", "HipHop", "hip–hop", "hip hop ", "hip/hop"],
    "r-n-b": ["r-n-b", "R&B", "r & b", "RnB", "R'n'B", "r and b", "rhythm & blues"],
    "drum-and-bass": ["drum and bass", "Drum & Bass", "dnb", "drum'n'bass", "drum-n-bass"],
    "rock-n-roll": ["rock n roll", "Rock 'n' Roll", "rock & roll", "rock and roll"],
    "k-pop": ["K-Pop", "kpop", "k pop"],
    "synth-pop": ["synthpop", "Synth Pop"],
    "alt-rock": ["alternative rock", "Alt-Rock"],
}


@pytest.mark.parametrize("genre", GENRES)
def test_a_genre_is_one_however_it_is_spelled(genre: str):
    assert set(map(normal_genre, GENRES[genre])) == {genre}


@pytest.mark.parametrize("genre", ["pop", "rap", "pop rap", "world", "", " "])
def test_the_form_of_a_genre_is_itself(genre: str):
    assert normal_genre(normal_genre(genre)) == normal_genre(genre)


@pytest.mark.full
def test_the_dataset_s_genres_stay_as_they_are(full: RawTracks):
    genres = sorted(set(full.frame["track_genre"]))
    assert list(map(normal_genre, genres)) == genres
    assert set(NEAREST.values()) <= set(genres)
    assert not set(NEAREST) & set(genres)
