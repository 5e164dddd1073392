"""Predict how popular a Spotify track is, as an experiment-tracked machine-learning project."""

from typing import TYPE_CHECKING

from spotify_ml.utils.version import __version__ as __version__

if TYPE_CHECKING:
    from spotify_ml.tracking.registry import ScoringModel


def load_model(uri: str = "models:/spotify-popularity@champion", tracking_uri: str | None = None) -> "ScoringModel":
    """Load a registered model, which scores raw rows by its ``predict``.

    Parameters
    ----------
    uri : str
        ``models:/name@alias`` or ``models:/name/version``.
    tracking_uri : str, optional
        The store; by default ``MLFLOW_TRACKING_URI``, or the project's own below ``mlruns/``.

    Raises
    ------
    TrackingError
        If there is no such store, model, alias or version.
    ModelError
        If files of the model are missing or were changed after its registration.
    """
    # mlflow takes a second to import, and this module is imported on the way to every --help.
    from spotify_ml.tracking import registry

    return registry.load_model(uri, tracking_uri)
