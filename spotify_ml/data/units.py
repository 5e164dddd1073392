"""Columns that seem to be on another scale than the dataset's, such as percent in place of shares."""

from collections import Counter
from dataclasses import dataclass, field

from spotify_ml.data.schema import COLUMNS

# A few values outside are mistakes; half of many are another unit, and so is a tenth that is far outside.
_MANY = 10
_SHARE, _SHARE_FAR = 0.5, 0.1
_RANGES = {column.name: (column.minimum, column.maximum) for column in COLUMNS}


@dataclass
class Scales:
    """How many values are outside the range of their column, counted some rows at a time.

    Attributes
    ----------
    n_rows : int
        Rows that were counted.
    outside : Counter of str
        Values outside of their range, by column.
    far : Counter of str
        Those of them that are further from it than it is wide.
    """

    n_rows: int = 0
    outside: Counter[str] = field(default_factory=Counter)
    far: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Scales") -> None:
        """Add what was counted in further rows."""
        self.n_rows += other.n_rows
        self.outside.update(other.outside)
        self.far.update(other.far)

    def advice(self) -> dict[str, str]:
        """Return what to say of every column that seems to be on another scale."""
        return {name: _advice(name) for name, count in self.outside.items() if self._is_other(name, count)}

    def _is_other(self, name: str, count: int) -> bool:
        is_most = count >= max(_MANY, _SHARE * self.n_rows)
        return is_most or (count >= _SHARE_FAR * self.n_rows and self.far[name] >= count / 2)


def _advice(name: str) -> str:
    lowest, highest = _RANGES[name]
    return f"{name} looks like another unit; convert the column to {lowest:g} to {highest:g}"
