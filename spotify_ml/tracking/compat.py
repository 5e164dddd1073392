"""The one place where a library is changed at run time: each change with its reason, and when it can go."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def let_hydra_raise() -> None:
    """Let Hydra raise what a job raised, without printing what was typed before it.

    Hydra 1.3 writes ``Error executing job with overrides: [...]`` to standard error, passwords and all, whatever the
    error is; it has no option for that. Can go when it has.
    """
    from hydra.core.utils import JobReturn

    JobReturn.return_value = JobReturn.return_value.getter(_value_or_error)  # type: ignore[attr-defined,method-assign]


def _value_or_error(result: Any) -> Any:
    if result.status.name == "FAILED":
        raise result._return_value
    return result._return_value


def forget_loaded_model() -> None:
    """Let MLflow forget the model that it has loaded last.

    MLflow 3.17 keeps what code gave to ``set_model`` in a module. At the exit it may go after XGBoost has gone, whose
    boosters then complain on standard error. Can go when MLflow keeps it no longer than the loading takes.
    """
    from mlflow.models import model

    model.__mlflow_model__ = None


@contextmanager
def without_looking_at_installed_files() -> Iterator[None]:
    """Let MLflow not compare a model's requirements with what is installed, which they are taken from.

    MLflow 3.17 reads 20,000 paths for that. Can go when saving a model has an option for it.
    """
    from mlflow.utils import environment

    warn = environment.warn_dependency_requirement_mismatches
    environment.warn_dependency_requirement_mismatches = lambda requirements: None
    try:
        yield
    finally:
        environment.warn_dependency_requirement_mismatches = warn


@contextmanager
def comparing_requirements_by_name() -> Iterator[None]:
    """Let MLflow compare a model's requirements with the installed packages of these names, and with nothing else.

    MLflow 3.17 reads the lists of files of all packages first, 20,000 paths, for requirements that are no packages but
    modules; there are none of these here. Can go when it asks for the packages before.
    """
    from mlflow.utils import requirements_utils

    before = requirements_utils._init_packages_to_modules_map, requirements_utils._PACKAGES_TO_MODULES
    requirements_utils._init_packages_to_modules_map = lambda: None
    requirements_utils._PACKAGES_TO_MODULES = {}
    try:
        yield
    finally:
        requirements_utils._init_packages_to_modules_map, requirements_utils._PACKAGES_TO_MODULES = before


def let_servers_read_csv() -> None:
    """Let MLflow's server read CSV for a model whose columns may be of any type.

    MLflow 3.17 asks the signature for the types of pandas to read CSV with, and for nothing else; for a column of any
    type there is none, and CSV is refused. Without types pandas infers them. Can go when it does so itself.
    """
    from mlflow.types.schema import AnyType, Schema

    types = Schema.pandas_types

    def types_of_csv(schema: Schema) -> list[Any]:
        return [] if any(isinstance(column.type, AnyType) for column in schema.inputs) else types(schema)

    # Every version that a process loads asks for this.
    if types.__name__ != types_of_csv.__name__:
        Schema.pandas_types = types_of_csv
