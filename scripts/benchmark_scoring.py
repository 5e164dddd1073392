"""Measure batch scoring beside the least that could do it, its memory and speed by size, and the time of one row.

Train on the full dataset first, so that the model is as large as it gets::

    python -m spotify_ml.train data=full
    python scripts/benchmark_scoring.py tracks.csv                            # the command beside a bare script
    python scripts/benchmark_scoring.py tracks.csv --rows 1e6 1e7             # the rows of the file, repeated
    python scripts/benchmark_scoring.py tracks.csv --latency 1000             # one row at a time

The bare script reads the CSV by pandas, predicts ready features by a bare booster, and writes Parquet; the command and
it take turns, each as a process of its own. Files are written to a temporary folder: 2 GB for 10 million rows.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import mlflow
import numpy as np
import pandas as pd

from spotify_ml.data.contract import scoring_rows
from spotify_ml.data.etl import add_derived_columns
from spotify_ml.features.transformers.columns import transform_columns
from spotify_ml.tracking.registry import find_version, load_version, version_files
from spotify_ml.tracking.store import open_store
from spotify_ml.utils.paths import PROJECT

BARE = """
import sys
import numpy as np
import pandas as pd
import xgboost
tracks, features, model, output = sys.argv[1:]
frame = pd.read_csv(tracks)
booster = xgboost.Booster(model_file=model)
frame["popularity_predicted"] = booster.inplace_predict(np.load(features))
frame.to_parquet(output)
"""


@dataclass(frozen=True)
class Measured:
    """One process.

    Attributes
    ----------
    seconds : float
        From its start to its end.
    processor_s : float
        Time on all processors.
    peak_mb : float
        Its largest resident memory.
    stderr : str
        What it said.
    """

    seconds: float
    processor_s: float
    peak_mb: float
    stderr: str


def measure(command: Sequence[str]) -> Measured:
    """Run a command to its end.

    Raises
    ------
    SystemExit
        With what it said, if it fails.
    """
    started = perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        stderr = said.read().decode()
    if process.returncode:
        sys.exit(f"error: {' '.join(command[:4])} … failed:\n{stderr}")
    # Kilobytes on Linux, bytes on macOS.
    unit = 2**10 if sys.platform == "linux" else 1
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6, stderr)


def repeat(tracks: Path, n_rows: int, target: Path) -> int:
    """Write the rows of a CSV again and again until there are at least so many, and return their number."""
    with tracks.open("rb") as file, target.open("wb") as written:
        written.write(file.readline())
        content = file.read()
        own = len(pd.read_csv(tracks, usecols=[0]))
        times = -(-n_rows // own)
        for _ in range(times):
            written.write(content)
    return own * times


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure batch scoring.")
    parser.add_argument("tracks", type=Path, help="a CSV of raw tracks")
    parser.add_argument("--model", default="models:/spotify-popularity@challenger")
    parser.add_argument("--tracking-uri", default=f"sqlite:///{PROJECT / 'mlruns' / 'mlflow.db'}")
    parser.add_argument("--runs", type=int, default=5, help="of the command and of the bare script each")
    parser.add_argument("--rows", type=float, nargs="*", default=[], help="also score so many rows")
    parser.add_argument("--latency", type=int, default=0, help="also score so many rows one at a time")
    args = parser.parse_args(argv)
    client = open_store(args.tracking_uri)
    version = find_version(client, args.model)
    folder = version_files(version, args.tracking_uri)
    model = load_version(version, args.tracking_uri)
    command = [sys.executable, "-m", "spotify_ml.predict", f"model={args.model}", f"tracking.uri={args.tracking_uri}"]
    print("| what | measured |\n|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "scored.parquet"
        if args.runs:
            tracks = pd.read_csv(args.tracks, keep_default_na=False, na_values=[""])
            features = model.model.unwrap_python_model().model.features
            np.save(
                f"{scratch}/features.npy",
                transform_columns(features, add_derived_columns(scoring_rows(tracks).frame())),
            )
            (booster,) = (folder / "artifacts").glob("*_popularity_model.json")
            bare = [sys.executable, "-c", BARE, str(args.tracks), f"{scratch}/features.npy", str(booster), str(output)]
            turns = [
                (measure(bare), measure([*command, f"input={args.tracks}", f"output={output}"]))
                for _ in range(args.runs)
            ]
            for name, runs in zip(("bare script", "command"), zip(*turns, strict=True), strict=True):
                seconds, processor_s = (
                    np.median([getattr(run, kind) for run in runs]) for kind in ("seconds", "processor_s")
                )
                print(f"| {len(tracks):,} rows, {name} | {seconds:.2f} s, {processor_s:.2f} s of processors |")
            for kind, what in (("seconds", "time"), ("processor_s", "processors")):
                ratios = [getattr(ours, kind) / getattr(theirs, kind) for theirs, ours in turns]
                print(f"| ratio, {what} | median {np.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f} |")
        for wanted in args.rows:
            repeated = Path(scratch) / "repeated.csv"
            n_rows = repeat(args.tracks, int(wanted), repeated)
            run = measure([*command, f"input={repeated}", f"output={output}"])
            rate = re.search(r"\(([\d,]+ rows/s)\)", run.stderr)
            print(f"| {n_rows:,} rows | {rate[1] if rate else '?'}, peak {run.peak_mb:,.0f} MB, {run.seconds:.1f} s |")
    if args.latency:
        known = list(model.model.metadata.get_input_schema().input_names())
        rows = [pd.DataFrame([row]) for row in pd.read_csv(args.tracks)[known].head(args.latency).to_dict("records")]
        loaded = mlflow.pyfunc.load_model(str(folder))
        for name, scored in (("mlflow.pyfunc", loaded), ("spotify_ml.load_model", model)):
            milliseconds = []
            for row in rows:
                started = perf_counter()
                scored.predict(row)
                milliseconds.append(1000 * (perf_counter() - started))
            p50, p95 = np.percentile(milliseconds, [50, 95])
            print(f"| one row by {name} | median {p50:.2f} ms, p95 {p95:.2f} ms |")


if __name__ == "__main__":
    main()
