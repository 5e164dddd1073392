"""Properties of totals by key and fold."""

import hypothesis.strategies as st
import numpy as np
import pandas as pd
from hypothesis import given, settings

from spotify_ml.engine.statistics import KeyTotals

ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 400).map(lambda quarters: quarters / 4)),
    min_size=1,
    max_size=20,
)


def totals_of(y: list[float]) -> list[float]:
    if not y:
        return [0, 0, 0, 0, -np.inf, np.inf]
    return [len(y), sum(y), sum(value * value for value in y), sum(value <= 1 for value in y), max(y), min(y)]


@settings(deadline=None, max_examples=200)
@given(rows=ROWS)
def test_totals_without_a_fold_are_those_of_plain_loops(rows):
    keys, folds, y = (np.array(column) for column in zip(*rows, strict=True))
    hashes = (keys * 2**61 + 5).astype(np.uint64)
    cells = pd.DataFrame({"key": hashes, "fold": folds, "y": y}).groupby(["key", "fold"])["y"].apply(list).reset_index()
    cells[["count", "sum", "squares", "dead", "highest", "lowest"]] = [totals_of(values) for values in cells["y"]]
    totals = KeyTotals.of_cells(cells.sample(frac=1, random_state=0), 4)
    assert totals.keys.tolist() == sorted(set(hashes.tolist()))
    for position, key in enumerate(totals.keys):
        assert totals.totals[position].tolist() == totals_of(y[hashes == key].tolist())
    for row, others in enumerate(totals.without_fold(hashes, folds)):
        assert others.tolist() == totals_of(y[(hashes == hashes[row]) & (folds != folds[row])].tolist())
