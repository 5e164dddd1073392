"""A journal of studies that stays readable after the disk was full."""

import os
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

_LINE_END = b"\n"
_BLOCK = 2**16


class Journal(JournalFileBackend):
    """Optuna's journal file, without half-written lines.

    Optuna continues after half a line of a full disk or a killed process, and can read neither part later.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, _MendingLock(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries; an error of the disk becomes an error of the storage."""
        try:
            super().append_logs(logs)
        except OSError as error:
            raise StorageInternalError("the journal cannot be written") from error


class _MendingLock(JournalFileSymlinkLock):
    """The lock that every writer holds: its holder removes half a line, whose writer must have failed."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = Path(path)

    def acquire(self) -> bool:
        taken = super().acquire()
        _cut_half_line(self._path)
        return taken


def _cut_half_line(path: Path) -> None:
    with path.open("rb+") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end:
            start = max(end - _BLOCK, 0)
            file.seek(start)
            at = file.read(end - start).rfind(_LINE_END)
            end = start + at + 1 if at >= 0 else start
            if at >= 0:
                break
        if end < size:
            file.truncate(end)
