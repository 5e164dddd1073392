"""Whole commands, each in a process of its own, without importing everything anew."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_PATIENCE_S = 300
# What decides whether a run can be, and what a run needs besides.
LIGHT = ("spotify_ml.cli.hydra_app", "spotify_ml.cli.run_check", "spotify_ml.cli.messages")
HEAVY = ("spotify_ml.tracking.record", "spotify_ml.tuning.tune")
# Imports what it is told, and forks for each command.
_PROGRAM = """
import importlib, json, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print("ready", flush=True)
for line in sys.stdin:
    module, arguments, folder, environment, streams, imported = json.loads(line)
    pid = os.fork()
    if not pid:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
else:
    sys.exit()
for number, (path, flags) in enumerate(zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY))):
    opened = os.open(path, flags)
    os.dup2(opened, number)
    os.close(opened)
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
sys.argv = [module.rpartition(".")[2], *arguments]
try:
    importlib.import_module(module).main()
finally:
    with open(imported, "w") as file:
        json.dump(sorted(sys.modules), file)
"""


class Interpreter:
    """A process that has imported what commands import, and runs each command as a fork of itself.

    It is not for tests of signals and of limits: those start Python anew.

    Parameters
    ----------
    *imported : str
        The modules.
    """

    def __init__(self, *imported: str) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *imported],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._answer()

    def run(
        self, module: str, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``python -m`` with a module and its arguments.

        Parameters
        ----------
        module : str
            Whose ``main`` is the command.
        *arguments : str
            As they are typed.
        cwd : Path
            Where it is run.
        environment : mapping of str to str or None
            Of the command; that of this process for None.
        """
        out, err, imported = (Path(self._scratch.name, name) for name in ("out", "err", "imported"))
        for path in (out, err, imported):
            path.write_text("")
        told = dict(os.environ if environment is None else environment)
        asked = [module, arguments, str(cwd), told, [os.devnull, str(out), str(err)], str(imported)]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code = int(self._answer())
        return subprocess.CompletedProcess([module, *arguments], code, out.read_text(), err.read_text())

    def imported(self) -> set[str]:
        """Return the modules that were there when the last command ended."""
        return set(json.loads(Path(self._scratch.name, "imported").read_text()))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_PATIENCE_S)
        self._scratch.cleanup()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], _PATIENCE_S)[0]:
            os.killpg(self._process.pid, 9)
            raise subprocess.TimeoutExpired(self._process.args, _PATIENCE_S)
        line = self._process.stdout.readline()
        assert line, "the process that runs commands has ended"
        return line


_running: dict[tuple[str, ...], Interpreter] = {}


def interpreter(*imported: str) -> Interpreter:
    """Return the one process of this session that has imported these modules."""
    if imported not in _running:
        _running[imported] = Interpreter(*imported)
    return _running[imported]


def end_interpreters() -> None:
    """End every process that `interpreter` started."""
    while _running:
        _running.popitem()[1].close()


def train_each(commands: Sequence[Sequence[str]], cwd: Path) -> list["subprocess.CompletedProcess[str]"]:
    """Run ``python -m spotify_ml.train`` with the overrides of each command, one after the other.

    Parameters
    ----------
    commands : sequence of sequences of str
        The overrides of each.
    cwd : Path
        Where they are run.
    """
    return [interpreter(*HEAVY).run("spotify_ml.train", *overrides, cwd=cwd) for overrides in commands]
