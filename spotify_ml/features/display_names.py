"""Display names of the feature columns, and the family of each."""

from collections.abc import Sequence
from typing import Literal, get_args

from spotify_ml.data.joined_columns import MATCHED, flags_of
from spotify_ml.data.schema import AUDIO
from spotify_ml.features.transformers.catalogue import LEVELS
from spotify_ml.features.transformers.names import WORDS
from spotify_ml.features.transformers.statistics import STATISTICS

Family = Literal["audio", "genre", "artist", "album", "text", "release", "joined"]
FAMILIES: tuple[Family, ...] = get_args(Family)

_WHOSE: dict[str, tuple[str, Family]] = {
    "genres": ("genre set's", "genre"),
    "artist": ("artist's", "artist"),
    "any_artist": ("listed artists'", "artist"),
    "artists": ("same line-up's", "artist"),
    "album": ("same-named albums'", "album"),
    "artist_album": ("album's", "album"),
    "artist_genres": ("artist's same-genre", "artist"),
    "album_genres": ("same-named albums' same-genre", "album"),
}
_STATISTICS = {
    "mean": "mean popularity",
    "count": "number",
    "std": "spread of popularity",
    "dead_share": "share at popularity 0 or 1",
    "max": "highest popularity",
    "min": "lowest popularity",
}
_DESCRIPTIONS = {
    "length": "characters",
    "words": "words",
    **{word: f"says {word}" for word in WORDS},
    "year": "year",
    "not_latin": "letters of other scripts",
}
_INTERACTIONS = {
    "energy_danceability": "energy × danceability",
    "valence_energy": "valence × energy",
    "acousticness_energy": "acousticness × energy",
    "energy_squared": "energy, squared",
    "danceability_squared": "danceability, squared",
    "valence_squared": "valence, squared",
    "is_short_track": "shorter than 3 minutes",
    "is_long_track": "longer than 5 minutes",
    "high_energy_happy": "energetic and happy",
    "low_energy_sad": "calm and sad",
}
_KNOWN: dict[str, tuple[str, Family]] = {
    **{name: (name.replace("_", " "), "audio") for name in AUDIO},
    **{name: (text, "audio") for name, text in _INTERACTIONS.items()},
    "duration_ms": ("duration", "audio"),
    "duration_min": ("duration in minutes", "audio"),
    "n_genres": ("number of genres", "genre"),
    "track_genre_encoded": ("first genre", "genre"),
    "words_expected": ("popularity that all words let expect", "text"),
    "words_album": ("what the album's words add to it", "text"),
    "words_title": ("what the title's words add to it", "text"),
    "words_artists": ("what the artists' words add to it", "text"),
    "words_genres": ("what the genres add to it", "genre"),
    "n_artists": ("number of artists", "artist"),
    "title_is_album": ("title is the album's name", "text"),
    "release_age": ("years since its release", "release"),
    "release_month": ("month of its release", "release"),
    "release_weekday": ("weekday of its release", "release"),
    "release_precision": ("precision of its release date", "release"),
    "release_since_first": ("years since its artist's first release", "release"),
    **{f"label_{name}": (f"label's other recordings: {text}", "release") for name, text in _STATISTICS.items()},
    **{
        f"{level}_{statistic}": (f"{_WHOSE[level][0]} other recordings: {_STATISTICS[statistic]}", _WHOSE[level][1])
        for level in LEVELS
        for statistic in STATISTICS
    },
    **{
        f"{name}_{description}": (f"{name}: {text}", "text")
        for name in ("title", "album")
        for description, text in _DESCRIPTIONS.items()
    },
}
# Prefixes of columns that exist once per value.
_VALUES: dict[str, tuple[str, Family]] = {
    "genre_component_": ("genres, component", "genre"),
    "genre_": ("genre", "genre"),
    "mode_": ("mode", "audio"),
    "time_signature_": ("time signature", "audio"),
    "mood_energy_": ("mood", "audio"),
    "energy_category_": ("energy level", "audio"),
    "tempo_category_": ("tempo level", "audio"),
}

# The family of a column without a display name: the first of these words in its name decides.
_FAMILY_OF_WORD: dict[str, Family] = {
    "title": "text",
    "name": "text",
    "genre": "genre",
    "genres": "genre",
    "album": "album",
    "artist": "artist",
    "artists": "artist",
}


def label(feature: str) -> str:
    """Return the display name of a feature column; a column without one is shown by its own name.

    Examples
    --------
    >>> label("artist_mean")
    "artist's other recordings: mean popularity"
    >>> label("genre_k-pop")
    'genre: k-pop'
    """
    return _describe(feature)[0]


def family(feature: str) -> Family:
    """Return the family of a feature column: audio, genre, artist, album, text, release, or joined.

    Statistics of other recordings belong to artist, album or genre; ``text`` is the words of title and album name,
    ``release`` the date and the label. The family of a column without a display name follows from the words in its
    name; which columns are joined, `families` tells.

    Examples
    --------
    >>> family("album_mean"), family("album_words")
    ('album', 'text')
    """
    return _describe(feature)[1]


def families(features: Sequence[str]) -> list[Family]:
    """Return the family of every feature of a model, among which flags tell which tables were joined.

    Examples
    --------
    >>> families(["tempo", "labels_founded", "matched_labels"])
    ['audio', 'joined', 'joined']
    """
    tables = tuple(f"{flag.removeprefix(MATCHED)}_" for flag in flags_of(features))
    return [
        "joined" if feature.startswith(tables) and not is_known(feature) else family(feature) for feature in features
    ]


def is_known(feature: str) -> bool:
    """Return whether a feature column has a display name."""
    return feature in _KNOWN or feature.startswith(tuple(_VALUES))


def _describe(feature: str) -> tuple[str, Family]:
    if feature in _KNOWN:
        return _KNOWN[feature]
    for prefix, (what, kind) in _VALUES.items():
        if feature.startswith(prefix):
            return f"{what}: {feature.removeprefix(prefix)}", kind
    if feature.startswith(MATCHED):
        return f"is in {feature.removeprefix(MATCHED).replace('_', ' ')}", "joined"
    by_word: Family = next((kind for word, kind in _FAMILY_OF_WORD.items() if word in feature.split("_")), "audio")
    return feature.replace("_", " "), by_word
