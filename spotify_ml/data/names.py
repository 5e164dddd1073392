"""One form of each name: names that people write in several ways are equal when they are compared.

The form is for comparison alone. What is shown, and what the words of a title tell, is the name as it was given.
"""

import re
import unicodedata

from spotify_ml.data.schema import LIST_SEPARATOR

# Characters that look alike or stand for the same, in one of them.
_SAME = str.maketrans(
    dict.fromkeys("‘’‚‛ʼʹ′`´", "'") | dict.fromkeys("“”„‟″«»", '"') | dict.fromkeys("‐‑‒–—―−﹘﹣", "-") | {"&": " and "}
)
# Turkish has an i without a dot; in capitals it is I, and the other one İ.
_DOTS = re.compile("ı|i\u0307+")
# Control and format characters that no one sees, such as a soft hyphen or a zero-width space.
_UNSEEN = {"Cc", "Cf"}
# In brackets of any kind, after a dash or without either.
_FEATURED = re.compile(r"(?:[(\[{]|\s-)?\s*\b(?:featuring|feat|ft)\b\.?\s*([^)\]}]*)[)\]}]?")
# What stands between the words of a genre.
_BETWEEN = re.compile(r"[\s_/+-]+")

# Other spellings of genres, in the form of `normal_genre` before this table, and those of the Kaggle dataset.
_SPELLED = {
    "alternative-rock": "alt-rock",
    "bossanova": "bossa-nova",
    "canto-pop": "cantopop",
    "country-music": "country",
    "d-n-b": "drum-and-bass",
    "dnb": "drum-and-bass",
    "drum-n-bass": "drum-and-bass",
    "drumandbass": "drum-and-bass",
    "electronic-dance-music": "edm",
    "electronica": "electronic",
    "folk-music": "folk",
    "gothic": "goth",
    "hiphop": "hip-hop",
    "honkytonk": "honky-tonk",
    "jpop": "j-pop",
    "jrock": "j-rock",
    "kpop": "k-pop",
    "mando-pop": "mandopop",
    "musica-popular-brasileira": "mpb",
    "newage": "new-age",
    "psychedelic-rock": "psych-rock",
    "r-and-b": "r-n-b",
    "randb": "r-n-b",
    "reggaetón": "reggaeton",
    "rhythm-and-blues": "r-n-b",
    "rnb": "r-n-b",
    "rock-and-roll": "rock-n-roll",
    "show-tune": "show-tunes",
    "showtunes": "show-tunes",
    "singer-song-writer": "singer-songwriter",
    "synthpop": "synth-pop",
    "triphop": "trip-hop",
    "turkce": "turkish",
    "world": "world-music",
}
# Where a catalogue lacks a genre: the nearest that it may have.
NEAREST = {
    "bollywood": "indian",
    "electropop": "synth-pop",
    "gangster-rap": "hip-hop",
    "latin-pop": "latino",
    "neo-soul": "r-n-b",
    "pop-rap": "hip-hop",
    "rap": "hip-hop",
    "trap": "hip-hop",
    "urban": "r-n-b",
    "urban-contemporary": "r-n-b",
}


def normal_name(name: str) -> str:
    """Return the form of a name in which it is compared.

    Names are equal whatever their case, their form in Unicode (NFC, NFD, full width), their spaces, quotes and dashes,
    with ``&`` or ``and``, and with ``(feat. …)``, ``[ft. …]`` or ``- featuring …``.

    Parameters
    ----------
    name : str
        Of an artist, an album or a title.

    Examples
    --------
    >>> normal_name("  Simon &  Garfunkel ") == normal_name("SIMON AND GARFUNKEL")
    True
    >>> normal_name("Don’t (ft. Kid)")
    "don't feat kid"
    """
    if name.isascii():
        form = name.lower()
        # A quarter of the time that a regular expression takes: nothing below would change such a form.
        changes = "&" in form or "`" in form or "  " in form or "ft" in form or "feat" in form
        if not changes and form.isprintable():
            return form.strip()
    else:
        # Compatible characters first: some of them have a case, and some a space before their accent.
        form = unicodedata.normalize("NFKC", name.translate(_SAME)).casefold()
        form = unicodedata.normalize("NFKC", _DOTS.sub("i", form))
    form = form.translate(_SAME)
    # Of what can be printed, every character is seen; and few names have guests.
    if not form.isprintable():
        form = "".join(" " if unicodedata.category(each) == "Cc" else each for each in form if _seen(each))
    if "ft" in form or "feat" in form:
        form = _FEATURED.sub(r" feat \1 ", form)
    return " ".join(form.split())


def _seen(character: str) -> bool:
    return character.isascii() or unicodedata.category(character) not in _UNSEEN


def normal_list(names: str) -> str:
    """Return the form of a ``;``-joined list of names; empty ones are left out.

    Examples
    --------
    >>> normal_list("Abba ; CHER;")
    'abba;cher'
    """
    if LIST_SEPARATOR not in names:
        return normal_name(names)
    return LIST_SEPARATOR.join(filter(None, map(normal_name, names.split(LIST_SEPARATOR))))


def normal_genre(genre: str) -> str:
    """Return the form of a genre: words joined by ``-``, in the spelling of the Kaggle dataset where it has one.

    Examples
    --------
    >>> normal_genre("Hip Hop"), normal_genre("R&B"), normal_genre("drum'n'bass")
    ('hip-hop', 'r-n-b', 'drum-and-bass')
    """
    form = _BETWEEN.sub("-", normal_name(genre).replace("'", "-")).strip("-")
    return _SPELLED.get(form, form)
