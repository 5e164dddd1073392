"""Score one file of raw rows of any length, a batch at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spotify_ml.data.arrow import arrow_frame, listed
from spotify_ml.data.batches import Batch, Input, open_input
from spotify_ml.data.contract import CheckedRows, check_rows
from spotify_ml.data.schema import AUDIO, EXAMPLES, TEXT
from spotify_ml.data.scored import UNREADABLE, CsvOutput, Output, ParquetOutput, RejectedRows
from spotify_ml.data.units import Scales
from spotify_ml.scoring import is_parquet, rejected_path
from spotify_ml.scoring.rows import Scorer, Tally
from spotify_ml.utils.errors import DataError, shown
from spotify_ml.utils.files import staged
from spotify_ml.utils.streams import open_standard_output


def score_file(
    source: Path | None, target: Path | None, scorer: Scorer, tally: Tally, on_progress: Callable[[int], object]
) -> None:
    """Score a file of raw rows.

    Parameters
    ----------
    source : Path, optional
        CSV or Parquet; by default CSV from standard input.
    target : Path, optional
        Parquet or CSV, by its suffix, which appears when it is complete; by default CSV to standard output, as it
        comes. Rows that are set aside stand in `rejected_path`.
    scorer : Scorer
        The model.
    tally : Tally
        What is counted is added here.
    on_progress : callable
        Called with the number of rows of every batch.

    Raises
    ------
    DataError
        If the file cannot be read or has no rows, or holds rows that cannot be scored and are to end the job: all are
        counted, and the first named.
    OutputError
        If the output cannot be written.
    """
    rows = open_input(source)
    taken = [name for name in (*scorer.added.names, UNREADABLE) if name in rows.schema.names]
    if taken:
        raise DataError(f"{rows.origin} has a column {', '.join(taken)} already; rename or remove it")
    known = [name for name in rows.schema.names if name in AUDIO or name in TEXT]
    complaints = _Complaints()
    read_before = tally.n_rows
    with _output(target, rows, scorer) as output, _rejected(target, rows, scorer) as rejected:
        for batch in rows.batches():
            checked = check_rows(arrow_frame(batch.table.select(known)), scorer.out_of_range)
            bad = checked.refused()
            tally.count(checked, bad, len(batch.broken))
            if rejected is not None:
                _set_aside(batch, checked, bad, rejected)
            else:
                complaints.scales.add(checked.scales)
                if batch.broken or (scorer.on_error == "fail" and bad.any()):
                    complaints.add(batch, checked, only_broken=scorer.on_error == "null")
            # What is to end in an error is read to its end, to say all that is wrong, but no longer scored.
            if not complaints.found:
                kept = ~bad if scorer.on_error == "skip" else np.ones(len(bad), dtype=bool)
                output.write(batch, kept, scorer.score(checked.frame(), bad).filter(kept))
            on_progress(batch.n_rows)
        if tally.n_rows == read_before:
            raise DataError(f"{rows.origin} has a header but no rows; give rows to score")
        complaints.check(rows.origin, scorer.on_error)


@contextmanager
def _output(target: Path | None, rows: Input, scorer: Scorer) -> Iterator[Output]:
    if target is None:
        with open_standard_output() as file:
            yield CsvOutput(file, rows, scorer.added, escape=scorer.escape_formulas)
        return
    with staged(target) as temporary:
        written = (
            ParquetOutput(temporary, rows, scorer.added)
            if is_parquet(target)
            else CsvOutput(temporary.open("wb"), rows, scorer.added, escape=scorer.escape_formulas)
        )
        try:
            yield written
        finally:
            written.close()


@contextmanager
def _rejected(target: Path | None, rows: Input, scorer: Scorer) -> Iterator[RejectedRows | None]:
    """Give the side file, if rows are to be set aside; it is there afterwards if there are any."""
    if scorer.on_error != "skip" or target is None:
        yield None
        return
    path = rejected_path(target)
    with staged(path) as temporary, temporary.open("wb") as file:
        rejected = RejectedRows(file, rows, escape=scorer.escape_formulas)
        yield rejected
    if not rejected.n_rows:
        path.unlink()


def _set_aside(batch: Batch, checked: CheckedRows, bad: np.ndarray, rejected: RejectedRows) -> None:
    aside = [(broken.number, broken.problem, broken.text.encode()) for broken in batch.broken]
    for row in np.flatnonzero(bad):
        reasons = [f"{problem.column} {problem.text}" for problem in checked.problems if problem.where[row]]
        aside.append((int(batch.numbers[row]), "; ".join(reasons), batch.lines[row]))
    for number, reason, line in sorted(aside):
        rejected.write(number, reason, line)


@dataclass
class _Complaints:
    """What is wrong with the rows that end a job: how many of each kind, and the first of them."""

    n_rows: int = 0
    n_broken: int = 0
    scales: Scales = field(default_factory=Scales)
    found: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def add(self, batch: Batch, checked: CheckedRows, *, only_broken: bool) -> None:
        """Add the bad rows of a batch, or those alone that do not have a field for every column."""
        self.n_broken += len(batch.broken)
        self.n_rows += len(batch.broken)
        for broken in batch.broken:
            self._add(broken.problem, 1, [f"row {broken.number}"])
        if only_broken:
            return
        self.n_rows += int(checked.refused().sum())
        for problem in checked.problems:
            values = batch.table.column(problem.column)
            first = np.flatnonzero(problem.where)[:EXAMPLES]
            examples = [
                f"row {batch.numbers[row]}: {shown(listed(values[int(row) : int(row) + 1])[0])}" for row in first
            ]
            self._add(f"{problem.column} {problem.text}", int(problem.where.sum()), examples)

    def _add(self, text: str, count: int, examples: list[str]) -> None:
        before, known = self.found.get(text, (0, []))
        self.found[text] = before + count, (known + examples)[:EXAMPLES]

    def check(self, origin: str, on_error: str) -> None:
        """Raise a `DataError` if there are any."""
        if not self.found:
            return
        listing = "\n  ".join(
            f"{text} in {count:,} row{'s' * (count > 1)} ({', '.join(examples)})"
            for text, (count, examples) in self.found.items()
        )
        ways = ["on_error=skip to set them aside"]
        # A row without a field for every column has no columns to be kept in.
        if on_error == "fail" and not self.n_broken:
            ways.append("on_error=null to keep them without a prediction")
        other_units = self.scales.advice()
        if any(" is outside " in text and text.split()[0] not in other_units for text in self.found):
            ways.append("out_of_range=clip")
        advice = "".join(f"\n{text}" for text in other_units.values())
        raise DataError(
            f"{origin}: {self.n_rows:,} row{'s' * (self.n_rows > 1)} cannot be scored:\n  {listing}{advice}\n"
            f"Mend or remove them, or set {', or '.join(ways)}"
        )
