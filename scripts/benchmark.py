"""Measure whole commands and every stage of a run by the number of rows, beside the least and the reference way.

On a machine that has nothing else to do::

    python scripts/benchmark.py --data data/raw/dataset.csv      # 114 thousand, 1 million and 10 million rows: hours
    python scripts/benchmark.py --quick                          # the sample, two small sizes: two minutes

The project is measured by its own command, as a user starts it: ``python -m spotify_ml.train`` in a new process, whose
stages are those that it records as ``time/…_s``, with a store, a cache and a run folder that are thrown away. Beside it
run the parts of `benchmark_parts.py`: bare libraries on the matrices that the run has left in its cache, and the
reference pipeline. All take turns, round by round; what is given is the median, and the range.

- **Whole commands**, of the first size: ``experiment=reference``, and the default.
- **Stages**, of every size: the default with ``--trees`` trees, of which early stopping spares none, for a tree costs
  what its rows cost. Up to a million rows, with hardly any trees, once more with what the first has left in the cache,
  and the reference way.

The largest size wants some 50 GB of disk below the temporary folder (``TMPDIR``), and more memory than many machines
have: with ``--memory 20`` a process that asks for more than 20 GB fails and is named so, and the machine lives on.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmark_report import COMMANDS, Measured, Results, markdown, write_report

from spotify_ml.utils.paths import PACKAGE, PROJECT

PARTS = Path(__file__).with_name("benchmark_parts.py")
SAMPLE = PACKAGE / "data" / "sample" / "spotify_by_genre.parquet"
SIZES, ROUNDS, TREES = [114_000, 1_000_000, 10_000_000], [5, 3, 1], 20
# Beyond, the reference pipeline takes longer than all else together.
MOST_COMPARED = 1_000_000
QUICK_SIZES, QUICK_ROUNDS, QUICK_TREES = [2_000, 6_000], [1, 1], 20
_GB = 2**30


class Bench:
    """What all processes share.

    Parameters
    ----------
    folder : Path
        Where they write; thrown away at the end.
    memory_gb : float or None
        What each may ask for.
    overrides : sequence of str
        Of all commands of the project, such as ``model.n_jobs=2``.
    """

    def __init__(self, folder: Path, memory_gb: float | None, overrides: Sequence[str]) -> None:
        self.folder = folder
        self.cache, self.run = folder / "cache", folder / "run"
        self._limit = None if memory_gb is None else partial(_limit_memory, int(memory_gb * _GB))
        self._overrides = list(overrides)

    def train(self, tracks: Path, *overrides: str) -> Measured:
        """Run the project's command; ``outside`` is what lies before and after its own stopwatch."""
        shutil.rmtree(self.run, ignore_errors=True)
        measured, _ = self._measure(
            "-m",
            "spotify_ml.train",
            "data=file",
            f"data.path={tracks}",
            f"tracking.uri=sqlite:///{self.folder / 'mlflow.db'}",
            f"tracking.artifact_location={self.folder / 'artifacts'}",
            f"cache.folder={self.cache}",
            # The bare fits take their matrices from there.
            "cache.max_gb=1000",
            f"hydra.run.dir={self.run}",
            *self._overrides,
            *overrides,
        )
        if measured.failed:
            return measured
        figures = json.loads((self.run / "summary.json").read_text(encoding="utf-8"))["metrics"]
        times = {
            name.removeprefix("time/").removesuffix("_s"): seconds
            for name, seconds in figures.items()
            if name.startswith("time/")
        }
        total = measured.seconds["total"]
        return Measured({**times, "total": total, "outside": total - times["total"]}, measured.peak_mb)

    def part(self, name: str, *arguments: object) -> Measured:
        """Run a part of `benchmark_parts.py`; ``outside`` is what it spends on starting, on imports and on ending."""
        measured, printed = self._measure(str(PARTS), name, *map(str, arguments))
        if measured.failed:
            return measured
        seconds, total = json.loads(printed), measured.seconds["total"]
        return Measured({**seconds, "total": total, "outside": total - sum(seconds.values())}, measured.peak_mb)

    def _measure(self, *command: str) -> tuple[Measured, str]:
        """Run Python to its end, and return what it printed as well."""
        with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as said:
            started = perf_counter()
            process = subprocess.Popen(
                [sys.executable, *command], stdout=printed, stderr=said, cwd=self.folder, preexec_fn=self._limit
            )
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            seconds = perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            printed.seek(0)
            said.seek(0)
            # XGBoost ends its errors with where in its library they came from.
            lines = [line for line in said.read().partition("Stack trace:")[0].splitlines() if line.strip()]
            last = lines[-1] if lines else f"exit code {process.returncode}"
            # Kilobytes, but bytes on macOS.
            peak_mb = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
            return Measured({"total": seconds}, peak_mb, last if process.returncode else ""), printed.read()


def _limit_memory(n_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, n_bytes))


def measure_commands(bench: Bench, results: Results, tracks: Path, n_rows: int) -> None:
    """Measure whole commands once, each beside the bare fits of its trees."""
    for name, overrides in COMMANDS.items():
        _measure_beside_bare(bench, results, (name, f"{name}-bare"), tracks, n_rows, overrides)


def measure_stages(bench: Bench, results: Results, tracks: Path, n_rows: int) -> None:
    """Measure the stages at one number of rows once: made, bare, from the cache, and the reference way."""
    same_trees = [f"model.n_estimators={results.n_trees}", f"model.early_stopping_rounds={results.n_trees}"]
    went_well = _measure_beside_bare(bench, results, ("stages", "bare"), tracks, n_rows, same_trees)
    if n_rows > MOST_COMPARED:
        return
    if went_well:
        # Of this, the stages before the fit are looked at.
        results.add("cached", n_rows, bench.train(tracks, "model.n_estimators=2"))
    # What it makes is as wide as what the reference way makes, and is not in the cache.
    results.add("reference-stages", n_rows, bench.train(tracks, "experiment=reference", "model.n_estimators=2"))
    folder = bench.folder / "reference"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    etl = bench.part("reference-etl", tracks, folder)
    results.add("reference-etl", n_rows, etl)
    if not etl.failed:
        results.add("reference-features", n_rows, bench.part("reference-features", folder))


def _measure_beside_bare(
    bench: Bench, results: Results, names: tuple[str, str], tracks: Path, n_rows: int, overrides: Sequence[str]
) -> bool:
    """Measure a command with an empty cache, then bare libraries on what it left there; say whether it went well."""
    shutil.rmtree(bench.cache, ignore_errors=True)
    measured = bench.train(tracks, *overrides)
    results.add(names[0], n_rows, measured)
    if not measured.failed:
        results.add(names[1], n_rows, bench.part("bare", tracks, bench.cache, bench.run))
    return not measured.failed


def measure(bench: Bench, results: Results, source: Path, rounds: Sequence[int], report: Callable[[], None]) -> None:
    """Measure everything, say on stderr how far it has come, and report after every round."""
    for n_rows, n_rounds in zip(results.sizes, rounds, strict=True):
        tracks = bench.folder / f"tracks-{n_rows}.csv"
        written = bench.part("catalogue", source, tracks, n_rows)
        if written.failed:
            raise SystemExit(f"error: {n_rows:,} rows cannot be written: {written.failed}")
        first = n_rows == results.sizes[0]
        if first:
            # Whoever comes first would create the store, and compile what is imported.
            bench.train(tracks, "model.n_estimators=2")
        for number in range(1, n_rounds + 1):
            print(f"{n_rows:,} rows, round {number} of {n_rounds}", file=sys.stderr, flush=True)
            if first:
                measure_commands(bench, results, tracks, n_rows)
            measure_stages(bench, results, tracks, n_rows)
            report()
        tracks.unlink()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure commands and stages by the number of rows.")
    parser.add_argument("--quick", action="store_true", help="the sample, two small sizes and few trees: two minutes")
    parser.add_argument("--data", type=Path, help="the full dataset; by default SPOTIFY_TRACKS_PATH, or data/raw/…")
    parser.add_argument("--rows", type=int, nargs="+", help="sizes, the smallest first")
    parser.add_argument("--rounds", type=int, nargs="+", help="how often to measure each size")
    parser.add_argument("--trees", type=int, help="of the stages by rows")
    parser.add_argument("--memory", type=float, help="GB that a process may ask for")
    parser.add_argument("--output", type=Path, help="a folder; by default docs, with --quick outputs/benchmark")
    parser.add_argument("--overrides", nargs="+", default=[], help="of all commands, such as model.n_jobs=2")
    args = parser.parse_args(argv)
    full = Path(os.environ.get("SPOTIFY_TRACKS_PATH", PROJECT / "data" / "raw" / "dataset.csv"))
    source = (args.data or (SAMPLE if args.quick else full)).resolve()
    if not source.is_file():
        raise SystemExit(f"error: {source} does not exist; fetch it with `python scripts/download_data.py`")
    sizes = args.rows or (QUICK_SIZES if args.quick else SIZES)
    rounds = args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS)[: len(sizes)]
    if len(rounds) != len(sizes) or sorted(set(sizes)) != list(sizes) or min(*sizes, *rounds) < 1:
        raise SystemExit("error: give --rows from small to large, and --rounds for each of them")
    command = " ".join(["python scripts/benchmark.py", *(sys.argv[1:] if argv is None else argv)])
    results = Results(command, sizes, args.trees or (QUICK_TREES if args.quick else TREES))
    report = partial(write_report, args.output or PROJECT / ("outputs/benchmark" if args.quick else "docs"), results)
    with tempfile.TemporaryDirectory() as folder:
        measure(Bench(Path(folder), args.memory, args.overrides), results, source, rounds, report)
    print(markdown(results))


if __name__ == "__main__":
    main()
