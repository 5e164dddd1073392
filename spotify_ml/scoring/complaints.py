"""The problems of rows that end a job, all of them in one error."""

from dataclasses import dataclass, field

import numpy as np

from spotify_ml.data.arrow import listed
from spotify_ml.data.batches import Batch
from spotify_ml.data.contract import CheckedRows
from spotify_ml.data.layouts import Layout
from spotify_ml.data.schema import EXAMPLES, Scales, in_rows
from spotify_ml.scoring.rows import OnError
from spotify_ml.utils.errors import DataError, shown


@dataclass
class Complaints:
    """The problems of the rows that end a job: by text, their number and first examples."""

    layout: Layout
    n_bad: int = 0
    n_broken: int = 0
    scales: Scales = field(default_factory=Scales)
    found: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    of_file: str = ""

    def begin(self, name: str, layout: Layout) -> None:
        """Note which of many files, if it has a name, the next batches are of."""
        self.of_file, self.layout = f"{name}, " if name else "", layout

    def add(self, batch: Batch, checked: CheckedRows, *, only_broken: bool) -> None:
        """Add the bad rows of a batch; only those with missing or extra fields if `only_broken`."""
        self.n_broken += len(batch.broken)
        for broken in batch.broken:
            self._add(broken.problem, 1, [f"{self.of_file}row {broken.number}"])
        if only_broken:
            return
        self.n_bad += int(checked.refused().sum())
        for problem in checked.problems:
            values = batch.table.column(self.layout.own_name(problem.column))
            first = map(int, np.flatnonzero(problem.where)[:EXAMPLES])
            examples = [
                f"{self.of_file}row {batch.numbers[row]}: {shown(listed(values[row : row + 1])[0])}" for row in first
            ]
            self._add(f"{problem.column} {problem.text}", int(problem.where.sum()), examples)

    def _add(self, text: str, count: int, examples: list[str]) -> None:
        before, known = self.found.get(text, (0, []))
        self.found[text] = before + count, (known + examples)[:EXAMPLES]

    def check(self, origin: str, on_error: OnError | None, cannot: str = "be scored") -> None:
        """Raise a `DataError` if there are any; without an `on_error`, the rows are not to be set aside."""
        if not self.found:
            return
        listing = "\n  ".join(text + in_rows(*found) for text, found in self.found.items())
        ways = ["on_error=skip to set them aside"] if on_error is not None else []
        # The fields of a broken row belong to no columns.
        if on_error == "fail" and not self.n_broken:
            ways.append("on_error=null to keep them without a prediction")
        other_units = self.scales.advice()
        if any(" is outside " in text and text.split()[0] not in other_units for text in self.found):
            ways.append("out_of_range=clip")
        advice = "".join(f"\n{text}" for text in other_units.values())
        n_rows = self.n_bad + self.n_broken
        also = f", or set {', or '.join(ways)}" if ways else ""
        raise DataError(
            f"{origin}: {n_rows:,} row{'s' * (n_rows > 1)} cannot {cannot}:\n  {listing}{advice}\n"
            f"Mend or remove them{also}"
        )
