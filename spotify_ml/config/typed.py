"""Command-line arguments, and how to quote those that Hydra would misread."""

import re
import shlex
import sys
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from spotify_ml.utils.errors import ConfigError

# `key=value`, with Hydra's prefix to add a key.
_OVERRIDE = re.compile(r"(?P<key>\+{0,2}[\w./@-]+)=(?P<value>.*)", re.DOTALL)

# Hydra's options without a value.
_FLAGS = ("-m", "--multirun", "-r", "--run", "--resolve")


def arguments_in_order(arguments: list[str]) -> list[str]:
    """Return arguments with the options first: they may be typed anywhere, but Hydra needs the overrides in one row.

    A `ConfigError` names an unknown option, or one without its value: Hydra would print its usage and exit with code 2.

    >>> arguments_in_order(["model.max_depth=4,6", "-m", "seed=1", "--config-dir", "a=b", "~cv"])
    ['-m', '--config-dir', 'a=b', 'model.max_depth=4,6', 'seed=1', '~cv']
    """
    options: list[str] = []
    overrides: list[str] = []
    is_value = False
    for argument in arguments:
        is_option = argument.startswith("-")
        (options if is_option or is_value else overrides).append(argument)
        is_value = is_option and "=" not in argument and argument not in _FLAGS
    ordered = [*options, *overrides]

    def refuse(message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        raise ConfigError(_no_option(unknown[1]) if unknown else message)

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    parser.parse_args(ordered)
    return ordered


def _no_option(argument: str) -> str:
    return f"there is no option {argument}; --help and --hydra-help name those that there are"


def quoted(key: str, value: str) -> str:
    """Return an override with any text as its value, quoted for a shell.

    >>> print(quoted("input", "tracks (1).csv"))
    'input="tracks (1).csv"'
    """
    # Hydra's grammar needs escapes for quotes, and for backslashes before them.
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), value)
    return shlex.quote(f'{key}="{escaped}"')


def quote_hint(key: str, value: object) -> str:
    """Return how to type a text that Hydra has read as a number, a boolean or null."""
    typed = [argument.removeprefix(f"{key}=") for argument in sys.argv[1:] if argument.startswith(f"{key}=")]
    # A sweep has several values, and only one is wrong.
    shown = typed[-1] if typed and "," not in typed[-1] else str(value)
    return f"; if it is meant as text, type {quoted(key, shown)}"


def misread(argument: str) -> str:
    """Return how to type an argument that Hydra's grammar cannot read."""
    found = _OVERRIDE.fullmatch(argument)
    if found is not None and found["value"]:
        key, value = found["key"], found["value"]
        return f"{key}={value}: Hydra cannot read this value as it is; quote it: {quoted(key, value)}"
    arguments = sys.argv[1:]
    before = arguments[arguments.index(argument) - 1] if argument in arguments[1:] else ""
    previous = _OVERRIDE.fullmatch(before)
    if argument.startswith("-"):
        return _no_option(argument)
    if previous is not None and "=" not in argument:
        key, value = previous["key"], f"{previous['value']} {argument}"
        return f"'{argument}' is not KEY=VALUE; if it belongs to {before}, quote both: {quoted(key, value)}"
    return f"'{argument}' is not KEY=VALUE; --help names the keys"
