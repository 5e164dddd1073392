"""The command of live traffic: takes outcomes that were observed later, and says which of two versions is better.

::

    python -m spotify_ml.live outcomes=observed.csv
    python -m spotify_ml.live report name=spring
    python -m spotify_ml.live plan effect=0.2 power=0.8
    python -m spotify_ml.live table output=observed.parquet

Exit codes of ``report``: 0 keep on; 2 stop, or promote; 1 an error; 130 Ctrl-C.
"""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ml.cli.command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from spotify_ml.config.live import LiveConfig

_DECIDED = 2


def as_overrides(arguments: list[str]) -> list[str]:
    """Return command line arguments with a first word that stands alone as the override ``action=…``.

    >>> as_overrides(["report", "log=sqlite:///a.db"])
    ['action=report', 'log=sqlite:///a.db']
    """
    if arguments and arguments[0].isalpha():
        return [f"action={arguments[0]}", *arguments[1:]]
    return arguments


def run(composed: "DictConfig") -> None:
    """Do what is asked for, and say what came of it."""
    from spotify_ml.cli.checks import checked
    from spotify_ml.config.live import LiveConfig

    # What is said of data is for those who train on it.
    logging.getLogger("spotify_ml").setLevel(logging.WARNING)
    config = checked(composed, LiveConfig)
    actions = {"outcomes": _take_outcomes, "report": _report, "plan": _plan, "table": _write_table}
    actions[config.action](config)


def _take_outcomes(config: "LiveConfig") -> None:
    from spotify_ml.utils.errors import ConfigError

    if config.outcomes is None:
        raise ConfigError("config: outcomes=… names no file of outcomes; give one: outcomes=observed.csv")

    from spotify_ml.live.database import Database, log_address
    from spotify_ml.live.outcomes import OutcomesTable, receive

    database = Database(log_address(config.log, config.tracking.uri))
    database.check_there()
    print(receive(database, OutcomesTable.of_file(Path(config.outcomes))))


def _report(config: "LiveConfig") -> None:
    from spotify_ml.cli.checks import use_store

    output = _output(config, "outputs/live.html", ".html")
    use_store(config.tracking.uri)

    from spotify_ml.live.report import read_report, write_report

    report = read_report(config)
    run_id = write_report(config, report, output)
    print(f"{report.sentence}\n{output}\nrun      {run_id}")
    if report.decision.outcome != "keep":
        sys.exit(_DECIDED)


def _plan(config: "LiveConfig") -> None:
    from spotify_ml.live.plan import plan

    rule = config.rule
    print(
        f"to find a difference of {config.effect:g} standard deviations of one outcome with probability "
        f"{config.power:g}, at rule.alpha={rule.alpha:g}:"
    )
    for each in plan(config.effect, config.power, rule.alpha, rule.planned, config.share):
        print(each)


def _write_table(config: "LiveConfig") -> None:
    output = _output(config, "outputs/observed.parquet", ".parquet")

    from spotify_ml.live.database import Database, log_address
    from spotify_ml.live.observed import join_outcomes, read_log
    from spotify_ml.live.training_table import add_rows, observed_rows

    database = Database(log_address(config.log, config.tracking.uri))
    database.check_there()
    log = read_log(database, config.name)
    rows, without_inputs = observed_rows(log, join_outcomes(log, config.rule.late_days))
    print(f"{output}: {add_rows(output, rows, without_inputs)}")


def _output(config: "LiveConfig", default: str, suffix: str) -> Path:
    """Return the file to write, and refuse one of another kind, and one that is read."""
    from spotify_ml.cli.checks import check_outputs
    from spotify_ml.utils.errors import ConfigError
    from spotify_ml.utils.paths import database_path

    output = Path(config.output or default)
    if output.suffix != suffix or output.is_dir():
        raise ConfigError(f"config: output={output}: name a file to write that ends in {suffix}")
    read = [path for each in (config.tracking.uri, config.log or "") if (path := database_path(each)) is not None]
    check_outputs([output, output.with_suffix(".json")], read)
    return output


def main() -> None:
    """Run the command line."""
    sys.argv[1:] = as_overrides(sys.argv[1:])
    run_command(run, "live")


if __name__ == "__main__":
    main()
