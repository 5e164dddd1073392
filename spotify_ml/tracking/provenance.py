"""What is known of how a version came to be: the rows it was fitted on, its formats, its signature."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from pydantic import ValidationError

from spotify_ml.config.run import NO_CACHE, CacheConfig, DataConfig, RecordedConfig
from spotify_ml.data.unseen_rows import SplitTracks, read_split, same_data
from spotify_ml.tracking.abandoned import FOLDER_TAG
from spotify_ml.tracking.registry import Version
from spotify_ml.utils.errors import DataError, TrackingError
from spotify_ml.utils.files import temporary_folder
from spotify_ml.utils.places import folder_of

# As long as the digests that MLflow computes.
_DIGEST_LENGTH = 8
_CONTEXT_TAG = "mlflow.data.context"
# The settings of a run: in its folder, and among its artifacts.
CONFIG = "config.json"
# The digests of joined tables, as ``<name>=<sha256>`` with blanks between them.
JOINS_TAG = "data.join.sha256"


@dataclass(frozen=True)
class Provenance:
    """How a version came to be, as its run recorded it.

    The config, the digests of the data's file and of the tables joined to it (by name), and the `rows_digest` of each
    part say which rows it was fitted on; ``format_difference`` is the largest one between the formats of the model.
    """

    version: Version
    config: RecordedConfig
    sha256: str
    digests: dict[str, str]
    format_difference: float | None
    joins: dict[str, str] = field(default_factory=dict)


def rows_digest(sha256: str, cleaning: str, rows: np.ndarray) -> str:
    """Return a short digest that says which rows, by their positions in the clean tracks of a file, a part has."""
    content = f"{sha256} {cleaning} ".encode() + rows.astype(np.int64).tobytes()
    return hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]


def read_provenance(client: MlflowClient, version: Version, uri: str) -> Provenance:
    """Return what a version's run recorded; `TrackingError` if that is gone, or is none of `spotify_ml.train`."""
    try:
        run = client.get_run(version.run_id)
        # MLflow leaves its copy where it has no other folder for it.
        with temporary_folder():
            file = mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/{CONFIG}", tracking_uri=uri)
            config = RecordedConfig.model_validate_json(Path(file).read_text(encoding="utf-8"))
        sha256 = run.data.tags["data.sha256"]
    except (MlflowException, OSError, KeyError, ValidationError, ValueError) as error:
        raise TrackingError(
            f"what {version.uri} was fitted on is not known: its run {version.run_id} has no config.json and "
            "data.sha256 that can be read; train it again with `python -m spotify_ml.train`"
        ) from error
    inputs = run.inputs.dataset_inputs
    digests = {tag.value: each.dataset.digest for each in inputs for tag in each.tags if tag.key == _CONTEXT_TAG}
    config = _as_known_here(config, run.data.tags)
    difference = run.data.metrics.get("formats/largest_difference")
    return Provenance(version, config, sha256, digests, difference, joined_digests(run.data.tags))


def joined_digests(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the digest of each joined table, by name, from the tags of a run."""
    pairs = (each.partition("=") for each in tags.get(JOINS_TAG, "").split())
    return {name: digest for name, _, digest in pairs}


def _as_known_here(config: RecordedConfig, tags: Mapping[str, str]) -> RecordedConfig:
    """Return a run's settings with the path of its data, where its folder is on this machine; a store has the name."""
    if FOLDER_TAG not in tags:
        return config
    try:
        here = RecordedConfig.model_validate_json((folder_of(tags[FOLDER_TAG]) / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return config
    return here if here.model_copy(update={"data": config.data}) == config else config


def fitted_on(
    provenance: Provenance, elsewhere: DataConfig | None = None, cache: CacheConfig = NO_CACHE
) -> SplitTracks:
    """Return the tracks that a version was fitted on, found again in its data, which may be elsewhere now.

    Raises `DataError` if the file is gone or was changed, or is now cleaned or split in another way.
    """
    config, unknown = provenance.config, f"which tracks {provenance.version.uri} was fitted on cannot be known"
    try:
        data = same_data(config.data, provenance.sha256, elsewhere, provenance.joins)
    except DataError as error:
        raise DataError(f"{unknown}: {error}") from error
    found = read_split(data, config.cleaning, config.split, config.seed, cache, config.layout)
    parts = {"train": found.split.train, "validation": found.split.validation}
    digests = {part: rows_digest(found.sha256, config.cleaning.name, rows) for part, rows in parts.items()}
    if any(digest != provenance.digests.get(part) for part, digest in digests.items()):
        raise DataError(f"{unknown}: the code that cleaned and split its data was another; train it again")
    return found


def schema_changes(signature: ModelSignature, before: ModelSignature) -> list[str]:
    """Return what callers of a version would notice if it took the place of another: none is the same schema.

    A parameter that is new has a default, and nobody notices, nor that a column is new or not needed any more.
    """
    changes = []
    for kind in ("inputs", "outputs"):
        own, other = (_columns(getattr(each, kind)) for each in (signature, before))
        changes += [f"{kind} lack {name}" for name in other if name not in own]
        if kind == "inputs":
            other |= {name: described for name, described in own.items() if _is_eased(described, other.get(name))}
        changes += [f"{kind} have {name}, which is new" for name in own if name not in other]
        changes += [
            f"{name} is {own[name]}, not {other[name]}" for name in own if own[name] != other.get(name, own[name])
        ]
    own, other = (
        {} if each.params is None else {param.name: param for param in each.params.params}
        for each in (signature, before)
    )
    return changes + [f"the parameter {name} is gone or changed" for name in other if own.get(name) != other[name]]


_REQUIRED, _OPTIONAL = ", required", ", optional"


def _columns(schema: Any) -> dict[str, str]:
    """Return the type of each column, and whether it is required."""
    return {str(column.name): f"{column.type}{_REQUIRED if column.required else _OPTIONAL}" for column in schema}


def _is_eased(described: str, before: str | None) -> bool:
    """Return whether an input is new or was needed before, and may be left out now."""
    needed = described.removesuffix(_OPTIONAL) + _REQUIRED
    return described.endswith(_OPTIONAL) and before in (None, needed)
