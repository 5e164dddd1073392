"""Time the fits of a run alone and beside a busy process, by how long OpenMP's threads spin while they wait.

    python scripts/benchmark_threads.py
    python scripts/benchmark_threads.py data=full model.n_estimators=300 --rounds 3 --spins 0 1000 10000

A thread that waits for the others first spins, which answers fastest where every thread has a core, and then sleeps.
Where another process wants a core, threads spin while the one that they wait for does not run. Ways are taken in turns;
the figures are the medians of the stage ``fit``, beside the processor seconds of the whole command.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# How a run is started by this project, with one thread, and as OpenMP would by itself.
OURS, ONE, ALL = "ours", "one thread", "all threads"
ALONE, BESIDE = "alone", "beside a busy process"
# What a run beside a busy process, and one alone, may take of the better of one and all threads.
_BESIDE_LIMIT = 1.5


@dataclass(frozen=True)
class Timed:
    """One run: the seconds of its fits, and processor seconds of the whole command."""

    fit: float
    processor: float


def parsed(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Return the options, and the overrides of the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is taken (3)")
    parser.add_argument("--spins", type=int, nargs="*", default=[], help="further values of GOMP_SPINCOUNT to try")
    return parser.parse_known_args(arguments)


def environment(way: str) -> dict[str, str]:
    """Return the environment of a way: that of the caller but for threads and spins."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    if way == ONE:
        return {**kept, "OMP_NUM_THREADS": "1"}
    if way == OURS:
        return kept
    # What libgomp takes by itself where there are not more threads than cores (its documentation, GOMP_SPINCOUNT).
    spins = "300000" if way == ALL else way
    return {**kept, "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))), "GOMP_SPINCOUNT": spins}


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Keep one core busy meanwhile."""
    if not wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def run_once(way: str, overrides: Sequence[str], folder: Path) -> Timed:
    """Train once in a store of its own."""
    store = [f"tracking.uri=sqlite:///{folder}/mlflow.db", f"tracking.artifact_location={folder}/artifacts"]
    command = [sys.executable, "-m", "spotify_ml.train", "cache=off", "register=false", *store, *overrides]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*command, f"hydra.run.dir={folder}/run"],
        env=environment(way),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    metrics = json.loads((folder / "run" / "summary.json").read_text(encoding="utf-8"))["metrics"]
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timed(metrics["time/fit_s"], processor)


def table(timed: dict[tuple[str, str], list[Timed]]) -> str:
    """Return the medians as a Markdown table, and what ours is beside the better of one and all threads."""
    ways = list(dict.fromkeys(way for way, _ in timed))
    lines = [f"| threads | fit, {ALONE} (s) | fit, {BESIDE} (s) | processor time, {BESIDE} (s) |", "|---|---|---|---|"]
    fits = {key: median(each.fit for each in runs) for key, runs in timed.items()}
    for way in ways:
        processor = median(each.processor for each in timed[way, BESIDE])
        name = f"GOMP_SPINCOUNT={way}" if way.isdecimal() else way
        lines.append(f"| {name} | {fits[way, ALONE]:.2f} | {fits[way, BESIDE]:.2f} | {processor:.1f} |")
    for load, limit in ((ALONE, 1.0), (BESIDE, _BESIDE_LIMIT)):
        best = min(fits[way, load] for way in (ONE, ALL))
        lines.append(
            f"\n{load}: ours takes {fits[OURS, load] / best:.2f} of the better of one and all threads ({limit:g})"
        )
    return "\n".join(lines)


def main() -> None:
    """Take every way in turns, alone and beside a busy process, and print the medians."""
    options, overrides = parsed()
    ways = [OURS, ONE, ALL, *map(str, options.spins)]
    timed: dict[tuple[str, str], list[Timed]] = {}
    for _ in range(options.rounds):
        for load in (ALONE, BESIDE):
            for way in ways:
                with tempfile.TemporaryDirectory() as folder, busy(load == BESIDE):
                    timed.setdefault((way, load), []).append(run_once(way, overrides, Path(folder)))
                print(f"{way}, {load}: {timed[way, load][-1]}", file=sys.stderr)
    print(table(timed))


if __name__ == "__main__":
    main()
