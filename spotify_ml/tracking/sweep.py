"""One parent run above the jobs of a ``--multirun``."""

from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

# Jobs may run in processes that inherit nothing; what they all share is the sweep's folder.
_PARENT_FILE = "parent_run_id"


def parent_run_id() -> str | None:
    """Return the id of the run above this job, or None outside a sweep."""
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return None
    return (Path(hydra.sweep.dir) / _PARENT_FILE).read_text(encoding="utf-8")


class SweepCallback(Callback):
    """Start a parent run before the first job of a sweep and end it after the last."""

    # Hydra has no callback for a sweep that breaks off; `abandon` finds the run here.
    _open: ClassVar[tuple[Any, str] | None] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Start the parent run and leave its id where every job finds it."""
        # mlflow takes seconds to import, and Hydra imports this module on the way to --help.
        from spotify_ml.config import TrackingConfig
        from spotify_ml.tracking.store import connect
        from spotify_ml.tracking.versions import code_tags

        tracking = TrackingConfig.model_validate(OmegaConf.to_container(config.tracking, resolve=True))
        client, experiment_id = connect(tracking)
        overrides = " ".join(config.hydra.overrides.task)
        run = client.create_run(experiment_id, tags={**code_tags(), "hydra.overrides": overrides})
        run_id = run.info.run_id
        type(self)._open = (client, run_id)
        client.update_run(run_id, name=f"sweep-{run_id[:8]}")
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _PARENT_FILE).write_text(run_id, encoding="utf-8")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """End the parent run."""
        self.end("FINISHED")

    @classmethod
    def end(cls, status: str) -> None:
        """End the parent run that is open, if any, with ``FINISHED``, ``FAILED`` or ``KILLED``."""
        if cls._open is not None:
            client, run_id = cls._open
            cls._open = None
            client.set_terminated(run_id, status)
