"""The identity of processes, to find out later whether one has ended."""

import socket
import subprocess
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

_PROC = Path("/proc")
# The namespace of a host's processes; containers have others.
_HOST_NAMESPACE = "pid:[4026531836]"


@cache
def machine() -> str:
    """Return a name for the host, and the container, on which process ids are valid."""
    host = socket.gethostname()
    try:
        namespace = str((_PROC / "self" / "ns" / "pid").readlink())
    except OSError:
        return host
    return host if namespace == _HOST_NAMESPACE else f"{host}:{namespace.strip('pid:[]')}"


@cache
def machine_token() -> str:
    """Return a short form of `machine` for file names."""
    return sha256(machine().encode()).hexdigest()[:6]


def started(process_id: int) -> str | None:
    """Return the start time of a process of this machine, in the system's units; None if there is no such process.

    A process id is reused after its process has ended, with a later start time.
    """
    if sys.platform == "linux":
        try:
            stat = (_PROC / str(process_id) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # After the name in brackets, which may contain anything: the state is the first field, the start the 20th.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(process_id)], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
