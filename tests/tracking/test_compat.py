"""Changes to libraries keep what they promise."""

import subprocess

from tests.commands import python

LATE = """
import sys
from spotify_ml.tracking.compat import let_mlflow_import_less
let_mlflow_import_less()
import mlflow.store.tracking.sqlalchemy_store
assert "fastapi" not in sys.modules
from mlflow.genai.judges import make_judge
assert callable(make_judge) and callable(mlflow.genai.evaluate) and mlflow.genai.scorers.Scorer
assert not hasattr(mlflow.genai, "no_such_name")
"""


def test_packages_for_language_models_are_run_when_they_are_asked_for():
    done = subprocess.run([python(), "-c", LATE], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
