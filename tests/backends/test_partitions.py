"""Tests of which worker a partition is for: by its position, and never without rows while there are enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ml.backends.dask.partitions import ranks_of


@pytest.mark.parametrize(
    ("counts", "n_workers", "expected"),
    [
        ([10, 10, 10, 10], 2, [0, 0, 1, 1]),
        ([10, 10, 10], 1, [0, 0, 0]),
        ([10, 10], 4, [1, 3]),
        ([0, 10, 0, 10, 0], 2, [0, 0, 0, 1, 1]),
        ([0, 10], 2, [1, 1]),
        ([100, 1, 1], 3, [1, 2, 2]),
        ([0, 0], 2, [0, 0]),
    ],
)
def test_each_worker_gets_a_stretch_of_about_as_many_rows(counts: list[int], n_workers: int, expected: list[int]):
    assert ranks_of(counts, n_workers) == expected


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 8))
def test_stretches_are_in_order_and_none_is_without_rows(counts: list[int], n_workers: int):
    ranks = ranks_of(counts, n_workers)
    assert ranks == sorted(ranks)
    assert 0 <= ranks[0] <= ranks[-1] < n_workers
    if any(counts):
        assert all(sum(n for n, rank in zip(counts, ranks, strict=True) if rank == each) for each in set(ranks))
