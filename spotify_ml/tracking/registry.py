"""Versions of the registered model: found by name and alias, and loaded with the code they were registered with."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from spotify_ml.errors import DataError, TrackingError

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[\w-]+))")
_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes
    ----------
    name : str
        Of the registered model.
    number : int
        Of the version.
    run_id : str
        The run that made it.
    tags : dict of str to str
        What is known of it.
    """

    name: str
    number: int
    run_id: str
    tags: dict[str, str]

    @property
    def uri(self) -> str:
        """Where MLflow finds it, whatever becomes of its aliases."""
        return f"models:/{self.name}/{self.number}"


@dataclass(frozen=True)
class ScoringModel:
    """A loaded version.

    Attributes
    ----------
    version : Version
        Which one.
    model : mlflow.pyfunc.PyFuncModel
        The model, as MLflow loads it.
    """

    version: Version
    model: Any

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray | pd.DataFrame:
        """Score raw rows; see `spotify_ml.models.popularity.PopularityModel.predict`.

        Raises
        ------
        DataError
            If the rows are refused.
        """
        with _refusals():
            return self.model.predict(rows, params=params)


def find_version(client: MlflowClient, uri: str) -> Version:
    """Return the version that a URI names.

    Parameters
    ----------
    client : MlflowClient
        Of the store.
    uri : str
        ``models:/name@alias`` or ``models:/name/version``.

    Raises
    ------
    TrackingError
        If it names none; the message says what there is.
    """
    named = _URI.fullmatch(uri)
    if named is None:
        raise TrackingError(f"model={uri} is not an address; give models:/name@alias or models:/name/version")
    name, number, alias = named["name"], named["version"], named["alias"]
    try:
        found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
    except MlflowException as error:
        raise TrackingError(f"{uri} is not registered: {_there_is(client, name)}") from error
    return Version(name, int(found.version), str(found.run_id), dict(found.tags))


def _there_is(client: MlflowClient, name: str) -> str:
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        names = sorted(each.name for each in client.search_registered_models())
        return f"there is no model '{name}'; there are {', '.join(names)}" if names else "train one first"
    aliases = ", ".join(f"@{alias} (version {number})" for alias, number in sorted(model.aliases.items()))
    latest = max((int(each.version) for each in client.search_model_versions(f"name='{name}'")), default=0)
    return f"'{name}' has versions up to {latest} and the aliases {aliases or '(none)'}"


def load_version(version: Version) -> ScoringModel:
    """Load a version with the code that it was registered with, whatever this package has become since."""
    with _own_code(), _refusals():
        return ScoringModel(version, mlflow.pyfunc.load_model(version.uri))


@contextmanager
def _own_code() -> Iterator[None]:
    """Let a version import its own copy of this package: put the modules of the one that runs aside meanwhile."""
    ours, path = _modules(), list(sys.path)
    for name in ours:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in _modules():
            del sys.modules[name]
        sys.modules.update(ours)
        sys.path[:] = path


def _modules() -> dict[str, Any]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == _PACKAGE}


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the errors of a version's own code, which are classes of its own, into those of this package."""
    try:
        yield
    except Exception as error:
        if type(error).__module__ != f"{_PACKAGE}.errors":
            raise
        raise DataError(str(error)) from error
