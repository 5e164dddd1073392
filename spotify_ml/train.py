"""The one entry point: raw tracks through ETL, features and XGBoost to a recorded, registered model."""

from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ml.cli.command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from spotify_ml.config.run import RunConfig
    from spotify_ml.tracking.sweep import ParentRun


def run(composed: "DictConfig") -> float:
    """Run one composed configuration and return its objective, the validation RMSE in points or log loss."""
    # The schema alone decides whether anything heavy is imported.
    from hydra.core.hydra_config import HydraConfig

    from spotify_ml.cli.run_check import check_run, discard_if_empty
    from spotify_ml.tracking.sweep import parent_run

    job, parent = HydraConfig.get(), parent_run()
    folder, overrides = Path(job.runtime.output_dir), list(job.overrides.task)
    try:
        return _run(check_run(composed), folder, overrides, parent)
    except BaseException:
        discard_if_empty(folder)
        raise


def _run(config: "RunConfig", folder: Path, overrides: list[str], parent: "ParentRun | None") -> float:
    from spotify_ml.utils.files import remove_abandoned

    if config.cache.name == "local":
        remove_abandoned(Path(config.cache.folder))

    from spotify_ml.reports.summary import NEXT_STEPS, summary_table

    if config.tune.name == "optuna":
        from spotify_ml.tuning.tune import tune

        outcome = tune(config, folder, overrides, parent)
        print(("" if outcome.summary is None else summary_table(outcome.summary)) + outcome.as_text())
        return outcome.objective
    from spotify_ml.tracking.training import train

    summary = train(config, folder, overrides, parent)
    print(summary_table(summary) + NEXT_STEPS * (parent is None))
    return summary.objective


def main() -> None:
    """Run the command line."""
    run_command(run, "train")


if __name__ == "__main__":
    main()
