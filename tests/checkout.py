"""A fresh clone in a folder of its own, where commands run as they are typed, without importing everything anew."""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from spotify_ml.utils.paths import PROJECT
from tests.commands import HEAVY, Interpreter

_PATIENCE_S = 120
_IDENTITY = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")


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
) -> tuple[Checkout, Interpreter]:
    """Set up the environment of a clone, and start the process that runs its commands.

    Parameters
    ----------
    folder : Path
        Of the clone.
    scratch : Path
        For what is not to be in it.
    appended : dict of str to list of (str, list of str)
        As of `tests.commands.Interpreter`.
    variables : dict of str to str
        More of the environment.
    """
    bin_folder = folder / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    ours = {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "HOME": str(scratch),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPOTIFY_", "MLFLOW_", "MAKE"))}
    checkout = Checkout(folder, {**kept, **ours})
    interpreter = Interpreter(*HEAVY, "spotify_ml.serve", appended=appended, cwd=folder, env=checkout.variables)
    for path in Path(sys.executable).parent.iterdir():
        if not path.name.startswith("python"):
            (bin_folder / path.name).symlink_to(path)
    (bin_folder / "python").symlink_to(interpreter.program)
    # Nothing is to be installed.
    for name in ("installed", "installed-dev", "installed-notebooks"):
        (folder / ".venv" / name).touch()
    return checkout, interpreter


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
