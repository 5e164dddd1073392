"""Results of the stages of a run, kept on disk with everything that decides them, for use by equal runs."""

import hashlib
import json
import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar

from spotify_ml.config.run import CacheConfig, LocalCacheConfig
from spotify_ml.utils.errors import OutputError
from spotify_ml.utils.files import WORK, folder_beside, is_abandoned, is_in_use, staged, temporary_folder
from spotify_ml.utils.paths import PACKAGE
from spotify_ml.utils.version import LOADED_AT, library_version

log = logging.getLogger(__name__)

Value = TypeVar("Value")

_MANIFEST = "entry.json"
# The code that makes the results, and its libraries.
_CODE = ("data", "features")
_LIBRARIES = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops")
_BYTES_PER_GB = 10**9


class StageCache:
    """A folder of entries, each a folder with the files of one stage's result.

    An entry appears when it is complete, and never changes. It is used if its data, settings and code are equal, and
    its files unchanged. If the folder cannot be written, the run computes its stages and logs one warning.

    Parameters
    ----------
    folder : Path or None
        The folder of all entries; None to compute every stage.
    max_bytes : int
        The largest size of all entries together; the least recently used are removed first.
    """

    def __init__(self, folder: Path | None, max_bytes: int = 0) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    @classmethod
    def of(cls, config: CacheConfig) -> Self:
        """Return the configured cache; an empty one if the code was changed since this process has loaded it."""
        if not isinstance(config, LocalCacheConfig):
            return cls(None)
        if max(path.stat().st_mtime for path in _sources()) > LOADED_AT:
            log.warning("cache: the code was changed since it was loaded; this run goes on without it")
            return cls(None)
        return cls(Path(config.folder), int(config.max_gb * _BYTES_PER_GB))

    def get(
        self,
        stage: str,
        decided_by: Mapping[str, Any],
        make: Callable[[], Value],
        write: Callable[[Value, Path], None],
        read: Callable[[Path], Value],
        *,
        reread: bool = False,
    ) -> Value:
        """Return the result of a stage, from its entry or newly made by `make`.

        Parameters
        ----------
        stage : str
            Its name.
        decided_by : mapping of str to JSON
            Everything that decides the result, except the code.
        make, write, read : callable
            Make the result, write it to files in an empty folder, and read an equal one from there.
        reread : bool
            Whether to return the files' content instead of the made result: mapped files need no memory.
        """
        if self._folder is None:
            return make()
        entry, origin = _entry(self._folder, stage, decided_by)
        value = _read_whole(entry, origin, read)
        if value is not None:
            return value
        value = make()
        try:
            with self._new_entry(entry, origin) as folder:
                write(value, folder)
                if reread:
                    value = read(folder)
        except OutputError as error:
            # Another run may have made the entry meanwhile.
            if not entry.is_dir():
                log.warning("cache: %s; this run goes on without it", error)
                self._folder = None
        return value

    def get_from_files(
        self, stage: str, decided_by: Mapping[str, Any], write: Callable[[Path], None], read: Callable[[Path], Value]
    ) -> Value:
        """Return a result that is too large for memory: `write` makes it as files, which `read` opens and keeps open.

        The files may be removed before they are used. Where open files cannot be removed, they stay until the next run.
        An `OutputError` is raised if they cannot be written.
        """
        if self._folder is None:
            with temporary_folder() as place:
                with staged(place / stage) as folder:
                    folder.mkdir()
                    write(folder)
                return read(place / stage)
        entry, origin = _entry(self._folder, stage, decided_by)
        value = _read_whole(entry, origin, read)
        if value is not None:
            return value
        try:
            with self._new_entry(entry, origin) as folder:
                write(folder)
                # Before another process can remove it.
                value = read(folder)
        except OutputError:
            # Another run may have made the entry meanwhile.
            if value is None:
                raise
        return value

    @contextmanager
    def _new_entry(self, entry: Path, origin: Mapping[str, Any]) -> Iterator[Path]:
        """Yield an empty folder, which becomes the entry when the block has filled it."""
        with staged(entry) as folder:
            folder.mkdir()
            yield folder
            manifest = json.dumps({"origin": origin, "sha256": _sums(folder)}, indent=2)
            (folder / _MANIFEST).write_text(manifest, encoding="utf-8")
        self._evict(entry.parent)

    def _evict(self, folder: Path) -> None:
        """Remove the least recently used entries until the rest fit, also those that killed processes have left."""
        kept = 0
        # Other processes also remove entries.
        with suppress(OSError):
            # Not the folders of processes that may still be running.
            entries = [
                path
                for path in folder.iterdir()
                if not is_in_use(path) and (is_abandoned(path) or not path.name.startswith(WORK))
            ]
            for entry in sorted(entries, key=lambda path: path.stat().st_mtime, reverse=True):
                size = sum(path.stat().st_size for path in entry.rglob("*"))
                if kept + size <= self._max_bytes:
                    kept += size
                else:
                    _remove(entry)


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return a digest of the code of data and features, of its libraries, and of Python."""
    code = {path.relative_to(PACKAGE).as_posix(): _sha256(path) for path in _sources()}
    libraries = {name: library_version(name) for name in _LIBRARIES}
    return _digest([code, libraries, platform.python_version(), platform.machine()])


def _sources() -> list[Path]:
    return [path for package in _CODE for path in sorted((PACKAGE / package).rglob("*.py"))]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _entry(folder: Path, stage: str, decided_by: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Return the folder of an entry, and its required origin."""
    origin = {"stage": stage, **decided_by, "code": code_digest()}
    return folder / f"{stage}-{_digest(origin)}", origin


def _read_whole(entry: Path, origin: Mapping[str, Any], read: Callable[[Path], Value]) -> Value | None:
    """Return the content of an entry; None if it is absent or damaged."""
    if not entry.is_dir():
        return None
    if not _is_whole(entry, origin):
        log.warning("cache: %s is damaged; it is removed, and made again", entry)
        _remove(entry)
        return None
    # Another process may remove it, and a read-only folder cannot be marked as used.
    with suppress(FileNotFoundError):
        value = read(entry)
        with suppress(OSError):
            os.utime(entry)
        return value
    return None


def _is_whole(entry: Path, origin: Mapping[str, Any]) -> bool:
    try:
        manifest = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest == {"origin": origin, "sha256": _sums(entry)})
    except (OSError, ValueError):
        return False


def _sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of an entry except its manifest."""
    paths = sorted(path for path in folder.iterdir() if path.name != _MANIFEST)
    # Hashing releases the interpreter lock.
    with ThreadPoolExecutor() as pool:
        return {path.name: digest for path, digest in zip(paths, pool.map(_sha256, paths), strict=True)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(entry: Path) -> None:
    """Remove an entry so that no process sees a part of it."""
    with suppress(OSError), folder_beside(entry) as doomed:
        entry.rename(doomed / entry.name)
