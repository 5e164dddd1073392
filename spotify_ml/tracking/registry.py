"""Versions of the registered model: found by name and alias, and loaded with the code they were registered with."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, ErrorCode
from mlflow.utils.uri import is_local_uri

from spotify_ml.data.contract import check_columns
from spotify_ml.data.schema import Kind
from spotify_ml.data.tables import as_frame
from spotify_ml.models.integrity import check_files
from spotify_ml.tracking.compat import comparing_requirements_by_name, forget_loaded_model
from spotify_ml.tracking.store import open_store, store_errors
from spotify_ml.tracking.store_address import named
from spotify_ml.tracking.versions import FURTHER_KEY, SUMS_TAG
from spotify_ml.utils.errors import DataError, ModelError, SpotifyMLError, TrackingError, did_you_mean, shown
from spotify_ml.utils.files import lasting_folder
from spotify_ml.utils.paths import default_store

log = logging.getLogger(__name__)

_URI = re.compile(r"models:/(?P<name>[^/]+)(?:/(?P<version>\d+)|@(?P<alias>[\w-]+))")
_PROMOTE = "python -m spotify_ml.promote"
_SHOWN = 5
# A folder that cannot be.
_NOWHERE = os.path.join(os.devnull, "none")  # noqa: PTH118 - Python wants a str
_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Version:
    """A version of a registered model: the model's name, the version's number, the run that made it, and its tags."""

    name: str
    number: int
    run_id: str
    tags: dict[str, str]

    @property
    def uri(self) -> str:
        """Where MLflow finds it, whatever becomes of its aliases."""
        return f"models:/{self.name}/{self.number}"

    @property
    def identity(self) -> dict[str, str]:
        """What tells it from every other version, also from one of the same number in another store."""
        sums = {"files": self.tags[SUMS_TAG]} if SUMS_TAG in self.tags else {}
        return {"version": self.uri, "run": self.run_id, **sums}


@dataclass(frozen=True)
class ScoringModel:
    """A loaded version; ``model`` is the ``mlflow.pyfunc.PyFuncModel``."""

    version: Version
    model: Any

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of a classification; none for a regression."""
        return _classes(self.model.metadata)

    @property
    def params(self) -> list[str]:
        """The names of the parameters that a prediction takes."""
        return _names(self.model.metadata)

    @property
    def further(self) -> dict[str, Kind]:
        """The columns beside those of all models that it takes, with what they hold."""
        return {name: Kind[kind] for name, kind in (self.model.metadata.metadata or {}).get(FURTHER_KEY, {}).items()}

    def predict(self, rows: Any, params: dict[str, Any] | None = None) -> np.ndarray | pd.DataFrame:
        """Score raw rows; see `spotify_ml.models.popularity.PopularityModel.predict`.

        Parameters
        ----------
        rows : DataFrame, table, iterable of mappings, or mapping of columns
            Raw rows as `spotify_ml.data.tables.as_frame` takes them, with every column that the signature requires;
            other columns are left out.
        params : dict of str to Any, optional
            Keywords of the prediction that the signature names.

        Raises
        ------
        DataError
            If the rows are refused, or the version knows no such parameter.
        """
        frame = as_frame(rows)
        inputs, taken = self.model.metadata.get_input_schema(), self.params
        # MLflow would print all rows at the first, and pass over the others with a line in the log.
        check_columns(list(frame.columns), required=inputs.required_input_names())
        unknown = sorted(set(params or ()) - set(taken))
        if unknown:
            takes = f"it takes {', '.join(taken)}" if taken else "it takes no parameters"
            raise DataError(f"{self.version.uri} knows no {_listed(unknown)}: {takes}; a version trained since may")
        used = frame[[name for name in inputs.input_names() if name in frame.columns]]
        # MLflow's own `predict` would walk through every value of a column of any type: 15 µs a row, to no end.
        scorer = self.model.unwrap_python_model()
        with _refusals(DataError):
            return scorer.predict(None, used, params)


def load_model(uri: str, tracking_uri: str | None = None) -> ScoringModel:
    """Load a version of a registered model; see `spotify_ml.load_model`."""
    store = tracking_uri or default_store()
    client = open_store(store)
    log.info("store %s", named(store))
    with store_errors(store):
        return load_version(find_version(client, uri), store)


def find_version(client: MlflowClient, uri: str) -> Version:
    """Return the version that ``models:/name@alias`` or ``models:/name/version`` names.

    Raises `TrackingError`, which says what there is, if it names none.
    """
    named = _URI.fullmatch(uri)
    if named is None:
        raise TrackingError(f"model={uri} is not an address; give models:/name@alias or models:/name/version")
    name, number, alias = named["name"], named["version"], named["alias"]
    try:
        found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
    except MlflowException as error:
        hint = f"; give it to one: `{_PROMOTE}`" if alias == "champion" else ""
        raise TrackingError(f"{uri} is not registered: {_there_is(client, name, alias)}{hint}") from error
    return Version(name, int(found.version), str(found.run_id), dict(found.tags))


def _there_is(client: MlflowClient, name: str, alias: str | None) -> str:
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        names = sorted(each.name for each in client.search_registered_models())
        missing = f"there is no model '{name}'{did_you_mean(name, names)}"
        return f"{missing}; there are {', '.join(names)}" if names else "train one first"
    aliases = ", ".join(f"@{alias} (version {number})" for alias, number in sorted(model.aliases.items()))
    latest = max((int(each.version) for each in client.search_model_versions(f"name='{name}'")), default=0)
    nearest = did_you_mean(alias, model.aliases) if alias else ""
    return f"'{name}' has versions up to {latest} and the aliases {aliases or '(none)'}{nearest}"


def load_version(version: Version, tracking_uri: str | None = None) -> ScoringModel:
    """Load a version with the code that it was registered with, whatever this package has become since.

    The store is by default the one that MLflow is set to. Raises `ModelError` if files are missing or changed.
    """
    return load_folder(version, version_files(version, tracking_uri))


def load_folder(version: Version, folder: Path) -> ScoringModel:
    """Load a version from its files, as `version_files` returns them, with the code that it was registered with."""
    with _own_code(), _refusals(ModelError), comparing_requirements_by_name():
        try:
            return ScoringModel(version, mlflow.pyfunc.load_model(str(folder)))
        finally:
            forget_loaded_model()


def version_files(version: Version, tracking_uri: str | None = None) -> Path:
    """Return the folder with a version's files, fetched if they are elsewhere, once they are seen to be unchanged.

    Parameters and errors are those of `load_version`.
    """
    location = MlflowClient(tracking_uri).get_model_version_download_uri(version.name, str(version.number))
    try:
        # What is on this machine is used where it is.
        copy = None if is_local_uri(location, False) else tempfile.mkdtemp(dir=lasting_folder())
        folder = Path(mlflow.artifacts.download_artifacts(location, dst_path=copy, tracking_uri=tracking_uri))
    except (OSError, MlflowException) as error:
        raise ModelError(
            f"the files of {version.uri} are not at {location}; if the checkout was moved or copied, "
            "`python -m spotify_ml.relocate` makes its store load again"
        ) from error
    if SUMS_TAG in version.tags:
        check_files(folder, version.tags[SUMS_TAG])
    else:
        log.warning("%s was registered without hashes: its files are not checked", version.uri)
    return folder


def classes(folder: Path) -> tuple[str, ...]:
    """Return the classes of a classification, none of a regression, from the files of a version."""
    return _classes(Model.load(str(folder)))


def parameters(folder: Path) -> list[str]:
    """Return the names of the parameters that a version takes, from its files."""
    return _names(Model.load(str(folder)))


def _classes(model: Model) -> tuple[str, ...]:
    outputs = model.get_output_schema()
    return tuple(outputs.input_names()) if outputs.has_input_names() else ()


def _names(model: Model) -> list[str]:
    known = model.get_params_schema()
    return [param.name for param in (known.params if known else ())]


def _listed(names: list[str]) -> str:
    told = ", ".join(map(shown, names[:_SHOWN]))
    return told + f" and {len(names) - _SHOWN:,} more" * (len(names) > _SHOWN)


@contextmanager
def _own_code() -> Iterator[None]:
    """Let a version import its own copy of this package: put the modules of the one that runs aside meanwhile."""
    ours, path = _modules(), list(sys.path)
    compiled, writes = sys.pycache_prefix, sys.dont_write_bytecode
    for name in ours:
        del sys.modules[name]
    try:
        # Compiled code is in no list of files: none beside the sources is run, and none is left there.
        sys.pycache_prefix, sys.dont_write_bytecode = _NOWHERE, True
        yield
    finally:
        sys.pycache_prefix, sys.dont_write_bytecode = compiled, writes
        for name in _modules():
            del sys.modules[name]
        sys.modules.update(ours)
        sys.path[:] = path


def _modules() -> dict[str, Any]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == _PACKAGE}


@contextmanager
def _refusals(kind: type[SpotifyMLError]) -> Iterator[None]:
    """Turn what a version refuses into an error of this package: its own code has classes of its own."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(INVALID_PARAMETER_VALUE):
            raise
        raise kind(error.message) from error
    except Exception as error:
        if not any(each.__name__ == SpotifyMLError.__name__ for each in type(error).__mro__):
            raise
        raise kind(str(error)) from error
