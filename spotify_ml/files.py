"""Files that are either whole or not there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.partial")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
