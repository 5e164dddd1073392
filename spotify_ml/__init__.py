"""Predict how popular a Spotify track is, as an experiment-tracked machine-learning project."""

from typing import TYPE_CHECKING, Any

from spotify_ml.utils.version import __version__ as __version__

if TYPE_CHECKING:
    import pandas as pd

    from spotify_ml.config.run import RunConfig
    from spotify_ml.reports.summary import Summary
    from spotify_ml.tracking.registry import ScoringModel

__all__ = ["configure", "load_model", "run", "tracks_from_web_api"]

# Each is imported when it is called: mlflow takes a second, and this module is imported on the way to every --help.


def load_model(uri: str = "models:/spotify-popularity@champion", tracking_uri: str | None = None) -> "ScoringModel":
    """Load a registered model, which scores raw rows by its ``predict``.

    Parameters
    ----------
    uri : str
        ``models:/name@alias`` or ``models:/name/version``.
    tracking_uri : str, optional
        The store; by default ``MLFLOW_TRACKING_URI``, or the project's own below ``mlruns/``.

    Returns
    -------
    ScoringModel
        Its ``predict`` takes a DataFrame of raw rows, and ``params`` such as ``{"interval": 0.9}``.

    Raises
    ------
    TrackingError
        If there is no such store, model, alias or version.
    ModelError
        If files of the model are missing or were changed after its registration.
    """
    from spotify_ml.tracking import registry

    return registry.load_model(uri, tracking_uri)


def configure(*overrides: str) -> "RunConfig":
    """Return the configuration of a run, composed and checked as on the command line.

    Parameters
    ----------
    *overrides : str
        As they are typed after ``python -m spotify_ml.train``.

    Raises
    ------
    ConfigError
        Naming every key that is unknown or has a wrong value.

    Examples
    --------
    >>> config = configure("split=artist", "model.max_depth=6")
    >>> config.split.name, config.model.max_depth
    ('artist', 6)
    """
    from spotify_ml import api

    return api.configure(*overrides)


def run(*overrides: str) -> "Summary":
    """Train a model and record the run as ``python -m spotify_ml.train`` does, in a new folder below ``outputs/runs/``.

    Parameters
    ----------
    *overrides : str
        As they are typed there; a study (``tune=optuna``) is begun on the command line only.

    Returns
    -------
    Summary
        The run's name, id, folder, metrics and, if it was registered, version.

    Raises
    ------
    SpotifyMLError
        If the configuration, the data or the tracking store cannot be used.
    """
    from spotify_ml import api

    return api.run(*overrides)


def tracks_from_web_api(tracks: Any, audio_features: Any, artists: Any = None) -> "pd.DataFrame":
    """Turn objects of Spotify's Web API into raw rows; see `spotify_ml.data.web_api.tracks_from_web_api`."""
    from spotify_ml.data import web_api

    return web_api.tracks_from_web_api(tracks, audio_features, artists)
