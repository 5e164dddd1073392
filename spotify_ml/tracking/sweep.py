"""One parent run above the jobs of a ``--multirun``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from spotify_ml.errors import SpotifyMLError, TrackingError, without_passwords
from spotify_ml.tracking.versions import TAG_LENGTH, code_tags

# Jobs may run in processes that inherit nothing; what they all share is the sweep's folder.
_PARENT_FILE = "parent_run_id"
_ERROR_FILE = "parent_run_error"


@dataclass(frozen=True)
class ParentRun:
    """The run above the jobs of a sweep.

    Attributes
    ----------
    run_id : str
        Its id.
    folder : Path
        The sweep's folder, which all jobs share.
    """

    run_id: str
    folder: Path


def parent_run() -> ParentRun | None:
    """Return the run above this job, or None outside a sweep."""
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return None
    folder = Path(hydra.sweep.dir)
    # Hydra swallows what a callback raises and starts the jobs all the same: here it stops them.
    if (folder / _ERROR_FILE).is_file():
        raise TrackingError((folder / _ERROR_FILE).read_text(encoding="utf-8"))
    return ParentRun((folder / _PARENT_FILE).read_text(encoding="utf-8"), folder)


class SweepCallback(Callback):
    """Start a parent run before the first job of a sweep and end it after the last."""

    # Hydra has no callback for a sweep that breaks off; `abandon` finds the run here.
    _open: ClassVar[tuple[Any, str] | None] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Start the parent run and leave its id, or why there is none, where every job finds it."""
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / _PARENT_FILE).write_text(self._start(config), encoding="utf-8")
        except SpotifyMLError as error:
            (folder / _ERROR_FILE).write_text(str(error), encoding="utf-8")

    @classmethod
    def _start(cls, config: DictConfig) -> str:
        # mlflow takes seconds to import, and Hydra imports this module on the way to --help.
        from spotify_ml.config import TrackingConfig
        from spotify_ml.tracking.abandoned import process_tags
        from spotify_ml.tracking.store import connect, store_errors

        tracking = TrackingConfig.model_validate(OmegaConf.to_container(config.tracking, resolve=True))
        client, experiment_id = connect(tracking)
        with store_errors(tracking.uri):
            tags = {
                **code_tags(),
                **process_tags(),
                "hydra.overrides": without_passwords(" ".join(config.hydra.overrides.task))[:TAG_LENGTH],
            }
            run_id = str(client.create_run(experiment_id, tags=tags).info.run_id)
            cls._open = (client, run_id)
            client.update_run(run_id, name=f"sweep-{run_id[:8]}")
        return run_id

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Leave the comparison of the jobs with the parent run, and end it."""
        summaries = sorted(Path(config.hydra.sweep.dir).glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
        if summaries and self._open is not None:
            self._compare(Path(config.hydra.sweep.dir), summaries)
        self.end("FINISHED")

    @classmethod
    def _compare(cls, folder: Path, summaries: list[Path]) -> None:
        from spotify_ml.evaluation.comparison import FILES, write_comparison
        from spotify_ml.report import Summary

        markdown = write_comparison(folder, [Summary.read(path) for path in summaries])
        print(f"\n{markdown}\nsweep    {folder}")
        if cls._open is not None:
            client, run_id = cls._open
            for name in FILES:
                client.log_artifact(run_id, str(folder / name))

    @classmethod
    def end(cls, status: str) -> None:
        """End the parent run that is open, if any, with ``FINISHED``, ``FAILED`` or ``KILLED``."""
        if cls._open is not None:
            client, run_id = cls._open
            cls._open = None
            client.set_terminated(run_id, status)
