"""The schemas of all commands except training."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from spotify_ml.config.layouts import AUTO, LayoutConfig
from spotify_ml.config.run import (
    NO_CACHE,
    CacheConfig,
    CleaningConfig,
    DataConfig,
    JoinPaths,
    SplitConfig,
    TrackingConfig,
)
from spotify_ml.config.section import RegisteredModelName, Section
from spotify_ml.config.traffic import SINGLE, TrafficConfig


class _AnyGateConfig(Section):
    registered_model: RegisteredModelName
    margin: float
    confidence: float = Field(gt=0, lt=1)
    fewest_tracks: int = Field(ge=2)
    genre_tracks: int = Field(ge=1)
    incomplete_margin: float = Field(ge=0)
    genre_margin: float
    format_difference: float = Field(ge=0)


class RegressionGateConfig(_AnyGateConfig):
    """The requirements for a new champion that predicts popularity."""

    name: Literal["regression"]
    metric: Literal["r2", "rmse", "mae"]


class ClassificationGateConfig(_AnyGateConfig):
    """The requirements for a new champion that predicts classes of popularity."""

    name: Literal["classification"]
    metric: Literal["log_loss", "accuracy"]


GateConfig = Annotated[RegressionGateConfig | ClassificationGateConfig, Field(discriminator="name")]


class PromoteConfig(Section):
    """``conf/promote.yaml``: the version to promote, the rows to compare it on, and the gate."""

    version: int | None = Field(ge=1)
    dry_run: bool
    force: bool
    rollback: bool
    evidence: Literal["offline", "live"] = "offline"
    seed: int | None = Field(ge=0, lt=2**32)
    data: DataConfig | None = None
    cleaning: CleaningConfig | None = None
    split: SplitConfig | None = None
    gate: GateConfig
    cache: CacheConfig = NO_CACHE
    tracking: TrackingConfig


class ProfileConfig(Section):
    """``conf/profile.yaml``: the tracks, their layout, and the page to write."""

    data: DataConfig
    layout: LayoutConfig = AUTO
    output: str = Field(min_length=1)


class CompareConfig(Section):
    """``conf/compare.yaml``: the runs to compare, and the page to write."""

    runs: list[str] = Field(max_length=26)
    output: str = Field(min_length=1)
    tracking: TrackingConfig


class RelocateConfig(Section):
    """``conf/relocate.yaml``: the store to repair after the checkout has moved."""

    old: str | None = Field(min_length=1)
    tracking: TrackingConfig


class ServeConfig(Section):
    """``conf/serve.yaml``: the model to serve, its address, its limits, and which version answers."""

    model_uri: str = Field(min_length=1)
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    workers: int = Field(ge=1)
    max_mb: float = Field(gt=0)
    timeout_s: float = Field(gt=0)
    max_requests: int = Field(ge=1)
    max_rows: int = Field(ge=1)
    calibration: str | None = Field(min_length=1)
    traffic: TrafficConfig = SINGLE
    tracking: TrackingConfig


class PredictConfig(Section):
    """``conf/predict.yaml``: the model, the files to score, and how to treat rows that cannot be scored."""

    model_uri: str = Field(min_length=1)
    input: str = Field(min_length=1)
    layout: LayoutConfig = AUTO
    join: JoinPaths = None
    output: str = Field(min_length=1)
    # Hydra reads null as None.
    on_error: Annotated[Literal["fail", "skip", "null"], BeforeValidator(lambda given: given or "null")]
    out_of_range: Literal["refuse", "clip"]
    interval: float | None = Field(gt=0, lt=1)
    explain: int | None = Field(ge=1)
    catalogue: Literal["own", "other"]
    csv_formulas: Literal["keep", "escape"]
    calibrate: str | None = Field(min_length=1)
    calibration: str | None = Field(min_length=1)
    tracking: TrackingConfig
