"""A fresh clone in a folder of its own, where commands run as they are typed, without importing everything anew."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from spotify_ml.utils.paths import PROJECT

_PATIENCE_S = 120
_IDENTITY = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
# What stands in the place of .venv/bin/python: asks the server to run this project's code, and Python all else.
_CLIENT = """#!{python} -IS
import json, os, socket, sys
arguments = sys.argv[1:]
own = arguments[:1] == ["-m"] and arguments[1].startswith("spotify_ml.") or arguments[0].startswith("scripts/")
if not own:
    os.execv({python!r}, [{python!r}, *arguments])
asked = socket.socket(socket.AF_UNIX)
asked.connect({address!r})
typed = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(asked, [len(typed).to_bytes(8, "big")], [0, 1, 2])
asked.sendall(typed)
sys.exit(int(asked.recv(16) or 70))
"""
# Imports once what commands import, and forks for each.
_SERVER = """
import importlib, json, os, runpy, select, signal, socket, sys
import spotify_ml.reports.figures.draw_all, spotify_ml.predict, spotify_ml.promote, spotify_ml.serve, spotify_ml.train
import spotify_ml.scoring.files, spotify_ml.tracking.judging, spotify_ml.tracking.record, spotify_ml.tuning.tune
import mlflow.sklearn, skops.io

address, client, appended = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
server = socket.socket(socket.AF_UNIX)
server.bind(address)
server.listen()
print("ready", flush=True)
while True:
    asked, _ = server.accept()
    if os.fork():
        asked.close()
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, _, _ = socket.recv_fds(asked, 8, 3)
    arguments, folder, environment = json.loads(asked.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
    child = os.fork()
    if not child:
        break
    # A command ends with whoever typed it.
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if select.select([asked], [], [], 0.02)[0]:
            os.kill(child, signal.SIGKILL)
            os._exit(0)
    asked.send(b"%d" % (os.waitstatus_to_exitcode(ended[1]) % 256))
    os._exit(0)
asked.close()
server.close()
for number, stream in enumerate(streams):
    os.dup2(stream, number)
    os.close(stream)
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
# A run's figures are drawn by a process of their own: a fork as well.
if "hydra/launcher=joblib" not in arguments:
    sys.executable = client
if arguments[0] == "-m":
    command = arguments[1]
    sys.argv = [command.rpartition(".")[2], *arguments[2:]]
    for trigger, more in appended.get(command, []):
        if trigger in ["", *sys.argv]:
            sys.argv += more
    importlib.import_module(command).main()
else:
    sys.argv = arguments
    sys.path.insert(0, os.path.abspath(os.path.dirname(arguments[0])))
    runpy.run_path(arguments[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Checkout:
    """A clone with its environment, and the process that runs its commands.

    Attributes
    ----------
    folder : Path
        Of the clone.
    variables : dict of str to str
        The environment of its commands.
    """

    folder: Path
    variables: dict[str, str]

    def start(self, typed: str) -> "subprocess.Popen[str]":
        """Start what is typed into a shell."""
        return subprocess.Popen(
            ["bash", "-c", typed],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, typed: str) -> "subprocess.CompletedProcess[str]":
        """Run what is typed into a shell, and return what it prints, in the order of its streams."""
        process = self.start(typed)
        try:
            said, _ = process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            raise
        return subprocess.CompletedProcess(typed, process.returncode, said, "")

    def git(self, *arguments: str) -> str:
        """Return what git says."""
        return subprocess.run(
            ["git", *_IDENTITY, *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout


def clone(folder: Path) -> None:
    """Write the tracked files as they are now to a folder, and commit them there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, folder / name)
            shutil.copymode(PROJECT / name, folder / name)
    checkout = Checkout(folder, {})
    checkout.git("init", "--quiet")
    checkout.git("config", "user.name", "tests")
    checkout.git("config", "user.email", "tests@example.org")
    checkout.git("add", "--all")
    checkout.git("commit", "--quiet", "--message", "As cloned")


def serve(
    folder: Path, scratch: Path, appended: dict[str, list[tuple[str, list[str]]]], variables: dict[str, str]
) -> tuple[Checkout, "subprocess.Popen[str]"]:
    """Set up the environment of a clone, and start the process that runs its commands.

    Parameters
    ----------
    folder : Path
        Of the clone.
    scratch : Path
        For what is not to be in it.
    appended : dict of str to list of (str, list of str)
        Overrides that make a command cheap, by its module: those of a word are appended where it was typed.
    variables : dict of str to str
        More of the environment.
    """
    address, bin_folder = scratch / "socket", folder / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    for path in Path(sys.executable).parent.iterdir():
        if not path.name.startswith("python"):
            (bin_folder / path.name).symlink_to(path)
    client = bin_folder / "python"
    client.write_text(_CLIENT.format(python=sys.executable, address=str(address)))
    client.chmod(0o755)
    # Nothing is to be installed.
    for name in ("installed", "installed-dev", "installed-notebooks"):
        (folder / ".venv" / name).touch()
    ours = {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "HOME": str(scratch),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPOTIFY_", "MLFLOW_", "MAKE"))}
    checkout = Checkout(folder, {**kept, **ours})
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(address), str(client), json.dumps(appended)],
        cwd=folder,
        env=checkout.variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return checkout, process


def commands(text: str) -> list[str]:
    """Return the commands of a block, as they are typed: lines that belong together joined, comments left out."""
    found, open_lines = [], ""
    for line in text.splitlines():
        open_lines += ("\n" if open_lines else "") + line
        try:
            words = shlex.split(open_lines, comments=True)
        except ValueError:
            # A quotation goes on.
            continue
        if words:
            found.append(_without_comment(open_lines))
        open_lines = ""
    assert not open_lines, f"a quotation does not end: {open_lines}"
    return found


def _without_comment(typed: str) -> str:
    """Return a command without the comment behind it."""
    words = shlex.split(typed, comments=True)
    ends = [place for place in range(len(typed), 0, -1) if typed[place - 1].isspace()]
    shortest = min((place for place in ends if _same(typed[:place], words)), default=len(typed))
    return typed[:shortest].strip()


def _same(text: str, words: list[str]) -> bool:
    try:
        return shlex.split(text) == words
    except ValueError:
        return False
