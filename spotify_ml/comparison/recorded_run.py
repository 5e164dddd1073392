"""A run as its record tells of it, to be compared with others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from spotify_ml.config.run import RecordedConfig


@dataclass(frozen=True)
class RecordedRun:
    """What is recorded of a run; of one that failed, or was recorded by an earlier version, there is less.

    ``address`` is the version that it was asked for by, as ``models:/name/3``; ``predictions`` are its test rows, as
    `spotify_ml.comparison.predictions.scored_rows` returns them; ``figures`` its pictures, as PNG, by name.
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
