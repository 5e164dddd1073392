"""Measure commands of two commits side by side: each in a checkout and an environment of its own, in turns.

On a machine that has nothing else to do::

    python scripts/benchmark_builds.py v0.1.0                          # against HEAD: full, sample, reference, predict
    python scripts/benchmark_builds.py v0.1.0 main --rounds 5 --only full
    python scripts/benchmark_builds.py HEAD~1 --command 'tuned={train} experiment=tuned data=full' --json ratios.json
    python scripts/benchmark_builds.py HEAD~1 --rows 1000000 --only rows

A command is a line for a shell, in which these stand for something: ``{train}`` and ``{predict}`` for the commands of
the build, with a store of its own, ``{python}`` for its Python, ``{build}`` for its checkout, ``{rows}`` for a CSV of
``--rows`` tracks, ``{full}`` for the full dataset as CSV, and ``{scratch}`` for a folder that is empty each time. What
a command needs from before, such as a model to score with, is made once for each build, and not measured.

Wall time, processor time and peak memory (of the largest process) are medians over the rounds, with the range; a ratio
is the median of the rounds' own, since the machine is the same within a round. The order changes with every round.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmark_parts import write_catalogue

from spotify_ml.utils.files import staged
from spotify_ml.utils.markdown import table
from spotify_ml.utils.paths import PROJECT

COMMANDS = {
    "full": "{train} data=full cache=off",
    "sample": "{train}",
    "reference": "{train} data=full cache=off experiment=reference",
    "study": "{train} data=full tune=optuna tune.n_trials=20",
    "rows": "{train} data=file data.path={rows} cache=off model.n_estimators=10 model.early_stopping_rounds=10",
    "predict": "{predict} input={full} output={scratch}/scored.parquet",
}
BEFORE = {"sample": "{train}", "predict": "{train} data=full"}
MEASURES = {"wall": "s", "processor": "s", "peak": "MB"}
_DEFAULT = ("full", "sample", "reference", "predict")
# Kilobytes, but bytes on macOS.
_PEAK_UNITS = 2**20 if sys.platform == "darwin" else 2**10


@dataclass(frozen=True)
class Build:
    """A commit in a checkout with an environment, and a folder for its store."""

    commit: str
    folder: Path
    store: Path

    def line(self, command: str, values: Mapping[str, str]) -> str:
        """Return a command with everything that stands for something replaced."""
        python = shlex.quote(str(self.folder / ".venv" / "bin" / "python"))
        places = f"tracking.uri=sqlite:///{self.store}/mlflow.db"
        run = f"{places} tracking.artifact_location={self.store}/artifacts hydra.run.dir={values['scratch']}/run"
        own = {
            "python": python,
            "build": str(self.folder),
            # A key of the cache would be refused where there is none.
            "train": f"env SPOTIFY_CACHE_PATH={self.store}/cache {python} -m spotify_ml.train {run}",
            "predict": f"{python} -m spotify_ml.predict {places} model=models:/spotify-popularity/1",
        }
        return command.format_map({**own, **values})


@dataclass
class Ratios:
    """What was measured of each command: by measure, a pair of figures for every round."""

    builds: tuple[str, str]
    pairs: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)

    def add(self, name: str, base: Mapping[str, float], head: Mapping[str, float]) -> None:
        """Add a round."""
        own = self.pairs.setdefault(name, {measure: [] for measure in MEASURES})
        for measure in MEASURES:
            own[measure].append((base[measure], head[measure]))

    def ratio(self, name: str, measure: str) -> float:
        """Return the median of the rounds' ratios, head over base."""
        return median(head / base for base, head in self.pairs[name][measure])

    def as_markdown(self) -> str:
        """Return the table of all commands."""
        rows = [
            [name, f"{measure}, {unit}", *map(_median_and_range, zip(*pairs, strict=True)), f"{ratio:.2f}"]
            for name, measures in self.pairs.items()
            for measure, unit in MEASURES.items()
            for pairs, ratio in [(measures[measure], self.ratio(name, measure))]
        ]
        return table(["command", "", *self.builds, "ratio"], rows)

    def as_dict(self) -> dict[str, object]:
        """Return everything for JSON."""
        ratios = {name: {measure: self.ratio(name, measure) for measure in MEASURES} for name in self.pairs}
        return {"builds": list(self.builds), "ratios": ratios, "pairs": self.pairs}


def _median_and_range(values: Sequence[float]) -> str:
    return f"{median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})"


class CommandFailedError(Exception):
    """A command that did not come to its end."""


@contextmanager
def built(commit: str, folder: Path) -> Iterator[Build]:
    """Yield a build of a commit: a checkout without a history of its own, and what it needs in ``.venv``."""
    checkout, store = folder / "checkout", folder / "store"
    _git("worktree", "add", "--quiet", "--detach", str(checkout), commit)
    try:
        store.mkdir()
        _run(["make", ".venv/installed"], checkout)
        yield Build(commit, checkout, store)
    finally:
        _git("worktree", "remove", "--force", str(checkout))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailedError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _run(command: Sequence[str], folder: Path) -> dict[str, float]:
    """Run a command to its end, and return what it took; its last line is the reason if it fails."""
    with tempfile.TemporaryFile("w+") as said:
        started = perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            lines = [line for line in said.read().splitlines() if line.strip()]
            reason = lines[-1] if lines else "it said nothing"
            raise CommandFailedError(f"{shlex.join(command)}: exit code {process.returncode}: {reason}")
    return {"wall": wall, "processor": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss / _PEAK_UNITS}


def measured(build: Build, command: str, values: Mapping[str, str]) -> dict[str, float]:
    """Run a command of a build, with an empty folder for what it writes, and return what it took."""
    shutil.rmtree(values["scratch"], ignore_errors=True)
    Path(values["scratch"]).mkdir()
    return _run(["sh", "-c", f"exec {build.line(command, values)}"], build.folder)


def measure(builds: tuple[Build, Build], commands: Mapping[str, str], rounds: int, values: Mapping[str, str]) -> Ratios:
    """Measure all commands of both builds in turns, and say on stderr how far it has come."""
    ratios = Ratios((builds[0].commit, builds[1].commit))
    for name in commands:
        for build in builds if name in BEFORE else ():
            shutil.rmtree(build.store)
            build.store.mkdir()
            measured(build, BEFORE[name], values)
        for number in range(rounds):
            print(f"{name}, round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            order = builds if number % 2 == 0 else builds[::-1]
            found = {build.commit: measured(build, commands[name], values) for build in order}
            ratios.add(name, *(found[build.commit] for build in builds))
    return ratios


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="a commit, tag or branch")
    parser.add_argument("head", nargs="?", default="HEAD", help="what is compared with it (HEAD)")
    parser.add_argument("--rounds", type=int, default=3, help="how often (3)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="the tracks of {rows} (1,000,000)")
    parser.add_argument("--only", nargs="+", help=f"of {', '.join(COMMANDS)} ({', '.join(_DEFAULT)})")
    parser.add_argument("--command", action="append", default=[], metavar="NAME=LINE", help="a further command")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    args = parser.parse_args(argv)
    own = dict(each.partition("=")[::2] for each in args.command)
    names = args.only or ([] if own else _DEFAULT)
    if unknown := [name for name in names if name not in {**COMMANDS, **own}]:
        parser.error(f"--only {unknown[0]}: there are {', '.join({**COMMANDS, **own})}")
    if args.rounds < 1 or any(not line for line in own.values()):
        parser.error("--rounds is at least 1, and a --command is NAME=LINE")
    commands = {name: {**COMMANDS, **own}[name] for name in names} | own
    try:
        commits = [_git("rev-parse", "--short", "--verify", f"{each}^{{commit}}") for each in (args.base, args.head)]
        if commits[0] == commits[1]:
            parser.error(f"{args.base} and {args.head} are one commit")
        with tempfile.TemporaryDirectory() as folder:
            ratios = _measure_in(Path(folder), (commits[0], commits[1]), commands, args)
    except CommandFailedError as error:
        raise SystemExit(f"error: {error}") from error
    print(ratios.as_markdown())
    if args.json is not None:
        with staged(args.json) as temporary:
            temporary.write_text(json.dumps(ratios.as_dict(), indent=2), encoding="utf-8")


def _measure_in(
    folder: Path, commits: tuple[str, str], commands: Mapping[str, str], args: argparse.Namespace
) -> Ratios:
    """Build both commits in a folder, write the data that the commands need, and measure."""
    values = {"scratch": str(folder / "scratch"), "rows": str(folder / "rows.csv"), "full": str(folder / "full.csv")}
    source = Path(os.environ.get("SPOTIFY_TRACKS_PATH", PROJECT / "data" / "raw" / "dataset.csv"))
    lines = "".join([*commands.values(), *(BEFORE.get(name, "") for name in commands)])
    sizes = {"rows": args.rows, "full": 114_000}
    needed = [name for name in sizes if f"{{{name}}}" in lines]
    if (needed or "data=full" in lines) and not source.is_file():
        raise CommandFailedError(f"{source} does not exist; fetch it with `python scripts/download_data.py`")
    for name in needed:
        write_catalogue(source, Path(values[name]), sizes[name])
    for side in ("base", "head"):
        (folder / side).mkdir()
    with built(commits[0], folder / "base") as base, built(commits[1], folder / "head") as head:
        return measure((base, head), commands, args.rounds, values)


if __name__ == "__main__":
    main()
