"""Stop commands at random moments by Ctrl-C, SIGTERM and SIGHUP, and look for what does not end well.

    python scripts/stop_at_random.py                                          # 30 times each, about an hour
    python scripts/stop_at_random.py --rounds 5 --seed 7 --commands train serve --signals TERM

Each round starts a command and sends it a signal, or all processes of its group, as a terminal does. It must end within
5 seconds with the exit code of the signal (or have finished), print no traceback, and leave nothing RUNNING, no lock,
no process and no half-written file. ``sweep`` is a sweep of two jobs; ``serve`` answers requests meanwhile. The seed
decides the moments, as shares of the time that the command takes otherwise. Needs Linux. Exit code 1 if anything was
found.
"""

import argparse
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Event, Thread

from filelock import FileLock, Timeout
from kill_at_random import (
    MODEL,
    QUICK,
    Place,
    faults_of_files,
    faults_of_store,
    faults_of_versions,
    finish,
    measured,
    start,
)

COMMANDS = ("train", "tune", "sweep", "promote", "predict", "serve")
SIGNALS = ("INT", "TERM", "HUP")
_MOST_S = 5.0
_HANGS_S = 60
# From its start; requests are answered in the second half of it.
_SERVED_S = 8.0
_GONE_S = 2.0
_PYTHON_STARTS_S = 0.1
_ROW = (
    b'{"dataframe_records": [{"track_genre": "pop", "artists": "A", "album_name": "B", "track_name": "C", '
    b'"duration_ms": 200000, "explicit": false, "danceability": 0.5, "energy": 0.5, "key": 1, "loudness": -7.0, '
    b'"mode": 1, "speechiness": 0.1, "acousticness": 0.1, "instrumentalness": 0.0, "liveness": 0.1, "valence": 0.5, '
    b'"tempo": 120.0, "time_signature": 4}]}'
)


def typed(place: Place, command: str, number: int, port: int) -> list[str]:
    """Return what is typed in a round."""
    if command == "sweep":
        run = f"hydra.sweep.dir={place.folder / 'runs' / f'sweep-{number}'}"
        return ["spotify_ml.train", "-m", "seed=1,2", *QUICK, run]
    if command == "serve":
        return ["spotify_ml.serve", f"model=models:/{MODEL}/1", f"port={port}"]
    return place.typed(command, number)


def faults(place: Place, command: str) -> Iterator[str]:
    """Yield what was left behind, which the next command would have to clear away."""
    yield from faults_of_files(place)
    client = place.client
    yield from faults_of_store(client)
    yield from faults_of_versions(place, client)
    for database in (place.folder / "store" / "mlflow.db", place.folder / "study.db"):
        if not database.is_file():
            continue
        try:
            with closing(sqlite3.connect(database, timeout=1)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
        except sqlite3.Error as error:
            yield f"a database is locked: {error}"
    for lock in place.folder.rglob("*.lock"):
        try:
            with FileLock(lock, timeout=1):
                pass
        except Timeout:
            yield f"a lock is held: {lock.name}"
    if command == "tune":
        yield from _faults_of_studies(place)


def _faults_of_studies(place: Place) -> Iterator[str]:
    import optuna

    storage = f"sqlite:///{place.folder / 'study.db'}"
    for name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        if any(trial.state.name == "RUNNING" for trial in study.get_trials(deepcopy=False)):
            yield f"a trial is RUNNING: {name}"


def _ask(port: int, ended: Event) -> None:
    """Send one request after the other."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", data=_ROW, headers={"Content-Type": "application/json"}
    )
    while not ended.is_set():
        with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            answer.read()
        time.sleep(0.01)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def play(
    place: Place, command: str, name: str, number: int, seconds: float, draw: random.Random
) -> tuple[str, list[str]]:
    """Play a round, and return what was done and when, and the faults that were found."""
    share, to_group = draw.random(), draw.random() < 1 / 2
    port, ended = _free_port(), Event()
    process = start(place, typed(place, command, number, port))
    if command == "serve":
        Thread(target=_ask, args=(port, ended), daemon=True).start()
    time.sleep(share * seconds)
    wanted = getattr(signal, f"SIG{name}")
    over, began = process.poll() is not None, time.monotonic()
    if not over:
        os.killpg(process.pid, wanted) if to_group else process.send_signal(wanted)
    found = []
    try:
        out, err = process.communicate(timeout=_HANGS_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        found.append("hangs")
    took = time.monotonic() - began
    ended.set()
    code = process.returncode
    done = f"SIG{name} {'to all' if to_group else 'to it'} at {share:.0%}: exit code {code} after {took:.1f} s"
    if took > _MOST_S:
        found.append(f"too slow: {took:.1f} s")
    # Before the first line of a command and after the last, Python ends as any program; shells say the same of both.
    is_early = share * seconds < _PYTHON_STARTS_S
    # What it had done by then may have been all.
    if code not in (128 + wanted, -wanted, 0) and not is_early:
        found.append(f"exit code {code}: {err.strip().splitlines()[-1:]}")
    if "Traceback" in err + out and not is_early:
        found.append(f"a traceback: {err.strip()}")
    deadline = time.monotonic() + _GONE_S
    while _group_is_there(process.pid):
        if time.monotonic() > deadline:
            found.append("a process is left")
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    return done, [*found, *faults(place, command)]


def _group_is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> int:
    """Play all rounds, and print a table of what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often each command gets each signal (30)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS), help="which (all)")
    parser.add_argument("--signals", nargs="+", choices=SIGNALS, default=list(SIGNALS), help="which (all)")
    parser.add_argument("--folder", type=Path, help="where to work, which stays; by default a temporary folder")
    options = parser.parse_args()
    for name in SIGNALS:
        # Commands inherit what nohup, or a shell of a job in the background, lets this one ignore.
        signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_DFL)
    with tempfile.TemporaryDirectory() as scratch:
        place = Place((options.folder or Path(scratch)).absolute())
        place.prepare()
        for version in (-1, -2):
            finish(start(place, place.typed("train", version)))
        draw, rows, number = random.Random(options.seed), [], 0  # noqa: S311 - no secret
        known: set[str] = set()
        for command in options.commands:
            seconds = _SERVED_S if command == "serve" else measured(place, typed(place, command, 0, 0))
            for name in options.signals:
                found: Counter[str] = Counter()
                for _ in range(options.rounds):
                    number += 1
                    done, found_now = play(place, command, name, number, seconds, draw)
                    # What stays is told once, after the round that left it.
                    wrong = [each for each in found_now if each not in known]
                    known.update(each for each in wrong if not each.startswith(("exit", "a traceback", "too", "hang")))
                    print(f"{command} {number}: {done}: {'; '.join(wrong) or 'nothing'}", flush=True)
                    found.update({each.partition(": ")[0] for each in wrong})
                rows += [(command, name, options.rounds, fault, count) for fault, count in found.items()] or [
                    (command, name, options.rounds, "nothing", 0)
                ]
    print("\n| command | signal | stops | found | times |\n|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    return int(any(row[-1] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
