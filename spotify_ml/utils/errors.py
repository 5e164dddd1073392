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
    """The error of a check on its way through Hydra, which catches every `Exception` of a callback."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


# The messages of C++ libraries, whose errors have types of their own.
_NO_MEMORY = re.compile(
    r"bad_alloc|bad_malloc|bad allocation|failed to allocate|cannot allocate memory|malloc.*failed|out of memory",
    re.IGNORECASE,
)


def says_no_memory(text: str) -> bool:
    """Return whether a library's message means that there is not enough memory."""
    return _NO_MEMORY.search(text) is not None


def shown(value: object, longest: int = 60) -> str:
    r"""Return a value for a message: on one line, at most ``longest`` characters, escaped where it cannot be printed.

    >>> print(shown("a\nb"), shown("x" * 100, 3))
    a\nb xxx… (100 characters)
    """
    try:
        text = str(value)
    # Any object; its `__str__` may fail.
    except Exception:
        text = f"({type(value).__name__})"
    more = f"… ({len(text):,} characters)" if len(text) > longest else ""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text[:longest]) + more


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest candidate, or an empty string."""
    nearest = get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return f" (did you mean '{nearest[0]}'?)" if nearest else ""


# In an address: the text between user and host, up to the last @; all of it where there is no user.
_PASSWORD = re.compile(r"(//[^\s:/@'\"]*):[^\s/'\"]*@")
_TOKEN = re.compile(r"(https?://)[^\s:/@'\"]+@")
_SECRET_KEY = re.compile(r"([?&][\w.-]*(?:password|passwd|pwd|token|secret|signature|key)=)[^\s&#'\"]+", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """Return a text with the passwords, tokens and keys of its addresses hidden."""
    if "/" not in text:
        return text
    hidden = _TOKEN.sub(r"\1***@", _PASSWORD.sub(r"\1:***@", text))
    return _SECRET_KEY.sub(r"\1***", hidden)


def hide_passwords_in_logs() -> None:
    """Hide passwords in all that this process logs: Hydra logs the command line of every job of a sweep.

    Hydra replaces the handlers before each job, but not the factory of log records.
    """
    logging.setLogRecordFactory(_record_without_passwords)


def _record_without_passwords(*arguments: Any, **keywords: Any) -> logging.LogRecord:
    record = logging.LogRecord(*arguments, **keywords)
    # A message that does not fit its values is reported by the handler.
    with suppress(TypeError, ValueError, KeyError):
        message = record.getMessage()
        # Some handlers, such as uvicorn's, read the values themselves.
        if (hidden := without_passwords(message)) != message:
            record.msg, record.args = hidden, ()
    return record
