"""What was seen live as raw rows with their popularity: one more source that training takes."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from spotify_ml.data.schema import NAMES, TARGET
from spotify_ml.live.observed import LiveLog, Observed
from spotify_ml.utils.errors import DataError
from spotify_ml.utils.files import reason_of, staged

COLLECTED = "collected"


@dataclass(frozen=True)
class Added:
    """How many rows a table had, how many were added, which were left out, and the last day of popularity."""

    before: int
    added: int
    without_inputs: int
    collected: str

    def __str__(self) -> str:
        """Return the counts in a line."""
        left = f"; {self.without_inputs:,} were logged without names" if self.without_inputs else ""
        return f"{self.added:,} new rows, {self.before + self.added:,} in all, of {self.collected} at the latest{left}"


def observed_rows(log: LiveLog, observed: Observed) -> tuple[pd.DataFrame, int]:
    """Return raw rows with the popularity that was observed, and how many units were logged without their inputs.

    Each track stands once, with the day of its popularity in `COLLECTED`. Raises `DataError` if there is none.
    """
    frame = observed.frame
    kept = frame[frame["inputs"].notna()]
    if kept.empty:
        raise DataError(
            f"of {len(frame):,} units of '{log.experiment.name}' with an outcome, none was logged with its names; "
            "serve with traffic.keep_inputs=true"
        )
    rows = pd.DataFrame([json.loads(each) for each in kept["inputs"]])
    for name in NAMES:
        if name not in rows:
            rows[name] = None
    # A request may have named its unit otherwise.
    rows["track_id"] = rows["track_id"].where(rows["track_id"].notna(), kept["key"].to_numpy())
    rows[TARGET] = kept["popularity"].to_numpy()
    rows[COLLECTED] = [_day(moment) for moment in kept["observed_at"]]
    ordered = [*NAMES, *(name for name in rows if name not in (*NAMES, COLLECTED)), COLLECTED]
    return rows[ordered].drop_duplicates("track_id").reset_index(drop=True), len(frame) - len(kept)


def add_rows(output: Path, rows: pd.DataFrame, without_inputs: int) -> Added:
    """Add rows to a Parquet file, which is made if it is not there; tracks that it has already stay as they are.

    Raises
    ------
    DataError
        If there is a file that is no such table.
    OutputError
        If it cannot be written.
    """
    before = rows.head(0)
    if output.exists():
        try:
            before = pd.read_parquet(output)
        except (OSError, ValueError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else "it is no Parquet file"
            raise DataError(f"output={output} cannot be added to: {reason}; name another") from error
        if missing := [name for name in (*NAMES, COLLECTED) if name not in before]:
            raise DataError(f"output={output} is no table of live traffic: it lacks {', '.join(missing)}; name another")
    new = rows[~rows["track_id"].isin(before["track_id"])]
    if len(new):
        table = pd.concat([before, new], ignore_index=True) if len(before) else new
        with staged(output) as file:
            table.to_parquet(file, index=False)
    collected = max([*before[COLLECTED], *new[COLLECTED]])
    return Added(len(before), len(new), without_inputs, collected)


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
