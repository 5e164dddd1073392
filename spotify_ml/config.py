"""The typed schema of ``conf/``: what a run may be asked to do, checked before anything is read."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from spotify_ml.errors import ConfigError, did_you_mean


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class DataConfig(_Section):
    """Which raw tracks to read."""

    name: Literal["sample", "full", "file"]
    path: str = Field(min_length=1)


class CleaningConfig(_Section):
    """What one row of the cleaned table is: a track, or a row as it comes."""

    name: Literal["tracks", "rows"]


class SplitConfig(_Section):
    """What must not stand on both sides of a split, and how large the sides are (shares of the groups)."""

    name: Literal["recording", "album", "artist", "random"]
    test_size: float = Field(gt=0, lt=1)
    val_size: float = Field(gt=0, lt=1)


class FeaturesConfig(_Section):
    """Which columns the estimator sees."""

    name: Literal["full", "audio", "reference"]


class ModelConfig(_Section):
    """The parameters of ``xgboost.XGBRegressor``, under their own names and within their own ranges."""

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


class TrackingConfig(_Section):
    """Where runs are recorded and under which names."""

    uri: str = Field(min_length=1)
    artifact_location: str | None
    experiment: str = Field(min_length=1)
    registered_model: str = Field(min_length=1)


class OutputsConfig(_Section):
    """What is written to the run folder beyond the record."""

    data: bool


class RunConfig(_Section):
    """One resolved run: the whole of ``conf/train.yaml`` after composition and overrides."""

    name: str | None = Field(min_length=1)
    seed: int = Field(ge=0, lt=2**32)
    register_model: bool | None = Field(alias="register")
    data: DataConfig
    cleaning: CleaningConfig
    split: SplitConfig
    features: FeaturesConfig
    model: ModelConfig
    outputs: OutputsConfig
    tracking: TrackingConfig

    def flat(self) -> dict[str, Any]:
        """Return every setting under its dotted key, as it is logged."""
        return dict(_flatten(self.model_dump(by_alias=True)))

    def digest(self) -> str:
        """Return the sha256 of the settings that decide the result, wherever and under whatever name it is recorded."""
        deciding = self.model_dump(include={"seed", "data", "cleaning", "split", "features", "model"})
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def known_keys(section: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Yield every key of the schema: the groups and, dotted, what stands in them."""
    for field_name, field in section.model_fields.items():
        key = prefix + (field.alias or field_name)
        yield key
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from known_keys(field.annotation, f"{key}.")


def validate(config: DictConfig) -> RunConfig:
    """Check a composed configuration against the schema.

    Raises
    ------
    ConfigError
        Naming every unknown key (with the nearest valid one), wrong type and value out of range at once.
    """
    try:
        container = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = error.full_key
        reason = str(error.msg).splitlines()[0]
        raise ConfigError(f"config: {key} has no value ({reason}); set it with {key}=…") from error
    try:
        return RunConfig.model_validate(container)
    except ValidationError as error:
        raise ConfigError("config: " + "\nconfig: ".join(_explain(detail) for detail in error.errors())) from error


def _explain(detail: ErrorDetails) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"unknown key '{key}'{did_you_mean(key, known_keys())}"
    if detail["type"] == "missing":
        return f"'{key}' is missing"
    message = detail["msg"][0].lower() + detail["msg"][1:]
    hint = ""
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        hint = did_you_mean(
            detail["input"], detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        )
    return f"{key}={detail['input']!r}: {message}{hint}"
