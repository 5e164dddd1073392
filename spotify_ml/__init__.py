"""Predict how popular a Spotify track is, as an experiment-tracked machine-learning project."""

__version__ = "0.1.0"
