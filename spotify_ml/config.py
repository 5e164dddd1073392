"""The typed schema of ``conf/train.yaml``: what a run may be asked to do."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from spotify_ml.errors import without_passwords
from spotify_ml.paths import CONF
from spotify_ml.places import shared_value


class Section(BaseModel):
    """A part of a configuration: unknown keys and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def flat(self) -> dict[str, Any]:
        """Return every setting under its dotted key."""
        return dict(_flatten(self.model_dump(by_alias=True)))

    def recorded(self) -> dict[str, Any]:
        """Return the settings as they may be written down here: without the passwords of addresses."""
        return cast("dict[str, Any]", _each(self.model_dump(by_alias=True), _told))

    def shared(self) -> dict[str, Any]:
        """Return the settings as a store may know them: without passwords and without the folders of this machine."""
        return cast("dict[str, Any]", _each(self.model_dump(by_alias=True), shared_value))

    def shared_flat(self) -> dict[str, Any]:
        """Return `shared` under dotted keys, as it is logged."""
        return dict(_flatten(self.shared()))


def _no_address(name: str) -> str:
    """Refuse what MLflow would refuse as the name of a registered model, once there is one to register."""
    if "/" in name or ":" in name or name in (".", "..") or not name.strip():
        raise ValueError("take a name without '/' and ':', which separate the parts of models:/name/version")
    return name


def _file_name(name: str) -> str:
    """Refuse what is no part of a file's name on every system."""
    if not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError("take letters, digits, '.', '_', '+' and '-'; it names files")
    return name


# The longest names that every store takes.
RegisteredModelName = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_no_address)]
ExperimentName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"\S")]
RunName = Annotated[str, Field(min_length=1, max_length=200)]
StudyName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_file_name)]


class DataConfig(Section):
    """Which raw tracks to read."""

    name: Literal["sample", "full", "file"]
    path: str = Field(min_length=1)


class CleaningConfig(Section):
    """What one row of the cleaned table is: a track, or a row as it comes."""

    name: Literal["tracks", "rows"]


class SplitConfig(Section):
    """What must not stand on both sides of a split, and how large the sides are (shares of the groups)."""

    name: Literal["recording", "album", "artist", "random"]
    test_size: float = Field(gt=0, lt=1)
    val_size: float = Field(gt=0, lt=1)


FeatureSet = Literal["full", "audio", "reference"]


class FeaturesConfig(Section):
    """Which columns the estimator sees."""

    name: FeatureSet


class XGBoostConfig(Section):
    """The parameters of ``xgboost.XGBRegressor`` and ``XGBClassifier``, under their own names and in their ranges."""

    name: Literal["xgboost", "xgboost_reference"]
    n_estimators: int = Field(ge=1)
    early_stopping_rounds: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    max_depth: int = Field(ge=0)
    max_leaves: int = Field(ge=0)
    grow_policy: Literal["depthwise", "lossguide"]
    min_child_weight: float = Field(ge=0)
    gamma: float = Field(ge=0)
    subsample: float = Field(gt=0, le=1)
    colsample_bytree: float = Field(gt=0, le=1)
    colsample_bylevel: float = Field(gt=0, le=1)
    colsample_bynode: float = Field(gt=0, le=1)
    reg_alpha: float = Field(ge=0)
    reg_lambda: float = Field(ge=0)
    max_delta_step: float = Field(ge=0)
    max_bin: int = Field(ge=2)
    tree_method: Literal["auto", "hist", "approx", "exact"]
    device: str = Field(pattern=r"^(cpu|cuda(:\d+)?|gpu(:\d+)?)$")
    n_jobs: int | None = Field(ge=1)


class LinearConfig(Section):
    """Ridge regression, or logistic regression of the same penalty, on imputed and scaled features."""

    name: Literal["linear"]
    alpha: float = Field(gt=0)


class ForestConfig(Section):
    """The parameters of scikit-learn's random forests and extremely randomised trees."""

    name: Literal["random_forest", "extra_trees"]
    n_estimators: int = Field(ge=1)
    max_depth: int | None = Field(ge=1)
    min_samples_leaf: int = Field(ge=1)
    max_features: float = Field(gt=0, le=1)
    n_jobs: int | None = Field(ge=1)


class HistGradientBoostingConfig(Section):
    """The parameters of scikit-learn's histogram gradient boosting."""

    name: Literal["hist_gradient_boosting"]
    max_iter: int = Field(ge=1)
    n_iter_no_change: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    max_leaf_nodes: int = Field(ge=2)
    min_samples_leaf: int = Field(ge=1)
    l2_regularization: float = Field(ge=0)
    max_features: float = Field(gt=0, le=1)
    max_bins: int = Field(ge=2, le=255)


class LightGBMConfig(Section):
    """The parameters of ``lightgbm.LGBMRegressor`` and ``LGBMClassifier``."""

    name: Literal["lightgbm"]
    n_estimators: int = Field(ge=1)
    early_stopping_round: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    num_leaves: int = Field(ge=2)
    min_child_samples: int = Field(ge=1)
    subsample: float = Field(gt=0, le=1)
    subsample_freq: int = Field(ge=0)
    colsample_bytree: float = Field(gt=0, le=1)
    reg_alpha: float = Field(ge=0)
    reg_lambda: float = Field(ge=0)
    max_bin: int = Field(ge=2)
    n_jobs: int | None = Field(ge=1)


class CatBoostConfig(Section):
    """The parameters of ``catboost.CatBoostRegressor`` and ``CatBoostClassifier``."""

    name: Literal["catboost"]
    iterations: int = Field(ge=1)
    early_stopping_rounds: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1)
    depth: int = Field(ge=1, le=16)
    l2_leaf_reg: float = Field(ge=0)
    rsm: float = Field(gt=0, le=1)
    thread_count: Literal[-1] | Annotated[int, Field(ge=1)]


class TwoPartConfig(Section):
    """Whether a track is dead, and how popular it is if not."""

    name: Literal["two_part"]
    dead: XGBoostConfig
    alive: XGBoostConfig


SingleConfig = Annotated[
    XGBoostConfig | LinearConfig | ForestConfig | HistGradientBoostingConfig | LightGBMConfig | CatBoostConfig,
    Field(discriminator="name"),
]


class EnsembleConfig(Section):
    """The average of several estimators: plain (blend), or weighted by how well they predict folds (stack)."""

    name: Literal["blend", "stack"]
    members: dict[str, SingleConfig] = Field(min_length=2)
    folds: int = Field(ge=2)


ModelConfig = Annotated[SingleConfig | TwoPartConfig | EnsembleConfig, Field(discriminator="name")]


class RegressionConfig(Section):
    """Predict popularity itself."""

    name: Literal["regression"]
    weights: Literal["none", "balanced"]
    registered_model: RegisteredModelName


class ClassificationConfig(Section):
    """Predict the probabilities of popularity's classes."""

    name: Literal["classification"]
    label: Literal["category", "popular"]
    threshold: float = Field(gt=0, le=100)
    weights: Literal["none", "balanced"]
    registered_model: RegisteredModelName


TaskConfig = Annotated[RegressionConfig | ClassificationConfig, Field(discriminator="name")]


class TrackingConfig(Section):
    """Where runs are recorded and under which names."""

    uri: str = Field(min_length=1)
    artifact_location: str | None
    experiment: ExperimentName
    registered_model: RegisteredModelName


class LocalCacheConfig(Section):
    """Where the results of data and feature stages are kept, and how large the folder may become."""

    name: Literal["local"]
    folder: str = Field(min_length=1)
    max_gb: float = Field(gt=0)


class NoCacheConfig(Section):
    """Every stage is made anew."""

    name: Literal["off"]


CacheConfig = Annotated[LocalCacheConfig | NoCacheConfig, Field(discriminator="name")]


class LocalEngineConfig(Section):
    """The run's own process."""

    name: Literal["local"]


class DaskEngineConfig(Section):
    """A Dask cluster: that of an address, or one of this machine's cores for the time of the run."""

    name: Literal["dask"]
    address: str | None = Field(min_length=1)
    n_workers: int | None = Field(ge=1)
    threads_per_worker: int | None = Field(ge=1)


EngineConfig = Annotated[LocalEngineConfig | DaskEngineConfig, Field(discriminator="name")]


class OutputsConfig(Section):
    """What is written to the run folder beyond the record."""

    data: bool


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
    """Every trial runs to its own early stop."""

    name: Literal["none"]


class PercentilePrunerConfig(Section):
    """The parameters of ``optuna.pruners.PercentilePruner``; a step is what `conf/tune/pruner/percentile.yaml` says."""

    name: Literal["percentile"]
    percentile: float = Field(gt=0, lt=100)
    n_startup_trials: int = Field(ge=0)
    n_warmup_steps: int = Field(ge=0)


class MedianPrunerConfig(Section):
    """The parameters of ``optuna.pruners.MedianPruner``; steps as of the percentile pruner."""

    name: Literal["median"]
    n_startup_trials: int = Field(ge=0)
    n_warmup_steps: int = Field(ge=0)


class ASHAConfig(Section):
    """The parameters of ``optuna.pruners.SuccessiveHalvingPruner``; resources are steps as of the percentile pruner."""

    name: Literal["asha"]
    min_resource: int = Field(ge=1)
    reduction_factor: int = Field(ge=2)


class HyperbandConfig(Section):
    """The parameters of ``optuna.pruners.HyperbandPruner``; resources are steps as of the percentile pruner."""

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
    """A study of many fits. What stands in `space` is checked by `spotify_ml.tuning.space.read_space`."""

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


_DECIDING = ("seed", "data", "cleaning", "split", "features", "task", "model")


class RunConfig(Section):
    """One resolved run: the whole of ``conf/train.yaml`` after composition and overrides."""

    name: RunName | None
    seed: int = Field(ge=0, lt=2**32)
    register_model: bool | None = Field(alias="register")
    data: DataConfig
    cleaning: CleaningConfig
    split: SplitConfig
    features: FeaturesConfig
    task: TaskConfig
    model: ModelConfig
    tune: TuneConfig
    cv: int | None = Field(ge=2)
    baselines: Literal["quick", "full"] | None
    outputs: OutputsConfig
    matrices: Literal["memory", "disk", "external"] | None
    cache: CacheConfig
    engine: EngineConfig
    tracking: TrackingConfig

    def digest(self, *groups: str, cluster: Sequence[Sequence[int]] | None = None) -> str:
        """Return the sha256 of some settings; by default of those that decide the result, wherever it is recorded.

        Parameters
        ----------
        *groups : str
            The settings, by their first keys.
        cluster : sequence of sequences of int, optional
            Of a run on a cluster, once that is known: the threads of each worker of each fit. Which rows and columns a
            tree may see is drawn by each worker.
        """
        deciding = self.model_dump(include=set(groups or _DECIDING))
        if not groups and self.engine.name != "local":
            deciding["engine"] = self.engine.name if cluster is None else {"name": self.engine.name, "threads": cluster}
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


class RecordedConfig(Section):
    """What a run's ``config.json`` says of the rows that its model was fitted on, whatever else it says."""

    model_config = ConfigDict(extra="ignore")

    seed: int
    data: DataConfig
    cleaning: CleaningConfig
    split: SplitConfig
    task: TaskConfig


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _each(below, change) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_each(below, change) for below in value]
    return change(value)


def _told(value: Any) -> Any:
    return without_passwords(value) if isinstance(value, str) else value


def model_config(name: str) -> SingleConfig:
    """Return a choice of the group ``model`` as its file in ``conf/`` has it.

    Parameters
    ----------
    name : str
        The choice; one that stands on its own or on a single other choice.
    """

    def read(choice: str) -> dict[str, Any]:
        own: dict[str, Any] = yaml.safe_load((CONF / "model" / f"{choice}.yaml").read_text(encoding="utf-8"))
        bases = [read(base) for base in own.pop("defaults", [])]
        return {key: value for part in (*bases, own) for key, value in part.items()}

    config: SingleConfig = TypeAdapter(SingleConfig).validate_python(read(name))
    return config
