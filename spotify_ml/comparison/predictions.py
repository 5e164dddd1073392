"""The scored test rows of a run, as it leaves them to be compared with those of others."""

from pathlib import Path

import numpy as np
import pandas as pd

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.schema import TARGET
from spotify_ml.data.splits import Split
from spotify_ml.data.unseen_rows import novelty
from spotify_ml.utils.errors import DataError

FILE = "test.parquet"
# Of the intervals that the rows come with.
CONFIDENCE = 0.9
_PREDICTED, _PROBABILITY = f"{TARGET}_predicted", "probability_"


def scored_rows(
    tracks: pd.DataFrame,
    split: Split,
    config: SplitConfig,
    predicted: np.ndarray,
    classes: tuple[str, ...],
    bounds: tuple[np.ndarray, np.ndarray] | None = None,
) -> pd.DataFrame:
    """Return the test rows of a run with what its model says of them.

    The columns are ``row``, its position in the clean tracks; ``track_id`` and ``track_genre``; ``group`` of the split;
    ``novelty``, see `spotify_ml.data.unseen_rows.novelty`; ``popularity``; and ``popularity_predicted``, or a
    ``probability_<class>`` for every class. With the bounds of intervals at `CONFIDENCE` also ``lower`` and ``upper``.
    """
    rows = tracks.iloc[split.test]
    values = {_PROBABILITY + name: predicted[:, code] for code, name in enumerate(classes)}
    ends = {} if bounds is None else dict(zip(("lower", "upper"), bounds, strict=True))
    return pd.DataFrame(
        {
            "row": split.test,
            "track_id": rows["track_id"].array,
            "track_genre": rows["track_genre"].array,
            "group": split.groups[split.test],
            "novelty": pd.Categorical(novelty(tracks, split, config)),
            TARGET: rows[TARGET].array,
            **(values or {_PREDICTED: predicted}),
            **ends,
        }
    )


def write_predictions(folder: Path, rows: pd.DataFrame) -> None:
    """Write scored rows as the `FILE` of a folder."""
    rows.to_parquet(folder / FILE, compression="zstd", index=False)


def read_predictions(folder: Path, run: str) -> pd.DataFrame:
    """Read what `write_predictions` wrote; `DataError`, which names the run, if it cannot be read."""
    try:
        return pd.read_parquet(folder / FILE)
    # What pyarrow raises of a damaged file are both.
    except (OSError, ValueError) as error:
        raise DataError(f"{run}: predictions/{FILE} is damaged ({error}); train it again, or leave it out") from error


def predicted_columns(rows: pd.DataFrame) -> list[str]:
    """Return the columns of scored rows that hold what the model says."""
    return [name for name in map(str, rows) if name == _PREDICTED or name.startswith(_PROBABILITY)]
