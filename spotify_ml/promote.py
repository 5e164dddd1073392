"""The command that lets a version become champion if it shows that it is better, or goes back to the champion before.

Exit codes: 0 the version is champion, or would be (``dry_run=true``); 2 the gate refused it; 1 an error; 130 Ctrl-C.
"""

import logging
import sys
from typing import TYPE_CHECKING

from spotify_ml.cli.command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

_REFUSED = 2


def run(composed: "DictConfig") -> None:
    """Promote as configured, and say what was decided."""
    from spotify_ml.cli.checks import checked, use_store
    from spotify_ml.config.commands import PromoteConfig
    from spotify_ml.utils.errors import ConfigError

    # What is said of data is for those who train on it.
    logging.getLogger("spotify_ml").setLevel(logging.WARNING)
    config = checked(composed, PromoteConfig)
    use_store(config.tracking.uri)
    if config.rollback and (config.force or config.version is not None):
        raise ConfigError("config: rollback=true goes back to the champion before; leave out version=… and force=true")

    from spotify_ml.tracking.promotion import promote

    decision = promote(config)
    if decision.verdict is not None:
        print(f"{decision.verdict.as_text()}\n")
    print(f"{decision.as_text(dry_run=config.dry_run)}\nrun      {decision.run_id}")
    if decision.outcome == "refused":
        sys.exit(_REFUSED)


def main() -> None:
    """Run the command line."""
    run_command(run, "promote")


if __name__ == "__main__":
    main()
