"""A journal of studies that stays readable when the disk is full in the middle of a line."""

import os
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

_LINE_END = b"\n"
_BLOCK = 2**16


class Journal(JournalFileBackend):
    """Optuna's journal file, which ends in a whole line whenever something is added to it.

    Optuna goes on after the half of a line that a full disk or a killed process leaves, and can read none of it again.

    Parameters
    ----------
    path : str
        The file.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, _MendingLock(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries; what the system says of a disk becomes an error of the storage."""
        try:
            super().append_logs(logs)
        except OSError as error:
            raise StorageInternalError("the journal cannot be written") from error


class _MendingLock(JournalFileSymlinkLock):
    """The lock that every writer holds: who has it finds the half of a line only if its writer failed."""

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
