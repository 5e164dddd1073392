"""The commands of the page on live traffic, typed one after the other."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from spotify_ml.utils.paths import PROJECT
from tests.checkout import commands
from tests.live.conftest import MODEL, PATIENCE_S, Store, served
from tests.test_examples import BLOCK


@pytest.mark.slow
def test_the_five_commands_of_the_page_come_to_a_decision(store: Store, monkeypatch: pytest.MonkeyPatch):
    text = (PROJECT / "docs" / "how-to" / "live.md").read_text(encoding="utf-8")
    write, serve, ask, observe, report = commands(BLOCK.findall(text)[0][1])
    (store.folder / "outputs").mkdir()
    (store.folder / "spotify_ml").symlink_to(PROJECT / "spotify_ml")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    python = {"python": sys.executable}

    def run(command: str) -> "subprocess.CompletedProcess[str]":
        words = [python.get(word, word) for word in shlex.split(command)]
        return subprocess.run(words, cwd=store.folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert run(write).returncode == 0
    assert Path(store.folder, "outputs", "asked.csv").is_file()
    with served(store, *shlex.split(shlex.split(serve)[2].removeprefix("ARGS="))) as server:
        asked = run(ask.replace("127.0.0.1:5001", f"127.0.0.1:{server.port}"))
        assert '{"predictions": [' in asked.stdout
    taken = run(observe)
    assert "0 of units that were not predicted, 0 from before the prediction" in taken.stdout, taken.stderr
    decided = run(report)
    assert decided.returncode == 2, decided.stderr
    assert decided.stdout.startswith(f"Promote models:/{MODEL}/2: ")
