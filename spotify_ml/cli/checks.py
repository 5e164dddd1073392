"""What every command is refused for before it imports, reads or writes anything."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from omegaconf import DictConfig
from pydantic import BaseModel

from spotify_ml.config.check import validate_as
from spotify_ml.config.run import DataConfig
from spotify_ml.data.place import check_data
from spotify_ml.tracking.store_address import announce, check_store
from spotify_ml.utils.errors import ConfigError

Schema = TypeVar("Schema", bound=BaseModel)


def checked(composed: DictConfig, schema: type[Schema]) -> Schema:
    """Return the composed configuration of a command, checked by its schema; a file of tracks that it names is there.

    Raises `ConfigError`, as `validate_as`, or `DataError` if there is no such file.
    """
    config = validate_as(composed, schema)
    data = getattr(config, "data", None)
    if isinstance(data, DataConfig):
        check_data(data)
    return config


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read, the same file under whatever name or link, by a `ConfigError` that names both.

    The files and folders need not be there.
    """
    read = {file: path for path in inputs if (file := _identity(path)) is not None}
    for path in outputs:
        file = _identity(path)
        given = None if file is None else read.get(file)
        if given is not None:
            linked = "" if path == given else f", which is the same as {given},"
            raise ConfigError(f"config: {path}{linked} is read and would be written over; name another output=…")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def use_store(uri: str, *, must_exist: bool = True) -> None:
    """See that a store answers, and say on stderr which it is; parameters and errors as of `check_store`."""
    check_store(uri, must_exist=must_exist)
    announce(uri)
