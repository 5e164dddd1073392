"""What every part of a configuration can do, and the names that users choose."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from spotify_ml.utils.errors import without_passwords
from spotify_ml.utils.places import shared_value


class Section(BaseModel):
    """A part of a configuration: unknown keys and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def flat(self) -> dict[str, Any]:
        """Return every setting under its dotted key."""
        return dict(_flatten(self.model_dump(by_alias=True)))

    def recorded(self) -> dict[str, Any]:
        """Return the settings as they may be written down here: without the passwords of addresses."""
        return cast("dict[str, Any]", _each(self.model_dump(by_alias=True), _told))

    def shared(self) -> dict[str, Any]:
        """Return the settings as a store may know them: without passwords and without the folders of this machine."""
        return cast("dict[str, Any]", _each(self.model_dump(by_alias=True), shared_value))

    def shared_flat(self) -> dict[str, Any]:
        """Return `shared` under dotted keys, as it is logged."""
        return dict(_flatten(self.shared()))


def _no_address(name: str) -> str:
    """Refuse what MLflow would refuse as the name of a registered model, once there is one to register."""
    if "/" in name or ":" in name or name in (".", "..") or not name.strip():
        raise ValueError("take a name without '/' and ':', which separate the parts of models:/name/version")
    return name


def _file_name(name: str) -> str:
    """Refuse what is no part of a file's name on every system."""
    if not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError("take letters, digits, '.', '_', '+' and '-'; it names files")
    return name


# The longest names that every store takes.
RegisteredModelName = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_no_address)]
ExperimentName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"\S")]
RunName = Annotated[str, Field(min_length=1, max_length=200)]
StudyName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_file_name)]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _each(below, change) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_each(below, change) for below in value]
    return change(value)


def _told(value: Any) -> Any:
    return without_passwords(value) if isinstance(value, str) else value
