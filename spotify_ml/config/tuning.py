"""The schema of ``conf/tune``: studies, their samplers and pruners."""

from typing import Annotated, Any, Literal

from pydantic import Field

from spotify_ml.config.section import Section, StudyName


class NoTuningConfig(Section):
    """One fit."""

    name: Literal["none"]


class TPEConfig(Section):
    """Optuna's tree-structured Parzen estimator."""

    name: Literal["tpe"]
    n_startup_trials: int = Field(ge=0)


class RandomConfig(Section):
    """Independent random values."""

    name: Literal["random"]


class NoPrunerConfig(Section):
    """Every trial runs until its own early stop."""

    name: Literal["none"]


class PercentilePrunerConfig(Section):
    """The parameters of ``optuna.pruners.PercentilePruner``; `conf/tune/pruner/percentile.yaml` defines a step."""

    name: Literal["percentile"]
    percentile: float = Field(gt=0, lt=100)
    n_startup_trials: int = Field(ge=0)
    n_warmup_steps: int = Field(ge=0)


class MedianPrunerConfig(Section):
    """The parameters of ``optuna.pruners.MedianPruner``; steps as for the percentile pruner."""

    name: Literal["median"]
    n_startup_trials: int = Field(ge=0)
    n_warmup_steps: int = Field(ge=0)


class ASHAConfig(Section):
    """The parameters of ``optuna.pruners.SuccessiveHalvingPruner``; a resource is a step."""

    name: Literal["asha"]
    min_resource: int = Field(ge=1)
    reduction_factor: int = Field(ge=2)


class HyperbandConfig(Section):
    """The parameters of ``optuna.pruners.HyperbandPruner``; a resource is a step."""

    name: Literal["hyperband"]
    min_resource: int = Field(ge=1)
    max_resource: int = Field(ge=1)
    reduction_factor: int = Field(ge=2)


class WilcoxonConfig(Section):
    """The parameters of ``optuna.pruners.WilcoxonPruner``, which compares folds."""

    name: Literal["wilcoxon"]
    p_threshold: float = Field(gt=0, lt=1)
    n_startup_steps: int = Field(ge=0)


SamplerConfig = Annotated[TPEConfig | RandomConfig, Field(discriminator="name")]
PrunerConfig = Annotated[
    NoPrunerConfig | PercentilePrunerConfig | MedianPrunerConfig | ASHAConfig | HyperbandConfig | WilcoxonConfig,
    Field(discriminator="name"),
]


class OptunaConfig(Section):
    """A study of many fits; `spotify_ml.tuning.space.read_space` checks `space`."""

    name: Literal["optuna"]
    n_trials: int = Field(ge=1)
    study_name: StudyName | None
    storage: str = Field(min_length=1)
    metrics: list[str] | None = Field(min_length=1)
    directions: list[Literal["minimize", "maximize"]] | None = Field(min_length=1)
    folds: int | None = Field(ge=2)
    sampler: SamplerConfig
    pruner: PrunerConfig
    space: dict[str, Any] = Field(default_factory=dict)


TuneConfig = Annotated[NoTuningConfig | OptunaConfig, Field(discriminator="name")]
