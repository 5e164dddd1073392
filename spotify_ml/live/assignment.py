"""Which version a request is for, by a hash of its unit, and hashes that stand for names."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pandas as pd

from spotify_ml.data.names import normal_name
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.utils.errors import ConfigError, DataError

Arm = Literal["champion", "challenger"]
CHAMPION: Arm = "champion"
CHALLENGER: Arm = "challenger"
KEY_VARIABLE = "SPOTIFY_LIVE_KEY"
LONGEST_UNIT = 200
_SPACE = 2**64
_HASH_LENGTH = 32


def assign(unit: str, salt: str, share: float) -> Arm:
    """Return the version for a unit: the same each time, and the challenger for so many of all units.

    Parameters
    ----------
    unit : str
        Of the request.
    salt : str
        Of the experiment; another one assigns independently.
    share : float
        Of the challenger, 0 to 1.

    Examples
    --------
    >>> assign("a", "spring", 0.5) == assign("a", "spring", 0.5)
    True
    """
    digest = hashlib.sha256(f"{salt}\0{unit}".encode("utf-8", "replace")).digest()
    return CHALLENGER if int.from_bytes(digest[:8], "big") < share * _SPACE else CHAMPION


def unit_of(header: str | None, rows: pd.DataFrame, request: str) -> str:
    """Return the unit of a request: its header, else its first track id, else its own id, which nothing can join.

    Raises `DataError` if the header is empty or too long.
    """
    if header is not None:
        # HTTP hands out bytes as Latin-1.
        text = _plain(header.encode("latin-1", "replace").decode("utf-8", "replace")).strip()
        if not 0 < len(text) <= LONGEST_UNIT:
            raise DataError(f"X-Unit has {len(text):,} characters; send 1 to {LONGEST_UNIT}")
        return text
    first = rows["track_id"].iloc[0] if "track_id" in rows.columns else None
    return request if _is_missing(first) else _plain(str(first))[:LONGEST_UNIT]


def keys_of(unit: str, rows: pd.DataFrame) -> list[str]:
    """Return what outcomes name each row by: of a single row the unit, of several each one's track id."""
    if len(rows) == 1:
        return [unit]
    ids: Sequence[object] = rows["track_id"].tolist() if "track_id" in rows.columns else [None] * len(rows)
    return [
        f"{unit}#{number}"[-LONGEST_UNIT:] if _is_missing(each) else _plain(str(each))[:LONGEST_UNIT]
        for number, each in enumerate(ids)
    ]


def artist_hash(artists: str | None, key: bytes) -> str | None:
    """Return the keyed hash of the first artist, however the name is written; None where there is none.

    Parameters
    ----------
    artists : str or None
        As in raw rows, separated by ``;``.
    key : bytes
        Without which nobody can try names.
    """
    if artists is None or _is_missing(artists):
        return None
    first = normal_name(artists.partition(LIST_SEPARATOR)[0])
    return hmac.new(key, first.encode("utf-8", "replace"), "sha256").hexdigest()[:_HASH_LENGTH] if first else None


def read_key(database: Path | None, *, make: bool = False) -> bytes:
    """Return the key of the hashes: that of the environment, or of the file beside a SQLite log, which may be made.

    Raises `ConfigError` if there is none.
    """
    if given := os.environ.get(KEY_VARIABLE, "").strip():
        return given.encode()
    if database is None:
        raise ConfigError(
            f"config: servers that share a log need one key for the hashes of artists: set {KEY_VARIABLE} to a long "
            "random text"
        )
    path = database.with_name(f"{database.name}.key")
    if make and not path.exists():
        _make_key(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"config: the key {path} cannot be read: {error.strerror}; set {KEY_VARIABLE}") from error


def _make_key(path: Path) -> None:
    """Write a key that only its owner may read, whole, and leave that of another server that was faster."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode())
        with suppress(FileExistsError):
            os.link(temporary, path)
        temporary.unlink()
    except OSError as error:
        raise ConfigError(f"config: the key {path} cannot be written: {error.strerror}; set {KEY_VARIABLE}") from error


def _plain(text: str) -> str:
    """Return a text that every database takes."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value == "" or (isinstance(value, float) and value != value)
