"""What was typed on the command line, and how it is quoted where Hydra reads it as something else."""

import re
import shlex
import sys

# `key=value`, with what Hydra puts before a key to add it.
_OVERRIDE = re.compile(r"(?P<key>\+{0,2}[\w./@-]+)=(?P<value>.*)", re.DOTALL)


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
        return f"there is no option {argument}; --help and --hydra-help name those that there are"
    if previous is not None and "=" not in argument:
        key, value = previous["key"], f"{previous['value']} {argument}"
        return f"'{argument}' is not KEY=VALUE; if it belongs to {before}, quote both: {quoted(key, value)}"
    return f"'{argument}' is not KEY=VALUE; --help names the keys"
