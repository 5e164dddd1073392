"""Whole commands, each in a process of its own, without importing everything anew."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PATIENCE_S = 300
_PROGRAM = """
import json, os, sys
import spotify_ml.tracking.record, spotify_ml.tuning.tune
from spotify_ml.train import main

codes = []
for number, overrides in enumerate(json.loads(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(os.path.join(sys.argv[2], f"{number}.{name}"), os.O_CREAT | os.O_WRONLY), stream)
        sys.argv = ["train", *overrides]
        sys.exit(main())
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(json.dumps(codes))
"""


def train_each(commands: Sequence[Sequence[str]], cwd: Path, said: Path) -> list["subprocess.CompletedProcess[str]"]:
    """Run ``python -m spotify_ml.train`` with the overrides of each command, one after the other.

    Parameters
    ----------
    commands : sequence of sequences of str
        The overrides of each.
    cwd : Path
        Where they are run.
    said : Path
        A folder for what they print.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(commands), str(said)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
        timeout=_PATIENCE_S,
    )
    return [
        subprocess.CompletedProcess(
            overrides, code, *((said / f"{number}.{name}").read_text() for name in ("out", "err"))
        )
        for number, (overrides, code) in enumerate(zip(commands, json.loads(done.stdout), strict=True))
    ]
