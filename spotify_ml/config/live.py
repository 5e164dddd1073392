"""The schema of ``conf/live.yaml``: outcomes of live traffic, and what is made of them."""

from typing import Literal

from pydantic import Field

from spotify_ml.config.run import TrackingConfig
from spotify_ml.config.section import Section, StudyName
from spotify_ml.config.traffic import LogAddress

LiveAction = Literal["outcomes", "report", "plan", "table"]


class RuleConfig(Section):
    """When an experiment is decided, and when it ends without a decision."""

    metric: Literal["squared", "absolute"]
    alpha: float = Field(gt=0, lt=1)
    look_every: int = Field(ge=1)
    planned: int = Field(ge=1)
    max_outcomes: int = Field(ge=1)
    max_days: float = Field(gt=0)
    late_days: float = Field(gt=0)


class GuardrailsConfig(Section):
    """What a challenger may not do, however good it is."""

    errors: float = Field(ge=0, le=1)
    latency: float = Field(gt=0)
    out_of_range: float = Field(ge=0, le=1)
    sample_ratio: float = Field(gt=0, lt=1)
    fewest: int = Field(ge=1)


class DriftConfig(Section):
    """Which part of live traffic is compared with what a version was fitted on."""

    days: float = Field(gt=0)
    psi: float = Field(gt=0)


class LiveConfig(Section):
    """``conf/live.yaml``: the log of live traffic, and what to do with it."""

    action: LiveAction
    log: LogAddress | None
    name: StudyName | None
    outcomes: str | None = Field(min_length=1)
    output: str | None = Field(min_length=1)
    effect: float = Field(gt=0)
    power: float = Field(gt=0, lt=1)
    share: float = Field(gt=0, lt=1)
    rule: RuleConfig
    guardrails: GuardrailsConfig
    drift: DriftConfig
    tracking: TrackingConfig
