"""The header of a CSV, and what a file seems to be if its header is not that of raw tracks."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches

from spotify_ml.utils.errors import DataError, shown

SAVE = "save it as comma-separated UTF-8"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Advice for other formats, and their first bytes.
_UNPACK = "unpack it first: what is read is CSV, comma-separated UTF-8, or Parquet"
_CONVERT = "save it as CSV, comma-separated UTF-8, or as Parquet"
_LFS = b"version https://git-lfs.github.com/"
_TEXT_MAGIC = (_LFS, b"%PDF-")
_MAGIC = (
    (b"\x1f\x8b", "gzip", _UNPACK),
    (b"BZh", "bzip2", _UNPACK),
    (b"\xfd7zXZ\0", "xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "zstd", _UNPACK),
    (b"\x04\x22\x4d\x18", "lz4", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "7z", _UNPACK),
    (b"Rar!", "rar", _UNPACK),
    (b"PARE", "encrypted Parquet", "decrypt it first"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel (xls)", _CONVERT),
    (b"ARROW1", "Arrow (Feather)", _CONVERT),
    (b"FEA1", "Feather", _CONVERT),
    (b"ORC", "ORC", _CONVERT),
    (b"Obj\x01", "Avro", _CONVERT),
    (b"\x89HDF", "HDF5", _CONVERT),
    (b"\x80\x04\x95", "Python pickle", _CONVERT),
    (b"\x80\x05\x95", "Python pickle", _CONVERT),
    (b"SQLite format 3\0", "SQLite", _CONVERT),
    (b"%PDF-", "PDF", _CONVERT),
    (b"\x89PNG", "a picture (PNG)", f"name the table itself, or {_CONVERT}"),
    (_LFS, "Git LFS pointer", "fetch the file it stands for by `git lfs pull`"),
)
_EXCEL, _ZIP = (rb"xl/|\[Content_Types\]\.xml", b"PK\x03\x04")
_MARKUP = re.compile(rb"\s*<(!doctype\s+html|html|head|body|\?xml|!--)", re.IGNORECASE)
_JSON = re.compile(rb"\s*[\[{]\s*[\[{\"\]}]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", ":": "colons", "^": "carets"}
# A header has fewer names that are numbers.
_NUMBERS_OF_A_ROW = 3
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
# Excel's own first line.
_SEP_LINE = re.compile(r'"?sep=(?P<separator>.)"?', re.IGNORECASE)


def check_format(content: bytes, origin: str) -> None:
    """Raise a `DataError` if the first bytes of a file, named `origin`, are those of another format than CSV."""
    for magic, name, advice in _MAGIC:
        if content.startswith(magic) and (magic in _TEXT_MAGIC or not magic.isascii() or _is_binary(content)):
            raise _other_format(origin, name, advice)
    if content.startswith(_ZIP):
        is_excel = re.search(_EXCEL, content[:4096]) is not None
        raise _other_format(origin, *(("Excel (xlsx)", _CONVERT) if is_excel else ("zip", _UNPACK)))
    if content.startswith(_UTF16) or _is_wide(content):
        raise DataError(f"{origin} is not a CSV in UTF-8 but in UTF-16 or UTF-32; {SAVE}")
    if _MARKUP.match(content):
        advice = "is it the page about the file? Download the file itself, as CSV or Parquet"
        raise _other_format(origin, "HTML or XML", advice)
    if _JSON.match(content):
        raise _other_format(origin, "JSON", _CONVERT)


def _other_format(origin: str, name: str, advice: str) -> DataError:
    return DataError(f"{origin} is not a CSV but {name}, by its first bytes; {advice}")


def _is_binary(content: bytes) -> bool:
    """Return whether this is no text: a header may start with the letters of a format, such as ``ORCHESTRA``."""
    return any(byte < 9 or byte >= 0x80 for byte in content[:64])


def _is_wide(content: bytes) -> bool:
    """Return whether characters have two or four bytes: at least a third of these bytes are zero."""
    start = content[:64]
    return start.count(0) >= len(start) // 3 and start[:4].count(0) >= 2


def header_line(content: bytes, origin: str) -> bytes:
    """Return the first line of a CSV, without byte order mark and line end; a `DataError` if it is not UTF-8."""
    line = content.partition(b"\n")[0].removeprefix(_BYTE_ORDER_MARK).removesuffix(b"\r")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{origin} is not a CSV in UTF-8 (its first line holds byte {line[error.start]:#x}); {SAVE}"
        ) from error
    if "\0" in text:
        raise DataError(f"{origin} is not a CSV in UTF-8 (its first line holds a zero byte); {SAVE}")
    if "\r" in text:
        raise DataError(f"{origin} is not a CSV whose lines end in a newline but in a carriage return alone; {SAVE}")
    return line


def names_in(line: bytes) -> list[str]:
    """Return the names in a header; if it is too long for one, the line itself."""
    text = line.decode()
    try:
        return next(csv.reader([text]), [])
    except csv.Error:
        return [text]


def separator_hint(names: Sequence[str], known: Iterable[str]) -> str:
    """Return what is wrong with a whole header, such as another separator, by the known names; or an empty string."""
    wanted = set(known)
    found = wanted & set(names)
    if line := _SEP_LINE.fullmatch(",".join(names)):
        name = _SEPARATORS.get(line["separator"])
        separated = f", and {SAVE}: its columns are separated by {name}" if name else ""
        return f"its first line is Excel's {line[0]!r}; remove that line{separated}"
    if len({name.strip(" '\"\ufeff") for name in names} & wanted) > len(found):
        return "its names are quoted by ' or have blanks around them; rename them"
    for separator, name in _SEPARATORS.items():
        divided = {part.strip(" \"'") for field in names for part in field.split(separator)}
        if len(divided & wanted) > max(1, len(found)):
            return f"its columns seem to be separated by {name}; {SAVE}"
    if not found and sum(_NUMBER.fullmatch(name) is not None for name in names) >= _NUMBERS_OF_A_ROW:
        return "its first line seems to be a row; give the file a header"
    return ""


# Words in names that do not distinguish columns.
_COMMON = {"track", "song", "spotify", "music", "the", "of"}
_BESIDE = {
    "artists": {"name"},
    "album_name": {"name"},
    "duration_ms": {"ms"},
    "loudness": {"db"},
    "tempo": {"bpm"},
    "explicit": {"is", "content", "lyric", "flag"},
}
_SAME = {"title": "name", "length": "duration"}
_ALONE = {"track": "name", "song": "name", "bpm": "tempo"}
_ALIKE = 0.8
_NEARLY = 0.85
_PLURAL = re.compile(r"(?<=..[^s])s$")


def column_hint(name: str, spare: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the spare name that means the same as a missing one, or an empty string.

    >>> column_hint("track_genre", ["track_url", "genre"])
    " (did you mean 'genre'?)"
    >>> column_hint("track_genre", ["track_url"])
    ''
    """
    wanted = _words(name, name)
    found = ((_alike(wanted, _words(other, name)), other) for other in spare)
    likeness, nearest = max(found, default=(0.0, ""), key=lambda pair: pair[0])
    return f" (did you mean '{shown(nearest)}'?)" if likeness >= _ALIKE else ""


def is_written_otherwise(name: str, spare: Sequence[str]) -> bool:
    """Return whether a raw column seems to be among others under another name, such as ``key.1`` or ``Key (raw)``."""
    words = re.compile(r"(?<![a-z])" + r"[\W_]*".join(name.split("_")) + r"(?![a-z])", re.IGNORECASE)
    is_written = any(words.search(other) for other in spare)
    return is_written or bool(column_hint(name, spare) or get_close_matches(name, spare, n=1, cutoff=_NEARLY))


def _words(text: str, column: str) -> list[str]:
    """Return the words of a name that matter for a column, in the singular."""
    words = [_PLURAL.sub("", word.lower()) for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", text.replace("(s)", ""))]
    ignored = _COMMON | _BESIDE.get(column, set())
    found = [_SAME.get(word, word) for word in words if word not in ignored]
    return found or [_ALONE.get(word, word) for word in words[-1:]]


def _alike(wanted: Sequence[str], given: Sequence[str]) -> float:
    """Return the similarity of the least similar pair of words, 0 if the numbers of words differ."""
    if "".join(wanted) == "".join(given):
        return 1.0
    if len(wanted) != len(given):
        return 0.0
    return min(_likeness(*pair) for pair in zip(sorted(wanted), sorted(given), strict=True))


def _likeness(one: str, other: str) -> float:
    matcher = SequenceMatcher(None, one, other)
    # The exact ratio is slow, and a file may have thousands of columns.
    return matcher.ratio() if matcher.real_quick_ratio() >= _ALIKE and matcher.quick_ratio() >= _ALIKE else 0.0


def repeated_names(names: Sequence[str]) -> list[str]:
    """Return the names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
