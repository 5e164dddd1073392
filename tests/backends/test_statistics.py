"""Properties of totals by key and fold."""

import hypothesis.strategies as st
import numpy as np
import pandas as pd
from hypothesis import given, settings

from spotify_ml.backends.dask.statistics import key_totals
from spotify_ml.features.target_sums import KeyTotals, totals_of_rows

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
    of_rows, positions = totals_of_rows(hashes, y, folds, 4)
    assert_plain(of_rows, positions, hashes, folds, y)
    of_partitions = key_totals(cells.sample(frac=1, random_state=0), 4)
    assert_plain(of_partitions, of_partitions.positions(hashes, folds), hashes, folds, y)


def assert_plain(
    totals: KeyTotals, positions: np.ndarray, hashes: np.ndarray, folds: np.ndarray, y: np.ndarray
) -> None:
    assert totals.keys.tolist() == sorted(set(hashes.tolist()))
    for position, key in enumerate(totals.keys):
        assert totals.totals[position].tolist() == totals_of(y[hashes == key].tolist())
    for row, others in enumerate(totals.others[positions]):
        assert others.tolist() == totals_of(y[(hashes == hashes[row]) & (folds != folds[row])].tolist())
