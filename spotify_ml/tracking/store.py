"""The MLflow store: reached, created once, and spoken of in one clear sentence when it fails."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import requests
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from spotify_ml.config import TrackingConfig
from spotify_ml.errors import TrackingError

# A bar for every small local file, a line for every migration and every version: noise.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
for _noisy in ("mlflow", "alembic"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)

_SQLITE = "sqlite:///"
_ANSWER_WITHIN_S = 5


def connect(config: TrackingConfig) -> tuple[MlflowClient, str]:
    """Reach the store, and create it and the experiment where they are missing.

    Returns
    -------
    client : MlflowClient
        Of the store.
    experiment_id : str
        Of the configured experiment.

    Raises
    ------
    TrackingError
        If the store does not answer or cannot be written.
    """
    with store_errors(config.uri):
        if config.uri.startswith(("http://", "https://")):
            # MLflow itself would retry for minutes.
            requests.get(f"{config.uri.rstrip('/')}/health", timeout=_ANSWER_WITHIN_S).raise_for_status()
        mlflow.set_tracking_uri(config.uri)
        client = MlflowClient()
        if config.uri.startswith(_SQLITE):
            # Processes that create the same SQLite store at once break each other.
            database = Path(config.uri.removeprefix(_SQLITE))
            database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{database}.lock"):
                return client, _experiment_id(client, config)
        return client, _experiment_id(client, config)


def _experiment_id(client: MlflowClient, config: TrackingConfig) -> str:
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is None:
        return str(client.create_experiment(config.experiment, artifact_location=config.artifact_location))
    if experiment.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the experiment '{config.experiment}' was deleted; restore it with "
            f"`mlflow experiments restore -x {experiment.experiment_id}` or set tracking.experiment=…"
        )
    return str(experiment.experiment_id)


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn what the store raises into a `TrackingError` that names it."""
    try:
        yield
    except requests.RequestException as error:
        raise TrackingError(
            f"the tracking server {uri} does not answer ({type(error).__name__}); start it, or mend tracking.uri=…"
        ) from error
    except (MlflowException, SQLAlchemyError) as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise TrackingError(f"the tracking store {uri} cannot be used: {cause}") from error
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or 'no file named'})"
        raise TrackingError(f"the tracking store {uri} cannot be written: {reason}") from error
