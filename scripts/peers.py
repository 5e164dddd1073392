"""Fit other learners on the same rows and the same splits as the project's default model, and write a table.

The peers get the raw columns of the clean tracks, with no feature of the project: each handles the artists, the first
artist, the album, the genres, key, mode and time signature as categories in its own way. Titles and ids are left out.

- **LightGBM** and **CatBoost** stop early on the validation rows and are fitted again on train and validation rows with
  that number of trees, as the project does. What is not in `LIGHTGBM` and `CATBOOST` is their own default.
- **FLAML** searches for `--budget` seconds, fitting on the train rows and judging on the validation rows, so that no
  group stands on both sides. What it found is fitted again on both; that time is not in the budget.
- The **project** is its own command in a process of its own, recorded in a store that is thrown away.

The peers come with an extra of their own::

    pip install -c constraints.txt -e '.[peers]'
    python scripts/peers.py --data data/raw/dataset.csv

FLAML's own extra (``flaml[automl]``) asks for an XGBoost below 3 and cannot stand beside the project's. All that it
brings is here already, so ``peers`` takes FLAML without it, and FLAML's XGBoost learners run on the project's XGBoost.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import joblib
import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir

from spotify_ml.config.check import validate
from spotify_ml.config.run import RunConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.schema import LIST_SEPARATOR, TARGET
from spotify_ml.data.sources import read_tracks
from spotify_ml.data.splits import Split, split_tracks
from spotify_ml.evaluation.metrics import regression_metrics
from spotify_ml.utils import paths
from spotify_ml.utils.errors import ConfigError, SpotifyMLError, did_you_mean
from spotify_ml.utils.files import staged
from spotify_ml.utils.version import library_version

SPLITS = ("recording", "album", "artist", "random")
SAMPLE = "sample"
LOWEST, HIGHEST = 0, 100

TEXTS = ("artists", "first_artist", "album_name", "track_genre")
CATEGORIES = (*TEXTS, "key", "mode", "time_signature")
NUMBERS = (
    "duration_ms",
    "explicit",
    "danceability",
    "energy",
    "loudness",
    "speechiness",
    "acousticness",
    "instrumentalness",
    "liveness",
    "valence",
    "tempo",
)

PATIENCE = 50
LIGHTGBM = {"n_estimators": 3000, "learning_rate": 0.05, "verbose": -1}
CATBOOST = {"iterations": 3000, "learning_rate": 0.1, "allow_writing_files": False, "verbose": False}


class PeerError(SpotifyMLError):
    """A peer that is not installed, or a run of the project that failed."""


@dataclass(frozen=True)
class Rows:
    """The raw columns of some tracks.

    Attributes
    ----------
    features : DataFrame
        Texts as text, everything else as numbers.
    target : ndarray of float, shape (n_rows,)
        Popularity.
    """

    features: pd.DataFrame
    target: np.ndarray


@dataclass(frozen=True)
class Task:
    """What every peer is given, and nothing more.

    Attributes
    ----------
    train, validation, trainval, test : Rows
        The parts of one split; `trainval` is train and validation rows together.
    seed : int
        Seeds the learner.
    budget : float
        Seconds that an automatic search may take.
    """

    train: Rows
    validation: Rows
    trainval: Rows
    test: Rows
    seed: int
    budget: float


@dataclass(frozen=True)
class Prediction:
    """What a peer says about the test rows.

    Attributes
    ----------
    popularity : ndarray of float, shape (n_test_rows,)
        As the learner gives it.
    trees : int or None
        Number of trees of the final fit, where there are any.
    learner : str
        What an automatic search settled for.
    """

    popularity: np.ndarray
    trees: int | None
    learner: str = ""


@dataclass(frozen=True)
class Peer:
    """A learner from elsewhere.

    Attributes
    ----------
    title : str
        Its name in the table.
    module : str
        The module, and the distribution, that it comes in.
    predict : callable
        Fits on a task and predicts its test rows.
    """

    title: str
    module: str
    predict: Callable[[Task], Prediction]


@dataclass(frozen=True)
class Score:
    """A line of the table.

    Attributes
    ----------
    split, model : str
        What was judged, and on which rows.
    r2, rmse, mae : float
        On the test rows.
    seconds : float
        Reading, cleaning, features and all fits.
    trees : int or None
        Of the final fit.
    """

    split: str
    model: str
    r2: float
    rmse: float
    mae: float
    seconds: float
    trees: int | None

    def cells(self) -> list[str]:
        """Return the line as text, figure by figure."""
        trees = "–" if self.trees is None else f"{self.trees:,}"
        return [
            self.split,
            self.model,
            f"{self.r2:.3f}",
            f"{self.rmse:.2f}",
            f"{self.mae:.2f}",
            f"{self.seconds:.0f}" if self.seconds >= 10 else f"{self.seconds:.1f}",
            trees,
        ]


def predict_lightgbm(task: Task) -> Prediction:
    """Fit LightGBM on pandas categories; it aligns other rows to the categories it was fitted on by itself."""
    from lightgbm import LGBMRegressor, early_stopping

    train, validation, trainval, test = (
        rows.features.astype(dict.fromkeys(CATEGORIES, "category"))
        for rows in (task.train, task.validation, task.trainval, task.test)
    )
    selected = LGBMRegressor(**LIGHTGBM, random_state=task.seed)
    selected.fit(
        train,
        task.train.target,
        eval_set=[(validation, task.validation.target)],
        callbacks=[early_stopping(PATIENCE, verbose=False)],
    )
    n_trees = int(selected.best_iteration_)
    final = LGBMRegressor(**{**LIGHTGBM, "n_estimators": n_trees}, random_state=task.seed)
    final.fit(trainval, task.trainval.target)
    return Prediction(np.asarray(final.predict(test)), n_trees)


def predict_catboost(task: Task) -> Prediction:
    """Fit CatBoost on strings, which it encodes by ordered target statistics and their combinations."""
    from catboost import CatBoostRegressor, Pool

    def pool(rows: Rows) -> Pool:
        # CatBoost takes no missing value in a category, so that being empty is one of its own.
        strings = {name: rows.features[name].astype("object").fillna("").astype(str) for name in CATEGORIES}
        return Pool(rows.features.assign(**strings), rows.target, cat_features=list(CATEGORIES))

    selected = CatBoostRegressor(**CATBOOST, random_seed=task.seed)
    selected.fit(pool(task.train), eval_set=pool(task.validation), early_stopping_rounds=PATIENCE)
    n_trees = int(selected.get_best_iteration()) + 1
    final = CatBoostRegressor(**{**CATBOOST, "iterations": n_trees}, random_seed=task.seed)
    final.fit(pool(task.trainval))
    return Prediction(np.asarray(final.predict(pool(task.test))), n_trees)


def predict_flaml(task: Task) -> Prediction:
    """Let FLAML choose learner and parameters, then fit its choice on train and validation rows.

    Given validation rows, FLAML passes over ``retrain_full``; its log of trials is what it retrains from.
    """
    from flaml import AutoML

    train, validation, trainval, test = (
        rows.features.astype(dict.fromkeys(CATEGORIES, "category"))
        for rows in (task.train, task.validation, task.trainval, task.test)
    )
    with tempfile.TemporaryDirectory() as folder:
        trials = str(Path(folder, "trials.log"))
        search = AutoML()
        search.fit(
            train,
            task.train.target,
            X_val=validation,
            y_val=task.validation.target,
            task="regression",
            metric="rmse",
            eval_method="holdout",
            time_budget=task.budget,
            seed=task.seed,
            n_jobs=joblib.cpu_count(),
            log_file_name=trials,
            log_type="better",
            mlflow_logging=False,
            verbose=0,
        )
        if search.best_estimator is None:
            raise PeerError(f"FLAML found nothing within {task.budget:g} s; give it more with --budget")
        final = AutoML()
        final.retrain_from_log(
            log_file_name=trials,
            X_train=trainval,
            y_train=task.trainval.target,
            task="regression",
            train_full=True,
            n_jobs=joblib.cpu_count(),
        )
    # CatBoost has an upper bound in its place, and stops early on rows that FLAML sets aside for it.
    trees = getattr(final.model.estimator, "tree_count_", search.best_config.get("n_estimators"))
    return Prediction(np.asarray(final.predict(test)), None if trees is None else int(trees), search.best_estimator)


PEERS = {
    "lightgbm": Peer("LightGBM", "lightgbm", predict_lightgbm),
    "catboost": Peer("CatBoost", "catboost", predict_catboost),
    "flaml": Peer("FLAML", "flaml", predict_flaml),
}


def check_installed(names: Sequence[str]) -> None:
    """Check that the peers can be imported, without importing them.

    Parameters
    ----------
    names : sequence of str
        Keys of `PEERS`.

    Raises
    ------
    PeerError
        Naming all that are missing.
    """
    missing = [PEERS[name].module for name in names if importlib.util.find_spec(PEERS[name].module) is None]
    if missing:
        raise PeerError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed; "
            "install the extra with `pip install -e '.[peers]'`, or leave it out with --peers"
        )


def data_overrides(data: str) -> list[str]:
    """Return the project's overrides for ``--data``: the bundled sample, or a file."""
    if data == SAMPLE:
        return ["data=sample"]
    path = str(Path(data).absolute()).replace("\\", "\\\\").replace("'", "\\'")
    return ["data=file", f"data.path='{path}'"]


def composed(overrides: list[str]) -> RunConfig:
    """Compose and check a configuration of the project."""
    paths.register_resolvers()
    with initialize_config_dir(str(paths.CONF), version_base="1.3"):
        return validate(compose("train", overrides=overrides))


def raw_columns(tracks: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that the peers are given: no title, no id, no derived column, and the first artist."""
    first_artist = tracks["artists"].str.partition(LIST_SEPARATOR)[0]
    return tracks.assign(first_artist=first_artist)[[*CATEGORIES, *NUMBERS]]


def task_of(tracks: pd.DataFrame, split: Split, seed: int, budget: float) -> Task:
    """Cut the raw columns of clean tracks into the parts of a split.

    Parameters
    ----------
    tracks : DataFrame
        Clean tracks.
    split : Split
        The rows of each part.
    seed : int
        Seeds the learner.
    budget : float
        Seconds that an automatic search may take.
    """
    features, target = raw_columns(tracks), tracks[TARGET].to_numpy(dtype=np.float64)
    train, validation, trainval, test = (
        Rows(features.iloc[rows].reset_index(drop=True), target[rows])
        for rows in (split.train, split.validation, split.trainval, split.test)
    )
    return Task(train, validation, trainval, test, seed, budget)


def score_peer(name: str, config: RunConfig, budget: float) -> Score:
    """Take a peer from the file to its figures on the test rows.

    Parameters
    ----------
    name : str
        A key of `PEERS`.
    config : RunConfig
        The project's configuration, for data, split and seed.
    budget : float
        Seconds that an automatic search may take.

    Raises
    ------
    DataError
        If the data cannot be read or split.
    """
    started = perf_counter()
    tracks = clean(read_tracks(config.data).frame, "tracks").frame
    task = task_of(tracks, split_tracks(tracks, config.split, config.seed), config.seed, budget)
    peer = PEERS[name]
    prediction = peer.predict(task)
    metrics = regression_metrics(
        task.test.target, np.clip(prediction.popularity, LOWEST, HIGHEST), task.test.features.shape[1]
    )
    title = f"{peer.title} ({prediction.learner})" if prediction.learner else peer.title
    seconds = perf_counter() - started
    return Score(
        config.split.name,
        title,
        metrics.get("r2", np.nan),
        metrics["rmse"],
        metrics["mae"],
        seconds,
        prediction.trees,
    )


def score_project(overrides: list[str], split: str) -> Score:
    """Run the project's own command and read what it found.

    Parameters
    ----------
    overrides : list of str
        For data, split and seed.
    split : str
        The split's name, for the table.

    Raises
    ------
    PeerError
        If the command fails.
    """
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        run = Path(folder, "run")
        command = [
            *(sys.executable, "-m", "spotify_ml.train", *overrides, "register=false"),
            f"tracking.uri='sqlite:///{folder}/mlflow.db'",
            f"tracking.artifact_location='{folder}/artifacts'",
            f"hydra.run.dir='{run}'",
        ]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode:
            reason = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1].removeprefix("error: ")
            raise PeerError(f"`{shlex.join(command[1:])}` failed: {reason}")
        metrics = json.loads((run / "summary.json").read_text(encoding="utf-8"))["metrics"]
    return Score(
        split,
        "**spotify_ml**",
        metrics.get("test/r2", np.nan),
        metrics["test/rmse"],
        metrics["test/mae"],
        sum(metrics[f"time/{stage}_s"] for stage in ("etl", "split", "features", "fit")),
        int(metrics["model/trees"]) if "model/trees" in metrics else None,
    )


def table(scores: Sequence[Score], command: str, peers: Sequence[str], seed: int) -> str:
    """Return the scores as Markdown, below a line that says how they came to be.

    Parameters
    ----------
    scores : sequence of Score
        Line by line.
    command : str
        As typed.
    peers : sequence of str
        Keys of `PEERS`, whose versions are named.
    seed : int
        The seed of splits and learners.
    """
    modules = ["xgboost", *(PEERS[name].module for name in peers), "scikit-learn", "pandas"]
    versions = ", ".join(f"{module} {library_version(module)}" for module in modules)
    cores = joblib.cpu_count()
    lines = [
        f"`{command}`: Python {platform.python_version()}, {versions}; {cores} core{'s' * (cores != 1)}, seed {seed}.",
        "",
        "Test rows; predictions are clipped to 0–100. Seconds are those of reading, cleaning, features and all fits.",
        "",
        "| split | model | test R² | RMSE | MAE | seconds | trees |",
        "|---|---|---:|---:|---:|---:|---:|",
        *("| " + " | ".join(score.cells()) + " |" for score in scores),
        "",
    ]
    return "\n".join(lines)


def run(args: argparse.Namespace, command: str) -> None:
    """Score the project and every peer on every split, and write the table.

    Parameters
    ----------
    args : Namespace
        The parsed command line.
    command : str
        As typed.

    Raises
    ------
    SpotifyMLError
        If a name is unknown, a peer not installed, the data cannot be used, or the table cannot be written.
    """
    peers = _known(args.peers, tuple(PEERS), "peer")
    splits = _known(args.splits, SPLITS, "split")
    check_installed(peers)
    scores: list[Score] = []

    def add(score: Score) -> None:
        scores.append(score)
        print("  ".join(f"{cell:>9}" for cell in score.cells()), flush=True)

    # Everything is composed, and the data is read, ahead of the first fit: a mistake ends the command at once.
    settings = [[*data_overrides(args.data), f"split={split}", f"seed={args.seed}"] for split in splits]
    configs = [composed(overrides) for overrides in settings]
    read_tracks(configs[0].data)
    print("  ".join(f"{name:>9}" for name in ("split", "model", "R2", "RMSE", "MAE", "seconds", "trees")), flush=True)
    for overrides, config in zip(settings, configs, strict=True):
        add(score_project(overrides, config.split.name))
        for name in peers:
            add(score_peer(name, config, args.budget))
    with staged(args.output) as file:
        file.write_text(table(scores, command, peers, args.seed), encoding="utf-8")
    print(f"wrote {args.output}")


def _known(given: str, names: Sequence[str], kind: str) -> list[str]:
    """Split a comma-separated list of names, each of which must be known; a repeated one counts once."""
    chosen = list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    for name in chosen:
        if name not in names:
            raise ConfigError(f"unknown {kind} {name!r}{did_you_mean(name, names)}; there are: {', '.join(names)}")
    if not chosen:
        raise ConfigError(f"no {kind} is named; there are: {', '.join(names)}")
    return chosen


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, those of the process by default.

    Returns
    -------
    int
        Exit code: 0 if the table is written, 1 on an error, 130 on Ctrl-C.
    """
    parser = argparse.ArgumentParser(description="Compare the project's default model with other learners.")
    parser.add_argument("--splits", default="recording,album,artist", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="default: %(default)s")
    parser.add_argument("--peers", default=",".join(PEERS), help="default: %(default)s")
    parser.add_argument(
        "--budget", type=_positive, default=300.0, metavar="S", help="of FLAML's search, default: %(default)s"
    )
    parser.add_argument("--data", default=SAMPLE, metavar="PATH|sample", help="default: %(default)s")
    parser.add_argument(
        "--output", type=Path, default=paths.PROJECT / "docs" / "peers.md", metavar="PATH", help="default: %(default)s"
    )
    typed = sys.argv[1:] if argv is None else list(argv)
    args = parser.parse_args(typed)
    # As the project's command does: threads that wait by spinning multiply the time of a fit where cores are shared.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # FLAML and CatBoost warn about what scikit-learn and pandas will change, once per trial.
    warnings.simplefilter("ignore")
    logging.getLogger("flaml").setLevel(logging.ERROR)
    try:
        run(args, shlex.join(["python", "scripts/peers.py", *typed]))
    except SpotifyMLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
