"""What a version must show before it becomes champion."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spotify_ml.comparison.paired import Comparison
from spotify_ml.config.commands import GateConfig
from spotify_ml.evaluation.metric_names import ERRORS, LOSSES, title

_HIGHEST = {"regression": 100.0, "classification": 1.0}
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Condition:
    """One condition of the gate: whether it holds, and what was found and asked for."""

    name: str
    passed: bool
    said: str

    def __str__(self) -> str:
        """Return the condition as one line."""
        return f"{'pass' if self.passed else 'FAIL'}  {self.name:12}{self.said}"


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a version beside its rival; ``rows`` says which tracks they were compared on."""

    comparison: Comparison
    rows: str
    conditions: list[Condition]

    @property
    def failed(self) -> list[Condition]:
        """The conditions that do not hold."""
        return [each for each in self.conditions if not each.passed]

    def metrics(self) -> dict[str, float]:
        """Return every figure, and 1 or 0 for each condition."""
        conditions = {f"gate/{each.name}": float(each.passed) for each in self.conditions}
        return {**self.comparison.metrics(), **conditions, "gate/passed": float(not self.failed)}

    def as_text(self) -> str:
        """Return the comparison and the conditions for a screen."""
        table = self.comparison.rows()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        aligned = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
        lines = ["   ".join([row[0].ljust(widths[0]), *cells[1:]]) for row, cells in zip(table, aligned, strict=True)]
        return "\n".join([self.rows, "", *map(str.rstrip, lines), "", *map(str, self.conditions)])

    def as_dict(self) -> dict[str, Any]:
        """Return the same as what JSON can say."""
        conditions = [asdict(each) for each in self.conditions]
        return {"rows": self.rows, **self.comparison.as_dict(), "conditions": conditions, "passed": not self.failed}


def judge(
    gate: GateConfig, comparison: Comparison, format_difference: float | None, schema_changes: list[str]
) -> list[Condition]:
    """Return every condition of the gate, held or not.

    The version is compared with the champion, or the better baseline where there is none. The difference is the largest
    between the model's formats, None if its run did not look for one; the changes are those from the champion's schema.
    """
    return [
        _better(gate, comparison),
        _genres(gate, comparison),
        _incomplete(gate, comparison),
        _range(gate, comparison.model.predicted),
        _formats(gate, format_difference),
        Condition("schema", not schema_changes, "; ".join(schema_changes) or "as the champion's, or the first"),
    ]


def _better(gate: GateConfig, comparison: Comparison) -> Condition:
    name = title(gate.metric)
    if gate.metric not in comparison.figures:
        return Condition("better", False, f"{name} is undefined for these tracks")
    difference = comparison.figures[gate.metric]["difference"]
    least, improvement = difference.lower, difference.value
    if gate.metric in ERRORS:
        least, improvement = -difference.upper, -difference.value
    said = (
        f"{name} improves by {improvement:+.4f}, with {gate.confidence:.0%} confidence by at least {least:+.4f}; "
        f"more than {gate.margin:g} is asked for"
    )
    return Condition("better", least > gate.margin, said)


def _genres(gate: GateConfig, comparison: Comparison) -> Condition:
    genres = comparison.genres
    if genres.empty:
        return Condition("genres", True, f"none has {gate.genre_tracks} tracks")
    worse = genres[genres["difference"] > gate.genre_margin]
    name, asked = title(comparison.genre_metric), f"{gate.genre_margin:g} is allowed"
    if worse.empty:
        most = genres["difference"].iloc[0]
        change = f"the largest change in {name} of {len(genres)} is {most:+.4f}, in {genres.index[0]}"
        return Condition("genres", True, f"{change}; {asked}")
    listed = ", ".join(f"{genre} {change:+.4f}" for genre, change in worse["difference"].items())
    return Condition("genres", False, f"{name} of {len(worse)} of {len(genres)} grew too much: {listed}; {asked}")


def _incomplete(gate: GateConfig, comparison: Comparison) -> Condition:
    name = "incomplete"
    own, rival = comparison.model.incomplete_error, comparison.rival.incomplete_error
    if own is None or rival is None:
        return Condition(name, True, "there is no champion to be compared with")
    loss, growth = title(LOSSES[gate.name]), own - rival
    said = f"{loss} without names and genre is {own:.4f}, the champion's {rival:.4f}"
    return Condition(name, growth <= gate.incomplete_margin, f"{said}; growth of {gate.incomplete_margin:g} is allowed")


def _range(gate: GateConfig, predicted: np.ndarray) -> Condition:
    highest = _HIGHEST[gate.name]
    n_bad = int(np.sum(~np.isfinite(predicted)) + np.sum(predicted < 0) + np.sum(predicted > highest))
    said = f"{n_bad:,} of {predicted.size:,} predictions are not finite or not within 0 to {highest:g}"
    if predicted.ndim > 1:
        n_off = int(np.sum(~(np.abs(predicted.sum(axis=1) - 1) <= _SUM_TOLERANCE)))
        n_bad, said = n_bad + n_off, f"{said}; {n_off:,} rows do not sum to 1"
    return Condition("predictions", n_bad == 0, said)


def _formats(gate: GateConfig, difference: float | None) -> Condition:
    if difference is None:
        return Condition("formats", False, "its run did not compare them")
    said = f"differ by {difference:.1g} at most; {gate.format_difference:g} is allowed"
    return Condition("formats", difference <= gate.format_difference, said)
