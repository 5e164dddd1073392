"""Tables and texts of the notebooks that no command prints."""

from pathlib import Path

import numpy as np
import pandas as pd

from spotify_ml.config.run import RunConfig, SplitConfig, TrackingConfig
from spotify_ml.data.etl import add_derived_columns, clean
from spotify_ml.data.outputs import feature_info
from spotify_ml.data.schema import NAMES, TARGET
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.data.unseen_rows import novelty
from spotify_ml.features.display_names import families, label
from spotify_ml.features.subsets import Subset
from spotify_ml.reports.runs import compare_runs, run_report
from spotify_ml.reports.summary import Summary
from spotify_ml.tracking.run_reader import finished_runs, read_runs
from spotify_ml.utils.errors import without_passwords
from spotify_ml.utils.paths import database_path

_SPLITS = ("recording", "album", "artist", "random")
_COMPARED = 2


def figures(summary: Summary) -> list[str]:
    """Return where the pictures of a run are."""
    return [str(path) for path in sorted(Path(summary.folder, "figures").glob("*.png"))]


def model_card(summary: Summary) -> str:
    """Return the model card of a run, as Markdown."""
    return Path(summary.folder, "model_card", "model_card.md").read_text(encoding="utf-8")


def cleaning_table(raw: RawTracks) -> pd.DataFrame:
    """Return what each kind of cleaning makes of raw rows: how many rows and genres, and their mean popularity."""
    tables = {kind: clean(raw.frame, kind).frame for kind in ("rows", "tracks")}
    return pd.DataFrame(
        {
            kind: {
                "rows": len(table),
                "genres a row, mean": table["track_genre"].str.count(";").add(1).mean(),
                "popularity, mean": table[TARGET].mean(),
                "popularity 0": f"{(table[TARGET] == 0).mean():.1%}",
            }
            for kind, table in tables.items()
        }
    )


def derived_columns(raw: RawTracks) -> pd.DataFrame:
    """Return raw rows with the columns that are derived from them in front."""
    derived = add_derived_columns(raw.frame)
    return derived[[*(name for name in derived if name not in NAMES), *NAMES]]


def split_table(tracks: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    """Return the four splits of clean tracks: the rows of each part, and how new the test rows are to what is fitted.

    Parameters
    ----------
    tracks : DataFrame
        Clean tracks.
    config : RunConfig
        Says how large the parts are, and the seed.
    """
    rows = {}
    for kind in _SPLITS:
        rule = SplitConfig(**{**config.split.model_dump(), "name": kind})
        split = split_tracks(tracks, rule, config.seed)
        levels = novelty(tracks, split, rule)
        rows[kind] = {
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
            "groups": int(split.groups.max()) + 1,
            "test rows with a copy among the fitted": f"{np.mean(levels == 'random'):.0%}",
            "of a known album": f"{np.mean(np.isin(levels, ['random', 'recording'])):.0%}",
            "of a known artist": f"{np.mean(levels != 'artist'):.0%}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("split")


def feature_table(part: Subset) -> pd.DataFrame:
    """Describe the features of a part: what each tells, its family, its values, and how it goes with popularity.

    Returns
    -------
    DataFrame
        Indexed by ``feature``, by falling size of ``spearman``, the rank correlation with popularity: ``meaning``,
        ``family``, and the columns of `spotify_ml.data.outputs.feature_info`.
    """
    info = feature_info(part.features)
    info.insert(0, "meaning", [label(name) for name in info.index])
    info.insert(1, "family", families(list(info.index)))
    ranks = part.features.rank().corrwith(pd.Series(part.target, index=part.features.index).rank())
    info.insert(2, "spearman", ranks)
    return info.sort_values("spearman", key=np.abs, ascending=False, kind="stable")


def latest_runs(tracking: TrackingConfig, count: int = 10) -> pd.DataFrame:
    """Return the latest finished runs as `spotify_ml.tracking.run_reader.finished_runs` does.

    Where no run has made the local store yet, there are none.
    """
    database = database_path(tracking.uri)
    return finished_runs(tracking, count) if database is None or database.is_file() else pd.DataFrame()


def comparison(tracking: TrackingConfig, runs: list[str]) -> str:
    """Return the comparison of runs as Markdown, or what to do where there are not two.

    Parameters
    ----------
    tracking : TrackingConfig
        The store.
    runs : list of str
        Ids, beginnings of ids, names or versions; none for the two latest runs, the earlier first.

    Raises
    ------
    TrackingError
        If one of those named is not there.
    """
    named = runs or list(latest_runs(tracking, _COMPARED).index[::-1])
    if len(named) < _COMPARED:
        return (
            f"**Nothing to compare yet**: {without_passwords(tracking.uri)} holds {len(named)} of the two finished "
            "runs that it takes. Train with `make train` and `make train ARGS=features=audio`, or run "
            "`03_ML_XGBoost_Model.ipynb`."
        )
    found = read_runs(tracking, named)
    return run_report(found, compare_runs(found))
