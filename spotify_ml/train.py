"""The one entry point: raw tracks through ETL, features and XGBoost to a recorded, registered model."""

import gc
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ml.command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from spotify_ml.config import RunConfig
    from spotify_ml.report import Summary
    from spotify_ml.tracking.sweep import ParentRun


def train(config: "RunConfig", folder: Path, overrides: list[str], parent: "ParentRun | None" = None) -> "Summary":
    """Run a configuration from raw tracks to a recorded model.

    Parameters
    ----------
    config : RunConfig
        What to do.
    folder : Path
        Where the run's files are written.
    overrides : list of str
        What was typed, for the record.
    parent : ParentRun, optional
        The run above this one, for the jobs of a sweep. Unless the configuration says otherwise, the model is
        registered without one, and the baselines that are models are fitted with one.

    Raises
    ------
    SpotifyMLError
        If the data, the split or the tracking store cannot be used.
    """
    # Imported here, so that --help, --cfg and mistyped overrides answer at once. The process that draws goes first, to
    # import its own meanwhile; then skops, whose import looks through every module that is already there.
    from spotify_ml.evaluation.drawing import FigureProcess

    drawing = FigureProcess(folder / "figures")
    import skops.io  # noqa: F401

    from spotify_ml.data.cache import StageCache
    from spotify_ml.data.prepare import prepare_split, prepare_tracks
    from spotify_ml.evaluation.baselines import full_baselines
    from spotify_ml.evaluation.bootstrap import bootstrap_metrics
    from spotify_ml.evaluation.coverage import calibrate_intervals, interval_coverage
    from spotify_ml.evaluation.cross_validation import cross_validate
    from spotify_ml.evaluation.evaluate import evaluate
    from spotify_ml.evaluation.explain import explain
    from spotify_ml.evaluation.tables import error_data, explanation_data
    from spotify_ml.features.prepare import prepare_matrices
    from spotify_ml.models.estimators import fit_estimators
    from spotify_ml.models.rehearsal import rehearse
    from spotify_ml.outputs import write_outputs
    from spotify_ml.result import Result
    from spotify_ml.threads import leave_busy_cores
    from spotify_ml.timing import Stopwatch
    from spotify_ml.tracking.record import record_result, recorded_run

    clock = Stopwatch()
    with drawing as figures, ExitStack() as opened:
        with clock.stage("start"):
            if config.engine.name == "local":
                rehearse(config.model, config.task, config.seed)
            parent_id = parent.run_id if parent else None
            run = opened.enter_context(recorded_run(config, overrides, parent_id, folder / "train.log"))
            leave_busy_cores()
        # What was imported is there to stay: let no later collection walk it.
        gc.freeze()
        gc.enable()
        if config.engine.name == "dask":
            from spotify_ml.engine.run import run_on_cluster

            raw, tracks, quality, split, matrices, fitted, evaluation, threads = run_on_cluster(config, clock)
            run.log_cluster(threads)
        else:
            cache = StageCache.of(config.cache)
            with clock.stage("etl"):
                raw, tracks, quality = prepare_tracks(config, cache)
            with clock.stage("split"):
                split = prepare_split(config, raw, tracks.frame, cache)
            with clock.stage("features"):
                matrices = prepare_matrices(config, raw, tracks.frame, split, cache)
            with clock.stage("fit"):
                fitted = fit_estimators(config.model, config.task, matrices, config.seed)
            with clock.stage("evaluate"):
                evaluation = evaluate(fitted, matrices, tracks.frame, config.task)
        with clock.stage("intervals"):
            scored = evaluation.actual, evaluation.predicted, split.groups[split.test]
            intervals = bootstrap_metrics(config.task, *scored, seed=config.seed)
            reach = calibrate_intervals(config.task, fitted, matrices, split.groups)
            coverage = interval_coverage(reach, matrices.test, evaluation.predicted, tracks.frame)
            figures.draw(error_data(config.task, tracks.frame, split, matrices, fitted, evaluation, coverage))
        with clock.stage("explain"):
            explanation = explain(fitted, matrices, config.task, config.seed)
            figures.draw(explanation_data(config.task, explanation, matrices.test))
        folds, baselines = [], {}
        if config.cv is not None:
            with clock.stage("cv"):
                folds = cross_validate(config, config.cv, tracks.frame, split)
        # Further models are fitted where there is the memory for them.
        in_memory = config.engine.name == "local" and matrices.test.storage.kind == "memory"
        if (config.baselines or ("full" if parent and in_memory else "quick")) == "full":
            with clock.stage("baselines"):
                baselines = full_baselines(config, tracks.frame, split, parent.folder if parent else None)
        result = Result(
            raw,
            tracks,
            quality,
            split,
            matrices,
            fitted,
            evaluation,
            folds,
            baselines,
            intervals,
            reach,
            coverage,
            explanation,
        )
        with clock.stage("outputs"):
            write_outputs(folder, config, result)
        register = parent is None if config.register_model is None else config.register_model
        return record_result(run, result, folder, figures, clock, register=register)


def run(composed: "DictConfig") -> float:
    """Run one composed configuration and return its objective, the validation RMSE in points or log loss."""
    # The schema alone decides whether anything heavy is imported.
    from hydra.core.hydra_config import HydraConfig

    from spotify_ml.run_check import check_run, discard_if_empty
    from spotify_ml.tracking.sweep import parent_run

    job, parent = HydraConfig.get(), parent_run()
    folder, overrides = Path(job.runtime.output_dir), list(job.overrides.task)
    try:
        return _run(check_run(composed), folder, overrides, parent)
    except BaseException:
        discard_if_empty(folder)
        raise


def _run(config: "RunConfig", folder: Path, overrides: list[str], parent: "ParentRun | None") -> float:
    from spotify_ml.files import remove_abandoned

    if config.cache.name == "local":
        remove_abandoned(Path(config.cache.folder))

    from spotify_ml.report import NEXT_STEPS, summary_table

    if config.tune.name == "optuna":
        from spotify_ml.tuning.tune import tune

        outcome = tune(config, folder, overrides, parent)
        print(("" if outcome.summary is None else summary_table(outcome.summary)) + outcome.as_text())
        return outcome.objective
    summary = train(config, folder, overrides, parent)
    print(summary_table(summary) + NEXT_STEPS * (parent is None))
    return summary.objective


def main() -> None:
    """Run the command line."""
    run_command(run, "train")


if __name__ == "__main__":
    main()
