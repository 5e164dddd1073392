"""Features of the words in title and album name."""

import math
import re
import unicodedata
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from spotify_ml.data.names import normal_name

# Patterns of lower-case text; < and > are the ends of a word (in RE2, \b knows ASCII only).
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
# The characters of words; patterns have no other letter beyond ASCII, so one character may replace all others.
_WORD, _ANY_LETTER = "A-Za-z0-9_ë", "_"
_PATTERNS = [words.replace("<", f"(?:^|[^{_WORD}])").replace(">", f"(?:$|[^{_WORD}])") for words in WORDS.values()]
_YEAR = r"(?P<year>\b(?:19|20)\d\d\b)"
# The same for Python, which is faster for few names; its `$` would ignore a last line break.
_FEW_NAMES = 64
_COMPILED = [re.compile(pattern.replace("$", r"\Z")) for pattern in _PATTERNS]
_COMPILED_YEAR = re.compile(_YEAR, re.ASCII)
_SPACES = r"^\s|\s$|\s\s|[\t-\r]"
_MEMBER = r"[^;\s][^;]*"
_NOT_SPACE = re.compile(r"[^\t\n\f\r ]+")
DESCRIPTIONS = ("length", "words", *WORDS, "year", "not_latin")
_TEXTS = {"track_name": "title", "album_name": "album"}
COLUMNS = ["track_name", "album_name", "artists"]


class NameFeatures(TransformerMixin, BaseEstimator):
    """Length, words, year and script of title and album name, and the number of artists.

    Learns nothing. Names are described in their composed Unicode form (NFC), without outer and double spaces.
    An empty name has length 0 and no words; a name without a year has year NaN.

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
        """Remember the columns."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the features, shape (n_tracks, 26)."""
        check_is_fitted(self, "feature_names_in_")
        names = {name: _text(X[name]) for name in COLUMNS}
        encoded = [names[name].dictionary_encode() for name in _TEXTS]
        distinct = _tidy(pa.concat_arrays([texts.dictionary for texts in encoded]))
        descriptions = _descriptions(distinct)
        artists = names["artists"]
        matrix = np.empty((len(artists), len(_TEXTS) * len(DESCRIPTIONS) + 2), dtype=np.float32)
        first, places = 0, []
        for position, texts in enumerate(encoded):
            own = slice(position * len(DESCRIPTIONS), (position + 1) * len(DESCRIPTIONS))
            places.append(first + texts.indices.to_numpy())
            matrix[:, own] = descriptions[places[-1]]
            first += len(texts.dictionary)
        matrix[:, -2] = pc.count_substring_regex(artists, _MEMBER).to_numpy()
        numbers: dict[str, int] = {}
        forms = np.array([numbers.setdefault(normal_name(text), len(numbers)) for text in distinct.to_pylist()])
        of_title, of_album = (forms[place] for place in places)
        matrix[:, -1] = (of_title == of_album) & (of_title != numbers.get("", -1))
        return matrix

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``title_…`` and ``album_…`` of every description, ``n_artists`` and ``title_is_album``."""
        described = [f"{text}_{name}" for text in _TEXTS.values() for name in DESCRIPTIONS]
        return np.array([*described, "n_artists", "title_is_album"], dtype=object)


def _text(column: pd.Series) -> pa.Array:
    text = pa.array(column, pa.string(), from_pandas=True)
    return (text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text).fill_null("")


def _tidy(texts: pa.Array) -> pa.Array:
    """Return texts in NFC, without outer and double spaces."""
    plain = pc.and_(pc.string_is_ascii(texts), pc.invert(pc.match_substring_regex(texts, _SPACES)))
    if pc.all(plain).as_py():
        return texts
    changed = [
        " ".join(unicodedata.normalize("NFC", text).split()) for text in texts.filter(pc.invert(plain)).to_pylist()
    ]
    return pc.replace_with_mask(texts, pc.invert(plain), pa.array(changed, pa.string()))


class _Characters:
    """Classes of characters, each character looked up once.

    RE2 builds its Unicode classes anew in every call, which takes longer than to search many names.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self.marks: set[str] = set()
        self.not_latin: set[str] = set()
        self.letters: dict[int, str] = {}

    def learn(self, texts: list[str]) -> None:
        new = sorted(set().union(*texts) - self._known)
        if new:
            self.marks.update(_matching(new, r"\pM"))
            self.not_latin.update(_matching(new, r"[^\p{Latin}\p{Common}\p{Inherited}]"))
            letters = _matching(new, r"[\pL\pN]") - _matching(new, f"[{_WORD}]")
            self.letters.update((ord(letter), _ANY_LETTER) for letter in letters)
            self._known.update(new)


def _matching(characters: list[str], pattern: str) -> set[str]:
    texts = pa.array(characters, pa.string())
    return set(texts.filter(pc.match_substring_regex(texts, pattern)).to_pylist())


_characters = _Characters()


def _descriptions(texts: pa.Array) -> np.ndarray:
    """Return the values of `DESCRIPTIONS`, shape (n_texts, 11)."""
    if len(texts) <= _FEW_NAMES:
        lower, simple, n_not_latin = _simplified(texts)
        described = list(map(_described_name, texts.to_pylist(), lower, simple, n_not_latin))
        return np.array(described, dtype=np.float32).reshape(-1, len(DESCRIPTIONS))
    matrix = np.empty((len(texts), len(DESCRIPTIONS)), dtype=np.float32)
    is_ascii = pc.string_is_ascii(texts).to_numpy(zero_copy_only=False)
    for where, describe in ((is_ascii, _described_ascii), (~is_ascii, _described)):
        if where.any():
            columns = describe(texts.filter(pa.array(where)))
            matrix[where] = np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])
    return matrix


def _described(texts: pa.Array) -> list[pa.Array]:
    lower, simple, n_not_latin = _simplified(texts)
    columns = _words_and_year(texts, pa.array(simple, pa.string()), pa.array(lower, pa.string()))
    return [*columns, pa.array(n_not_latin)]


def _simplified(texts: pa.Array) -> tuple[list[str], list[str], list[int]]:
    """Return lower-case texts, the same with one character for all other letters, and counts of non-Latin letters."""
    lower = pc.utf8_lower(texts).to_pylist()
    _characters.learn(lower)
    # A letter and its accent become one character; Arrow's own NFC takes them apart.
    lower = [text if _characters.marks.isdisjoint(text) else unicodedata.normalize("NFC", text) for text in lower]
    _characters.learn(lower)
    simple = [text.translate(_characters.letters) for text in lower]
    return lower, simple, [sum(map(_characters.not_latin.__contains__, text)) for text in lower]


def _described_ascii(texts: pa.Array) -> list[pa.Array]:
    lower = pc.ascii_lower(texts)
    return [*_words_and_year(texts, lower, lower), pa.array(np.zeros(len(texts)))]


def _words_and_year(texts: pa.Array, simple: pa.Array, lower: pa.Array) -> list[pa.Array]:
    return [
        pc.utf8_length(texts),
        pc.count_substring_regex(texts, r"\S+"),
        *(pc.match_substring_regex(simple, pattern) for pattern in _PATTERNS),
        pc.struct_field(pc.extract_regex(lower, _YEAR), "year").cast(pa.float32()),
    ]


def _described_name(text: str, lower: str, simple: str, n_not_latin: int) -> list[float]:
    year = _COMPILED_YEAR.search(lower)
    words = [pattern.search(simple) is not None for pattern in _COMPILED]
    n_words = len(_NOT_SPACE.findall(text))
    return [len(text), n_words, *words, float(year["year"]) if year else math.nan, n_not_latin]
