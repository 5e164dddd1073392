"""The check of composed configurations: one error names every wrong key, before anything is read."""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from spotify_ml.config.run import RunConfig
from spotify_ml.config.typed import quote_hint
from spotify_ml.utils.errors import ConfigError, did_you_mean

Schema = TypeVar("Schema", bound=BaseModel)


def known_keys(section: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a schema, of all choices of each group."""
    for field_name, field in section.model_fields.items():
        key = prefix + (field.alias or field_name)
        yield key
        for below in _sections(field.annotation):
            yield from known_keys(below, f"{key}.")


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that a field may contain."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType):
        for choice in get_args(annotation):
            yield from _sections(choice)


def validate(config: DictConfig) -> RunConfig:
    """Check the composed configuration of a run; see `validate_as`."""
    return validate_as(config, RunConfig)


def validate_as(config: DictConfig, schema: type[Schema]) -> Schema:
    """Check a composed configuration against the schema of its command.

    A `ConfigError` names every unknown key (with the nearest valid one), wrong type and value out of range.
    """
    try:
        container = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key, reason = error.full_key, str(error.msg).splitlines()[0]
        raise ConfigError(f"config: {key} has no value ({reason}); set it with {key}=…") from error
    return check(container, schema)


def check(container: Any, schema: type[Schema]) -> Schema:
    """Check plain settings, as returned by ``model_dump``, against a schema; errors as in `validate_as`."""
    try:
        return schema.model_validate(container)
    except ValidationError as error:
        keys = set(known_keys(schema))
        lines = (f"config: {_explain(detail, container, keys)}" for detail in error.errors())
        raise ConfigError("\n".join(lines)) from error


def _key(location: tuple[int | str, ...], container: Any) -> str:
    """Return the dotted key of an error, without the name of the choice that pydantic adds."""
    kept, level = [], container
    for part in location[:-1]:
        if isinstance(level, Mapping) and part in level:
            kept.append(str(part))
            level = level[part]
    last = str(location[-1])
    is_choice = isinstance(level, Mapping) and last in (level.get("name"), level.get("mode")) and last not in level
    return ".".join(kept if is_choice else [*kept, last])


def _explain(detail: ErrorDetails, container: Any, keys: set[str]) -> str:
    key, kind, given = _key(detail["loc"], container), detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "union_tag_invalid":
        choices = context["expected_tags"].replace("'", "").split(", ")
        tag = context["discriminator"].strip("'")
        return f"{key}.{tag}={context['tag']!r}: there are {', '.join(choices)}{did_you_mean(context['tag'], choices)}"
    if kind == "extra_forbidden" and key in keys:
        return f"the key '{key}' belongs to another choice of '{key.partition('.')[0]}'"
    if kind == "extra_forbidden":
        return f"unknown key '{key}'{did_you_mean(key, keys)}"
    if kind == "missing":
        return f"'{key}' is missing"
    if kind == "string_type":
        return f"{key}={given!r} is not text{quote_hint(key, given)}"
    if kind == "value_error":
        return f"{key}={given!r}: {context['error']}"
    hint = ""
    if kind == "literal_error" and isinstance(given, str):
        hint = did_you_mean(given, context["expected"].replace("'", "").replace(" or ", ", ").split(", "))
    return f"{key}={given!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}{hint}"
