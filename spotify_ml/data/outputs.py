"""The data files of a run: always the quality report and feature table, the data itself on request."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.data.csv_text import write_csv
from spotify_ml.data.quality import QualityReport
from spotify_ml.data.schema import TARGET

REPORTS = ("data_quality_report.txt", "data_quality_report.json", "feature_info.csv")
# Half of this work releases the interpreter lock.
_THREADS = 2


def write_reports(folder: Path, quality: QualityReport, features: Iterable[pd.DataFrame]) -> None:
    """Write the files `REPORTS` to an existing folder; the features of the final model come a few columns at a time."""
    (folder / "data_quality_report.txt").write_text(quality.as_text(), encoding="utf-8")
    (folder / "data_quality_report.json").write_text(json.dumps(quality.as_dict(), indent=2), encoding="utf-8")
    write_csv(pd.concat(map(feature_info, features)), folder / "feature_info.csv", index=True)


def feature_info(features: pd.DataFrame) -> pd.DataFrame:
    """Return dtype, missing and distinct values, mean and standard deviation of every feature."""

    def describe(name: str) -> dict[str, Any]:
        # Sums in float32 are inexact.
        values = features[name].astype(np.float64)
        return {
            "dtype": str(features[name].dtype),
            "missing": values.isna().sum(),
            "unique": values.nunique(),
            "mean": values.mean(),
            "std": values.std(),
        }

    with ThreadPoolExecutor(_THREADS) as pool:
        return pd.DataFrame(pool.map(describe, features), index=features.columns.rename("feature"))


def write_data(folder: Path, tracks: pd.DataFrame, subsets: dict[str, pd.DataFrame]) -> None:
    """Write the clean tracks, and features and target of each subset, to an existing folder.

    The features of ``train`` (with validation) and ``test`` are indexed by the row of `tracks`.
    """
    write_csv(tracks, folder / "cleaned_spotify_data.csv")
    _write_parquet(tracks, folder / "cleaned_spotify_data.parquet")
    target = tracks[TARGET].to_frame()
    for name, features in subsets.items():
        _write_parquet(features, folder / f"X_{name}.parquet")
        _write_parquet(target.loc[features.index], folder / f"y_{name}.parquet")
    _write_parquet(pd.concat(subsets.values()).sort_index().join(target), folder / "ml_ready_data.parquet")


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, compression="snappy", index=False)
