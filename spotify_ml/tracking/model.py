"""The model as MLflow stores and registers it: its files, signature, requirements, hashes and tags."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME, MODEL_CODE_PATH
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType

from spotify_ml.config.models import EnsembleConfig, ModelConfig
from spotify_ml.config.run import RunConfig
from spotify_ml.data.schema import COLUMNS, REQUIRED_AUDIO, TARGET, Kind
from spotify_ml.models.files import ModelFiles, model_files
from spotify_ml.models.integrity import write_sums
from spotify_ml.models.targets import class_names
from spotify_ml.tracking.compat import without_looking_at_installed_files
from spotify_ml.tracking.versions import FURTHER_KEY, SCORING, SUMS_TAG
from spotify_ml.utils.errors import OutputError
from spotify_ml.utils.files import reason_of, temporary_folder
from spotify_ml.utils.paths import PACKAGE
from spotify_ml.utils.version import distribution, library_version

_EXAMPLE_ROWS = 3
# The libraries that a model may need beside those of every model, under the names of both.
_EXTRAS = {"lightgbm", "catboost"}
# The keywords of `PopularityModel.predict`: what a caller, or a request, may set. A None is a default of any type.
_PARAMS = (
    ParamSpec("out_of_range", DataType.string, "refuse"),
    ParamSpec("interval", DataType.double, None),
    ParamSpec("explain", DataType.long, None),
)
_INCOMPLETE_PARAMS = (
    ParamSpec("known", DataType.boolean, None),
    ParamSpec("catalogue", DataType.string, "own"),
)


@dataclass(frozen=True)
class SavedModel:
    """A model in the store, ``models:/<id>``, and the sha256 of the list of its files' sha256."""

    uri: str
    sums_sha256: str


def log_model(
    client: MlflowClient,
    logged: LoggedModel,
    config: RunConfig,
    models: Path,
    example: pd.DataFrame,
    *,
    takes_incomplete: bool = False,
    further: Mapping[str, Kind] = MappingProxyType({}),
) -> SavedModel:
    """Save the model that scores raw rows, from a folder of its files, under a pending model of a run.

    It is what ``mlflow.pyfunc.log_model`` does, less the time that this spends on reading the run's metrics one by one,
    on what the caller knows (git, requirements), and on loading the model. The first raw rows of `example` become the
    input example. `takes_incomplete` says whether there is a model of incomplete rows, which takes further parameters;
    `further` are the columns that the model takes beside those of all models.
    """
    model_id = str(logged.model_id)
    client.log_outputs(logged.source_run_id, [LoggedModelOutput(model_id, step=0)])
    try:
        with temporary_folder() as scratch:
            params = ParamSchema([*_PARAMS, *_INCOMPLETE_PARAMS]) if takes_incomplete else ParamSchema(_PARAMS)
            folder = _save(scratch, logged, config, models, example, params, further)
            sums_sha256 = write_sums(folder)
            client.log_model_artifacts(model_id, str(folder))
    except BaseException:
        client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
        raise
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    return SavedModel(str(logged.model_uri), sums_sha256)


def _save(
    scratch: Path,
    logged: LoggedModel,
    config: RunConfig,
    models: Path,
    example: pd.DataFrame,
    params: ParamSchema,
    further: Mapping[str, Kind],
) -> Path:
    """Write what MLflow loads to a temporary folder, and return where."""
    model_id, folder = str(logged.model_id), scratch / "model"
    with _full_disk_named(scratch), without_looking_at_installed_files():
        mlflow.pyfunc.save_model(
            folder,
            mlflow_model=Model(logged.name, logged.source_run_id, model_uuid=model_id, model_id=model_id),
            python_model=str(PACKAGE / "tracking" / "pyfunc.py"),
            artifacts=_artifacts(model_files(models)),
            code_paths=[str(PACKAGE)],
            signature=_signature(class_names(config.task), params, further),
            input_example=example.head(_EXAMPLE_ROWS),
            pip_requirements=_requirements(config.model),
            metadata={FURTHER_KEY: {name: kind.name for name, kind in further.items()}} if further else None,
        )
        _keep_code(folder / "code")
        _forget_places(folder / MLMODEL_FILE_NAME)
    return folder


def _keep_code(folder: Path) -> None:
    """Remove what does not belong into a model's code, such as the sample, which would travel with every version."""
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".py":
            path.unlink()


def _forget_places(path: Path) -> None:
    """Take the folders of this machine out of an ``MLmodel``: MLflow notes where files were, and never looks there."""
    model = Model.load(path)
    flavor = model.flavors[mlflow.pyfunc.FLAVOR_NAME]
    flavor[MODEL_CODE_PATH] = Path(flavor[MODEL_CODE_PATH]).name
    for artifact in flavor[mlflow.pyfunc.model.CONFIG_KEY_ARTIFACTS].values():
        artifact["uri"] = artifact["path"]
    model.save(path)


@contextlib.contextmanager
def _full_disk_named(scratch: Path) -> Iterator[None]:
    """Say in a line where there is no room; MLflow and shutil would list every file that was to be copied."""
    try:
        yield
    except (OSError, MlflowException) as error:
        reason = reason_of(error) if isinstance(error, OSError) else os.strerror(errno.ENOSPC)
        if isinstance(error, MlflowException) and reason not in str(error):
            raise
        raise OutputError(
            f"the temporary folder {scratch} cannot be written: {reason}; make room, or name another by TMPDIR=…"
        ) from error


def predict_as_stored(model: SavedModel, rows: pd.DataFrame) -> np.ndarray:
    """Load a saved model from the store, and predict raw rows by it.

    The first few go through MLflow's own checks, as those of any caller; of the others these would look at every value.
    """
    checked, others = rows.head(_EXAMPLE_ROWS), rows.iloc[_EXAMPLE_ROWS:]
    # From a server, MLflow fetches the files to a temporary folder, and leaves them there.
    with temporary_folder(), _nothing_compiled():
        loaded = mlflow.pyfunc.load_model(model.uri, suppress_warnings=True)
        predicted = loaded.predict(checked), loaded.unwrap_python_model().predict(None, others)
    return np.concatenate([np.asarray(part) for part in predicted])


@contextlib.contextmanager
def _nothing_compiled() -> Iterator[None]:
    """Let Python leave no compiled code beside a model: it is in no list of files and names folders from here."""
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes


def register(
    client: MlflowClient,
    model: SavedModel,
    config: RunConfig,
    facts: dict[str, str],
    description: str,
    *,
    challenger: bool,
) -> int:
    """Register a logged model, and return its version, which gets the alias if it is a challenger.

    The UI finds it by tags of its choices and further `facts`, and shows the description, which is Markdown.
    """
    name = config.tracking.registered_model
    choices = ("split", "features", "cleaning", "task", "model")
    tags = {choice: getattr(config, choice).name for choice in choices} | {"seed": str(config.seed)}
    # The version stands in the run's own table; MLflow would announce it on stderr as well.
    with contextlib.redirect_stderr(io.StringIO()):
        version = mlflow.register_model(model.uri, name, tags={**tags, SUMS_TAG: model.sums_sha256, **facts})
    client.update_model_version(name, version.version, description)
    if challenger:
        client.set_registered_model_alias(name, "challenger", version.version)
    return int(version.version)


def _artifacts(files: ModelFiles) -> dict[str, str]:
    # As addresses: MLflow would read a %20 in a path as a blank.
    # Pickled files are not loaded.
    paths = {name: path for name, path in vars(files).items() if name != "joblib" and path is not None}
    return {name: path.absolute().as_uri() for name, path in paths.items()}


def _requirements(model: ModelConfig) -> list[str]:
    """Return what must be installed to load and score with a model, pinned; of MLflow, the part that does that."""
    members = model.members.values() if isinstance(model, EnsembleConfig) else [model]
    extras = sorted(_EXTRAS & {member.name for member in members})
    return [f"{distribution(name)}=={library_version(name)}" for name in ("mlflow-skinny", *SCORING, *extras)]


def _signature(classes: tuple[str, ...], params: ParamSchema, further: Collection[str]) -> ModelSignature:
    # AnyType: MLflow's own types refuse an integer 120 for a tempo and a NaN for an artist; the model itself checks.
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(AnyType(), column.name, required=column.name in REQUIRED_AUDIO)
        for column in COLUMNS
        if column.name != TARGET
    ]
    columns += [ColSpec(AnyType(), name, required=False) for name in further]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.double, name) for name in classes or (None,)]
    return ModelSignature(inputs=Schema(columns), outputs=Schema(outputs), params=params)
