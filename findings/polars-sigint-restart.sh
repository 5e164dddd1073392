#!/usr/bin/env bash
# polars 2.1.0 installs a handler for SIGINT when it is imported, with the flag SA_RESTART: a read of a pipe or terminal that
# waits in C is then begun again after Ctrl-C, and Python raises no KeyboardInterrupt until something arrives. Whoever imports
# mlflow 3.17.2 with polars installed has imported polars as well (mlflow.data.polars_dataset).
# Guess before the first run: Python's own handler, which has no such flag, stays. signal.siginterrupt puts it right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet polars==2.1.0

"$work/env/bin/python" - <<'PYTHON'
import ctypes
import signal
import sys

SA_RESTART = 0x10000000
assert sys.platform == "linux", "the layout below is that of glibc"


class Action(ctypes.Structure):
    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


def restarts() -> bool:
    action = Action()
    ctypes.CDLL(None).sigaction(signal.SIGINT, None, ctypes.byref(action))
    return bool(action.flags & SA_RESTART)


before = restarts()
import polars

after = restarts()
signal.siginterrupt(signal.SIGINT, True)
print(f"reads are begun again after Ctrl-C: {before} before, {after} after import of polars {polars.__version__}")
assert (before, after, restarts()) == (False, True, False)
PYTHON
