"""What release dates, another catalogue, and both together are worth on TidyTuesday's "Spotify Songs" (2020).

    SPOTIFY_TIDYTUESDAY_PATH=spotify_songs.csv.gz python scripts/catalogues.py            # 15 minutes
    SPOTIFY_TIDYTUESDAY_PATH=spotify_songs.csv.gz python scripts/catalogues.py --seeds 42 --tables alone

Figures are of test rows, means over the seeds. The full dataset is that of ``data=full``.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score

from spotify_ml import configure
from spotify_ml.backends.local import LocalBackend
from spotify_ml.config.run import RunConfig
from spotify_ml.data.dates import COLLECTED_COLUMN
from spotify_ml.data.parts import SOURCE_COLUMN, source_name
from spotify_ml.data.schema import FURTHER_NAMES, TARGET
from spotify_ml.data.splits import Split
from spotify_ml.evaluation.baselines import quick_baselines
from spotify_ml.evaluation.bootstrap import bootstrap_differences
from spotify_ml.evaluation.coverage import calibrate_intervals
from spotify_ml.features.builder import build_subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.incomplete_fit import model_of
from spotify_ml.models.intervals import within_range
from spotify_ml.utils.markdown import table
from spotify_ml.utils.timing import Stopwatch

_OPTIONS = ("tracking.uri=sqlite:///unused.db", "cache=off")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    given = parser.parse_args()
    if "SPOTIFY_TIDYTUESDAY_PATH" not in os.environ:
        parser.error("name the file: SPOTIFY_TIDYTUESDAY_PATH=…")
    path = os.environ["SPOTIFY_TIDYTUESDAY_PATH"]
    for name in given.tables:
        found = [TABLES[name](path, seed) for seed in given.seeds]
        means = sum(each.astype(float) for each in found) / len(found)
        rows = [[*map(str, row[:1]), *(f"{value:.3f}" for value in row[1:])] for row in means.reset_index().to_numpy()]
        print(f"\n{name}, seeds {', '.join(map(str, given.seeds))}\n")
        print(table(["", *means.columns], rows), flush=True)


def alone(path: str, seed: int) -> pd.DataFrame:
    """Return R² of every split and set of features, and what dates add where rows are divided by them."""
    found = {}
    for split in ("recording", "artist", "release"):
        config = configure("data=file", f"data.path={path}", f"split={split}", f"seed={seed}", *_OPTIONS)
        tracks, parts = read(config)
        target = tracks[TARGET].to_numpy(dtype=float)[parts.test]
        dates = [name for name in (*FURTHER_NAMES, COLLECTED_COLUMN) if name in tracks]
        predicted = {
            "audio": scored(config, "audio", tracks, parts),
            "full, without dates": scored(config, "full", tracks.drop(columns=dates), parts),
            "full": scored(config, "full", tracks, parts),
        }
        added = bootstrap_differences(
            config.task,
            target,
            predicted["full"],
            predicted["full, without dates"],
            parts.groups[parts.test],
            seed=seed,
            confidence=0.95,
        )["r2"]
        found[split] = {
            "genre mean": float(r2_score(target, genre_means(config, tracks, parts))),
            **{name: float(r2_score(target, values)) for name, values in predicted.items()},
            "dates add": added.value,
            "at least": added.lower,
            "at most": added.upper,
        }
    return pd.DataFrame(found).T


def source(path: str, seed: int) -> pd.DataFrame:
    """Return the figures of each catalogue by a model of the other."""
    full = str(configure("data=full").data.path)
    found = {}
    for tested in (path, full):
        name = source_name(tested)
        paths = f"data.path=[{full},{path}]"
        config = configure("data=file", paths, "split=source", f"split.source={name}", f"seed={seed}", *_OPTIONS)
        for catalogue in ("own", "other"):
            found[f"{name}, catalogue={catalogue}"] = served(config, every, other=catalogue == "other")
    return pd.DataFrame(found).T


def both(path: str, seed: int) -> pd.DataFrame:
    """Return the figures of TidyTuesday's tracks that the full dataset lacks, by a model of both and of them alone."""
    full = str(configure("data=full").data.path)
    name, found = source_name(path), {}
    known = set(pd.read_parquet(full, columns=["track_id"])["track_id"]) if Path(full).suffix == ".parquet" else None
    known = set(pd.read_csv(full, usecols=["track_id"])["track_id"]) if known is None else known
    for split in ("recording", "artist"):
        for which, data in (("both", f"[{full},{path}]"), ("alone", path)):
            config = configure("data=file", f"data.path={data}", f"split={split}", f"seed={seed}", *_OPTIONS)

            def further(tracks: pd.DataFrame) -> np.ndarray:
                is_own = (tracks[SOURCE_COLUMN] == name) if SOURCE_COLUMN in tracks else True
                return (~tracks["track_id"].isin(known) & is_own).to_numpy()

            found[f"{split}, {which}"] = served(config, further, other=False)
    return pd.DataFrame(found).T


TABLES: dict[str, Callable[[str, int], pd.DataFrame]] = {"alone": alone, "source": source, "both": both}


def read(config: RunConfig) -> tuple[pd.DataFrame, Split]:
    """Return the clean tracks of a run and their split."""
    backend = LocalBackend(config, Stopwatch())
    found = backend.read()
    return found.tracks.frame, backend.split(found)


def scored(config: RunConfig, features: str, tracks: pd.DataFrame, parts: Split) -> np.ndarray:
    """Return what the default estimator predicts of the test rows by a set of features, between 0 and 100."""
    subsets = build_subsets(features, tracks, parts, config.seed)  # type: ignore[arg-type]
    fitted = fit_estimators(config.model, config.task, subsets, config.seed)
    return np.clip(fitted.refit.predict(subsets.test.matrix()).astype(float), 0, 100)


def genre_means(config: RunConfig, tracks: pd.DataFrame, parts: Split) -> np.ndarray:
    """Return what the baseline by genre predicts of the test rows."""
    known, asked = tracks.iloc[parts.trainval], tracks.iloc[parts.test]
    return quick_baselines(config.task, known, known[TARGET].to_numpy(float), asked)["baseline_genre"]


def every(tracks: pd.DataFrame) -> np.ndarray:
    """Return that all test rows count."""
    return np.ones(len(tracks), dtype=bool)


def served(config: RunConfig, is_asked: Callable[[pd.DataFrame], np.ndarray], *, other: bool) -> dict[str, float]:
    """Return the figures of some test rows by the model as it is registered."""
    tracks, parts = read(config)
    subsets = build_subsets("full", tracks, parts, config.seed)
    fitted = fit_estimators(config.model, config.task, subsets, config.seed)
    intervals = calibrate_intervals(config.task, fitted, subsets, parts.groups)
    model = model_of(config, fitted, subsets, tracks, parts, intervals)
    rows = np.flatnonzero(is_asked(tracks.iloc[parts.test]))
    target = subsets.test.target[rows]
    scores = model.score(subsets.test.take(rows), other=other, confidences=(0.9,))
    lower, upper = within_range(scores.predicted, scores.margins[0])
    return {
        "tracks": len(rows),
        "R²": float(r2_score(target, scores.predicted)),
        "bias": float(np.mean(scores.predicted - target)),
        "coverage of 90 %": float(np.mean((lower <= target) & (target <= upper))),
        "width of 90 %": float(np.mean(upper - lower)),
    }


if __name__ == "__main__":
    main()
