"""Look at a file of raw tracks: one HTML page of figures and tables that needs no other file.

::

    python -m spotify_ml.profile                                    # the bundled sample, to outputs/profile.html
    python -m spotify_ml.profile data=full output=outputs/full.html
    python -m spotify_ml.profile data=file data.path=my.csv

What the rows are, what is missing or odd, how popularity and the audio columns are distributed and hang together, how
popularity differs by genre, mood and tempo, what stands more than once, and what that does when rows are divided by
chance. No model is fitted. Rows that break the schema are listed with what is wrong, and left out of everything else; a
file without a raw column, or without a sound row, is refused.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ml.cli.command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run(composed: "DictConfig") -> None:
    """Read the configured tracks, and write the page."""
    from spotify_ml.cli.checks import check_outputs, checked
    from spotify_ml.config.commands import ProfileConfig
    from spotify_ml.utils.errors import ConfigError

    config = checked(composed, ProfileConfig)
    output = Path(config.output).resolve()
    if output.is_dir() or output.suffix != ".html":
        raise ConfigError(
            f"config: output={config.output} is no name of a page; name one to write, as output=outputs/profile.html"
        )
    paths = [config.data.path] if isinstance(config.data.path, str) else config.data.path
    check_outputs([output], map(Path, [*paths, *(config.data.join or ())]))

    from spotify_ml.data.joins import joined_tables
    from spotify_ml.data.sources import inspect_tracks
    from spotify_ml.reports.page import write_page
    from spotify_ml.reports.profile import profile

    raw, violations = inspect_tracks(config.data, config.layout)
    joins = joined_tables(raw.frame, config.data.join)
    if not raw.layout.is_raw:
        print(f"{raw.path.name}: {raw.layout}")
    write_page(output, profile(raw, violations, joins))
    print(f"{output} ({output.stat().st_size / 2**20:.1f} MB)")


def main() -> None:
    """Run the command line."""
    run_command(run, "profile")


if __name__ == "__main__":
    main()
