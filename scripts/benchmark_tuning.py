"""Measure what a study costs: against separate runs of the same parameters, with and without pruning, trial by trial.

Everything goes through the project's own command, into a store that is thrown away::

    python scripts/benchmark_tuning.py data=full                    # all figures; about an hour on two cores
    python scripts/benchmark_tuning.py --trials 6 --runs 2          # the sample, for a look

- **Separate runs.** A study is run in two parts, by resuming it, and after each part some of its trials, evenly spread,
  are run on their own, in full: the two take turns on the same machine. The study's time is that of both parts, less
  the refit at the end of the first, which a study that is run in one go has not.
- **Pruning.** The same number of trials with the same seed, once with the pruner and once without it. Boosting rounds
  are the trees that were grown, as each trial's learning curve says.
- **Overhead.** From the start of one finished trial to the start of the next, less trainval and predicting: asking,
  telling, recording, and measuring the size of the model.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from time import perf_counter

import optuna
from mlflow import MlflowClient
from optuna.trial import FrozenTrial, TrialState

optuna.logging.set_verbosity(optuna.logging.ERROR)
_CURVE = "learning_curve/val_rmse"


@dataclass(frozen=True)
class Scratch:
    """A folder for stores and run folders, and what every command in it is told."""

    folder: Path
    overrides: list[str]

    @property
    def uri(self) -> str:
        """The tracking store."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def storage(self) -> str:
        """The studies."""
        return f"sqlite:///{self.folder / 'optuna.db'}"

    def run(self, name: str, *overrides: str) -> float:
        """Run the command, and return its wall-clock seconds."""
        store = [f"tracking.uri={self.uri}", f"tracking.artifact_location={self.folder / 'artifacts'}"]
        command = [sys.executable, "-m", "spotify_ml.train", *self.overrides, *store, *overrides]
        started = perf_counter()
        subprocess.run([*command, f"hydra.run.dir={self.folder / name}"], check=True, stdout=subprocess.DEVNULL)
        return perf_counter() - started

    def study(self, name: str, n_trials: int, part: int, *overrides: str) -> float:
        """Run a study, or go on with it, and return the seconds that took."""
        tune = ["tune=optuna", f"tune.storage={self.storage}", f"tune.study_name={name}", f"tune.n_trials={n_trials}"]
        return self.run(f"{name}-{part}", *tune, *overrides)

    def trials(self, name: str) -> list[FrozenTrial]:
        """Return the finished and pruned trials of a study."""
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return optuna.load_study(study_name=name, storage=self.storage).get_trials(states=states)

    def refit_s(self, name: str, part: int) -> float:
        """Return the seconds that a part of a study spent on refitting and recording its best trial."""
        summary = json.loads((self.folder / f"{name}-{part}" / "best" / "summary.json").read_text(encoding="utf-8"))
        return float(summary["metrics"]["time/total_s"])

    def rounds(self, name: str) -> int:
        """Return how many trees the trials of a study have grown."""
        client = MlflowClient(self.uri)
        experiments = [each.experiment_id for each in client.search_experiments()]
        (parent,) = client.search_runs(experiments, f"tags.`tune.study` = '{name}'")
        below = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and tags.`tune.state` != ''"
        children = client.search_runs(experiments, below, max_results=10_000)
        histories = (client.get_metric_history(child.info.run_id, _CURVE) for child in children)
        return sum(max((point.step for point in history), default=0) for history in histories)


def separate_runs(scratch: Scratch, n_trials: int, n_runs: int) -> list[str]:
    """Compare a study with separate runs of its parameters."""
    in_study = 0.0
    alone: list[float] = []
    chosen = [round((number + 0.5) * n_trials / n_runs) for number in range(n_runs)]
    for part, so_far in enumerate((n_trials // 2, n_trials), start=1):
        in_study += scratch.study("shared", so_far, part)
        if so_far < n_trials:
            in_study -= scratch.refit_s("shared", part)
        while len(alone) < n_runs and chosen[len(alone)] < so_far:
            values = scratch.trials("shared")[chosen[len(alone)]].user_attrs["values"]
            alone.append(scratch.run(f"alone-{len(alone)}", *(f"{key}={value}" for key, value in values.items())))
    expected = fmean(alone) * n_trials
    return [
        f"| {n_trials} trials of a study, its refit included | {in_study:.0f} s |",
        f"| {n_trials} separate runs, from {n_runs} of them | {expected:.0f} s |",
        f"| ratio | {in_study / expected:.2f} |",
        f"| overhead a trial, median | {overhead(scratch.trials('shared')) * 1000:.0f} ms |",
    ]


def overhead(trials: list[FrozenTrial]) -> float:
    """Return the median of the seconds from trial to trial that are not spent in the fit or in predicting."""
    spent = []
    for trial, following in pairwise(trials):
        metrics, started, ended = trial.user_attrs["metrics"], trial.datetime_start, following.datetime_start
        if started and ended and "time/fit_s" in metrics:
            spent.append((ended - started).total_seconds() - metrics["time/fit_s"] - metrics["time/predict_s"])
    return median(spent)


def pruning(scratch: Scratch, n_trials: int) -> list[str]:
    """Compare a study with pruning to one without."""
    lines, rounds = [], []
    for name, overrides in (("pruned", []), ("unpruned", ["tune/pruner=none"])):
        scratch.study(name, n_trials, 1, *overrides)
        rounds.append(scratch.rounds(name))
        best = max(
            trial.user_attrs["metrics"]["val/r2"]
            for trial in scratch.trials(name)
            if trial.state is TrialState.COMPLETE
        )
        lines.append(f"| {n_trials} trials, {name} | {rounds[-1]:,} rounds, best validation R² {best:.4f} |")
    return [*lines, f"| rounds with pruning against without | {rounds[0] / rounds[1]:.0%} |"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure what a study costs.")
    parser.add_argument("--trials", type=int, default=30, help="of the comparison with separate runs")
    parser.add_argument("--runs", type=int, default=6, help="separate runs to measure")
    parser.add_argument("--pruning-trials", type=int, default=40, help="of the comparison of pruners; 0 leaves it out")
    parser.add_argument("overrides", nargs="*", help="of every run, such as data=full")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder), args.overrides)
        print("| what | measured |\n|---|---|")
        print("\n".join(separate_runs(scratch, args.trials, args.runs)), flush=True)
        if args.pruning_trials:
            print("\n".join(pruning(scratch, args.pruning_trials)), flush=True)


if __name__ == "__main__":
    main()
