"""Rows and columns of a part, some at a time."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.features import subsets
from spotify_ml.features.subsets import Subset

SHAPE = (1000, 7)


@pytest.fixture(params=["in memory", "in a file"])
def part(request: pytest.FixtureRequest, tmp_path: Path) -> Subset:
    matrix = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    if request.param == "in a file":
        np.save(tmp_path / "part.npy", matrix)
        matrix = np.load(tmp_path / "part.npy", mmap_mode="r").view(np.ndarray)
    features = pd.DataFrame(matrix, columns=list("abcdefg"), copy=False)
    return Subset(features, np.zeros(len(matrix)))


@pytest.mark.parametrize("n_rows", [1, 300, 1000, 5000])
def test_batches_are_the_rows(part: Subset, n_rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(subsets, "BATCH_ROWS", n_rows)
    batches = list(part.batches())
    assert max(map(len, batches)) == min(n_rows, 1000)
    np.testing.assert_array_equal(np.vstack(batches), part.matrix())
    assert all(batch.flags.writeable for batch in batches)


@pytest.mark.parametrize("n_values", [1, 2500, 6999, 7000])
def test_blocks_are_the_columns(part: Subset, n_values: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(subsets, "BATCH_ROWS", 300)
    monkeypatch.setattr(subsets, "_BLOCK_VALUES", n_values)
    blocks = list(part.blocks())
    assert max(block.shape[1] for block in blocks) == max(1, n_values // 1000)
    pd.testing.assert_frame_equal(pd.concat(blocks, axis=1), part.features)


def test_rows_are_taken_by_their_positions(part: Subset):
    rows = np.array([999, 0, 5, 5])
    np.testing.assert_array_equal(part.take(rows), part.matrix()[rows])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell what is resident")
def test_a_file_that_was_read_takes_no_memory(tmp_path: Path):
    path = tmp_path / "part.npy"
    np.save(path, np.ones((50_000, 20), dtype=np.float32))
    features = pd.DataFrame(np.load(path, mmap_mode="r").view(np.ndarray), copy=False)
    part = Subset(features, np.zeros(len(features)))
    assert features.to_numpy().sum() == 1e6
    assert resident_kilobytes(path) > 3000
    assert sum(batch.sum() for batch in part.batches()) == 1e6
    assert resident_kilobytes(path) == 0


def resident_kilobytes(path: Path) -> int:
    mappings = Path("/proc/self/smaps").read_text().split(f" {path}\n")[1:]
    return sum(int(re.search(r"^Rss:\s+(\d+) kB", mapping, re.MULTILINE)[1]) for mapping in mappings)
