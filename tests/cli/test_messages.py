"""Tests of what a command says where the machine lacks memory, threads or processes: one error with what to do."""

import errno

import pytest
from xgboost.core import XGBoostError

from spotify_ml.cli.messages import explain, is_mendable, lacks
from spotify_ml.models.fit import library_refusals
from spotify_ml.utils.errors import ConfigError, OutputError

MEMORY, THREADS = "there is not enough memory", "no more threads or processes can be started"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), f"{MEMORY};"),
        (MemoryError("MemoryError: Unable to allocate 7 GiB"), f"{MEMORY} (Unable to allocate 7 GiB);"),
        (MemoryError("Unable to allocate 7 GiB for an array"), f"{MEMORY} (Unable to allocate 7 GiB for an array);"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
        (XGBoostError("std::bad_alloc"), MEMORY),
        (RuntimeError("can't start new thread"), THREADS),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), THREADS),
        (XGBoostError("Resource temporarily unavailable"), THREADS),
    ],
)
def test_what_the_machine_lacks_is_said_once_with_what_to_do(error: Exception, said: str):
    assert is_mendable(error)
    message = explain(error, "train")
    assert message.startswith(said)
    assert "MemoryError" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "error",
    [RuntimeError("dictionary changed size"), ConfigError("x: out of memory"), OutputError("full"), KeyError("thread")],
)
def test_other_errors_are_not_the_machine_s(error: Exception):
    assert lacks(error) is None


def test_a_library_without_memory_does_not_refuse_the_configuration():
    with pytest.raises(MemoryError, match="bad_malloc"), library_refusals("xgboost"):
        raise XGBoostError("[06:37:00] io.h:362: bad_malloc: Failed to allocate 2960928 bytes.\nStack trace:")
