"""Kill commands at random moments, start them again, and look for anything that was left half done.

    python scripts/kill_at_random.py                                   # 30 times each, some 30 minutes
    python scripts/kill_at_random.py --rounds 5 --seed 7 --commands train promote --folder outputs/kills

Each round starts a command, kills it by SIGKILL (its whole group, it alone, or a process that it started), and types it
again. Then nothing may be left RUNNING, half written or unreadable, and every alias names the version that it should.
``first`` is ``train`` in a store that is not there yet. The seed decides the moments, as shares of the time that the
command takes when nobody kills it. Needs Linux. Exit code 1 if anything was found.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from spotify_ml.tracking.registry import find_version, load_version
from spotify_ml.utils.errors import SpotifyMLError
from spotify_ml.utils.files import staged
from spotify_ml.utils.paths import PACKAGE

COMMANDS = ("train", "tune", "promote", "predict", "first")
# What is killed: the command's process group, its own process, or one of those that it started.
GROUP, ALONE, CHILD = "group", "alone", "child"
MODEL = "spotify-popularity"
QUICK = ("model.n_jobs=1", "model.n_estimators=30")
_N_TRIALS = 3
_COPIES = 10
_PATIENCE_S = 300
_GRACE_S = 3.0
_AGAIN = "-again"
_RUN_FILES = ("summary.json", "config.json", "data", "models", "figures", "predictions", "model_card")


@dataclass(frozen=True)
class Place:
    """A folder with everything that commands read and write: store, cache, temporary files, runs and tracks."""

    folder: Path

    @property
    def uri(self) -> str:
        """The tracking store."""
        return f"sqlite:///{self.folder / 'store' / 'mlflow.db'}"

    @property
    def tracks(self) -> Path:
        """The file to be scored."""
        return self.folder / "tracks.csv"

    @cached_property
    def environment(self) -> dict[str, str]:
        """What a command is started with."""
        own = {
            "MLFLOW_TRACKING_URI": self.uri,
            "SPOTIFY_CACHE_PATH": str(self.folder / "cache"),
            "TMPDIR": str(self.folder / "tmp"),
            "OMP_NUM_THREADS": "1",
        }
        return {**os.environ, **own}

    @property
    def client(self) -> MlflowClient:
        """Of the store."""
        return MlflowClient(self.uri)

    def prepare(self) -> None:
        """Make the folders, and the tracks: the sample, several times over."""
        for name in ("store", "cache", "tmp", "runs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        import pandas as pd

        sample = pd.read_parquet(PACKAGE / "data" / "sample" / "spotify_by_genre.parquet")
        with staged(self.tracks) as file:
            pd.concat([sample] * _COPIES).to_csv(file, index=False)

    def typed(self, command: str, number: int) -> list[str]:
        """Return what is typed in a round; of two promotions in turn, each moves the alias."""
        run = f"hydra.run.dir={self.folder / 'runs' / f'{command}-{number}'}"
        if command in ("train", "first"):
            return ["spotify_ml.train", *QUICK, run]
        if command == "tune":
            study = [f"tune.study_name=s{number}", f"tune.storage=sqlite:///{self.folder / 'study.db'}"]
            return [
                "spotify_ml.train",
                "tune=optuna",
                f"tune.n_trials={_N_TRIALS}",
                "register=true",
                *study,
                *QUICK,
                run,
            ]
        if command == "promote":
            return ["spotify_ml.promote", f"version={1 + number % 2}", "force=true"]
        output = f"output={self.folder / 'scored' / f'{number}.csv'}"
        return ["spotify_ml.predict", f"model=models:/{MODEL}/1", f"input={self.tracks}", output]


def descendants(process_id: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    found = []
    for path in Path(f"/proc/{process_id}/task").glob("*/children"):
        try:
            for child in map(int, path.read_text().split()):
                found += [child, *descendants(child)]
        except OSError:
            continue
    return found


def kill(process: "subprocess.Popen[str]", what: str) -> None:
    """Kill a command by SIGKILL, or a process that it has started, if it has one by now."""
    if what == GROUP:
        os.killpg(process.pid, signal.SIGKILL)
    elif what == ALONE:
        process.kill()
    for child in descendants(process.pid)[:1] if what == CHILD else ():
        os.kill(child, signal.SIGKILL)


def start(place: Place, typed: Sequence[str]) -> "subprocess.Popen[str]":
    """Start a command from the place's folder."""
    return subprocess.Popen(
        [sys.executable, "-m", *typed],
        cwd=place.folder,
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Wait for a command, and return its exit code and what it printed."""
    out, err = process.communicate(timeout=_PATIENCE_S)
    return process.returncode, f"{out}\n{err}"


def faults(place: Place, command: str, number: int, again: list[str]) -> Iterator[str]:
    """Yield what is wrong after a command was killed and typed again.

    Parameters
    ----------
    place : Place
        Where.
    command : str
        Which command.
    number : int
        Of the round.
    again : list of str
        What was typed again; its run folder is the last of it.
    """
    yield from faults_of_files(place)
    client = place.client
    yield from faults_of_store(client)
    yield from faults_of_versions(place, client)
    if command in ("train", "tune", "first"):
        yield from _faults_of_run(place, again, client)
    if command == "tune":
        yield from _faults_of_study(place, f"s{number}")
    if command == "promote" and _aliases(client).get("champion") != 1 + number % 2:
        yield "champion is not the version that was promoted"
    if command == "predict" and len((place.folder / "scored" / f"{number}.csv").read_text().splitlines()) != len(
        place.tracks.read_text().splitlines()
    ):
        yield "the scored file is not complete"


def faults_of_store(client: MlflowClient) -> Iterator[str]:
    """Yield what is not ended in a store."""
    experiments = [each.experiment_id for each in client.search_experiments()]
    for run in client.search_runs(experiments):
        if run.info.status in ("RUNNING", "SCHEDULED"):
            yield f"a run is {run.info.status}: {run.info.run_id}"
    for model in client.search_logged_models(experiments):
        if model.status not in (LoggedModelStatus.READY, LoggedModelStatus.FAILED):
            yield f"a logged model is {model.status}: {model.model_id}"


def _faults_of_run(place: Place, again: Sequence[str], client: MlflowClient) -> Iterator[str]:
    folder = Path(again[-1].partition("=")[2])
    # A study that was complete when it was killed is not refitted.
    folders = [folder, folder / "best", Path(str(folder).removesuffix(_AGAIN)) / "best"]
    complete = next((each for each in folders if (each / "summary.json").is_file()), None)
    if complete is None:
        yield f"no run folder has a summary: {folder.relative_to(place.folder)}"
        return
    for name in _RUN_FILES:
        if not (complete / name).exists():
            yield f"the run folder has no {name}: {complete.relative_to(place.folder)}"
    summary = json.loads((complete / "summary.json").read_text(encoding="utf-8"))
    if summary["version"] != _aliases(client).get("challenger"):
        yield f"challenger is not the version of the last run: {summary['version']}"


def _aliases(client: MlflowClient) -> dict[str, int]:
    return {alias: int(number) for alias, number in client.get_registered_model(MODEL).aliases.items()}


def faults_of_files(place: Place) -> Iterator[str]:
    """Yield what was left half written."""
    for path in place.folder.rglob("*"):
        if path.name.endswith(".partial") or path.name.startswith(".work"):
            yield f"half-written file: {path.relative_to(place.folder)}"
    for path in (place.folder / "tmp").iterdir():
        yield f"left in TMPDIR: {path.name}"


def faults_of_versions(place: Place, client: MlflowClient) -> Iterator[str]:
    """Yield what is wrong with the registered versions."""
    aliases = set(_aliases(client).values())
    for each in client.search_model_versions(f"name='{MODEL}'"):
        version = client.get_model_version(MODEL, each.version)
        if version.status != "READY":
            yield f"a version is {version.status}: {version.version}"
        if not version.description:
            yield f"a version has no description: {version.version}"
        status = client.get_run(version.run_id).info.status
        if status != "FINISHED" and int(version.version) not in aliases:
            yield f"a version without an alias is of a run that is {status}: {version.version}"
        try:
            load_version(find_version(client, f"models:/{MODEL}/{version.version}"), place.uri)
        except SpotifyMLError as error:
            yield f"a version does not load: {version.version}: {error}"


def _faults_of_study(place: Place, name: str) -> Iterator[str]:
    import optuna

    study = optuna.load_study(study_name=name, storage=f"sqlite:///{place.folder / 'study.db'}")
    states = Counter(trial.state.name for trial in study.get_trials(deepcopy=False))
    if states["RUNNING"] or states["WAITING"]:
        yield "a trial is RUNNING or WAITING"
    if states["COMPLETE"] + states["PRUNED"] != _N_TRIALS:
        yield "the study has not as many trials as were wanted"


def play(place: Place, command: str, number: int, seconds: float, draw: random.Random) -> tuple[str, list[str]]:
    """Play a round, and return what was killed and when, and the faults that were found."""
    share, what = draw.random(), draw.choice((GROUP, ALONE, CHILD))
    typed = place.typed(command, number)
    process = start(place, typed)
    time.sleep(share * seconds)
    over = process.poll() is not None
    if not over:
        kill(process, what)
    code, _ = finish(process)
    killed = f"{what} at {share:.0%}{', over' if over else ''}, exit code {code}"
    # As after any run that failed: one that was refused, for its folder holds a run already, is typed with another.
    again = [each.replace(f"/{command}-{number}", f"/{command}-{number}{_AGAIN}") for each in typed]
    if what == ALONE:
        # What it had started ends by itself.
        time.sleep(_GRACE_S)
    code, printed = finish(start(place, again))
    found = []
    if "Traceback" in printed:
        found.append("a traceback")
    if code != 0:
        found.append(f"the next command ended with {code}: {printed.strip().splitlines()[-1]}")
        return killed, found
    return killed, [*found, *faults(place, command, number, again)]


def measured(place: Place, typed: Sequence[str]) -> float:
    """Return how long a command takes that nobody kills."""
    began = time.monotonic()
    code, printed = finish(start(place, typed))
    if code != 0:
        sys.exit(f"{' '.join(typed)} does not work at all:\n{printed}")
    return time.monotonic() - began


def main() -> int:
    """Play all rounds, and print a table of what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often each command is killed (30)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS), help="which (all)")
    parser.add_argument("--folder", type=Path, help="where to work, which stays; by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch)).absolute()
        draw = random.Random(options.seed)  # noqa: S311 - no secret
        place = Place(folder)
        place.prepare()
        # Two versions, for promotions to go back and forth between.
        finish(start(place, place.typed("train", -1)))
        seconds = {"train": measured(place, place.typed("train", 0))}
        rows, total = [], 0
        known: set[str] = set()
        for command in options.commands:
            seconds[command] = seconds.get(command) or (
                measured(place, place.typed(command, 0)) if command != "first" else 0.0
            )
            found: Counter[str] = Counter()
            for number in range(1, options.rounds + 1):
                at = place
                if command == "first":
                    at = Place(folder / "first" / str(number))
                    at.prepare()
                killed, found_now = play(at, command, number, seconds[command] or 1.5 * seconds["train"], draw)
                # What stays is told once, after the round that left it.
                wrong = [each for each in found_now if each not in known]
                known.update(wrong)
                print(f"{command} {number}: {killed}: {'; '.join(wrong) or 'nothing'}", flush=True)
                found.update({each.partition(": ")[0] for each in wrong})
                if command == "first":
                    shutil.rmtree(at.folder)
            rows += [(command, options.rounds, fault, count) for fault, count in found.items()] or [
                (command, options.rounds, "nothing", 0)
            ]
            total += found.total()
    print("\n| command | kills | found | times |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
