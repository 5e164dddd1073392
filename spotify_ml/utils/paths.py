"""The project's files, independent of the current folder."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
_IN_CHECKOUT = (PACKAGE.parent / "conf" / "train.yaml").is_file()
# An installed wheel carries its own conf/ and writes below the current folder.
PROJECT = PACKAGE.parent if _IN_CHECKOUT else Path.cwd()
CONF = PROJECT / "conf" if _IN_CHECKOUT else PACKAGE / "conf"
STORE_VARIABLE = "MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"


def default_store() -> str:
    """Return the default store: ``MLFLOW_TRACKING_URI``, or else the project's own."""
    return os.environ.get(STORE_VARIABLE, "").strip() or f"{_SQLITE}{_own_database()}"


def database_path(uri: str) -> Path | None:
    """Return the file of a SQLite store, None for other stores."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def own_artifacts(uri: str) -> str | None:
    """Return the artifact folder of the project's own store; None for other stores, which have their own."""
    database = database_path(uri)
    is_own = database is not None and os.path.realpath(database) == os.path.realpath(_own_database())
    return str(PROJECT / "mlruns" / "artifacts") if is_own else None


def _own_database() -> Path:
    return PROJECT / "mlruns" / "mlflow.db"


def register_resolvers() -> None:
    """Register the resolvers of ``conf/`` that depend on the project's folder and the environment."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("default_store", default_store, replace=True)
    OmegaConf.register_new_resolver("own_artifacts", own_artifacts, replace=True)
    OmegaConf.register_new_resolver("project", lambda path: str(PROJECT / path), replace=True)
    OmegaConf.register_new_resolver("package", lambda path: str(PACKAGE / path), replace=True)
