"""What every command is refused for before it imports, reads or writes anything."""

from typing import TypeVar

from omegaconf import DictConfig
from pydantic import BaseModel

from spotify_ml.config import DataConfig, TrackingConfig
from spotify_ml.config_check import validate_as
from spotify_ml.data.place import check_data
from spotify_ml.tracking.reach import announce, check_store

Schema = TypeVar("Schema", bound=BaseModel)


def checked(composed: DictConfig, schema: type[Schema], *, must_exist: bool = True) -> Schema:
    """Check the configuration of a command, see that its store answers and its file of tracks is there, and say which.

    Parameters
    ----------
    composed : DictConfig
        As Hydra composes it.
    schema : type
        The schema of the command.
    must_exist : bool
        Whether a store that is not there yet is an error.

    Raises
    ------
    ConfigError
        As of `validate_as`.
    DataError
        If there is no file of tracks.
    StoreError
        If the store does not answer or is not there.
    """
    config = validate_as(composed, schema)
    data, tracking = getattr(config, "data", None), getattr(config, "tracking", None)
    if isinstance(data, DataConfig):
        check_data(data)
    if isinstance(tracking, TrackingConfig):
        check_store(tracking.uri, must_exist=must_exist)
        announce(tracking.uri)
    return config
