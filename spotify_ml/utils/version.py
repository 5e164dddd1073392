"""The version of this package, and when the process loaded it."""

import time

__version__ = "0.1.0"
# A source that was changed later than this may not be what the process runs.
LOADED_AT = time.time()
