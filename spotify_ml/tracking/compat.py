"""The one place where a library is changed at run time: each change with its reason, and when it can go."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

# What MLflow imports of itself, and of FastAPI for it, to judge and serve language models.
_LATE = frozenset({"mlflow.gateway", "mlflow.genai", "mlflow.genai.judges", "mlflow.genai.scorers"})


def let_mlflow_import_less() -> None:
    """Let MLflow's packages for language models wait until something of them is asked for; before MLflow is imported.

    MLflow 3.17 imports all of them, for which it needs a third of its time to start. Can go when it does not.
    """
    if not any(isinstance(finder, _LateFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LateFinder())


class _LateFinder(MetaPathFinder):
    """Finds `_LATE` packages, and nothing else."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in _LATE else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _LateLoader(spec.loader.name, spec.loader.path)
        return spec


class _LateLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _LateModule


class _LateModule(ModuleType):
    """A package that is run when it is first asked for something that is not there; its modules can do without."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        SourceFileLoader.exec_module(self.__loader__, self)  # type: ignore[arg-type]
        return getattr(self, name)


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
