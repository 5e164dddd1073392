"""What a result was made with: the code's commit and the libraries' versions."""

import subprocess
from importlib.metadata import version

from spotify_ml import __version__
from spotify_ml.paths import PROJECT

# The longest tag that every store takes.
TAG_LENGTH = 5000
_LIBRARIES = ("mlflow", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops", "xgboost")


def library_versions(*extras: str) -> dict[str, str]:
    """Return the installed version of each library that every model depends on, and of some that one does."""
    return {name: version(name) for name in (*_LIBRARIES, *extras)}


def code_tags() -> dict[str, str]:
    """Return the run's tags about the code: package version, and git commit and dirty flag where there is git."""
    tags = {"mlflow.source.name": "spotify_ml.train", "mlflow.source.type": "LOCAL", "version.spotify_ml": __version__}
    tags |= {f"version.{name}": number for name, number in library_versions().items()}
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if commit is not None and changes is not None:
        # The first is the tag under which MLflow's UI shows a commit.
        tags |= {"mlflow.source.git.commit": commit, "git.commit": commit, "git.dirty": str(bool(changes)).lower()}
    return tags


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", "-C", PROJECT, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
