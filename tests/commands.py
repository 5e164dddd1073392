"""Whole commands, each in a process of its own, without importing everything anew."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

_PATIENCE_S = 300
# What decides whether a run can be, and what commands need besides.
LIGHT = ("spotify_ml.cli.hydra_app", "spotify_ml.cli.run_check", "spotify_ml.cli.messages")
HEAVY = (
    *("spotify_ml.compare", "spotify_ml.predict", "spotify_ml.profile", "spotify_ml.promote", "spotify_ml.train"),
    *("spotify_ml.reports.figures.draw_all", "spotify_ml.reports.page", "spotify_ml.scoring.files"),
    *("spotify_ml.tracking.judging", "spotify_ml.tracking.record", "spotify_ml.tuning.tune"),
    *("mlflow.sklearn", "skops.io"),
)
# What stands in the place of Python: asks the server to run this project's code, and Python all else.
_CLIENT = """#!{python} -IS
import json, os, socket, sys
arguments = sys.argv[1:]
own = arguments[0] == "-m" and arguments[1].startswith("spotify_ml.")
if not own and os.path.basename(os.path.dirname(arguments[0])) != "scripts":
    os.execv({python!r}, [{python!r}, *arguments])
asked = socket.socket(socket.AF_UNIX)
asked.connect({address!r})
typed = json.dumps([arguments, os.getcwd(), dict(os.environ), ""]).encode()
socket.send_fds(asked, [len(typed).to_bytes(8, "big")], [0, 1, 2])
asked.sendall(typed)
sys.exit(int(asked.recv(16) or 70))
"""
# Imports what it is told, and forks for each command, as long as its standard input is open.
_SERVER = """
import importlib, json, os, runpy, select, signal, socket, sys, tempfile

address, client, appended, *names = sys.argv[1:]
for name in names:
    importlib.import_module(name)
server = socket.socket(socket.AF_UNIX)
server.bind(address)
server.listen()
print("ready", flush=True)
started = []
while True:
    if sys.stdin in select.select([server, sys.stdin], [], [])[0]:
        for each in started:
            os.waitpid(each, 0)
        sys.exit()
    asked, _ = server.accept()
    started.append(os.fork())
    if started[-1]:
        asked.close()
        started = [each for each in started if os.waitpid(each, os.WNOHANG) == (0, 0)]
        continue
    length, streams, _, _ = socket.recv_fds(asked, 8, 3)
    asked_for = json.loads(asked.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
    child = os.fork()
    if not child:
        break
    os.setpgid(child, child)
    for stream in streams:
        os.close(stream)
    # A command ends with whoever typed it, and so does what it started.
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if select.select([asked], [], [], 0.02)[0]:
            os.killpg(child, signal.SIGKILL)
            os._exit(0)
    asked.send(b"%d" % (os.waitstatus_to_exitcode(ended[1]) % 256))
    os._exit(0)
arguments, folder, environment, imported = asked_for
asked.close()
server.close()
for number, stream in enumerate(streams):
    os.dup2(stream, number)
    os.close(stream)
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
# Something that was imported may have asked for it.
tempfile.tempdir = None
# What a script starts is a fork as well, and in a checkout the process of a run's figures. Elsewhere that is none:
# a run that fails looks at once whether it is gone, which a fork is a moment later.
appended = json.loads(appended)
if arguments[0] != "-m" or (appended and "hydra/launcher=joblib" not in arguments):
    sys.executable = client
try:
    if arguments[0] == "-m":
        command = arguments[1]
        sys.argv = [command.rpartition(".")[2], *arguments[2:]]
        for trigger, more in appended.get(command, []):
            if trigger in ["", *sys.argv]:
                sys.argv += more
        module = importlib.import_module(command)
        # A folder has its command in `__main__`.
        main = getattr(module, "main", None) or importlib.import_module(f"{command}.__main__").main
        main()
    else:
        sys.argv = arguments
        sys.path.insert(0, os.path.abspath(os.path.dirname(arguments[0])))
        runpy.run_path(arguments[0], run_name="__main__")
finally:
    if imported:
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
    appended : mapping of str to list of (str, list of str), optional
        Overrides that make a command cheap, by its module: those of a word are appended where it was typed.
    **options : Any
        Of `subprocess.Popen`, for the process.

    Attributes
    ----------
    program : Path
        What can be started in the place of Python.
    """

    def __init__(
        self, *imported: str, appended: Mapping[str, list[tuple[str, list[str]]]] | None = None, **options: object
    ) -> None:
        # Not below pytest's folder: a socket's path must be short.
        self._scratch = TemporaryDirectory()
        self.program, self._imported, address = (Path(self._scratch.name, name) for name in ("python", "names", "asks"))
        self._address = str(address)
        self.program.write_text(_CLIENT.format(python=sys.executable, address=self._address))
        self.program.chmod(0o755)
        told = [self._address, str(self.program), json.dumps(appended or {})]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, *told, *imported],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

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
        told = dict(os.environ if environment is None else environment)
        typed = json.dumps([["-m", module, *arguments], str(cwd), told, str(self._imported)]).encode()
        with (
            TemporaryFile("w+") as out,
            TemporaryFile("w+") as err,
            open(os.devnull) as nothing,  # noqa: PTH123
            socket.socket(socket.AF_UNIX) as asked,
        ):
            asked.settimeout(_PATIENCE_S)
            asked.connect(self._address)
            streams = [each.fileno() for each in (nothing, out, err)]
            socket.send_fds(asked, [len(typed).to_bytes(8, "big")], streams)
            asked.sendall(typed)
            code = asked.recv(16)
            assert code, "the process that runs commands has ended"
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess([module, *arguments], int(code), out.read(), err.read())

    def imported(self) -> set[str]:
        """Return the modules that were there when the last command ended."""
        return set(json.loads(self._imported.read_text()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=_PATIENCE_S)
        self._scratch.cleanup()


_running: dict[tuple[str, ...], Interpreter] = {}


def interpreter(*imported: str) -> Interpreter:
    """Return the one process of this session that has imported these modules."""
    if imported not in _running:
        _running[imported] = Interpreter(*imported)
    return _running[imported]


def python() -> str:
    """Return the program that starts a command of this project as a fork, and anything else as Python does."""
    return str(interpreter(*HEAVY).program)


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
