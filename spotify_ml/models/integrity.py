"""The sha256 of every file of a saved model, written when it is saved and compared when it is loaded."""

import hashlib
from pathlib import Path

from spotify_ml.utils.errors import ModelError

# To check by hand: `sha256sum -c SHA256SUMS`.
SUMS_FILE = "SHA256SUMS"
# Written when a model is used: MLflow's note of its address, and compiled code.
_NOTE, _COMPILED = "registered_model_meta", "__pycache__"


def write_sums(folder: Path) -> str:
    """Write the sha256 of every file of a saved model into its folder, and return the sha256 of that list."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _files(folder)]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8")
    return _sha256(folder / SUMS_FILE)


def check_files(folder: Path, sums_sha256: str | None = None) -> None:
    """Check that a model's files are those that it was saved with.

    `sums_sha256` is the value that `write_sums` returned, if it is known.

    Raises `ModelError` naming every file that was changed, is missing or was added.
    """
    if not (folder / SUMS_FILE).is_file():
        differences = [f"{SUMS_FILE} is missing"]
    elif (folder / SUMS_FILE).is_symlink() or sums_sha256 not in (None, _sha256(folder / SUMS_FILE)):
        differences = [f"{SUMS_FILE} was changed"]
    else:
        differences = _differences(folder)
    if differences:
        raise ModelError(
            f"the model in {folder} is not as it was saved: {', '.join(differences)}; "
            "put the files back, or train and register it anew"
        )


def _differences(folder: Path) -> list[str]:
    lines = (folder / SUMS_FILE).read_text(encoding="utf-8").splitlines()
    saved = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    present = _files(folder)
    changed = [f"{name} was changed" for name in saved if name in present and not _is(folder / name, saved[name])]
    missing = [f"{name} is missing" for name in saved if name not in present]
    added = [f"{name} was added" for name in present if name not in saved]
    return changed + missing + added


def _is(path: Path, digest: str) -> bool:
    # The target of a link may change after the check.
    return path.is_file() and not path.is_symlink() and _sha256(path) == digest


def _files(folder: Path) -> list[str]:
    """Return all files and links below a folder, relative to it."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(
        path.as_posix() for path in files if str(path) not in (SUMS_FILE, _NOTE) and _COMPILED not in path.parts
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
