"""The command that scores files of raw rows with a registered model."""

import gc
import os
import sys
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from spotify_ml.cli.command import run_command
from spotify_ml.data.parts import is_many, is_pattern, parts_of
from spotify_ml.data.place import check_joins
from spotify_ml.scoring import (
    KNOWS_NO_STRANGERS,
    RECORD,
    SUFFIXES_LISTED,
    calibration_path,
    is_table,
    output_name,
    rejected_path,
)
from spotify_ml.utils import paths
from spotify_ml.utils.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import Any

    from omegaconf import DictConfig

    from spotify_ml.config.commands import PredictConfig
    from spotify_ml.data.join_tables import JoinTable
    from spotify_ml.scoring.calibrated import SavedCalibration
    from spotify_ml.scoring.rows import Scorer, Tally
    from spotify_ml.tracking.registry import ScoringModel

STANDARD = "-"
_SHOWN = 10
_KEYS = ("artist", "album", "genre")


def run(composed: "DictConfig") -> None:
    """Score what the configuration names, and say what was done."""
    from spotify_ml.cli.checks import checked, use_store
    from spotify_ml.config.commands import PredictConfig

    config = checked(composed, PredictConfig)
    check_joins(config.join or ())
    source, target = places(config)
    use_store(config.tracking.uri)

    from spotify_ml.data.joins import read_for
    from spotify_ml.scoring.calibrated import CalibratedModel
    from spotify_ml.scoring.rows import Scorer, Tally
    from spotify_ml.tracking.registry import find_version, load_version
    from spotify_ml.tracking.store import open_store, store_errors

    client = open_store(config.tracking.uri)
    with store_errors(config.tracking.uri):
        version = find_version(client, config.model_uri)
        model = load_version(version, config.tracking.uri)
    asked = asked_params(config, model.params, version.uri)
    joins = read_for(config.join, model.further, version.uri)
    calibration = calibration_of(config, model, joins)
    predict = model.predict if calibration is None else CalibratedModel(model.predict, calibration).predict
    escape = config.csv_formulas == "escape"
    asking = partial(predict, params=asked)
    scorer = Scorer(
        asking, version.number, model.classes, config.on_error, config.out_of_range, escape, model.further, joins
    )
    settings = {"model": f"{version.uri} of run {version.run_id}"}
    settings |= config.model_dump(include={"on_error", "out_of_range", "interval", "explain"})
    # Named where it was asked for: jobs of before it was there go on.
    settings |= {"csv_formulas": config.csv_formulas} if escape else {}
    settings |= {name: asked[name] for name in ("known", "catalogue") if name in asked}
    settings |= {f"join {each.file.name}": each.file.sha256 for each in joins}
    settings |= {"layout": config.layout.model_dump_json()} if config.layout.name != "auto" else {}
    settings |= {} if calibration is None else {"calibration": calibration.sha256}
    # What was imported is there to stay: let no later collection walk it.
    gc.freeze()
    gc.enable()
    tally, started = Tally(), perf_counter()
    _score(config, source, target, scorer, tally, settings)
    seconds = perf_counter() - started
    if calibration is not None and config.calibrate is not None and target is not None:
        calibration.write(calibration_path(target))
    sys.stderr.write("".join(f"warning: {text}\n" for text in warnings(config, version.uri, "known" in asked, tally)))
    sys.stderr.write(_summary(config, version.uri, tally, seconds))


def _score(
    config: "PredictConfig",
    source: Path | None,
    target: Path | None,
    scorer: "Scorer",
    tally: "Tally",
    settings: dict[str, str],
) -> None:
    """Score a file, many or a folder; `settings` are what decides the result of each file of a folder."""
    from tqdm import tqdm

    from spotify_ml.scoring.files import score_file, score_folder, score_parts

    with tqdm(unit=" rows", unit_scale=True, disable=None, file=sys.stderr) as bar:
        if source is not None and is_many(config.input) and not source.is_dir():
            score_parts(parts_of(config.input), target, scorer, tally, bar.update, config.layout)
        elif source is not None and target is not None and source.is_dir():
            score_folder(source, target, scorer, tally, bar.update, settings, config.layout)
        else:
            score_file(source, target, scorer, tally, bar.update, config.layout)


def calibration_of(
    config: "PredictConfig", model: "ScoringModel", joins: "Sequence[JoinTable]" = ()
) -> "SavedCalibration | None":
    """Return the calibration that the configuration asks for, read or fitted, None if it asks for none.

    Known rows get the columns of `joins`, as the rows to be scored.

    Raises
    ------
    DataError
        If its file, or the tracks that it is to be fitted on, cannot be used.
    ConfigError
        If the model cannot be calibrated, or the file is for another one.
    """
    if config.calibrate is None and config.calibration is None:
        return None
    from spotify_ml.scoring.calibrated import calibrate, check_model, read_calibration
    from spotify_ml.scoring.known_rows import open_inputs, read_known, without_copies

    check_model(model.version.uri, model.classes, model.params)
    tables = [each.file.name for each in joins]
    if config.calibrate is None:
        saved = read_calibration(Path(str(config.calibration)), model.version.identity)
        if set(saved.tables) != set(tables):
            fitted = f"join=[{','.join(saved.tables)}]" if saved.tables else "no join=…"
            sys.stderr.write(f"warning: calibration={config.calibration} was fitted with {fitted}\n")
        return saved
    known = read_known(config.calibrate, config.layout, config.out_of_range, model.further, joins)
    known = without_copies(known, open_inputs(config.input, config.layout), config.out_of_range)
    calibration = calibrate(model.predict, known, config.catalogue, model.version.identity, tables)
    without = f" ({told} left out)" if (told := known.left_out()) else ""
    sys.stderr.write(f"calibrated on {len(known.rows):,} rows of {config.calibrate}{without}: {calibration}\n")
    if calibration.after.r2 < calibration.before.r2:
        sys.stderr.write("warning: the calibration predicts worse than the model alone; score without calibrate=…\n")
    return calibration


def asked_params(config: "PredictConfig", known_params: "Collection[str]", uri: str) -> "dict[str, Any]":
    """Return the parameters of the prediction: what the configuration asks for, and what was known of each row.

    Raises `ConfigError` if the version, which knows some parameters, cannot be asked for another catalogue.
    """
    asked = config.model_dump(include={"interval", "explain"}, exclude_none=True)
    if "known" in known_params:
        return asked | {"known": True} | ({"catalogue": "other"} if config.catalogue == "other" else {})
    if config.catalogue == "other":
        raise ConfigError(
            f"config: catalogue=other: {uri} has no model of incomplete rows beside it; train a version with "
            "features=full and incomplete=true"
        )
    return asked


def warnings(config: "PredictConfig", uri: str, tells: bool, tally: "Tally") -> "Iterator[str]":
    """Yield what a reader of the predictions should know, of a version that `tells` what it knew, or does not."""
    if tally.absent:
        columns = ", ".join(name + hint for name, hint in tally.absent.items())
        yield f"{config.input} has no column {columns}: the predictions do without"
    for name, count in tally.joined.items():
        if not count:
            yield f"no row of {config.input} is in the joined table {name!r}: are its keys those of the rows?"
    if not tells:
        yield f"{uri} {KNOWS_NO_STRANGERS}"
    n_rows, n_strangers = sum(tally.known.values()), sum(tally.known[each] for each in ("none", "genre"))
    if n_strangers > n_rows / 2:
        is_asked = (
            bool(config.calibrate or config.calibration)
            or config.catalogue == "other"
            or "artists" in tally.absent
            or "album_name" in tally.absent
        )
        hint = "" if is_asked else "; set catalogue=other if the tracks come from elsewhere"
        yield (
            f"{uri} knows neither artist nor album of {n_strangers:,} of {n_rows:,} rows: predictions of these are "
            f"rough, see interval=0.9{hint}"
        )


def places(config: "PredictConfig") -> tuple[Path | None, Path | None]:
    """Return where rows come from and go to, None for standard input and output, once that is seen to be possible.

    Raises
    ------
    DataError
        If there is no such input.
    ConfigError
        If there can be no such output.
    """
    from spotify_ml.cli.calibration import check_calibration, learned_from
    from spotify_ml.cli.checks import check_outputs

    source = None if config.input == STANDARD else Path(config.input)
    target = None if config.output == STANDARD else Path(config.output)
    if source is not None and not (source.exists() or is_pattern(config.input)):
        raise DataError(
            f"{source} does not exist; check input=…, where a relative path is taken from the current folder"
        )
    if source is not None and source.is_dir():
        if target is None or target.is_file():
            raise ConfigError(f"config: output={config.output}: a folder is scored into a folder; name one")
    elif source is not None and is_many(config.input) and target is not None and not is_table(target):
        if target.is_file():
            raise ConfigError(f"config: output={config.output}: many files are scored into a folder, or a table")
    elif target is not None and (target.is_dir() or not is_table(target)):
        raise ConfigError(f"config: output={config.output} is not the name of a file in {SUFFIXES_LISTED}, or -")
    check_calibration(config, source, target)
    if target is None:
        if config.on_error == "skip":
            raise ConfigError("config: on_error=skip sets rows aside beside the output; name a file with output=…")
        return source, target
    read, written = _files(source, target, config.on_error)
    if config.calibrate is not None:
        written.append(calibration_path(target))
    database = paths.database_path(config.tracking.uri)
    read += [*learned_from(config), *map(Path, config.join or ())]
    check_outputs(written, read if database is None else [*read, database])
    _check_writable(target)
    return source, target


def _files(source: Path | None, target: Path, on_error: str) -> tuple[list[Path], list[Path]]:
    """Return all files and folders that a job reads, and all that it may write."""
    read, written = [] if source is None else [source], [target]
    if source is not None and source.is_dir():
        tables = [path for path in source.iterdir() if is_table(path)]
        read += tables
        written += [target / path.name for path in tables] + [target / RECORD]
    elif source is not None and is_many(str(source)):
        parts = parts_of(str(source))
        read = [part.path for part in parts]
        written += [] if is_table(target) else [target / output_name(part.name) for part in parts]
    if on_error == "skip":
        written += [rejected_path(path) for path in written]
    return read, written


def _check_writable(target: Path) -> None:
    place = target if target.is_dir() else target.absolute().parent
    # Folders that are not there yet will be made.
    there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        reason = "not writable" if there.is_dir() else "no folder"
        raise ConfigError(f"config: output={target} cannot be written: {there} is {reason}")


def _summary(config: "PredictConfig", uri: str, tally: "Tally", seconds: float) -> str:
    def by_column(counts: "dict[str, int]") -> str:
        return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))

    n_scored = tally.n_rows - tally.n_bad
    rows = f"{n_scored:,} row{'s' * (n_scored != 1)}"
    parts = [f"{rows} scored by {uri} in {seconds:.2f} s ({tally.n_rows / seconds:,.0f} rows/s)"]
    if tally.n_kept_files:
        parts.append(f"{tally.n_kept_files:,} files kept that were scored before")
    if tally.passed_over:
        parts.append(f"passed over: {_listed(tally.passed_over)}")
    parts += [name for name, count in tally.layouts.items() if count]
    if tally.missing:
        parts.append(f"NaN: {by_column(tally.missing)}")
    if tally.clipped:
        parts.append(f"clipped: {by_column(tally.clipped)}")
    parts += [f"in {name}: {count:,} rows" for name, count in tally.joined.items()]
    if n_known := sum(tally.known.values()):
        counts = {key: sum(n for keys, n in tally.known.items() if key in keys.split(";")) for key in _KEYS}
        parts.append(f"known: {', '.join(f'{key} {count / n_known:.0%}' for key, count in counts.items())}")
    if config.calibrate is not None:
        parts.append(f"calibration in {calibration_path(Path(config.output))}")
    elif config.calibration is not None:
        parts.append(f"calibrated by {config.calibration}")
    parts += tally.scales.advice().values()
    if tally.n_bad and config.on_error == "skip":
        parts.append(f"{tally.n_bad:,} row{'s' * (tally.n_bad != 1)} set aside in *.rejected.csv")
    elif tally.n_bad:
        parts.append(f"{tally.n_bad:,} row{'s' * (tally.n_bad != 1)} without a prediction")
    parts += [told] if (told := str(tally.agreement)) else []
    return "; ".join(parts) + "\n"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown + f" and {len(names) - _SHOWN:,} more" * (len(names) > _SHOWN)


def main() -> None:
    """Run the command line."""
    run_command(run, "predict")


if __name__ == "__main__":
    main()
