"""Files that are either whole or not there."""

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path

from spotify_ml.utils.errors import OutputError
from spotify_ml.utils.process import machine_token, started
from spotify_ml.utils.stops import if_stuck

# The beginning of an OSError's text.
_ERRNO = re.compile(r"\[Errno \d+\] ([^:]+)")
_PARTIAL = re.compile(r"\..+\.(?P<process>\d+)-(?P<machine>[0-9a-f]+)\.partial")

# The prefix of temporary folders.
WORK = ".work."
# In characters: file systems allow 255 bytes for the whole name.
_LONGEST_PREFIX = 40


def is_abandoned(path: Path) -> bool:
    """Return whether a path is a temporary file or folder of a process of this machine that has ended."""
    process_id = _process_of(path)
    return process_id is not None and started(process_id) is None


def is_in_use(path: Path) -> bool:
    """Return whether a path is a temporary file or folder of a running process of this machine."""
    process_id = _process_of(path)
    return process_id is not None and started(process_id) is not None


def _process_of(path: Path) -> int | None:
    """Return the id of the process of this machine that made a temporary file or folder; None for other paths."""
    found = _PARTIAL.fullmatch(path.name)
    return int(found["process"]) if found is not None and found["machine"] == machine_token() else None


def _suffix() -> str:
    """Return the end of the names of this process's temporary files."""
    return f".{os.getpid()}-{machine_token()}.partial"


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files and folders directly in a folder whose process, of this machine, has ended."""
    for path in folder.glob(".*.partial"):
        if is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@cache
def _remove_abandoned_once(folder: Path) -> None:
    """Check a folder once: a process may write thousands of files to it."""
    with suppress(OSError):
        remove_abandoned(folder)


def reason_of(error: OSError) -> str:
    """Return the reason of a failed file operation, and the file, on one line.

    If a folder could not be copied, its error has a line for every file; only the first is returned.
    """
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        source, _, why = error.args[0][0]
        others = len(error.args[0]) - 1
        reason = _ERRNO.match(why)
        return f"{reason[1] if reason else why} ({source}{f' and {others} others' if others else ''})"
    return (error.strerror or str(error)) + (f" ({error.filename})" if error.filename else "")


@contextmanager
def temporary_folder(place: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder that is removed at the end; `remove_abandoned` removes it if the process was killed.

    Without a `place`, it is in the system's temporary folder, and libraries then put their files in it too. An
    `OutputError` is raised if it cannot be made.
    """
    before = tempfile.tempdir
    try:
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix=WORK, suffix=_suffix(), dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        hint = "; name one by TMPDIR=…" if place is None else ""
        where = "no temporary folder can be made" if place is None else f"{place} cannot be written"
        raise OutputError(f"{where}: {reason_of(error)}{hint}") from error
    with made as folder:
        if place is None:
            tempfile.tempdir = folder
        try:
            with if_stuck(partial(shutil.rmtree, folder, ignore_errors=True)):
                yield Path(folder)
        finally:
            tempfile.tempdir = before


@cache
def lasting_folder() -> Path:
    """Return a temporary folder that is removed when this process ends; if it is killed, by `remove_abandoned`."""
    folder, process_id = Path(tempfile.mkdtemp(prefix=WORK, suffix=_suffix())), os.getpid()

    @atexit.register
    def _remove() -> None:
        # A fork may end before its parent process.
        if os.getpid() == process_id:
            shutil.rmtree(folder, ignore_errors=True)

    return folder


def remove_lasting_folder() -> None:
    """Remove the `lasting_folder`, if there is one, before a signal ends the process."""
    if lasting_folder.cache_info().currsize:
        shutil.rmtree(lasting_folder(), ignore_errors=True)


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """Make a private folder beside `target`, with a name that cannot be guessed; it is removed at the end."""
    prefix = f".{target.name[:_LONGEST_PREFIX]}."
    folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=_suffix(), dir=target.absolute().parent))
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    try:
        with if_stuck(remove):
            yield folder
    finally:
        remove()


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a temporary path for a new file or folder, or a file to replace; rename it to `target` after the block.

    An `OutputError` is raised if the disk is full, or the folder cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned_once(target.parent.absolute())
        # Two processes may write the same file: each writes a whole one.
        with folder_beside(target) as folder:
            # Files in it get the usual permissions.
            temporary = folder / target.name
            yield temporary
            temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {reason_of(error)}") from error
