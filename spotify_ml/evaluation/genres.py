"""For which genres a model is how far off."""

import numpy as np
import pandas as pd

from spotify_ml.data.schema import LIST_SEPARATOR
from spotify_ml.evaluation.by_group import errors_by

# Below this a genre's error says more about its few tracks than about the genre.
FEWEST_TRACKS = 30


def errors_by_genre(
    genres: pd.Series, errors: dict[str, np.ndarray], groups: np.ndarray, fewest_tracks: int = FEWEST_TRACKS
) -> pd.DataFrame:
    """Return `spotify_ml.evaluation.by_group.errors_by` of every genre with enough tracks, worst first.

    A row counts for each of its genres, which `genres` has joined by ``;``.
    """
    apart = pd.Series(genres.str.split(LIST_SEPARATOR).to_numpy()).explode().dropna()
    rows = apart.index.to_numpy()
    repeated = {name: values[rows] for name, values in errors.items()}
    table = errors_by(apart.to_numpy(dtype=object), repeated, groups[rows]).rename_axis("genre")
    worst = next(iter(errors))
    return table[table["tracks"] >= fewest_tracks].sort_values(worst, ascending=False, kind="stable")
