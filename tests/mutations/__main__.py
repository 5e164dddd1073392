"""Judge mutated inputs: ``python -m tests.mutations --seeds 1,2,3 --cases 1000``."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutations.judge import REFUSED, RIGHT
from tests.mutations.session import judged, served, table


def main() -> None:
    """Train and serve a small model, and give it as many cases of every seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--seeds", default="1", help="numbers, divided by commas")
    parser.add_argument("--cases", type=int, default=1_000, help="of every seed")
    parser.add_argument("--output", type=Path, help="a CSV of all outcomes")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = f"sqlite:///{folder / 'mlflow.db'}"
        train = [
            sys.executable,
            "-m",
            "spotify_ml.train",
            f"tracking.uri={store}",
            "model.n_estimators=30",
            "model.n_jobs=1",
        ]
        subprocess.run(train, cwd=folder, check=True, capture_output=True)
        with served(store, folder) as session:
            outcomes = judged(session, folder, [int(seed) for seed in asked.seeds.split(",")], asked.cases)
            n_traces = session.log.read_text().count("Traceback")
    if asked.output:
        outcomes.to_csv(asked.output, index=False)
    sys.stdout.write(f"{table(outcomes)}\ntracebacks of the server: {n_traces}\n")
    sys.exit(0 if set(outcomes["kind"]) <= {RIGHT, REFUSED} and not n_traces else 1)


if __name__ == "__main__":
    main()
