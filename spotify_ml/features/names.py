"""What the words of a title and an album name tell: how they are built, and what kind of release they announce."""

import unicodedata
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

# Patterns of lower-case text (RE2, whose \b knows ASCII alone); < and > are the ends of a word.
WORDS = {
    "remix": r"<(re)?mix(ed|es)?>|<edit>|<version>",
    "live": r"<live>|<ao vivo>|<en vivo>|<unplugged>",
    "remaster": r"remaster",
    "christmas": r"christmas|x-?mas|navidad|weihnacht|no[eë]l|holiday|<santas?>|snow",
    "featured": r"<(feat|ft|with)>",
    "acoustic": r"acoustic|piano|instrumental|karaoke",
    "compilation": r"<hits>|best of|greatest|collection|essential|anthology|playlist|vibes|party|summer|<vol>",
    "soundtrack": r"soundtrack|original motion|<ost>|<from>|<theme>|musical",
}
_ENDS = {"<": r"(?:^|[^\pL\pN_])", ">": r"(?:$|[^\pL\pN_])"}
_YEAR = r"(?P<year>\b(?:19|20)\d\d\b)"
_NOT_LATIN = r"[^\p{Latin}\p{Common}\p{Inherited}]"
_DESCRIPTIONS = ("length", "words", *WORDS, "year", "not_latin")
_TEXTS = {"track_name": "title", "album_name": "album"}
COLUMNS = ["track_name", "album_name", "artists"]


class NameFeatures(TransformerMixin, BaseEstimator):
    """Length, words, year and script of title and album name, and how many artists share the track.

    Learns nothing. An empty name has length 0 and no words; a name without a year has year NaN.

    Examples
    --------
    >>> import pandas as pd
    >>> tracks = pd.DataFrame({"track_name": ["Hello (Live)"], "album_name": ["Hits 1999"], "artists": ["A;B"]})
    >>> features = NameFeatures().fit(tracks)
    >>> values = features.transform(tracks)[0]
    >>> dict(zip(features.get_feature_names_out(), values.tolist()))["album_year"]
    1999.0
    """

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Do nothing but check the columns.

        Parameters
        ----------
        X : DataFrame
            Tracks, with ``track_name``, ``album_name`` and ``artists``.
        y : object
            Ignored.
        """
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the features, shape (n_tracks, 26)."""
        check_is_fitted(self, "feature_names_in_")
        matrix = np.empty((len(X), len(self.get_feature_names_out())), dtype=np.float32)
        column = 0
        names = {}
        for text in _TEXTS:
            names[text] = pa.chunked_array(pa.array(X[text], pa.string(), from_pandas=True)).fill_null("")
            for values in _described(names[text]):
                matrix[:, column] = values
                column += 1
        artists = pa.chunked_array(pa.array(X["artists"], pa.string(), from_pandas=True)).fill_null("")
        are_named = pc.not_equal(artists, "")
        matrix[:, column] = pc.add(pc.count_substring(artists, ";"), are_named.cast(pa.int32())).to_numpy()
        same = pc.and_(pc.equal(names["track_name"], names["album_name"]), pc.not_equal(names["track_name"], ""))
        matrix[:, column + 1] = same.to_numpy()
        return matrix

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``title_…`` and ``album_…`` of every description, ``n_artists`` and ``title_is_album``."""
        described = [f"{text}_{name}" for text in _TEXTS.values() for name in _DESCRIPTIONS]
        return np.array([*described, "n_artists", "title_is_album"], dtype=object)


def _described(text: pa.ChunkedArray) -> list[np.ndarray]:
    """Return the values of `_DESCRIPTIONS`; what stands more than once is looked at once."""
    encoded = text.combine_chunks().dictionary_encode()
    codes, distinct = encoded.indices.to_numpy(), encoded.dictionary
    lower = _composed(pc.utf8_lower(distinct))
    years = pc.struct_field(pc.extract_regex(lower, _YEAR), "year").cast(pa.float32())
    columns = [
        pc.utf8_length(distinct),
        pc.count_substring_regex(distinct, r"\S+"),
        *(pc.match_substring_regex(lower, _pattern(words)) for words in WORDS.values()),
        years,
        pc.count_substring_regex(lower, _NOT_LATIN),
    ]
    return [column.to_numpy(zero_copy_only=False).astype(np.float32)[codes] for column in columns]


def _composed(texts: pa.Array) -> pa.Array:
    """Write a letter and its accent as one character; Arrow's own NFC takes them apart."""
    apart = pc.match_substring_regex(texts, r"\pM")
    composed = [unicodedata.normalize("NFC", text) for text in texts.filter(apart).to_pylist()]
    return pc.replace_with_mask(texts, apart, pa.array(composed, texts.type))


def _pattern(words: str) -> str:
    for mark, end in _ENDS.items():
        words = words.replace(mark, end)
    return words
