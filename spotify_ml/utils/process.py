"""Which process did something, so that another can tell later whether it is gone."""

import socket
import subprocess
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

_PROC = Path("/proc")
# Of the processes of a machine; those of a container are another's.
_HOST_NAMESPACE = "pid:[4026531836]"


@cache
def machine() -> str:
    """Return a name for what process ids are valid on: the host, and a container's own processes on it."""
    host = socket.gethostname()
    try:
        namespace = str((_PROC / "self" / "ns" / "pid").readlink())
    except OSError:
        return host
    return host if namespace == _HOST_NAMESPACE else f"{host}:{namespace.strip('pid:[]')}"


@cache
def machine_token() -> str:
    """Return a short form of `machine` for the names of files."""
    return sha256(machine().encode()).hexdigest()[:6]


def started(process_id: int) -> str | None:
    """Return when a process of this machine was started, in units of the system; None where there is no such process.

    A number is given to another process once its own is gone, which was started later.
    """
    if sys.platform == "linux":
        try:
            stat = (_PROC / str(process_id) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # The name, which may hold anything, is in brackets; the state is the first field after it, the start the 20th.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(process_id)], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
