"""The check that the configured file of tracks exists, before anything slow is imported."""

from pathlib import Path

from spotify_ml.config.run import DataConfig
from spotify_ml.data.parts import is_many, is_pattern, parts_of, source_names
from spotify_ml.utils.errors import DataError
from spotify_ml.utils.paths import PACKAGE

SAMPLE = PACKAGE / "data" / "sample" / "spotify_by_genre.parquet"
# What to do if there is no file of tracks.
HINTS = {
    "full": "fetch it with `python scripts/download_data.py`, or name a copy with SPOTIFY_TRACKS_PATH or data.path=…",
    "file": "check data.path=…; a relative path is taken from the current folder",
    "sample": "the bundled sample is part of the package; reinstall it",
}


def check_data(config: DataConfig) -> None:
    """Raise a `DataError` if the configured file does not exist, or many have no table among them."""
    if not isinstance(config.path, str):
        source_names(config.path)
        for each in config.path:
            check_data(config.model_copy(update={"path": each}))
        return
    path = Path(config.path)
    if is_many(config.path) and (is_pattern(config.path) or path.exists()):
        parts_of(config.path)
        return
    if not path.exists():
        named = config.name == "sample" and path.resolve() != SAMPLE
        raise DataError(f"{path} does not exist; {HINTS['file' if named else config.name]}")
