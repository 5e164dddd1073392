"""What a path names: one file, packed or not, or many as one table: a folder, a pattern of names, or a zip."""

import gzip
import hashlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from spotify_ml.utils.errors import DataError, shown

# The columns with the name of a row's file, in a table of many, and of its catalogue, in one of several.
FILE_COLUMN, SOURCE_COLUMN = "file", "source"
# One path, or those of several catalogues.
Paths = str | Sequence[str]
_TABLES = (".csv", ".parquet", ".pq")
_PACKED = (".csv.gz", ".csv.zst")
_ZIP = ".zip"
NAMED = "a name that ends in .csv, .csv.gz, .csv.zst, .parquet or .pq"
_PATTERN = re.compile(r"[*?\[]")
# Text shrinks to a tenth: what grows so much more is not a table, and would fill the memory.
_MOST_GROWTH, _FLOOR = 1000, 2**20
# Also what zipfile raises for a compression that it does not know, and for a member with a password.
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Part:
    """A file of a table, or a member of a zip, with its name in messages, its size and its time of change."""

    path: Path
    name: str
    size: int
    changed_ns: int
    member: str | None = None
    # The name of its catalogue, if there are several.
    source: str = ""

    @property
    def origin(self) -> str:
        """The name in messages."""
        return str(self.path) if self.member is None else f"{self.path}: {self.member}"

    @property
    def is_packed(self) -> bool:
        """Whether the bytes of the file are not those of a table."""
        return self.member is not None or is_packed(self.path)

    def open(self, content: bytes | None = None) -> Any:
        """Open the table, unpacked; `content` are the bytes of the file, if they are known.

        Reading raises a `DataError` if it is damaged, or grows a thousandfold.
        """
        with ExitStack() as opened:
            try:
                file: Any = opened.enter_context(self.path.open("rb") if content is None else io.BytesIO(content))
                size = self.size
                if self.member is not None:
                    archive = opened.enter_context(zipfile.ZipFile(file))
                    size = archive.getinfo(self.member).compress_size
                    file = opened.enter_context(archive.open(self.member))
                elif self.is_packed:
                    file = opened.enter_context(_UNPACKERS[self.path.suffix.lower()](file))
            except _DAMAGE as error:
                raise _damaged(self.origin, error) from error
            kept = opened.pop_all()
        return _Unpacked(file, size, self.origin, kept) if self.is_packed else file

    def is_changed(self) -> bool:
        """Return whether the file was written to, or removed, since it was found."""
        try:
            status = self.path.stat()
        except OSError:
            return True
        return (status.st_size, status.st_mtime_ns) != (self.size, self.changed_ns)


def _unpack_zst(file: BinaryIO) -> Any:
    # pyarrow is slow to import.
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")


_UNPACKERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".zst": _unpack_zst,
}


class _Unpacked:
    """An unpacked file that is read in pieces, and closed at its end."""

    def __init__(self, file: Any, n_packed: int, origin: str, opened: ExitStack) -> None:
        self._file, self._origin, self._opened = file, origin, opened
        self._is_read = False
        self._n_read, self._most = 0, max(_FLOOR, _MOST_GROWTH * n_packed)

    def read1(self, size: int) -> bytes:
        if self._is_read:
            return b""
        try:
            content = bytes(self._file.read(size))
        except _DAMAGE as error:
            self.close()
            raise _damaged(self._origin, error) from error
        self._n_read += len(content)
        if not content:
            self.close()
        if self._n_read > self._most:
            self.close()
            raise DataError(
                f"{self._origin} grows more than a thousandfold when it is unpacked, as no table does; "
                "unpack it yourself if it is one"
            )
        return content

    def close(self) -> None:
        self._is_read = True
        self._opened.close()


def _damaged(origin: str, error: Exception) -> DataError:
    return DataError(f"{origin} cannot be unpacked ({shown(error, 200)}); pack it again")


def is_packed(path: Path) -> bool:
    """Return whether a path is named like a single packed table."""
    return path.name.lower().endswith(_PACKED)


def is_table(path: Path) -> bool:
    """Return whether a path is named like a table, packed or not."""
    return path.name.lower().endswith((*_TABLES, *_PACKED))


def is_pattern(path: str) -> bool:
    """Return whether a path is a pattern of names, and not that of a file."""
    return _PATTERN.search(path) is not None and not Path(path).exists()


def is_many(path: Paths) -> bool:
    """Return whether a path names many files, or there are several."""
    if not isinstance(path, str):
        return True
    return is_pattern(path) or Path(path).is_dir() or Path(path).suffix.lower() == _ZIP


def source_name(path: str) -> str:
    """Return the name of a catalogue: that of its file or folder, without endings.

    >>> source_name("data/spotify_songs.csv.gz")
    'spotify_songs'
    """
    return re.sub(r"(?i)\.(csv|parquet|pq|zip|gz|zst)(?=\.|$)", "", Path(path).name)


def plain_name(name: str) -> str:
    """Return a name in letters, digits and ``_``.

    >>> plain_name("Followers (total)")
    'Followers_total'
    """
    return re.sub(r"\W+", "_", name).strip("_")


def join_name(path: str) -> str:
    """Return the name of a table in columns: that of its file, without endings."""
    return plain_name(source_name(path))


def source_names(paths: Paths) -> list[str]:
    """Return the names of catalogues, none of a single one; a `DataError` if two have one name."""
    names = [] if isinstance(paths, str) else [source_name(path) for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"data.path names several catalogues {', '.join(map(repr, twice))}; rename one")
    return names


def parts_of(path: Paths) -> list[Part]:
    """Return the tables that a path names, by name; of several catalogues one after the other.

    Raises
    ------
    DataError
        If there is none, or a zip is damaged or holds something else than CSV files.
    """
    if not isinstance(path, str):
        named = zip(source_names(path), path, strict=True)
        return [replace(part, source=name) for name, own in named for part in parts_of(own)]
    if is_pattern(path):
        root = Path(Path(path).anchor)
        tables = sorted(each for each in root.glob(str(Path(path).relative_to(root))) if _is_visible_table(each))
        if not tables:
            raise DataError(f"{path} matches no file with {NAMED}; a relative path is taken from the current folder")
        base = os.path.commonpath([each.absolute().parent for each in tables])
        return [_part(each, each.absolute().relative_to(base).as_posix()) for each in tables]
    folder = Path(path)
    if folder.is_dir():
        tables = sorted(each for each in folder.iterdir() if _is_visible_table(each))
        if not tables:
            raise DataError(f"{folder} is a folder without a file with {NAMED}; name another: data.path=… or input=…")
        return [_part(each, each.name) for each in tables]
    return _members(folder) if folder.suffix.lower() == _ZIP else [_part(folder, folder.name)]


def _is_visible_table(path: Path) -> bool:
    return is_table(path) and not path.name.startswith(".") and path.is_file()


def _part(path: Path, name: str, member: str | None = None) -> Part:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return Part(path, name, status.st_size, status.st_mtime_ns, member)


def _members(path: Path) -> list[Part]:
    """Return the tables of a zip, each of which is a CSV beside the others."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _DAMAGE as error:
        raise _damaged(str(path), error) from error
    names = [member.filename for member in members]
    for member in members:
        if reason := _refused(member, names):
            raise DataError(f"{path} holds {shown(member.filename)!r}, {reason}; pack CSV files alone")
    if not members:
        raise DataError(f"{path} holds no file; pack CSV files in it")
    return [_part(path, name, name) for name in sorted(names)]


def _refused(member: zipfile.ZipInfo, names: list[str]) -> str:
    """Return why a member of a zip is not read, or an empty string."""
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or (len(member.filename) > 1 and member.filename[1] == ":"):
        return "whose path leaves the folder"
    if member.is_dir() or len(name.parts) != 1:
        return "which is a folder or in one"
    if name.suffix.lower() != ".csv":
        return "which is no CSV by its name"
    if member.flag_bits & 1:
        return "which needs a password"
    return "which is there twice" if names.count(member.filename) > 1 else ""


def digest_of(path: Paths) -> str | None:
    """Return the sha256 of a file, or of the names and digests of many, None if there is nothing."""
    try:
        if isinstance(path, str) and (not is_many(path) or Path(path).is_file()):
            return _sha256(Path(path))
        lines = [f"{part.source}{part.name} {_sha256(part.path)}\n" for part in parts_of(path)]
    except (OSError, DataError):
        return None
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
