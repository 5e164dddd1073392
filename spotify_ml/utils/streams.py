"""Standard streams that may be closed or broken: a command continues without a stream that it does not need."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TextIO

from spotify_ml.utils.errors import OutputError

_STANDARD = (0, 1, 2)
_OUT, _ERR = 1, 2
# The first error of each stream.
_errors: dict[int, OSError] = {}


def make_lenient() -> None:
    """Drop text that standard output or standard error cannot take, and keep other files off their descriptors."""
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            # Otherwise the next opened file would get this descriptor, and the printed text.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _lenient(_OUT, sys.__stdout__)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _lenient(_ERR, sys.__stderr__)


def check_printed() -> None:
    """Raise the error of standard output, a `BrokenPipeError` if its reader has ended, for a command that needs it."""
    _check_open()
    sys.stdout.flush()
    error = _errors.get(_OUT)
    if isinstance(error, BrokenPipeError):
        raise error
    if error is not None:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


@contextmanager
def open_standard_output() -> Iterator[BinaryIO]:
    """Open standard output for bytes that must not be lost.

    A `BrokenPipeError` is raised if its reader has ended, an `OutputError` if it is closed or cannot be written.
    """
    if sys.stdout is not sys.__stdout__ and not _is_lenient(sys.stdout):
        # The caller has replaced it.
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    _check_open()
    try:
        with open(_OUT, "wb", closefd=False) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def _is_lenient(stream: TextIO) -> bool:
    return isinstance(getattr(getattr(stream, "buffer", None), "raw", None), _LenientFile)


def _check_open() -> None:
    if sys.__stdout__ is None:
        raise OutputError("standard output is closed; give it a place: > file")


class _LenientFile(io.FileIO):
    """A file descriptor whose write errors are recorded, not raised."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            _errors.setdefault(self.fileno(), error)
            return memoryview(data).nbytes


def _lenient(descriptor: int, before: TextIO | None) -> TextIO:
    is_error = descriptor == _ERR
    return io.TextIOWrapper(
        io.BufferedWriter(_LenientFile(descriptor, "wb", closefd=False)),
        encoding="utf-8" if before is None else before.encoding,
        errors=("backslashreplace" if is_error else "strict") if before is None else before.errors,
        line_buffering=is_error if before is None else getattr(before, "line_buffering", is_error),
        write_through=getattr(before, "write_through", False),
    )
