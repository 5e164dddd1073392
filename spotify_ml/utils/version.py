"""The version of this package, when the process loaded it, and the versions of libraries."""

import time
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"
# A source that was changed later than this may not be what the process runs.
LOADED_AT = time.time()

# Libraries that are also distributed under another name.
_OTHER_NAMES = {"xgboost": "xgboost-cpu"}


def library_version(name: str) -> str:
    """Return the installed version of a library.

    Raises
    ------
    PackageNotFoundError
        If it is not installed.
    """
    return version(distribution(name))


def distribution(name: str) -> str:
    """Return the name that a library was installed under."""
    try:
        version(name)
    except PackageNotFoundError:
        return _OTHER_NAMES.get(name, name)
    return name
