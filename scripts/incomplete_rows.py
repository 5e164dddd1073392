"""How good the default is for tracks of which something is not known, beside specialists, and for those of elsewhere.

    python scripts/incomplete_rows.py                                         # 20 minutes
    python scripts/incomplete_rows.py --seeds 42 --splits recording --data sample
    SPOTIFY_TIDYTUESDAY_PATH=spotify_songs.csv.gz python scripts/incomplete_rows.py

A specialist is the same learner, fitted on rows that all lack the same keys. Figures are means over the seeds. The last
table scores the tracks of TidyTuesday's "Spotify Songs" (2020) that the dataset lacks, in columns made by hand.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score

from spotify_ml import configure
from spotify_ml.backends.base import Source
from spotify_ml.backends.local import LocalBackend
from spotify_ml.config.run import RunConfig
from spotify_ml.data.splits import Split
from spotify_ml.evaluation.coverage import calibrate_intervals
from spotify_ml.evaluation.incomplete import score_patterns
from spotify_ml.evaluation.patterns import PATTERNS, Pattern
from spotify_ml.features.incomplete import IncompleteFeatures
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.fit import fit_single
from spotify_ml.models.incomplete_fit import PARAMETERS, model_of
from spotify_ml.models.intervals import within_range
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.predictions import clip_popularity, predict_subset
from spotify_ml.utils.markdown import table
from spotify_ml.utils.timing import Stopwatch

GENRES = {"pop": "pop", "rap": "hip-hop", "rock": "rock", "latin": "latin", "r&b": "r-n-b", "edm": "edm"}
# TidyTuesday's names of the raw columns; it lacks `explicit` and `time_signature`.
COLUMNS = {"track_name": "track_name", "artists": "track_artist", "album_name": "track_album_name"}
FIGURES = ("r2", "bias", "coverage_80", "coverage_90", "coverage_95", "width_90")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--splits", nargs="+", default=["recording", "artist"])
    parser.add_argument("--data", default="full", help="sample or full (full)")
    given = parser.parse_args()
    tidytuesday = os.environ.get("SPOTIFY_TIDYTUESDAY_PATH")
    for split in given.splits:
        found, elsewhere = [], []
        for seed in given.seeds:
            config = configure(f"data={given.data}", f"split={split}", f"seed={seed}")
            patterns, strangers = measured(config, None if tidytuesday is None else Path(tidytuesday))
            found.append(patterns)
            elsewhere.append(strangers)
        print(f"\nsplit={split}, seeds {', '.join(map(str, given.seeds))}\n")
        print(as_markdown(mean_of(found)))
        if tidytuesday is not None:
            print(f"\nTidyTuesday's other tracks\n\n{as_markdown(mean_of(elsewhere))}", flush=True)


def measured(config: RunConfig, tidytuesday: Path | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the figures of test rows by pattern, and those of TidyTuesday's other tracks."""
    backend = LocalBackend(config, Stopwatch())
    source = backend.read()
    split = backend.split(source)
    subsets = backend.subsets(source, split)
    model = fitted_model(config, source, split, subsets)
    rows = {"as they are": as_they_are(model, subsets.test)}
    patterns = score_patterns(model, config.task, subsets.test).set_index("pattern")
    for name in patterns.index:
        pattern = PATTERNS[name]
        of_keys = pattern.absent and not pattern.other
        rows[name] = {
            **{figure: patterns.loc[name, figure] for figure in FIGURES},
            "specialist": specialist(config, subsets, pattern) if of_keys else np.nan,
        }
    strangers = pd.DataFrame()
    if tidytuesday is not None:
        strangers = pd.DataFrame(other_tracks(model, source.tracks.frame, tidytuesday)).T
    return pd.DataFrame(rows).T, strangers


def fitted_model(config: RunConfig, source: Source, split: Split, subsets: Subsets) -> PopularityModel:
    """Fit both models of a run, with their intervals."""
    fitted = fit_estimators(config.model, config.task, subsets, config.seed)
    intervals = calibrate_intervals(config.task, fitted, subsets, split.groups)
    return model_of(config, fitted, subsets, source.tracks.frame, split, intervals)


def as_they_are(model: PopularityModel, test: Subset) -> dict[str, float]:
    """Return the figures of complete test rows, and as ``specialist`` R² without the model of incomplete rows."""
    alone = PopularityModel(model.features, model.estimator, intervals=model.intervals)
    matrix = test.matrix()
    return {
        **figures(model.score(matrix, confidences=(0.8, 0.9, 0.95)), test.target),
        "specialist": float(r2_score(test.target, alone.score(matrix).predicted)),
    }


def specialist(config: RunConfig, subsets: Subsets, pattern: Pattern) -> float:
    """Return R² of test rows without some keys, by an estimator whose rows all lack the same."""

    def lacking(subset: Subset) -> Subset:
        features = IncompleteFeatures(tuple(subset.features.columns))
        everything = np.ones(len(subset.target), dtype=bool)
        matrix = features.without(subset.matrix(), dict.fromkeys(pattern.absent, everything), {})
        view = features.view(matrix, ~everything)
        columns = subset.features.columns[features.kept]
        return Subset(pd.DataFrame(view, index=subset.features.index, columns=columns), subset.target)

    parts = Subsets(*map(lacking, (subsets.train, subsets.validation, subsets.trainval, subsets.test)), None)
    estimator = fit_single(PARAMETERS, config.task, parts, config.seed).refit
    return float(r2_score(parts.test.target, clip_popularity(predict_subset(estimator, parts.test))))


def other_tracks(model: PopularityModel, tracks: pd.DataFrame, path: Path) -> dict[str, dict[str, float]]:
    """Return the figures of the tracks of a TidyTuesday file that some tracks lack, by what is said of them."""
    given = pd.read_csv(path).drop_duplicates("track_id")
    given = given[~given["track_id"].isin(tracks["track_id"])]
    rows = given.rename(columns={theirs: ours for ours, theirs in COLUMNS.items()})
    rows = rows.assign(track_genre=given["playlist_genre"].map(GENRES))
    target = given["track_popularity"].to_numpy(dtype=float)
    asked = {
        "as they are": {},
        "catalogue=other": {"catalogue": "other"},
        "catalogue=other, no genre": {"catalogue": "other", "drop": ["track_genre"]},
    }
    found = {}
    for name, options in asked.items():
        scored = model.predict(
            rows.drop(columns=options.get("drop", [])), interval=0.9, catalogue=options.get("catalogue", "own")
        )
        inside = (scored["lower"] <= target) & (target <= scored["upper"])
        found[name] = {
            "r2": float(r2_score(target, scored["popularity"])),
            "bias": float(np.mean(scored["popularity"] - target)),
            "coverage_90": float(inside.mean()),
            "width_90": float((scored["upper"] - scored["lower"]).mean()),
        }
    return found


def figures(scores: Any, target: np.ndarray) -> dict[str, float]:
    """Return the figures of predictions and margins at 80, 90 and 95 %."""
    found = {
        "r2": float(r2_score(target, scores.predicted)),
        "bias": float(np.mean(scores.predicted - target)),
    }
    for level, margin in zip((80, 90, 95), scores.margins, strict=True):
        lower, upper = within_range(scores.predicted, margin)
        found |= {f"coverage_{level}": float(np.mean((lower <= target) & (target <= upper)))}
        found |= {f"width_{level}": float(np.mean(upper - lower))}
    return found


def mean_of(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the mean of tables of the same rows and columns, in the order of the first."""
    first = tables[0]
    return sum(each.astype(float) for each in tables) / len(tables) if len(first) else first  # type: ignore[return-value]


def as_markdown(means: pd.DataFrame) -> str:
    """Return a table of means."""
    forms = {"r2": ".3f", "specialist": ".3f", "bias": "+.2f", "width_90": ".1f"}
    names = [name for name in ("r2", "specialist", *FIGURES[1:]) if name in means]
    rows = [
        [
            PATTERNS[str(name)].label if name in PATTERNS else str(name),
            *("–" if np.isnan(row[column]) else f"{row[column]:{forms.get(column, '.1%')}}" for column in names),
        ]
        for name, row in means.iterrows()
    ]
    return table(["test tracks with", *names], rows)


if __name__ == "__main__":
    main()
