"""What was typed on the command line, and how it is quoted where Hydra reads it as something else."""

import re
import shlex
import sys
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from spotify_ml.utils.errors import ConfigError

# `key=value`, with what Hydra puts before a key to add it.
_OVERRIDE = re.compile(r"(?P<key>\+{0,2}[\w./@-]+)=(?P<value>.*)", re.DOTALL)

# Options of Hydra that no value follows.
_FLAGS = ("-m", "--multirun", "-r", "--run", "--resolve")


def arguments_in_order(arguments: list[str]) -> list[str]:
    """Return arguments with the options first, which may be typed anywhere; Hydra takes overrides in one row only.

    Parameters
    ----------
    arguments : list of str
        As they were typed.

    Raises
    ------
    ConfigError
        If there is no such option, or it has no such value: Hydra would print how it is used and exit with code 2.

    Examples
    --------
    >>> arguments_in_order(["model.max_depth=4,6", "-m", "seed=1", "--config-dir", "a=b", "~cv"])
    ['-m', '--config-dir', 'a=b', 'model.max_depth=4,6', 'seed=1', '~cv']
    """
    follows = ["", *arguments]
    takes_value = [each.startswith("-") and "=" not in each and each not in _FLAGS for each in follows]
    is_override = [
        not is_value and not each.startswith("-") for each, is_value in zip(arguments, takes_value, strict=False)
    ]
    options = [each for each, override in zip(arguments, is_override, strict=True) if not override]
    ordered = [*options, *(each for each, override in zip(arguments, is_override, strict=True) if override)]

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
    """Return an override whose value is text, as it is typed in a shell.

    Parameters
    ----------
    key : str
        The key, dotted.
    value : str
        The text, whatever is in it.

    Examples
    --------
    >>> print(quoted("input", "tracks (1).csv"))
    'input="tracks (1).csv"'
    """
    # In Hydra's grammar a backslash is one, except before a quote.
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), value)
    return shlex.quote(f'{key}="{escaped}"')


def quote_hint(key: str, value: object) -> str:
    """Return how to type a value that was meant as text, and was read as a number, a truth value or nothing.

    Parameters
    ----------
    key : str
        The key, dotted.
    value : object
        What it was read as.
    """
    typed = [argument.removeprefix(f"{key}=") for argument in sys.argv[1:] if argument.startswith(f"{key}=")]
    # Of a sweep's values one is meant.
    shown = typed[-1] if typed and "," not in typed[-1] else str(value)
    return f"; if it is meant as text, type {quoted(key, shown)}"


def misread(argument: str) -> str:
    """Return what to type instead of an argument that Hydra's grammar cannot read.

    Parameters
    ----------
    argument : str
        As it was typed.
    """
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
