"""The command of live traffic: takes outcomes that were observed later.

::

    python -m spotify_ml.live outcomes=observed.csv
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ml.cli.command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from spotify_ml.config.live import LiveConfig


def as_overrides(arguments: list[str]) -> list[str]:
    """Return command line arguments with a first word that stands alone as the override ``action=…``.

    >>> as_overrides(["outcomes", "log=sqlite:///a.db"])
    ['action=outcomes', 'log=sqlite:///a.db']
    """
    if arguments and arguments[0].isalpha():
        return [f"action={arguments[0]}", *arguments[1:]]
    return arguments


def run(composed: "DictConfig") -> None:
    """Do what is asked for, and say what came of it."""
    from spotify_ml.cli.checks import checked
    from spotify_ml.config.live import LiveConfig

    config = checked(composed, LiveConfig)
    _take_outcomes(config)


def _take_outcomes(config: "LiveConfig") -> None:
    from spotify_ml.utils.errors import ConfigError

    if config.outcomes is None:
        raise ConfigError("config: outcomes=… names no file of outcomes; give one: outcomes=observed.csv")

    from spotify_ml.live.database import Database, log_address
    from spotify_ml.live.outcomes import OutcomesTable, receive

    database = Database(log_address(config.log, config.tracking.uri))
    database.check_there()
    print(receive(database, OutcomesTable.of_file(Path(config.outcomes))))


def main() -> None:
    """Run the command line."""
    sys.argv[1:] = as_overrides(sys.argv[1:])
    run_command(run, "live")


if __name__ == "__main__":
    main()
