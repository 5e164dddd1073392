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

# As the text of an OSError begins.
_ERRNO = re.compile(r"\[Errno \d+\] ([^:]+)")
_PARTIAL = re.compile(r"\..+\.(?P<process>\d+)-(?P<machine>[0-9a-f]+)\.partial")

# How the names of temporary folders begin.
WORK = ".work."
# Characters of a target's name, which a file system may count in bytes: 255 at most, with all that is added.
_LONGEST_PREFIX = 40


def is_abandoned(path: Path) -> bool:
    """Say whether a path has the name of a temporary file or folder of a process of this machine that is gone."""
    process_id = _process_of(path)
    return process_id is not None and started(process_id) is None


def is_in_use(path: Path) -> bool:
    """Say whether a path has the name of a temporary file or folder of a process of this machine that has not ended."""
    process_id = _process_of(path)
    return process_id is not None and started(process_id) is not None


def _process_of(path: Path) -> int | None:
    """Return the process of this machine that a temporary file or folder is of, None of any other path."""
    found = _PARTIAL.fullmatch(path.name)
    return int(found["process"]) if found is not None and found["machine"] == machine_token() else None


def _suffix() -> str:
    """Return how the names of what this process makes for a while end."""
    return f".{os.getpid()}-{machine_token()}.partial"


def remove_abandoned(folder: Path) -> None:
    """Remove what processes of this machine that are gone were writing in a folder when they ended.

    Parameters
    ----------
    folder : Path
        Only it is looked at, not the folders in it; it need not be there.
    """
    for path in folder.glob(".*.partial"):
        if is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@cache
def _remove_abandoned_once(folder: Path) -> None:
    """Look once at a folder that a process writes thousands of files to."""
    with suppress(OSError):
        remove_abandoned(folder)


def reason_of(error: OSError) -> str:
    """Return the reason of a failed file operation in a line, with the file that it names.

    The error of a folder that could not be copied holds a line for every file in it; the first says why.
    """
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        source, _, why = error.args[0][0]
        others = len(error.args[0]) - 1
        reason = _ERRNO.match(why)
        return f"{reason[1] if reason else why} ({source}{f' and {others} others' if others else ''})"
    return (error.strerror or str(error)) + (f" ({error.filename})" if error.filename else "")


@contextmanager
def temporary_folder(place: Path | None = None) -> Iterator[Path]:
    """Give a folder for files that are needed for a while; `remove_abandoned` knows it once its process is gone.

    Parameters
    ----------
    place : Path, optional
        Where it is made; by default where the system has its temporary files. Libraries make theirs in it meanwhile.

    Yields
    ------
    Path
        The folder, removed with all that is in it at the end.

    Raises
    ------
    OutputError
        If it cannot be made.
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
    """Return a temporary folder that goes with this process, or if that is killed by `remove_abandoned`."""
    folder, process_id = Path(tempfile.mkdtemp(prefix=WORK, suffix=_suffix())), os.getpid()

    @atexit.register
    def _remove() -> None:
        # A fork may end before the process that it came from.
        if os.getpid() == process_id:
            shutil.rmtree(folder, ignore_errors=True)

    return folder


def remove_lasting_folder() -> None:
    """Remove the `lasting_folder`, if there is one, for a process that ends by a signal."""
    if lasting_folder.cache_info().currsize:
        shutil.rmtree(lasting_folder(), ignore_errors=True)


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """Give a new folder beside `target`, which nobody else can name beforehand or open, removed at the end."""
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
    """Give a place to write a file or folder at, and rename it to `target` when that went well.

    Parameters
    ----------
    target : Path
        A file or folder that does not exist yet, or a file to replace.

    Yields
    ------
    Path
        A path of the same name in a `folder_beside` the target; it is removed if the block raises.

    Raises
    ------
    OutputError
        If the disk is full, or the place cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned_once(target.parent.absolute())
        # Two processes may write the same file; whole it is in either case.
        with folder_beside(target) as folder:
            # What is made in it has the permissions that it would have beside it.
            temporary = folder / target.name
            yield temporary
            temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {reason_of(error)}") from error
