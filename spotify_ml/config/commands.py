"""The typed schemas of the other files of ``conf/``: what every command but training may be asked to do."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from spotify_ml.config.run import CleaningConfig, DataConfig, SplitConfig, TrackingConfig
from spotify_ml.config.section import RegisteredModelName, Section


class _AnyGateConfig(Section):
    registered_model: RegisteredModelName
    margin: float
    confidence: float = Field(gt=0, lt=1)
    fewest_tracks: int = Field(ge=2)
    genre_tracks: int = Field(ge=1)
    genre_margin: float
    format_difference: float = Field(ge=0)


class RegressionGateConfig(_AnyGateConfig):
    """What a version that predicts popularity must show before it becomes champion."""

    name: Literal["regression"]
    metric: Literal["r2", "rmse", "mae"]


class ClassificationGateConfig(_AnyGateConfig):
    """What a version that predicts the classes of popularity must show before it becomes champion."""

    name: Literal["classification"]
    metric: Literal["log_loss", "accuracy"]


GateConfig = Annotated[RegressionGateConfig | ClassificationGateConfig, Field(discriminator="name")]


class PromoteConfig(Section):
    """``conf/promote.yaml``: which version to promote, on which rows to compare it, and by which gate."""

    version: int | None = Field(ge=1)
    dry_run: bool
    force: bool
    rollback: bool
    seed: int | None = Field(ge=0, lt=2**32)
    data: DataConfig | None = None
    cleaning: CleaningConfig | None = None
    split: SplitConfig | None = None
    gate: GateConfig
    tracking: TrackingConfig


class ProfileConfig(Section):
    """``conf/profile.yaml``: which raw tracks to look at, and the page to write."""

    data: DataConfig
    output: str = Field(min_length=1)


class CompareConfig(Section):
    """``conf/compare.yaml``: which runs to compare, and the page to write."""

    runs: list[str] = Field(max_length=26)
    output: str = Field(min_length=1)
    tracking: TrackingConfig


class RelocateConfig(Section):
    """``conf/relocate.yaml``: which store to let load again."""

    old: str | None = Field(min_length=1)
    tracking: TrackingConfig


class ServeConfig(Section):
    """``conf/serve.yaml``: which model to serve, and where."""

    model_uri: str = Field(min_length=1)
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    workers: int = Field(ge=1)
    max_mb: float = Field(gt=0)
    timeout_s: float = Field(gt=0)
    max_requests: int = Field(ge=1)
    max_rows: int = Field(ge=1)
    tracking: TrackingConfig


class PredictConfig(Section):
    """``conf/predict.yaml``: what to score with which model, and what becomes of rows that it does not take."""

    model_uri: str = Field(min_length=1)
    input: str = Field(min_length=1)
    output: str = Field(min_length=1)
    # Hydra reads null as nothing.
    on_error: Annotated[Literal["fail", "skip", "null"], BeforeValidator(lambda given: given or "null")]
    out_of_range: Literal["refuse", "clip"]
    interval: float | None = Field(gt=0, lt=1)
    explain: int | None = Field(ge=1)
    csv_formulas: Literal["keep", "escape"]
    tracking: TrackingConfig
