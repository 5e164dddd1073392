"""Files that are either whole or not there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spotify_ml.errors import OutputError


def partial_name(target: Path, process_id: int) -> Path:
    """Return the name under which a process writes a file or folder until it is whole."""
    return target.with_name(f".{target.name}.{process_id}.partial")


def reason_of(error: OSError) -> str:
    """Return the reason of a failed file operation in a line, with the file that it names.

    The error of a folder that could not be copied holds a line for every file in it; the first says why.
    """
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        source, _, why = error.args[0][0]
        return (
            f"{why} ({source} and {len(error.args[0]) - 1} others)" if len(error.args[0]) > 1 else f"{why} ({source})"
        )
    return (error.strerror or str(error)) + (f" ({error.filename})" if error.filename else "")


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give a temporary name beside `target` to write a file or folder under, and rename it when that went well.

    Parameters
    ----------
    target : Path
        A file or folder that does not exist yet, or a file to replace.

    Yields
    ------
    Path
        The temporary name; it is removed if the block raises.

    Raises
    ------
    OutputError
        If the disk is full, or the place cannot be written.
    """
    # Two processes may write the same file; whole it is in either case.
    temporary = partial_name(target, os.getpid())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {reason_of(error)}") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        elif temporary.exists():
            temporary.unlink()
