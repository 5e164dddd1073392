"""Test that a version loads where only its own requirements are installed, and no checkout is in sight."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import spotify_ml
from tests.tracking.conftest import CHAMPION, Store

pytestmark = pytest.mark.slow

# As on the page on loading, but for the comparison.
SCRIPT = """
import sys
from importlib.metadata import distributions
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd

model, rows, answer = sys.argv[1:]
loaded = mlflow.pyfunc.load_model(model)
predictions = loaded.predict(pd.read_parquet(rows))
given = loaded.predict(pd.read_parquet(rows), params={"interval": 0.9, "explain": 5})
np.testing.assert_allclose(given["popularity"], predictions, atol=1e-6)
assert (given["lower"] <= given["upper"]).all() and set(given["reasons"].map(len)) == {5}
import spotify_ml
assert Path(spotify_ml.__file__).is_relative_to(model), spotify_ml.__file__
names = {distribution.metadata["Name"].lower() for distribution in distributions()}
assert not names & {"mlflow", "hydra-core", "omegaconf", "optuna", "sqlalchemy", "matplotlib", "spotify_ml"}, names
np.save(answer, predictions)
"""


@pytest.fixture
def environment() -> Iterator[Path]:
    """An empty virtual environment; not below pytest's folder, which keeps a gigabyte for the next runs to see."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        yield Path(folder)


def test_a_version_loads_from_its_own_requirements_alone(store: Store, environment: Path, tmp_path: Path):
    model, rows, answer = tmp_path / "model", tmp_path / "rows.parquet", tmp_path / "answer.npy"
    shutil.copytree(store.model, model, ignore=shutil.ignore_patterns("__pycache__"))
    store.rows.to_parquet(rows)
    python = str(environment / "bin" / "python")
    # Our pip does the work: a new one, and compiling what is never imported, would take half of the time.
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "-r", str(model / "requirements.txt")], check=True)
    isolated = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
    command = [python, "-I", "-c", SCRIPT, str(model), str(rows), str(answer)]
    done = subprocess.run(command, cwd=tmp_path, env=isolated, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = spotify_ml.load_model(CHAMPION, store.uri).predict(store.rows)
    np.testing.assert_allclose(np.load(answer), expected, rtol=0, atol=1e-6)
