"""Tests of which store is used, by one rule, and of how soon one that cannot be used is named."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import spotify_ml
from spotify_ml import configure
from spotify_ml.config.run import TrackingConfig
from spotify_ml.tracking import store_address
from spotify_ml.tracking.relocation import relocate
from spotify_ml.tracking.store import connect
from spotify_ml.tracking.store_address import announce, check_store, named
from spotify_ml.utils import paths
from spotify_ml.utils.errors import StoreError
from spotify_ml.utils.paths import PROJECT, default_store, own_artifacts
from tests.support import composed, new_store
from tests.tracking.conftest import Store

OWN = f"sqlite:///{PROJECT / 'mlruns' / 'mlflow.db'}"
COMMANDS = ("train", "promote", "predict", "serve", "compare", "relocate")
REQUIRED = {"predict": ["input=-", "output=-"]}


def tracking(command: str, *overrides: str) -> TrackingConfig:
    section = composed(command, *REQUIRED.get(command, []), *overrides).tracking
    return TrackingConfig(**{key: section[key] for key in section})


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what MLflow has left there for its own processes."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


# --- which


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_typed_comes_before_the_environment_and_that_before_the_project_s_own(
    command: str, monkeypatch: pytest.MonkeyPatch
):
    own = tracking(command)
    assert (own.uri, own.artifact_location) == (OWN, str(PROJECT / "mlruns" / "artifacts"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org")
    for given, uri in (([], "http://example.org"), (["tracking.uri=sqlite:///typed.db"], "sqlite:///typed.db")):
        found = tracking(command, *given)
        # Where the project's own store has its files is no other's business.
        assert (found.uri, found.artifact_location) == (uri, None)
    assert tracking(command, "tracking=server").uri == "http://example.org"


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_names_no_store(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
    assert default_store() == OWN
    assert configure().tracking.uri == OWN


def test_the_project_s_own_store_is_so_under_every_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(PROJECT)
    assert own_artifacts("sqlite:///mlruns/mlflow.db") == str(PROJECT / "mlruns" / "artifacts")
    monkeypatch.chdir(tmp_path)
    assert own_artifacts("sqlite:///mlruns/mlflow.db") is None


def test_a_new_store_keeps_its_artifacts_beside_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    config = tracking("train", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    client, experiment = connect(config)
    assert client.get_experiment(experiment).artifact_location == str(tmp_path / "artifacts")
    assert "MLFLOW_TRACKING_URI" not in os.environ
    # One that was there keeps what it has.
    other = tracking("train", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "tracking.artifact_location=elsewhere")
    with pytest.raises(StoreError, match="keeps its artifacts"):
        connect(other)
    (tmp_path / "artifacts").mkdir()
    assert relocate(config).new == str(tmp_path)


def test_a_store_with_artifacts_elsewhere_is_used_as_it_is(tmp_path: Path):
    uri = new_store(tmp_path)
    location = f"tracking.artifact_location={tmp_path / 'elsewhere'}"
    _, before = connect(tracking("train", f"tracking.uri={uri}", location))
    _, after = connect(tracking("train", f"tracking.uri={uri}"))
    assert before == after


def test_load_model_takes_the_store_of_the_environment(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    assert spotify_ml.load_model().version.number == 1
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://10.255.255.1")
    with pytest.raises(StoreError, match="MLFLOW_REGISTRY_URI"):
        spotify_ml.load_model()


@pytest.mark.parametrize(("registry", "refused"), [("", False), (OWN, False), ("http://u:secret@10.255.255.1", True)])
def test_a_registry_of_its_own_is_refused(registry: str, refused: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", registry)
    if not refused:
        check_store(OWN, must_exist=False)
        return
    started = time.monotonic()
    with pytest.raises(StoreError, match="MLFLOW_REGISTRY_URI=http://u:") as caught:
        check_store(OWN, must_exist=False)
    assert "secret" not in str(caught.value)
    assert time.monotonic() - started < 1


def test_the_store_is_said_in_a_line_without_passwords(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    announce("http://user:secret@host")
    assert capsys.readouterr() == ("", "store    http://user:***@host\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host")
    assert named("http://host") == "http://host (MLFLOW_TRACKING_URI)"
    assert named("http://other") == "http://other"


# --- whether it answers


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_store_that_is_silent_is_named_in_time(scheme: str, silent: int, monkeypatch: pytest.MonkeyPatch):
    assert store_address.ANSWER_WITHIN_S < 5
    monkeypatch.setattr(store_address, "ANSWER_WITHIN_S", 0.5)
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"does not answer") as caught:
        check_store(f"{scheme}://user:secret@127.0.0.1:{silent}/store")
    assert "secret" not in str(caught.value)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql", "mysql+nodriver"])
def test_a_store_that_is_not_there_is_named(scheme: str):
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"{scheme}://user:secret@127.0.0.1:{server.getsockname()[1]}/store"
    with pytest.raises(StoreError, match=r"does not answer") as caught:
        check_store(uri)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [("none.db", "train first"), ("folder", "folder"), ("text", "no SQLite")])
def test_a_file_that_is_no_store_is_named(name: str, words: str, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("This is no database.")
    with pytest.raises(StoreError, match=words):
        check_store(f"sqlite:///{tmp_path / name}")


def test_looking_needs_no_mlflow():
    assert store_address.__name__ in sys.modules
    assert not hasattr(store_address, "mlflow")
    assert not hasattr(paths, "mlflow")


@pytest.mark.parametrize("uri", ["silly", "foo://bar", "file:///tmp/mlruns", "./mlruns", "http:/127.0.0.1"])
def test_what_is_no_store_is_answered_with_what_would_be(uri: str):
    with pytest.raises(
        StoreError, match=r"^the tracking store .* is none: give sqlite:///file\.db, http://host:port or"
    ):
        check_store(uri, must_exist=False)
