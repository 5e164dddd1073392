"""Score files of raw rows of any length, a batch at a time, and folders of such files."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from spotify_ml.config.layouts import AUTO, LayoutConfig
from spotify_ml.data.arrow import arrow_frame
from spotify_ml.data.batches import Batch, Input, open_input, open_part
from spotify_ml.data.contract import CheckedRows, check_rows
from spotify_ml.data.header import column_hint
from spotify_ml.data.joined_columns import flags_of
from spotify_ml.data.parts import FILE_COLUMN, Part
from spotify_ml.data.schema import NAMES, OPTIONAL_AUDIO, TARGET, TEXT, shown_names
from spotify_ml.data.scored import UNREADABLE, CsvOutput, ParquetOutput, RejectedRows
from spotify_ml.data.texts import read_numbers
from spotify_ml.scoring import RECORD, SUFFIXES_LISTED, is_parquet, is_table, output_name, rejected_path
from spotify_ml.scoring.complaints import Complaints
from spotify_ml.scoring.raw import given_rows, raw_rows
from spotify_ml.scoring.rows import PREDICTED, Scorer, Tally
from spotify_ml.utils.errors import DataError, OutputError
from spotify_ml.utils.files import staged
from spotify_ml.utils.streams import open_standard_output

# The columns that may be absent, and that predictions use where they are there.
_USED = (*(name for name in TEXT if name != "track_id"), *OPTIONAL_AUDIO)
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4", ".7z", ".br", ".z")


def score_file(
    source: Path | None,
    target: Path | None,
    scorer: Scorer,
    tally: Tally,
    on_progress: Callable[[int], object],
    layout: LayoutConfig = AUTO,
) -> None:
    """Score a file of raw rows, and add its counts to `tally`.

    Parameters
    ----------
    source : Path, optional
        CSV or Parquet; by default CSV from standard input.
    target : Path, optional
        Parquet or CSV, by its suffix, written as a whole; by default CSV to standard output, batch by batch. Rows that
        are set aside are written to `rejected_path`.
    scorer : Scorer
        The model.
    tally : Tally
        The counts of the job.
    on_progress : callable
        Called with the number of rows of every batch.
    layout : LayoutConfig
        The layout of the file, by default that of its header.

    Raises
    ------
    DataError
        If the file cannot be read, has no rows, or has rows that cannot be scored and end the job.
    OutputError
        If the output cannot be written.
    """
    _score([("", open_input(source, layout))], target, scorer, tally, on_progress)


def score_parts(
    parts: Sequence[Part],
    target: Path | None,
    scorer: Scorer,
    tally: Tally,
    on_progress: Callable[[int], object],
    layout: LayoutConfig = AUTO,
) -> None:
    """Score many files: into one table with the column `FILE_COLUMN`, or each into a file of a folder.

    The parameters and errors are those of `score_file`; `target` is a folder unless it is named like a table. For one
    table, all files have the same columns.
    """
    if target is None or is_table(target):
        _score(((part.name, open_part(part, layout)) for part in parts), target, scorer, tally, on_progress)
        return
    names = [output_name(part.name) for part in parts]
    if len(set(names)) < len(names):
        raise DataError(f"several files would be scored into {max(names, key=names.count)}; name fewer, or a table")
    for part, name in zip(parts, names, strict=True):
        rows = open_part(part, layout)
        try:
            _score([("", rows)], target / name, scorer, tally, on_progress)
        except EmptyInputError:
            # A playlist may have no tracks.
            tally.passed_over.append(part.name)


class EmptyInputError(DataError):
    """A file with a header but no rows."""


def _score(
    inputs: Iterable[tuple[str, Input]],
    target: Path | None,
    scorer: Scorer,
    tally: Tally,
    on_progress: Callable[[int], object],
) -> None:
    """Score files with the same columns into one; a name that is not empty becomes the column `FILE_COLUMN`."""
    pairs = iter(inputs)
    name, first = next(pairs)
    own = [pa.field(FILE_COLUMN, pa.string())] if name else []
    schema = pa.schema([*own, *scorer.added])
    existing = [each for each in (*schema.names, UNREADABLE) if each in first.schema.names]
    if existing:
        raise DataError(f"{first.origin} has a column {', '.join(existing)} already; rename or remove it")
    complaints, read_before = Complaints(first.layout), tally.n_rows
    with _output(target, first, scorer, schema) as output, _rejected(target, first, scorer) as rejected:
        for of_file, rows in chain([(name, first)], pairs):
            _check_alike(first, rows)
            tally.layouts[str(rows.layout)] += not rows.layout.is_raw
            complaints.begin(of_file, rows.layout)
            for batch in rows.batches():
                _score_batch(batch, rows, of_file, scorer, tally, complaints, output, rejected)
                on_progress(batch.n_rows)
        if tally.n_rows == read_before:
            raise EmptyInputError(f"{first.origin} has a header but no rows; give rows to score")
        complaints.check(first.origin, scorer.on_error)


def _score_batch(
    batch: Batch,
    rows: Input,
    name: str,
    scorer: Scorer,
    tally: Tally,
    complaints: Complaints,
    output: CsvOutput | ParquetOutput,
    rejected: RejectedRows | None,
) -> None:
    raw = raw_rows(batch, rows, scorer.further)
    given = given_rows(raw, scorer.further, scorer.joins)
    checked = check_rows(given, scorer.out_of_range, scorer.further)
    bad = checked.refused()
    tally.count(checked, bad, len(batch.broken))
    tally.count_joined(given, (table.file.name for table in scorer.joins))
    spare = [name for name in rows.schema.names if name not in NAMES] if rows.layout.is_raw else []
    wanted = (*_USED, *(name for name in scorer.further if name not in flags_of(scorer.further)))
    tally.absent |= {name: column_hint(name, spare) for name in wanted if name not in given}
    complaints.scales.add(checked.scales)
    if rejected is not None:
        _set_aside(batch, checked, bad, rejected, name)
    elif batch.broken or (scorer.on_error == "fail" and bad.any()):
        complaints.add(batch, checked, only_broken=scorer.on_error == "null")
    # After the first problem, the rest is only read, to list all problems.
    if not complaints.found:
        kept = ~bad if scorer.on_error == "skip" else np.ones(len(bad), dtype=bool)
        scored = scorer.score(checked.frame(), bad)
        tally.count_known(scored)
        _compare(raw, scored, tally)
        added = scored.filter(kept)
        if name:
            added = added.add_column(0, FILE_COLUMN, pa.array([name] * added.num_rows, pa.string()))
        output.write(batch, kept, added)


def _check_alike(first: Input, other: Input) -> None:
    """Check that two files can be written as one table."""
    if first.schema.names == other.schema.names and first.schema.types == other.schema.types:
        return
    if first.layout.name != other.layout.name:
        which = f"different layouts ({first.layout.name} and {other.layout.name})"
    else:
        differing = sorted(set(first.schema.names) ^ set(other.schema.names))
        which = f"different columns ({shown_names(differing)})" if differing else "columns in another order or type"
    raise DataError(
        f"{first.origin} and {other.origin} have {which}; name a folder as output=… to score each by itself"
    )


def _compare(raw: pa.Table, scored: pa.Table, tally: Tally) -> None:
    """Add how the predictions of a batch go with the popularity that the file has itself, if it has any."""
    if TARGET in raw.column_names and PREDICTED in scored.column_names:
        popularity, _ = read_numbers(arrow_frame(raw.select([TARGET]))[TARGET], is_flag=False)
        tally.agreement.add(popularity, scored.column(PREDICTED).to_numpy())


@contextmanager
def _output(target: Path | None, rows: Input, scorer: Scorer, added: pa.Schema) -> Iterator[CsvOutput | ParquetOutput]:
    if target is None:
        with open_standard_output() as file:
            yield CsvOutput(file, rows, added, escape=scorer.escape_formulas)
        return
    with staged(target) as temporary:
        written: CsvOutput | ParquetOutput
        if is_parquet(target):
            written = ParquetOutput(temporary, rows, added)
        else:
            written = CsvOutput(temporary.open("wb"), rows, added, escape=scorer.escape_formulas)
        with closing(written):
            yield written


@contextmanager
def _rejected(target: Path | None, rows: Input, scorer: Scorer) -> Iterator[RejectedRows | None]:
    """Yield the file for rows that are set aside, if they are to be; it is removed if there are none."""
    if scorer.on_error != "skip" or target is None:
        yield None
        return
    path = rejected_path(target)
    with staged(path) as temporary, temporary.open("wb") as file:
        rejected = RejectedRows(file, rows, escape=scorer.escape_formulas)
        yield rejected
    if not rejected.n_rows:
        path.unlink()


def _set_aside(batch: Batch, checked: CheckedRows, bad: np.ndarray, rejected: RejectedRows, name: str) -> None:
    of_file = f"{name}: " if name else ""
    aside = [(broken.number, of_file + broken.problem, broken.text.encode()) for broken in batch.broken]
    for row in np.flatnonzero(bad):
        reasons = [f"{problem.column} {problem.text}" for problem in checked.problems if problem.where[row]]
        aside.append((int(batch.numbers[row]), of_file + "; ".join(reasons), batch.lines[row]))
    for number, reason, line in sorted(aside):
        rejected.write(number, reason, line)


def score_folder(
    source: Path,
    target: Path,
    scorer: Scorer,
    tally: Tally,
    on_progress: Callable[[int], object],
    settings: dict[str, str],
    layout: LayoutConfig = AUTO,
) -> None:
    """Score every CSV and Parquet file of a folder to a file of the same name and format in another folder.

    A file is kept if the record in `target` shows that it has the same input (by size and time of change) and settings:
    the model, and everything else that decides the result. Other files, except hidden ones, are listed in the tally. A
    `DataError` is raised if the folder has no file to score, or a compressed one; other errors are those of
    `score_file`.
    """
    found = sorted(
        path for path in source.iterdir() if not path.name.startswith(".") and path.resolve() != target.resolve()
    )
    packed = [path.name for path in found if path.suffix.lower() in _PACKED and is_table(path.with_suffix(""))]
    if packed:
        raise DataError(f"{source} has compressed tables: {', '.join(packed)}; unpack them, or move them elsewhere")
    paths = [path for path in found if is_table(path) and not path.is_dir()]
    if not paths:
        raise DataError(f"{source} has no file whose name ends in {SUFFIXES_LISTED}")
    tally.passed_over += [f"{path.name}{'/' * path.is_dir()}" for path in found if path not in paths]
    record = _read(target / RECORD)
    for path in paths:
        scored = target / path.name
        made_from = settings | _state("input", path)
        if scored.is_file() and record.get(path.name) == made_from | _state("output", scored):
            tally.n_kept_files += 1
            continue
        score_file(path, scored, scorer, tally, on_progress, layout)
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
