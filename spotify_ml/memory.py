"""What a process holds beyond what it uses."""

import contextlib
import ctypes

import pyarrow as pa


def give_back() -> None:
    """Give memory that was let go of back to the system; the allocators of Arrow and C keep it for later."""
    pa.default_memory_pool().release_unused()
    # The C library of Linux alone is asked for it.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
