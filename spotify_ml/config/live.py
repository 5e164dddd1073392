"""The schema of ``conf/live.yaml``: outcomes of live traffic, and what is made of them."""

from typing import Literal

from pydantic import Field

from spotify_ml.config.run import TrackingConfig
from spotify_ml.config.section import Section
from spotify_ml.config.traffic import LogAddress

LiveAction = Literal["outcomes"]


class LiveConfig(Section):
    """``conf/live.yaml``: the log of live traffic, and what to do with it."""

    action: LiveAction
    log: LogAddress | None
    outcomes: str | None = Field(min_length=1)
    tracking: TrackingConfig
