"""What `scripts/benchmark.py` needs beside the project's own command, each part a process of its own.

- ``catalogue``: a CSV of so many rows: real tracks, repeated under other ids, artists and albums with jittered audio.
- ``bare``: the least that reading, trainval and predicting can cost: pyarrow reads the CSV, XGBoost fits a quantised
  matrix, a booster predicts a ready one. It imports what the project's command imports.
- ``reference-etl`` and ``reference-features``: the reference pipeline as it is described, by pandas: a row-wise
  ``apply``, CSV and Parquet between the steps, scikit-learn's encoders.

Each prints one line of JSON: seconds by name.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Of a column's standard deviation: below what tells two takes of a song apart, above any rounding.
_JITTER = 0.02
# About as many as the real figures have: a CSV of longer ones would take longer to read.
_DECIMALS = 4


class Stages:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Take the time of the block."""
        started = perf_counter()
        yield
        self.seconds[name] = perf_counter() - started


def write_catalogue(source: Path, target: Path, n_rows: int, seed: int = 0) -> None:
    """Write a CSV of `n_rows` tracks: the first of a file, or all of them and as many copies as it takes.

    Parameters
    ----------
    source : Path
        Raw tracks.
    target : Path
        The CSV to write.
    n_rows : int
        How many rows.
    seed : int
        Decides the jitter.
    """
    import pyarrow as pa
    import pyarrow.csv

    from spotify_ml.config.run import DataConfig
    from spotify_ml.data.sources import read_tracks
    from spotify_ml.data.splits import group_codes

    tracks = read_tracks(DataConfig(name="file", path=str(source))).frame
    # What is one recording stays one.
    recordings = group_codes(tracks, "recording")
    schema = pa.Schema.from_pandas(tracks, preserve_index=False)
    with pa.csv.CSVWriter(target, schema) as writer:
        for number, start in enumerate(range(0, n_rows, len(tracks))):
            copy = catalogue_copy(tracks, recordings, number, seed).head(n_rows - start)
            writer.write_table(pa.Table.from_pandas(copy, schema, preserve_index=False))


def catalogue_copy(tracks: "pd.DataFrame", recordings: "np.ndarray", number: int, seed: int) -> "pd.DataFrame":
    """Return tracks as other tracks of other artists: copy 0 is the tracks themselves.

    There are then as many tracks an artist and an album as in the real catalogue, and as many copies of a recording.

    Parameters
    ----------
    tracks : DataFrame
        Raw tracks.
    recordings : ndarray of int, shape (n_tracks,)
        The recording of each.
    number : int
        Of the copy.
    seed : int
        Decides the jitter.
    """
    import numpy as np

    from spotify_ml.data.schema import COLUMNS, LIST_SEPARATOR, TARGET, Kind

    if number == 0:
        return tracks
    rng, mark = np.random.default_rng([seed, number]), f" ~{number}"
    changed: dict[str, Any] = {
        "track_id": tracks["track_id"] + mark,
        "artists": tracks["artists"].str.replace(LIST_SEPARATOR, mark + LIST_SEPARATOR, regex=False) + mark,
        "album_name": tracks["album_name"] + mark,
    }
    for column in COLUMNS:
        if column.kind is Kind.NUMBER and column.name != TARGET:
            values = tracks[column.name].to_numpy()
            noise = rng.normal(0, _JITTER * values.std(), recordings.max() + 1)
            jittered = (values + noise[recordings]).round(_DECIMALS)
            changed[column.name] = np.clip(jittered, column.minimum, column.maximum)
    return tracks.assign(**changed)


def bare(tracks: Path, cache: Path, run: Path) -> dict[str, float]:
    """Read, fit and predict what a run of the project did, by the libraries alone.

    Parameters
    ----------
    tracks : Path
        The CSV.
    cache : Path
        The stage cache of the run, which holds its matrices.
    run : Path
        Its folder.
    """
    import hydra  # noqa: F401
    import mlflow.pyfunc
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import sklearn.compose  # noqa: F401
    import skops.io  # noqa: F401
    import xgboost

    stages = Stages()
    with stages.stage("read"):
        pa.csv.read_csv(tracks, pa.csv.ReadOptions(block_size=10 * 2**20), pa.csv.ParseOptions(newlines_in_values=True))
    popularity = pa.ipc.open_file(next(cache.glob("tracks-*")) / "tracks.arrow").read_all()["popularity"].to_numpy()
    positions = next(cache.glob("split-*"))
    train, validation = (np.load(positions / f"{part}.npy") for part in ("train", "validation"))
    rows = {"train": train, "trainval": np.sort(np.concatenate([train, validation]))}
    # As the project maps them, so that what is read is in nobody's memory before it is needed.
    features = {
        part: np.load(next(cache.glob("features-*")) / f"{part}.npy", mmap_mode="r").view(np.ndarray)
        for part in (*rows, "test")
    }
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    model = json.loads((run / "config.json").read_text(encoding="utf-8"))["model"]
    parameters = xgboost.XGBRegressor(
        objective="reg:squarederror", **{key: value for key, value in model.items() if key != "name"}
    ).get_xgb_params()
    n_trees = int(summary["metrics"]["model/trees"])
    for part, name in (("train", "first fit"), ("trainval", "fit")):
        with stages.stage(f"quantise for the {name}"):
            matrix = xgboost.QuantileDMatrix(features[part], popularity[rows[part]], max_bin=model["max_bin"])
        with stages.stage(name):
            booster = xgboost.train(parameters, matrix, n_trees)
        del matrix
    with stages.stage("predict"):
        booster.inplace_predict(features["test"])
    return stages.seconds


def reference_etl(tracks: Path, folder: Path) -> dict[str, float]:
    """Clean tracks as the reference pipeline does, and write them as CSV and Parquet."""
    import pandas as pd

    def mood(row: "pd.Series") -> str:
        if row["valence"] > 0.5:
            return "Happy/High Energy" if row["energy"] > 0.5 else "Chill/Happy"
        return "Energetic/Sad" if row["energy"] > 0.5 else "Sad/Low Energy"

    stages = Stages()
    with stages.stage("read"):
        frame = pd.read_csv(tracks)
    with stages.stage("clean"):
        report = {"duplicates": frame.duplicated().sum(), "nulls": frame.isna().sum(), "ranges": frame.describe()}
        (folder / "data_quality_report.txt").write_text(str(report), encoding="utf-8")
        frame["duration_min"] = frame["duration_ms"] / 60_000
        frame["mood_energy"] = frame.apply(mood, axis=1)
        for name, column, edges, labels in (
            ("energy_category", "energy", [0, 0.33, 0.66, 1], ["Low Energy", "Medium Energy", "High Energy"]),
            ("popularity_category", "popularity", [0, 33, 66, 100], ["Low", "Medium", "High"]),
            ("tempo_category", "tempo", [0, 90, 120, 150, 300], ["Slow", "Moderate", "Fast", "Very Fast"]),
        ):
            frame[name] = pd.cut(frame[column], edges, labels=labels, include_lowest=True)
    with stages.stage("write"):
        frame.to_csv(folder / "cleaned_spotify_data.csv", index=False)
        frame.to_parquet(folder / "cleaned_spotify_data.parquet", index=False)
    return stages.seconds


def reference_features(folder: Path) -> dict[str, float]:
    """Build the 37 features of the reference pipeline from what `reference_etl` wrote, and write X and y."""
    import pandas as pd
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import LabelEncoder, StandardScaler

    stages = Stages()
    with stages.stage("read"):
        frame = pd.read_parquet(folder / "cleaned_spotify_data.parquet")
    with stages.stage("features"):
        energy, dance, valence, minutes = (
            frame[name] for name in ("energy", "danceability", "valence", "duration_min")
        )
        frame["energy_danceability"], frame["valence_energy"] = energy * dance, valence * energy
        frame["acousticness_energy"] = frame["acousticness"] * energy
        for name in ("energy", "danceability", "valence"):
            frame[f"{name}_squared"] = frame[name] ** 2
        frame["is_short_track"], frame["is_long_track"] = (minutes < 3).astype(int), (minutes > 5).astype(int)
        frame["high_energy_happy"] = ((energy > 0.7) & (valence > 0.7)).astype(int)
        frame["low_energy_sad"] = ((energy < 0.3) & (valence < 0.3)).astype(int)
        frame["explicit"] = frame["explicit"].astype(int)
        levels = ["mode", "time_signature", "mood_energy", "energy_category", "tempo_category"]
        frame = pd.get_dummies(frame, columns=levels, drop_first=True)
        frame["track_genre_encoded"] = LabelEncoder().fit_transform(frame["track_genre"])
        scaled = ["duration_ms", "loudness", "tempo", "duration_min", "track_genre_encoded", "key"]
        frame[scaled] = StandardScaler().fit_transform(frame[scaled])
        texts = ["track_id", "artists", "album_name", "track_name", "track_genre", "popularity_category"]
        frame = frame.drop(columns=texts)
        features, target = frame.drop(columns="popularity"), frame[["popularity"]]
        parts = train_test_split(features, target, test_size=0.2, random_state=42)
    with stages.stage("write"):
        for name, part in zip(("X_train", "X_test", "y_train", "y_test"), parts, strict=True):
            part.to_parquet(folder / f"{name}.parquet", index=False)
        frame.to_parquet(folder / "ml_ready_data.parquet", index=False)
        features.dtypes.to_csv(folder / "feature_info.csv")
    return stages.seconds


def _catalogue(source: Path, target: Path, n_rows: Path) -> dict[str, float]:
    stages = Stages()
    with stages.stage("write"):
        write_catalogue(source, target, int(str(n_rows)))
    return stages.seconds


PARTS: dict[str, Callable[..., dict[str, float]]] = {
    "catalogue": _catalogue,
    "bare": bare,
    "reference-etl": reference_etl,
    "reference-features": reference_features,
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description="A part of scripts/benchmark.py.")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("arguments", nargs="*", type=Path)
    args = parser.parse_args()
    json.dump(PARTS[args.part](*args.arguments), sys.stdout)


if __name__ == "__main__":
    main()
