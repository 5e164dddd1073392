"""A run as its record tells of it, to be compared with others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from spotify_ml.config.run import RecordedConfig


@dataclass(frozen=True)
class RecordedRun:
    """What is recorded of a run; of one that failed, or was recorded by an earlier version, there is less.

    Attributes
    ----------
    run_id, name : str
        As in the store.
    address : str or None
        The version that it was asked for by, as ``models:/name/3``; None of a run.
    status : str
        ``FINISHED``, or what else the store says.
    started : datetime
        When.
    params, tags : mapping of str to str
        The settings under their dotted keys; and what else is said of the run.
    metrics : mapping of str to float
        Its figures.
    config : RecordedConfig or None
        Data, cleaning, split, task and seed.
    predictions : DataFrame or None
        Its test rows; see `spotify_ml.comparison.predictions.scored_rows`.
    figures : dict of str to bytes
        The pictures, as PNG, by name.
    model_bytes : int or None
        The size of its model's files.
    """

    run_id: str
    name: str
    address: str | None
    status: str
    started: datetime
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    config: RecordedConfig | None = None
    predictions: pd.DataFrame | None = None
    figures: dict[str, bytes] = field(default_factory=dict)
    model_bytes: int | None = None

    @property
    def title(self) -> str:
        """What to call it: the version that it was asked for by, or its name."""
        return self.address or self.name
