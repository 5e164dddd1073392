"""Score a folder of files, each once: what an interrupted job has completed is kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spotify_ml.scoring import RECORD, SUFFIXES_TOLD, is_table
from spotify_ml.scoring.files import score_file
from spotify_ml.scoring.rows import Scorer, Tally
from spotify_ml.utils.errors import DataError, OutputError
from spotify_ml.utils.files import staged

_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4", ".7z", ".br", ".z")


def score_folder(
    source: Path,
    target: Path,
    scorer: Scorer,
    tally: Tally,
    on_progress: Callable[[int], object],
    settings: dict[str, str],
) -> None:
    """Score every CSV and Parquet file of a folder into a file of the same name and format in another.

    What else is there, but hidden files, is named in the tally.

    A file is done anew unless the record in `target` says that it was made from the same input (by size and time of
    its last change) under the same settings.

    Parameters
    ----------
    source, target : Path
        Folders.
    scorer, tally, on_progress :
        As for `spotify_ml.scoring.files.score_file`.
    settings : dict of str to str
        The model, and all that decides what it gives.

    Raises
    ------
    DataError
        If the folder has no such file, or a compressed one, or as for `score_file`.
    OutputError
        As for `score_file`.
    """
    found = sorted(
        path for path in source.iterdir() if not path.name.startswith(".") and path.resolve() != target.resolve()
    )
    packed = [path.name for path in found if path.suffix.lower() in _PACKED and is_table(path.with_suffix(""))]
    if packed:
        raise DataError(f"{source} has compressed tables: {', '.join(packed)}; unpack them, or move them elsewhere")
    paths = [path for path in found if is_table(path) and not path.is_dir()]
    if not paths:
        raise DataError(f"{source} has no file whose name ends in {SUFFIXES_TOLD}")
    tally.passed_over += [f"{path.name}{'/' * path.is_dir()}" for path in found if path not in paths]
    record = _read(target / RECORD)
    for path in paths:
        scored = target / path.name
        made_from = settings | _state("input", path)
        if scored.is_file() and record.get(path.name) == made_from | _state("output", scored):
            tally.n_kept_files += 1
            continue
        score_file(path, scored, scorer, tally, on_progress)
        record[path.name] = made_from | _state("output", scored)
        with staged(target / RECORD) as temporary:
            temporary.write_text(json.dumps(record, indent=2), encoding="utf-8")


def _state(name: str, path: Path) -> dict[str, int]:
    status = path.stat()
    return {f"{name}.bytes": status.st_size, f"{name}.changed_ns": status.st_mtime_ns}


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read ({error}); remove it to score every file anew") from error
    return dict(record)
