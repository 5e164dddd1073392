"""Where the project's files are, whatever folder a command is started from."""

from pathlib import Path

from omegaconf import OmegaConf

PACKAGE = Path(__file__).resolve().parent
_IN_CHECKOUT = (PACKAGE.parent / "conf" / "train.yaml").is_file()
# An installed wheel carries its own conf/ and writes below the current folder.
PROJECT = PACKAGE.parent if _IN_CHECKOUT else Path.cwd()
CONF = PROJECT / "conf" if _IN_CHECKOUT else PACKAGE / "conf"


def register_resolvers() -> None:
    """Make ``${project:…}`` and ``${package:…}`` paths available in the configuration."""
    OmegaConf.register_new_resolver("project", lambda path: str(PROJECT / path), replace=True)
    OmegaConf.register_new_resolver("package", lambda path: str(PACKAGE / path), replace=True)
