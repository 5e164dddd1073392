"""What a result was made with: the code's commit and the libraries' versions."""

import hashlib
import subprocess

from spotify_ml.utils.paths import PACKAGE, PROJECT
from spotify_ml.utils.version import __version__, library_version

# The longest tag that every store takes.
TAG_LENGTH = 5000
# Of a version: the sha256 of the list of its files' sha256.
SUMS_TAG = "model.sha256"
# In its MLmodel: the columns that it takes beside those of every model.
FURTHER_KEY = "further_columns"
# What every model needs to score.
SCORING = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops", "xgboost")


def code_digest() -> str:
    """Return the sha256 of this package's sources: what a commit does not say of a changed checkout."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def code_tags() -> dict[str, str]:
    """Return the run's tags about the code: version, digest, and git commit and dirty flag where there is git."""
    tags = {"mlflow.source.name": "spotify_ml.train", "mlflow.source.type": "LOCAL", "version.spotify_ml": __version__}
    tags["code.sha256"] = code_digest()
    tags |= {f"version.{name}": library_version(name) for name in ("mlflow", *SCORING)}
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
