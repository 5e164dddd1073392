"""XGBoost's matrices of features in files: what happens when Ctrl-C comes while batches are asked for."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.features.subsets import Storage, Subset
from spotify_ml.models.families.xgboost_matrices import xgboost_matrices


@dataclass(frozen=True)
class Interrupted(Subset):
    """A part in whose second batch Ctrl-C is pressed."""

    def batches(self) -> Iterator[np.ndarray]:
        for number, rows in enumerate(np.array_split(self.matrix(), 4)):
            if number == 1:
                os.kill(os.getpid(), signal.SIGINT)
            yield rows


@pytest.fixture(autouse=True)
def _ctrl_c_is_heeded() -> Iterator[None]:
    """A shell lets its jobs in the background ignore it, and the tests may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["disk", "external"])
@pytest.mark.parametrize("binning", [{"max_bin": 16}, {}])
def test_ctrl_c_between_batches_is_not_lost(kind: str, binning: dict[str, int], tmp_path: Path):
    handler = signal.getsignal(signal.SIGINT)
    features = pd.DataFrame(np.random.default_rng(0).random((400, 3), dtype=np.float32), columns=list("abc"))
    part = Interrupted(features, np.arange(400.0), Storage(kind, tmp_path / "cache"))
    with pytest.raises(KeyboardInterrupt), xgboost_matrices(1) as make:
        make(part, part.target, None, **binning)
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())
