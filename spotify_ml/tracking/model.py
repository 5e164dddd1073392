"""The model as MLflow stores and registers it: its files, signature, requirements, hashes and tags."""

import contextlib
import inspect
import io
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType

from spotify_ml.config import EnsembleConfig, RunConfig
from spotify_ml.data.schema import COLUMNS, TARGET, Kind
from spotify_ml.models.files import ModelFiles, model_files
from spotify_ml.models.integrity import SUMS_FILE, write_sums
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.targets import class_names
from spotify_ml.paths import PACKAGE
from spotify_ml.tracking.versions import SUMS_TAG, model_requirements

_EXAMPLE_ROWS = 3


@dataclass(frozen=True)
class LoggedModel:
    """A model in the store.

    Attributes
    ----------
    uri : str
        ``models:/<id>``.
    sums_sha256 : str
        The sha256 of the list of its files' sha256; see `spotify_ml.models.integrity`.
    """

    uri: str
    sums_sha256: str


def log_model(client: MlflowClient, config: RunConfig, models: Path, example: pd.DataFrame) -> LoggedModel:
    """Log the model that scores raw rows, within MLflow's active run.

    Parameters
    ----------
    client : MlflowClient
        Of the store.
    config : RunConfig
        Says which family and classes the model has.
    models : Path
        The folder with the model's files.
    example : DataFrame
        Raw rows; the first few become the input example.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # The sample would travel with every version.
        code = shutil.copytree(PACKAGE, Path(scratch) / PACKAGE.name, ignore=_not_code)
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(PACKAGE / "tracking" / "pyfunc.py"),
            artifacts=_artifacts(model_files(models)),
            code_paths=[str(code)],
            signature=_signature(class_names(config.task)),
            input_example=example.head(_EXAMPLE_ROWS),
            pip_requirements=model_requirements(_families(config)),
        )
        stored = Path(mlflow.artifacts.download_artifacts(info.model_uri, dst_path=str(Path(scratch) / "stored")))
        sums_sha256 = write_sums(stored)
        client.log_model_artifact(info.model_id, str(stored / SUMS_FILE))
    return LoggedModel(str(info.model_uri), sums_sha256)


def register(
    client: MlflowClient, model: LoggedModel, config: RunConfig, facts: dict[str, str], description: str
) -> int:
    """Register a logged model, give it the alias ``challenger``, and return its version.

    Parameters
    ----------
    client : MlflowClient
        Of the store.
    model : LoggedModel
        What to register.
    config : RunConfig
        What it was made with: the tags by which the UI finds it.
    facts : dict of str to str
        More tags.
    description : str
        What the UI shows of the version, as Markdown.
    """
    name = config.tracking.registered_model
    choices = ("split", "features", "cleaning", "task", "model")
    tags = {choice: getattr(config, choice).name for choice in choices} | {"seed": str(config.seed)}
    # The version stands in the run's own table; MLflow would announce it on stderr as well.
    with contextlib.redirect_stderr(io.StringIO()):
        version = mlflow.register_model(model.uri, name, tags={**tags, SUMS_TAG: model.sums_sha256, **facts})
    client.update_model_version(name, version.version, description)
    client.set_registered_model_alias(name, "challenger", version.version)
    return int(version.version)


def _artifacts(files: ModelFiles) -> dict[str, str]:
    paths = {name: getattr(files, name) for name in ("features", "estimator", "metadata", "intervals")}
    return {name: str(path) for name, path in paths.items() if path is not None}


def _not_code(folder: str, names: list[str]) -> list[str]:
    """Name what does not belong into a model's code: everything but Python sources."""
    return [
        name for name in names if name == "__pycache__" or not (name.endswith(".py") or Path(folder, name).is_dir())
    ]


def _families(config: RunConfig) -> set[str]:
    model = config.model
    members = model.members.values() if isinstance(model, EnsembleConfig) else [model]
    return {member.name for member in members}


def _signature(classes: tuple[str, ...]) -> ModelSignature:
    # AnyType: MLflow's own types refuse an integer 120 for a tempo and a NaN for an artist; the model itself checks.
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(AnyType(), column.name, required=column.kind is not Kind.TEXT)
        for column in COLUMNS
        if column.name != TARGET
    ]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.double, name) for name in classes or (None,)]
    return ModelSignature(inputs=Schema(columns), outputs=Schema(outputs), params=_params())


def _params() -> ParamSchema:
    """Return every keyword of the prediction that has a default: what a caller, or a request, may set."""
    types = get_type_hints(PopularityModel.predict)
    keywords = inspect.signature(PopularityModel.predict).parameters.values()
    # MLflow cannot infer the type of a None, but takes it as a default of any.
    return ParamSchema(
        [
            ParamSpec(keyword.name, _mlflow_type(types[keyword.name]), keyword.default)
            for keyword in keywords
            if keyword.default is not keyword.empty
        ]
    )


def _mlflow_type(hint: Any) -> DataType:
    """Return the type of a keyword's values: of a choice, that of its members; of an optional one, that of any."""
    kinds = {type(value) if get_origin(hint) is Literal else value for value in get_args(hint) or (hint,)}
    (kind,) = kinds - {NoneType}
    return {str: DataType.string, int: DataType.long, float: DataType.double}[kind]
