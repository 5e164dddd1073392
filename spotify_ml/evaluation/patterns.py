"""What may not be known of a row, as it is measured on test rows from which it was taken."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """What is taken from complete rows.

    Keys become `absent`, or `unknown` to the catalogue, where the caller may say that rows come from an `other` one;
    `without_details`: the audio columns that a file may lack are missing.
    """

    label: str
    absent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    other: bool = False
    without_details: bool = False


# By the prefix of their metrics.
PATTERNS = {
    "test_without_album": Pattern("no album", ("album",)),
    "test_without_genre": Pattern("no genre", ("genre",)),
    "test_without_album_genre": Pattern("no album, no genre", ("album", "genre")),
    "test_without_artist_album": Pattern("no artist, no album", ("artist", "album")),
    "test_without_names": Pattern("no artist, album or title", ("artist", "album", "title")),
    "test_without_artist_album_genre": Pattern("sound and title alone", ("artist", "album", "genre")),
    "test_without_names_genre": Pattern("sound alone", ("artist", "album", "genre", "title")),
    "test_without_release": Pattern("no release date and label", ("release",)),
    "test_without_details": Pattern("no duration, loudness, key …", without_details=True),
    "test_unknown_artist_album": Pattern("unknown artist and album", unknown=("artist", "album")),
    "test_other_album": Pattern("unknown album, catalogue=other", unknown=("album",), other=True),
    "test_other_artist_album": Pattern(
        "unknown artist and album, catalogue=other", unknown=("artist", "album"), other=True
    ),
}
