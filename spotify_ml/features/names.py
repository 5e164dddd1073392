"""What the words of a title and an album name tell: how they are built, and what kind of release they announce."""

from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

# Patterns of lower-case text (RE2).
WORDS = {
    "remix": r"\b(re)?mix(ed|es)?\b|\bedit\b|\bversion\b",
    "live": r"\blive\b|\bao vivo\b|\ben vivo\b|\bunplugged\b",
    "remaster": r"remaster",
    "christmas": r"christmas|x-?mas|navidad|weihnacht|no[eë]l|holiday|santa|snow",
    "featured": r"\b(feat|ft|with)\b",
    "acoustic": r"acoustic|piano|instrumental|karaoke",
    "compilation": r"\bhits\b|best of|greatest|collection|essential|anthology|playlist|vibes|party|summer|\bvol\b",
    "soundtrack": r"soundtrack|original motion|\bost\b|\bfrom\b|\btheme\b|musical",
}
_YEAR = r"(?P<year>\b(?:19|20)\d\d\b)"
_NOT_LATIN = r"[^\p{Latin}\p{Common}]"
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
        artists = pa.chunked_array(pa.array(X["artists"], pa.string(), from_pandas=True))
        matrix[:, column] = pc.add(pc.count_substring(artists, ";"), 1).fill_null(0).to_numpy()
        matrix[:, column + 1] = pc.equal(names["track_name"], names["album_name"]).to_numpy()
        return matrix

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``title_…`` and ``album_…`` of every description, ``n_artists`` and ``title_is_album``."""
        described = [f"{text}_{name}" for text in _TEXTS.values() for name in _DESCRIPTIONS]
        return np.array([*described, "n_artists", "title_is_album"], dtype=object)


def _described(text: pa.ChunkedArray) -> list[np.ndarray]:
    """Return the values of `_DESCRIPTIONS`; what stands more than once is looked at once."""
    encoded = text.combine_chunks().dictionary_encode()
    codes, distinct = encoded.indices.to_numpy(), encoded.dictionary
    lower = pc.utf8_lower(distinct)
    years = pc.struct_field(pc.extract_regex(lower, _YEAR), "year").cast(pa.float32())
    columns = [
        pc.utf8_length(distinct),
        pc.count_substring(distinct, " "),
        *(pc.match_substring_regex(lower, pattern) for pattern in WORDS.values()),
        years,
        pc.count_substring_regex(distinct, _NOT_LATIN),
    ]
    return [column.to_numpy(zero_copy_only=False).astype(np.float32)[codes] for column in columns]
