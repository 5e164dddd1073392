"""The version of this package, and the versions of libraries."""

import time
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"
# The process may not run sources that were changed later.
LOADED_AT = time.time()

# Libraries with a second distribution name.
_OTHER_NAMES = {"xgboost": "xgboost-cpu"}


def library_version(name: str) -> str:
    """Return the installed version of a library; a `PackageNotFoundError` if there is none."""
    return version(distribution(name))


def distribution(name: str) -> str:
    """Return the name under which a library was installed."""
    try:
        version(name)
    except PackageNotFoundError:
        return _OTHER_NAMES.get(name, name)
    return name
