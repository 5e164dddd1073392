"""Whether a process keeps the memory that it let go of."""

import ctypes
import os
import sys
from typing import Any

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Columns of whole tables are above the second where tables are large, columns of a batch of rows below.
_ALL_BYTES, _LARGE_BYTES = 2**30, 2**23


def keep_freed() -> None:
    """Let freed memory be used again instead of returning it: a third of the time of reading and features goes there.

    Tables come and go in arrays of megabytes, and each would be asked of the system and zeroed anew. Arrow's own
    allocator would keep what it freed from the others. Takes effect on Arrow before it is imported.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _set_thresholds(_ALL_BYTES)


def return_freed() -> None:
    """Return what is free now to the system, and large arrays from now on: of much data, too much would be kept."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    libc = _set_thresholds(_LARGE_BYTES)
    if libc is not None:
        libc.malloc_trim(0)


def _set_thresholds(n_bytes: int) -> Any:
    """Set from which size on memory is returned; return the library that does so, if it is glibc."""
    # Other C libraries have no such switch, or other names for it.
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        return None
    for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        libc.mallopt(option, n_bytes)
    return libc
