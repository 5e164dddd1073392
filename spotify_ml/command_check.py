"""What every command is refused for before it imports, reads or writes anything."""

from typing import TypeVar

from omegaconf import DictConfig
from pydantic import BaseModel

from spotify_ml.config import DataConfig
from spotify_ml.config_check import validate_as
from spotify_ml.data.place import check_data
from spotify_ml.tracking.reach import announce, check_store

Schema = TypeVar("Schema", bound=BaseModel)


def checked(composed: DictConfig, schema: type[Schema]) -> Schema:
    """Check the configuration of a command, and see that the file of tracks that it names is there.

    Parameters
    ----------
    composed : DictConfig
        As Hydra composes it.
    schema : type
        The schema of the command.

    Raises
    ------
    ConfigError
        As of `validate_as`.
    DataError
        If there is no file of tracks.
    """
    config = validate_as(composed, schema)
    data = getattr(config, "data", None)
    if isinstance(data, DataConfig):
        check_data(data)
    return config


def use_store(uri: str, *, must_exist: bool = True) -> None:
    """See that a store answers, and say on stderr which it is; parameters and errors as of `check_store`."""
    check_store(uri, must_exist=must_exist)
    announce(uri)
