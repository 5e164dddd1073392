"""The command that lets a local store load again after its folder was moved or copied."""

from typing import TYPE_CHECKING

from spotify_ml.cli.command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run(composed: "DictConfig") -> None:
    """Rewrite the locations in the configured store, and say how many."""
    from spotify_ml.cli.checks import checked, use_store
    from spotify_ml.config.commands import RelocateConfig

    config = checked(composed, RelocateConfig)
    use_store(config.tracking.uri)

    from spotify_ml.tracking.relocation import relocate

    done = relocate(config.tracking, config.old)
    if done.rewritten:
        print(f"{done.rewritten} locations now begin with {done.new} instead of {done.old}")
    else:
        begins = f"with {config.old}" if config.old else f"with another folder than {done.new}"
        print(f"nothing to do: no location begins {begins}")
    if done.elsewhere:
        print(f"{done.elsewhere} runs and models have their files elsewhere and were left as they are")


def main() -> None:
    """Run the command line."""
    run_command(run, "relocate")


if __name__ == "__main__":
    main()
