"""Tests of the connection to a cluster, and of fits that lose a worker."""

import socket
import sys

import pytest
from distributed import Client

from spotify_ml.backends.dask import cluster as module
from spotify_ml.backends.dask.cluster import cluster, code_and_versions, import_dask, with_lost_workers
from spotify_ml.config.run import DaskEngineConfig
from spotify_ml.utils.errors import ConfigError, EngineError


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.dataframe", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[dask\]'"):
        import_dask()


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1:{port}"])
def test_a_scheduler_that_is_not_there_is_named(monkeypatch, address):
    monkeypatch.setattr(module, "_CONNECT", 1)
    before = set(Client._instances)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(port=free.getsockname()[1])
        with pytest.raises(ConfigError, match=rf"engine\.address={address}: no Dask scheduler answers"):
            cluster(DaskEngineConfig(name="dask", address=address, n_workers=None, threads_per_worker=None)).__enter__()
    # One that waits to be collected can lock up the start of the next.
    assert set(Client._instances) == before


class Workers:
    """Stands for a client whose workers answer as told."""

    def __init__(self, answer):
        self.answer = answer

    def run(self, function):
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"tcp://10.0.0.1:1": self.answer}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Exception("ModuleNotFoundError(\"No module named 'spotify_ml'\")"), "cannot run this package .*'spotify_ml'"),
        (code_and_versions() | {"xgboost": "1.0"}, "worker tcp://10.0.0.1:1 has xgboost 1.0 in place of"),
        (code_and_versions() | {"spotify_ml code": "0"}, "spotify_ml code 0 in place of"),
    ],
)
def test_workers_of_other_code_are_refused(answer, message):
    with pytest.raises(EngineError, match=message):
        module._check_workers(Workers(answer))
    module._check_workers(Workers(code_and_versions()))


@pytest.mark.parametrize("losses", [0, 1, 2, 3, 4])
def test_a_fit_is_done_three_times_at_most(losses):
    attempts = []

    def fit() -> str:
        attempts.append(1)
        if len(attempts) <= losses:
            raise ValueError("Invalid worker address: a, expecting b.")
        return "fitted"

    if losses < 3:
        assert with_lost_workers(fit) == "fitted"
    else:
        with pytest.raises(EngineError, match="3 attempts"):
            with_lost_workers(fit)
    assert len(attempts) == min(losses + 1, 3)


def test_a_refused_parameter_is_not_tried_again():
    attempts = []

    def fit() -> None:
        attempts.append(1)
        raise ValueError("Check failed: learning_rate")

    with pytest.raises(ValueError, match="learning_rate"):
        with_lost_workers(fit)
    assert attempts == [1]
