"""The errors a user can cause, and the names they may have meant."""

import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from typing import Any


class SpotifyMLError(Exception):
    """An error that the user can mend; its message says what is wrong, where, and what to do."""


class ConfigError(SpotifyMLError):
    """A configuration key, value or combination that cannot be used."""


class DataError(SpotifyMLError):
    """Tracks that cannot be read, or that break the schema of the raw columns."""


class OutputError(SpotifyMLError):
    """A file of the run that cannot be written."""


class TrackingError(SpotifyMLError):
    """A tracking store that does not answer or cannot be written."""


class StoreError(TrackingError):
    """A tracking store that cannot be used from the start: nothing was recorded in it."""


class EngineError(SpotifyMLError):
    """A cluster that cannot do the work, or is lost on the way."""


class ModelError(SpotifyMLError):
    """A model whose files are not there, or not as they were saved."""


class Refused(BaseException):
    """An error of a check, on its way through Hydra: this passes over every `Exception` of a callback.

    Parameters
    ----------
    error : Exception
        What the command is to say.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


# What libraries in C++ say; their errors have types of their own.
_NO_MEMORY = re.compile(
    r"bad_alloc|bad_malloc|bad allocation|failed to allocate|cannot allocate memory|malloc.*failed|out of memory",
    re.IGNORECASE,
)


def says_no_memory(text: str) -> bool:
    """Say whether a library's message means that there is not enough memory."""
    return _NO_MEMORY.search(text) is not None


def shown(value: object, longest: int = 60) -> str:
    r"""Return a value for a message: in one line, shortened, and escaped where it cannot be printed.

    Parameters
    ----------
    value : object
        Whatever a user gave.
    longest : int
        How many characters of it are shown.

    Examples
    --------
    >>> print(shown("a\nb"), shown("x" * 100, 3))
    a\nb xxx… (100 characters)
    """
    try:
        text = str(value)
    # An object of any kind, which may have no text.
    except Exception:
        text = f"({type(value).__name__})"
    more = f"… ({len(text):,} characters)" if len(text) > longest else ""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text[:longest]) + more


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest candidate, or an empty string.

    Parameters
    ----------
    name : str
        What was typed.
    candidates : iterable of str
        The names that exist.
    """
    nearest = get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return f" (did you mean '{nearest[0]}'?)" if nearest else ""


# Of an address: what stands between its user and its host, to the last @; or all of that where there is no user.
_PASSWORD = re.compile(r"(//[^\s:/@'\"]*):[^\s/'\"]*@")
_TOKEN = re.compile(r"(https?://)[^\s:/@'\"]+@")
_SECRET_KEY = re.compile(r"([?&][\w.-]*(?:password|passwd|pwd|token|secret|signature|key)=)[^\s&#'\"]+", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """Return a text in which the passwords, tokens and keys of addresses are hidden."""
    if "/" not in text:
        return text
    hidden = _TOKEN.sub(r"\1***@", _PASSWORD.sub(r"\1:***@", text))
    return _SECRET_KEY.sub(r"\1***", hidden)


def hide_passwords_in_logs() -> None:
    """Let what this process logs from now on be without passwords: Hydra logs what was typed for every job of a sweep.

    Hydra sets its handlers up anew before each job; what makes records stays.
    """
    logging.setLogRecordFactory(_told)


def _told(*arguments: Any, **keywords: Any) -> logging.LogRecord:
    record = logging.LogRecord(*arguments, **keywords)
    # A message that does not fit its values is for the handler to complain of.
    with suppress(TypeError, ValueError, KeyError):
        message = record.getMessage()
        # A handler may look at the values by themselves, as uvicorn's does.
        if (told := without_passwords(message)) != message:
            record.msg, record.args = told, ()
    return record
