"""The check that the configured file of tracks exists, before anything slow is imported."""

from collections.abc import Sequence
from pathlib import Path

from spotify_ml.config.run import DataConfig
from spotify_ml.data.parts import is_many, is_pattern, join_name, parts_of, source_names
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
    """Raise a `DataError` if the configured file does not exist, or many have no table among them.

    The same goes for the tables that are to be joined.
    """
    check_joins(config.join or ())
    if not isinstance(config.path, str):
        source_names(config.path)
        for each in config.path:
            check_data(config.model_copy(update={"path": each, "join": None}))
        return
    path = Path(config.path)
    if is_many(config.path) and (is_pattern(config.path) or path.exists()):
        parts_of(config.path)
        return
    if not path.exists():
        named = config.name == "sample" and path.resolve() != SAMPLE
        raise DataError(f"{path} does not exist; {HINTS['file' if named else config.name]}")


def check_joins(paths: Sequence[str]) -> None:
    """See that files to be joined are there, under names that differ; a `DataError` names one that is not."""
    names = [join_name(path) for path in paths]
    for path, name in zip(paths, names, strict=True):
        if not Path(path).is_file():
            reason = "is a folder" if Path(path).is_dir() else "does not exist"
            raise DataError(
                f"{path} {reason}; check the join, which names files: a relative path is taken from the current folder"
            )
        if not name or f"{name}_".startswith("matched_"):
            raise DataError(f"{path} has no name that columns can begin with; rename the file")
        if names.count(name) > 1:
            both = " and ".join(each for each, own in zip(paths, names, strict=True) if own == name)
            raise DataError(f"join names two tables {name!r}: {both}; rename one, as columns begin with its name")
