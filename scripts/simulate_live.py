"""Simulate experiments on live traffic with real test predictions, and show how often they decide rightly, and wrongly.

::

    python scripts/simulate_live.py --experiments 2000 --seed 1                # of the full dataset; some minutes
    python scripts/simulate_live.py --experiments 50 --seed 1 --data sample    # of the sample

Three models are trained: the default, one of audio features alone, and one with a third of the trees. An experiment
draws whole artists from the test tracks, with replacement, and their tracks in random order. It is looked at after each
50 outcomes.

- A/A: both versions are equally good. In shadow traffic, which of two versions is called challenger is drawn anew for
  each artist; in split traffic, one version is on both sides. Each decision is a false alarm.
- A/B: the champion is a weaker version. The right decision is to promote. Where a test with perfect foresight would
  need more than 100,000 outcomes, this is said, and nothing is simulated. Of each there are a fifth as many as of A/A.

Exit code 1: false alarms are more than 5 % by more than chance (one-sided, 95 %), or right decisions fewer than 95 %.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from spotify_ml import configure
from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.data.sources import read_tracks
from spotify_ml.evaluation.bootstrap import CONFIDENCE
from spotify_ml.live.assignment import CHALLENGER, assign
from spotify_ml.live.sequential import (
    FEWEST_OUTCOMES,
    ConfidenceSequence,
    looks_at,
    paired_sequence,
    split_sequence,
)
from spotify_ml.tracking.training import train
from spotify_ml.utils.markdown import table

ALPHA, EVERY, PLANNED = 0.05, 50, 500
_POWER = 0.95
_Z = NormalDist().inv_cdf
# Of a test with perfect foresight; an experiment that is not decided by then is wrong.
_LONGEST = 4
_AA_OUTCOMES = 5000
_MOST_FORESEEN = 100_000
_FEWER = 5
_SHARE = 0.5
_RIGHT = 0.95


@dataclass(frozen=True)
class Tracks:
    """Test tracks: popularity, what each model predicts, what the default expects of its squared error, the artist."""

    popularity: np.ndarray
    predicted: dict[str, np.ndarray]
    expected: np.ndarray
    groups: np.ndarray

    def loss(self, name: str) -> np.ndarray:
        """Return the squared errors of a model."""
        return (self.predicted[name] - self.popularity) ** 2


@dataclass(frozen=True)
class Kind:
    """A kind of experiment: what a number of drawn rows and their groups come to, and whether to decide is right."""

    name: str
    run: Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[ConfidenceSequence, bool]]
    n_outcomes: int
    is_different: bool
    # Of a test that knows the difference and is looked at once.
    n_foreseen: int = 0


@dataclass
class Tally:
    """How experiments of a kind have ended."""

    n: int = 0
    right: int = 0
    wrong: int = 0
    t_tests: int = 0
    needed: list[int] | None = None

    def add(self, sequence: ConfidenceSequence, t_test: bool) -> None:
        """Count an experiment."""
        self.n += 1
        self.needed = self.needed or []
        look = sequence.decided
        self.t_tests += t_test
        if look is None:
            return
        self.needed.append(int(sequence.n[look]))
        if sequence.lower[look] > 0:
            self.right += 1
        else:
            self.wrong += 1


def trained(data: str, folder: Path) -> Tracks:
    """Train three models, and return their predictions of the test tracks.

    Parameters
    ----------
    data : {"full", "sample"}
        The tracks.
    folder : Path
        For the runs.
    """
    files, n_trees = {}, 0
    for name, changes in {"default": [], "audio": ["features=audio"], "third": ["model.n_estimators={}"]}.items():
        changes = [each.format(n_trees // 3) for each in changes]
        own = [f"data={data}", "baselines=null", "incomplete=false", "register=false", *changes]
        own += [f"tracking.uri=sqlite:///{folder / 'mlflow.db'}", f"tracking.artifact_location={folder / 'artifacts'}"]
        (folder / name).mkdir()
        summary = train(configure(*own), folder / name, own)
        n_trees = n_trees or int(summary.metrics["model/trees"])
        files[name] = pd.read_parquet(folder / name / "predictions" / "test.parquet")
    rows = files["default"]
    raw = read_tracks(configure(f"data={data}").data).frame.drop_duplicates("track_id").set_index("track_id")
    artists = raw["artists"].reindex(rows["track_id"]).str.partition(LIST_SEPARATOR)[0].fillna("").to_numpy()
    deviations = (rows["upper"] - rows["lower"]).to_numpy() / (2 * _Z(0.5 + CONFIDENCE / 2))
    predicted = {name: each["popularity_predicted"].to_numpy() for name, each in files.items()}
    return Tracks(rows["popularity"].to_numpy(float), predicted, deviations**2, pd.factorize(artists)[0])


class Simulation:
    """Experiments on some tracks.

    Parameters
    ----------
    tracks : Tracks
        Which the artists are drawn from.
    seed : int
        Of the first experiment.
    """

    def __init__(self, tracks: Tracks, seed: int) -> None:
        self._tracks = tracks
        self._seed = seed
        order = np.argsort(tracks.groups, kind="stable")
        self._members = np.split(order, np.cumsum(np.bincount(tracks.groups))[:-1])

    def kinds(self) -> Iterator[Kind]:
        """Yield each kind of experiment."""
        yield Kind("A/A, shadow", self._equal_in_shadow, _AA_OUTCOMES, is_different=False)
        yield Kind("A/A, split", self._equal_in_split, _AA_OUTCOMES, is_different=False)
        for weaker in ("audio", "third"):
            for mode in ("shadow", "split"):
                n = self._foreseen(weaker, mode)
                most = max(_LONGEST * n, 400)
                run = self._different(weaker, mode)
                yield Kind(f"A/B, {mode}, {weaker}", run, most, is_different=True, n_foreseen=n)

    def run(self, kind: Kind, n_experiments: int) -> Tally:
        """Return how so many experiments of a kind end."""
        tally = Tally()
        for number in range(n_experiments):
            rng = np.random.default_rng([self._seed, number, sum(kind.name.encode())])
            rows, groups = self._drawn(kind.n_outcomes, rng)
            tally.add(*kind.run(rows, groups, rng))
        return tally

    def _drawn(self, n_outcomes: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return rows of artists that were drawn with replacement, in random order, and the artists' codes."""
        rows: list[np.ndarray] = []
        n_rows = 0
        while n_rows < n_outcomes:
            rows.append(self._members[rng.integers(len(self._members))])
            n_rows += len(rows[-1])
        groups = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
        order = rng.permutation(n_rows)[:n_outcomes]
        return np.concatenate(rows)[order], groups[order]

    def _equal_in_shadow(
        self, rows: np.ndarray, groups: np.ndarray, rng: np.random.Generator
    ) -> tuple[ConfidenceSequence, bool]:
        signs = rng.choice([-1.0, 1.0], groups.max() + 1)
        differences = signs[groups] * (self._tracks.loss("default") - self._tracks.loss("third"))[rows]
        return self._paired(differences, groups)

    def _equal_in_split(
        self, rows: np.ndarray, groups: np.ndarray, rng: np.random.Generator
    ) -> tuple[ConfidenceSequence, bool]:
        return self._split(("default", "default"), rows, groups, rng)

    def _different(
        self, weaker: str, mode: str
    ) -> Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[ConfidenceSequence, bool]]:
        def run(rows: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> tuple[ConfidenceSequence, bool]:
            if mode == "shadow":
                return self._paired((self._tracks.loss(weaker) - self._tracks.loss("default"))[rows], groups)
            return self._split((weaker, "default"), rows, groups, rng)

        return run

    def _paired(self, differences: np.ndarray, groups: np.ndarray) -> tuple[ConfidenceSequence, bool]:
        looks = looks_at(len(differences), EVERY)
        return paired_sequence(differences, groups, looks, ALPHA, PLANNED), peeking_t_test(differences, looks)

    def _split(
        self, versions: tuple[str, str], rows: np.ndarray, groups: np.ndarray, rng: np.random.Generator
    ) -> tuple[ConfidenceSequence, bool]:
        salt, looks = str(rng.integers(2**63)), looks_at(len(rows), EVERY)
        arm = np.array([assign(f"{number}", salt, _SHARE) == CHALLENGER for number in range(len(rows))])
        losses = np.where(arm, self._tracks.loss(versions[1])[rows], self._tracks.loss(versions[0])[rows])
        sequence = split_sequence(losses, arm, self._tracks.expected[rows], groups, looks, ALPHA, PLANNED)
        return sequence, peeking_t_test(losses, looks, arm)

    def _foreseen(self, weaker: str, mode: str) -> int:
        """Return the outcomes of a test that is looked at once, with 95 % power for the difference that there is."""
        n = 20_000
        rows, groups = self._drawn(n, np.random.default_rng([self._seed, 7]))
        rng = np.random.default_rng([self._seed, 8])
        sequence, _ = self._different(weaker, mode)(rows, groups, rng)
        # The true difference is that of the tracks which artists are drawn from.
        difference = float((self._tracks.loss(weaker) - self._tracks.loss("default")).mean())
        return int(np.ceil(((_Z(1 - ALPHA / 2) + _Z(_POWER)) * sequence.deviation[-1] / difference) ** 2))


def peeking_t_test(values: np.ndarray, looks: np.ndarray, arm: np.ndarray | None = None) -> bool:
    """Return whether a t-test finds a difference at any look, as one does who stops at the first star."""
    limit = _Z(1 - ALPHA / 2)

    def moments(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, total, squares = (np.cumsum(weights * each)[looks - 1] for each in (np.ones(len(values)), values, values**2))
        return total / n, (squares / n - (total / n) ** 2) / (n - 1)

    with np.errstate(divide="ignore", invalid="ignore"):
        if arm is None:
            mean, variance = moments(np.ones(len(values)))
        else:
            (m0, v0), (m1, v1) = moments(1.0 - arm), moments(1.0 * arm)
            mean, variance = m0 - m1, v0 + v1
        found = np.abs(mean) > limit * np.sqrt(variance)
    return bool(found[looks >= FEWEST_OUTCOMES].any())


def report(kinds: Sequence[tuple[Kind, Tally]]) -> tuple[str, list[str]]:
    """Return the tables of all kinds, and what is not as it should be."""
    equal, different, faults = [], [], []
    for kind, tally in kinds:
        if kind.is_different and kind.n_foreseen > _MOST_FORESEEN:
            different.append([kind.name, *["–"] * 4, f"{kind.n_foreseen:,}", "–"])
        elif kind.is_different:
            share, needed = tally.right / tally.n, np.array(tally.needed or [kind.n_outcomes])
            ratio = np.median(needed) / kind.n_foreseen
            shares = [f"{share:.1%}", f"{tally.wrong / tally.n:.1%}"]
            numbers = [f"{np.median(needed):,.0f}", f"{needed.mean():,.0f}", f"{kind.n_foreseen:,}"]
            different.append([kind.name, *shares, *numbers, f"{ratio:.2f} ×"])
            if share < _RIGHT:
                faults.append(f"{kind.name}: {tally.right} right decisions of {tally.n}")
        else:
            alarms = tally.right + tally.wrong
            upper = binomtest(alarms, tally.n).proportion_ci(0.90, "exact").high
            cells = [f"{alarms / tally.n:.1%}", f"{upper:.1%}", f"{tally.t_tests / tally.n:.1%}"]
            equal.append([kind.name, f"{kind.n_outcomes:,}", *cells])
            if binomtest(alarms, tally.n, ALPHA, alternative="greater").pvalue < ALPHA:
                faults.append(f"{kind.name}: {alarms} false alarms of {tally.n}")
    columns = ["equal versions", "outcomes", "false alarms", "95 % upper bound", "of a t-test looked at as often"]
    header = ["a weaker champion", "right", "wrong", "outcomes needed, median", "mean", "foreseen", "median ÷ foreseen"]
    return f"{table(columns, equal)}\n\n{table(header, different)}", faults


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Simulate experiments on live traffic.")
    parser.add_argument("--experiments", type=int, default=2000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", choices=["full", "sample"], default="full")
    args = parser.parse_args(argv)
    with TemporaryDirectory() as folder:
        tracks = trained(args.data, Path(folder))
    simulation = Simulation(tracks, args.seed)
    ended = []
    for kind in simulation.kinds():
        n_experiments = -(-args.experiments // _FEWER) if kind.is_different else args.experiments
        if kind.n_foreseen > _MOST_FORESEEN:
            n_experiments = 0
        ended.append((kind, simulation.run(kind, n_experiments)))
        sys.stderr.write(f"{kind.name}: {ended[-1][1].right} and {ended[-1][1].wrong} decisions\n")
    text, faults = report(ended)
    n_artists = len(np.unique(tracks.groups))
    drawn_from = f"{len(tracks.popularity):,} test tracks of {n_artists:,} artists"
    print(f"{args.experiments:,} experiments of each kind of A/A, from {drawn_from}\n")
    print(text)
    if faults:
        sys.stderr.write("error: " + "; ".join(faults) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
