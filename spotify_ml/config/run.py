"""The typed schema of ``conf/train.yaml``: what a run may be asked to do."""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from spotify_ml.config.models import ModelConfig, TaskConfig
from spotify_ml.config.section import ExperimentName, RegisteredModelName, RunName, Section
from spotify_ml.config.tuning import TuneConfig


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
