"""What is asked for beside a calibration, and what it reads: refused before anything is imported or read."""

from pathlib import Path

from spotify_ml.config.commands import PredictConfig
from spotify_ml.data.parts import is_many, is_pattern, parts_of
from spotify_ml.utils.errors import ConfigError, DataError


def check_calibration(config: PredictConfig, source: Path | None, target: Path | None) -> None:
    """Check what is asked for beside a calibration, and that its file, or the tracks of it, are there."""
    key, path = ("calibrate", config.calibrate) if config.calibrate is not None else ("calibration", config.calibration)
    if path is None:
        return
    if config.calibrate is not None and config.calibration is not None:
        raise ConfigError(
            "config: calibrate=… fits a calibration and calibration=… takes one that is there; set one of them"
        )
    if config.explain is not None:
        raise ConfigError(
            f"config: explain={config.explain}: reasons are of the model alone; ask for them without {key}=…"
        )
    if config.calibrate is not None and target is None:
        raise ConfigError("config: calibrate=… keeps the calibration beside the output; name a file with output=…")
    if config.calibrate is not None and (source is None or not (source.is_file() or is_many(config.input))):
        raise ConfigError(
            f"config: calibrate=… reads input={config.input} twice, which a pipe cannot be; name a file with input=…"
        )
    if not (Path(path).exists() or (config.calibrate is not None and is_pattern(path))):
        raise DataError(f"{key}={path} does not exist; a relative path is taken from the current folder")


def learned_from(config: PredictConfig) -> list[Path]:
    """Return the files and folders that a calibration is read from, or fitted on."""
    found = [Path(path) for path in (config.calibrate, config.calibration) if path is not None]
    if config.calibrate is not None and is_many(config.calibrate):
        found += [part.path for part in parts_of(config.calibrate)]
    return found
