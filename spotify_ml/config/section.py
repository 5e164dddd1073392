"""The base class of all configurations, and the types of names that users choose."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from spotify_ml.utils.errors import without_passwords
from spotify_ml.utils.places import shared_value


class Section(BaseModel):
    """A part of a configuration: unknown keys and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def flat(self) -> dict[str, Any]:
        """Return every setting by its dotted key."""
        return dict(_flatten(self.model_dump(by_alias=True)))

    def recorded(self) -> dict[str, Any]:
        """Return the settings without the passwords of addresses."""
        return cast("dict[str, Any]", _each(self.model_dump(by_alias=True), _without_passwords))

    def shared(self) -> dict[str, Any]:
        """Return the settings without passwords and without folders of this machine, for a store."""
        return cast("dict[str, Any]", _each(self.model_dump(by_alias=True), shared_value))

    def shared_flat(self) -> dict[str, Any]:
        """Return `shared` by dotted keys."""
        return dict(_flatten(self.shared()))


def _no_address(name: str) -> str:
    """Refuse names that MLflow refuses for registered models, before there is one to register."""
    if "/" in name or ":" in name or name in (".", "..") or not name.strip():
        raise ValueError("take a name without '/' and ':', which separate the parts of models:/name/version")
    return name


def _file_name(name: str) -> str:
    """Refuse what cannot be part of a file name on every system."""
    if not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError("take letters, digits, '.', '_', '+' and '-'; it names files")
    return name


def _as_text(given: Any) -> Any:
    """Take a number for its text: it is no day either, but not for being a number."""
    return str(given) if isinstance(given, int) else given


def _is_day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("give a day such as 2020-01-21") from None
    return text


# The longest names that every store takes.
RegisteredModelName = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_no_address)]
ExperimentName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"\S")]
RunName = Annotated[str, Field(min_length=1, max_length=200)]
StudyName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_file_name)]
Day = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_day)]


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


def _without_passwords(value: Any) -> Any:
    return without_passwords(value) if isinstance(value, str) else value
