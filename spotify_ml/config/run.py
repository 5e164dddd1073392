"""The schema of ``conf/train.yaml``: the settings of a run."""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    model_serializer,
)
from pydantic_core import CoreSchema, core_schema

from spotify_ml.config.layouts import AUTO, LayoutConfig
from spotify_ml.config.models import ModelConfig, TaskConfig
from spotify_ml.config.section import Day, ExperimentName, RegisteredModelName, RunName, Section
from spotify_ml.config.tuning import TuneConfig


def _one_or_several(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Take a list of paths beside a single one, of which errors tell as ever."""
    is_list = isinstance(given, list | tuple)
    if is_list and given and all(isinstance(path, str) and path for path in given):
        return tuple(given)
    return check(given)


class _Paths:
    """The type of a path or several, with the errors of a text."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(min_length=1, strict=True)
        serialized = core_schema.plain_serializer_function_ser_schema(lambda given: given)
        return core_schema.no_info_wrap_validator_function(_one_or_several, text, serialization=serialized)


def _as_tuple(given: Any) -> Any:
    """Take a single path as a list of one, and an empty list as none."""
    return (given,) if isinstance(given, str) else tuple(given) or None if isinstance(given, list | tuple) else given


JoinPaths = Annotated[tuple[Annotated[str, Field(min_length=1)], ...] | None, BeforeValidator(_as_tuple)]


class DataConfig(Section):
    """The file of raw tracks, or several catalogues, the newest first."""

    name: Literal["sample", "full", "file"]
    path: Annotated[str | tuple[str, ...], _Paths()]
    # The day on which popularity was counted; null: the layout's, else that of the newest release.
    collected: Day | None = None
    # Tables of more columns, joined by track_id or by artists.
    join: JoinPaths = None

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what runs from before did not know, where it is as it was then."""
        dumped: dict[str, Any] = serialize(self)
        return {key: value for key, value in dumped.items() if key in ("name", "path") or value is not None}


class CleaningConfig(Section):
    """Whether a row of the clean table is a track, or a raw row."""

    name: Literal["tracks", "rows"]


NameRule = Literal["normal", "exact"]


class SplitConfig(Section):
    """What must not be on both sides of a split, and the sizes as shares of the groups.

    Runs that do not know how names are compared compared them as they are written.
    """

    name: Literal["recording", "album", "artist", "random", "source", "release"]
    test_size: float = Field(gt=0, lt=1)
    val_size: float = Field(gt=0, lt=1)
    names: NameRule = "exact"
    source: Annotated[str | None, Field(min_length=1)] = None
    # Of ``release``: the first day of the test rows; null: by `test_size`.
    cut: Day | None = None

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what runs from before did not know, where it is as it was then."""
        dumped: dict[str, Any] = serialize(self)
        as_before = {"names": "exact", "source": None, "cut": None}
        return {key: value for key, value in dumped.items() if key not in as_before or value != as_before[key]}


FeatureSet = Literal["full", "audio", "reference"]


class FeaturesConfig(Section):
    """The columns that the estimator gets."""

    name: FeatureSet


class TrackingConfig(Section):
    """Where runs are recorded, and their names."""

    uri: str = Field(min_length=1)
    artifact_location: str | None
    experiment: ExperimentName
    registered_model: RegisteredModelName


class LocalCacheConfig(Section):
    """The folder for results of data and feature stages, and its largest size."""

    name: Literal["local"]
    folder: str = Field(min_length=1)
    max_gb: float = Field(gt=0)


class NoCacheConfig(Section):
    """Compute every stage."""

    name: Literal["off"]


CacheConfig = Annotated[LocalCacheConfig | NoCacheConfig, Field(discriminator="name")]
NO_CACHE = NoCacheConfig(name="off")


class LocalEngineConfig(Section):
    """The run's own process."""

    name: Literal["local"]


class DaskEngineConfig(Section):
    """A Dask cluster at an address, or one on this machine's cores during the run."""

    name: Literal["dask"]
    address: str | None = Field(min_length=1)
    n_workers: int | None = Field(ge=1)
    threads_per_worker: int | None = Field(ge=1)


EngineConfig = Annotated[LocalEngineConfig | DaskEngineConfig, Field(discriminator="name")]


class OutputsConfig(Section):
    """What the run folder contains beyond the record."""

    data: bool


_DECIDING = ("seed", "data", "layout", "cleaning", "split", "features", "task", "model")


class RunConfig(Section):
    """A run: all of ``conf/train.yaml`` after composition and overrides."""

    name: RunName | None
    seed: int = Field(ge=0, lt=2**32)
    register_model: bool | None = Field(alias="register")
    data: DataConfig
    layout: LayoutConfig = AUTO
    cleaning: CleaningConfig
    split: SplitConfig
    features: FeaturesConfig
    task: TaskConfig
    model: ModelConfig
    tune: TuneConfig
    cv: int | None = Field(ge=2)
    baselines: Literal["quick", "full"] | None
    # Runs from before there was one have none.
    incomplete: bool = False
    outputs: OutputsConfig
    matrices: Literal["memory", "disk", "external"] | None
    cache: CacheConfig
    engine: EngineConfig
    tracking: TrackingConfig

    @model_serializer(mode="wrap")
    def _without_default_layout(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out ``layout=auto``: runs from before, which had no layouts, are equal to those of today."""
        dumped: dict[str, Any] = serialize(self)
        if self.layout == AUTO:
            dumped.pop("layout", None)
        return dumped

    def digest(self, *groups: str, cluster: Sequence[Sequence[int]] | None = None) -> str:
        """Return the sha256 of some settings; by default of those that decide the result.

        Parameters
        ----------
        *groups : str
            The first keys of the settings.
        cluster : sequence of sequences of int, optional
            The threads of each worker of each fit, once known: every worker draws the rows and columns of its trees.
        """
        deciding = self.model_dump(include=set(groups or _DECIDING))
        if not groups and self.engine.name != "local":
            deciding["engine"] = self.engine.name if cluster is None else {"name": self.engine.name, "threads": cluster}
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


class RecordedConfig(Section):
    """The part of a run's ``config.json`` that decides the rows of its fit; other keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    seed: int
    data: DataConfig
    layout: LayoutConfig = AUTO
    cleaning: CleaningConfig
    split: SplitConfig
    task: TaskConfig
