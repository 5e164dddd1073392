"""Compare runs: one page that says which is better, whether the difference is real, and what differs.

::

    python -m spotify_ml.compare 3f2a 9c81                                  # two runs, to outputs/comparison.html
    python -m spotify_ml.compare models:/spotify-popularity@champion models:/spotify-popularity@challenger
    python -m spotify_ml.compare 3f2a 9c81 07bd output=outputs/three.md     # the second and third against the first
    python -m spotify_ml.compare 3f2a 9c81 tracking=server                  # on a tracking server

Runs are compared on the test rows that they share, paired, by a bootstrap of whole groups. Of different splits only
those count that are test rows of both and as new to one as to the other; if they are too few, the page says so.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ml.cli.command import run_command
from spotify_ml.utils import paths

if TYPE_CHECKING:
    from omegaconf import DictConfig

_FORMATS = (".html", ".md")
_FEWEST = 2


def as_overrides(arguments: list[str]) -> list[str]:
    """Return command line arguments with the named runs as the override ``runs=[…]``.

    A run is what is neither ``key=value``, nor an option, nor an option's value.
    """
    follows_option = [False, *(each.startswith("-") for each in arguments)]
    is_run = [
        not after_option and "=" not in each and not each.startswith(("-", "~"))
        for each, after_option in zip(arguments, follows_option, strict=False)
    ]
    runs = ",".join(_quoted(each) for each, named in zip(arguments, is_run, strict=True) if named)
    others = [each for each, named in zip(arguments, is_run, strict=True) if not named]
    return [*others, f"runs=[{runs}]"] if runs else others


def _quoted(text: str) -> str:
    """Return a text as Hydra's grammar quotes it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def run(composed: "DictConfig") -> None:
    """Read the named runs, write the page, and print the answer."""
    from spotify_ml.cli.checks import check_outputs, checked, use_store
    from spotify_ml.config.commands import CompareConfig
    from spotify_ml.utils.errors import ConfigError

    config = checked(composed, CompareConfig)
    if len(config.runs) < _FEWEST:
        raise ConfigError("name two runs or more: python -m spotify_ml.compare RUN_OR_VERSION RUN_OR_VERSION")
    output = Path(config.output).resolve()
    if output.suffix not in _FORMATS or output.is_dir():
        raise ConfigError(f"config: output={config.output}: name a page to write that ends in .html or .md")
    if (database := paths.database_path(config.tracking.uri)) is not None:
        check_outputs([output], [database])
    use_store(config.tracking.uri)

    from spotify_ml.reports.page import write_page
    from spotify_ml.reports.runs import compare_runs, run_report
    from spotify_ml.tracking.run_reader import read_runs
    from spotify_ml.utils.files import staged

    runs = read_runs(config.tracking, config.runs)
    verdicts = compare_runs(runs)
    report = run_report(runs, verdicts)
    if output.suffix == ".md":
        with staged(output) as file:
            file.write_text(report, encoding="utf-8")
    else:
        write_page(output, report, width="90rem")
    print("\n".join(each.sentence for each in verdicts))
    print(output)


def main() -> None:
    """Run the command line."""
    sys.argv[1:] = as_overrides(sys.argv[1:])
    run_command(run, "compare")


if __name__ == "__main__":
    main()
