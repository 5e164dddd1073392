"""A run that is recorded: from a configuration to a model in the registry."""

import gc
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ml.config.run import RunConfig

if TYPE_CHECKING:
    from spotify_ml.reports.summary import Summary
    from spotify_ml.tracking.sweep import ParentRun


def train(config: RunConfig, folder: Path, overrides: list[str], parent: "ParentRun | None" = None) -> "Summary":
    """Run a configuration from raw tracks to a recorded model, with the run's files in a folder.

    The overrides are what was typed, for the record. Jobs of a sweep have a parent run: unless the configuration says
    otherwise, the model is registered without one, and the baselines that are models are fitted with one. Raises
    `SpotifyMLError` if the data, the split or the tracking store cannot be used.
    """
    # Imported here: the process that draws goes first, to import its own meanwhile; then skops, whose import looks
    # through every module that is already there.
    from spotify_ml.reports.figures.figure_process import FigureProcess

    drawing = FigureProcess(folder / "figures")
    import skops.io  # noqa: F401

    from spotify_ml import pipeline
    from spotify_ml.models.rehearsal import rehearse
    from spotify_ml.reports.run_folder import write_outputs
    from spotify_ml.tracking.record import record_result, recorded_run
    from spotify_ml.utils.threads import leave_busy_cores
    from spotify_ml.utils.timing import Stopwatch

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
        shared = parent.folder if parent else None
        result = pipeline.run(config, clock, figures.draw, full_by_default=parent is not None, shared=shared)
        with clock.stage("outputs"):
            write_outputs(folder, config, result)
        register = parent is None if config.register_model is None else config.register_model
        return record_result(run, result, folder, figures, clock, register=register)
