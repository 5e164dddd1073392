"""Paths as a store may know them: below the checkout, or a name, since its users may be on other machines."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spotify_ml.utils.errors import without_passwords
from spotify_ml.utils.paths import PROJECT

# Hydra writes a backslash before the colon of a sweep's values.
_SCHEME = r"(?P<scheme>(?:sqlite|journal)\\?:///|file\\?://)?"
# A blank ends a path in a sentence, a separator of values in an override, a quote within quotes.
_PART = r"[^\s/'\",;()\[\]{}<>|]"
_IN_TEXT = re.compile(rf"(?<![^\s'\"=,;(\[{{<>|]){_SCHEME}(?P<path>/(?:{_PART}+/)+{_PART}*)")
_IN_OVERRIDE = re.compile(rf"(?<![^\s'\"=,(\[{{]){_SCHEME}(?P<path>/[^'\",()\[\]{{}}]+)")
_IN_QUOTES = re.compile(rf"(?<=['\"]){_SCHEME}(?P<path>/[^'\"]+)")
_WHOLE = re.compile(rf"{_SCHEME}(?P<path>/.+)")


def shared_path(path: str | Path) -> str:
    """Return a path relative to the checkout if it is below it, else its name; relative paths stay unchanged."""
    given = Path(path)
    if not given.is_absolute():
        return str(path)
    return given.relative_to(PROJECT).as_posix() if given.is_relative_to(PROJECT) else given.name


def shared_text(text: str, paths: Iterable[str] = ()) -> str:
    """Return a text without passwords and without folders of this machine.

    `paths` may contain blanks; other paths are found by their slashes, up to the next blank.
    """
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, shared_path(path))
    return _IN_TEXT.sub(_shared, without_passwords(text))


def shared_value(value: Any) -> Any:
    """Return a setting without passwords and folders of this machine; only text changes."""
    if not isinstance(value, str):
        return value
    path = _WHOLE.fullmatch(value)
    return shared_text(value) if path is None else _shared(path)


def shared_overrides(overrides: Iterable[str]) -> list[str]:
    """Return command-line overrides without passwords and folders of this machine."""
    unquoted = (_IN_QUOTES.sub(_shared, without_passwords(override)) for override in overrides)
    return [_IN_OVERRIDE.sub(_shared, override) for override in unquoted]


def paths_in(settings: Iterable[Any]) -> list[str]:
    """Return the absolute paths among settings."""
    found = (_WHOLE.fullmatch(value) for value in settings if isinstance(value, str))
    return [path["path"] for path in found if path is not None]


def shared_folder(folder: Path) -> str:
    """Return a folder as text that `folder_of` turns back on this machine."""
    folder = folder.absolute()
    if folder.is_relative_to(PROJECT):
        return folder.relative_to(PROJECT).as_posix()
    home = Path("~").expanduser()
    return f"~/{folder.relative_to(home).as_posix()}" if folder.is_relative_to(home) else str(folder)


def folder_of(text: str) -> Path:
    """Return the folder that `shared_folder` turned into text."""
    return PROJECT / Path(text).expanduser()


def _shared(found: "re.Match[str]") -> str:
    return (found["scheme"] or "") + shared_path(found["path"])
