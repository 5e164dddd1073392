"""The record of one run: opened before anything is read, filled in as results come, and always closed."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel, Metric, Param, RunTag
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.utils.time import get_current_time_millis

from spotify_ml.comparison.predictions import FILE as PREDICTIONS
from spotify_ml.config.run import RunConfig
from spotify_ml.data.outputs import REPORTS
from spotify_ml.data.schema import COLUMNS, NAMES, TARGET, Kind
from spotify_ml.data.sources import RawFile
from spotify_ml.evaluation.metric_names import unbeaten_baseline
from spotify_ml.evaluation.result import Result
from spotify_ml.models.files import check_agreement
from spotify_ml.models.targets import class_names
from spotify_ml.reports.figures.figure_process import FigureProcess
from spotify_ml.reports.model_card import Origin, model_card, write_model_card
from spotify_ml.reports.summary import Summary
from spotify_ml.tracking.abandoned import FOLDER_TAG, close_abandoned, process_tags
from spotify_ml.tracking.limits import METRICS_PER_CALL, PARAM_LENGTH, PARAMS_PER_CALL, shortened, thinned
from spotify_ml.tracking.model import SavedModel, log_model, predict_as_stored, register
from spotify_ml.tracking.open_run import open_run
from spotify_ml.tracking.provenance import CONFIG, rows_digest
from spotify_ml.tracking.store import connect, store_errors
from spotify_ml.tracking.versions import TAG_LENGTH, code_tags
from spotify_ml.utils.places import paths_in, shared_folder, shared_overrides, shared_path
from spotify_ml.utils.stops import deferred
from spotify_ml.utils.timing import Stopwatch

log = logging.getLogger(__name__)

# By so many test rows the files of a model are compared.
_CHECKED_ROWS = 100_000

# The figures that a version is searched by; of a regression the first two.
_HEADLINES = ("test/r2", "test/rmse", "test/log_loss", "test/macro_f1")
_MLFLOW_TYPES = {
    Kind.TEXT: DataType.string,
    Kind.INTEGER: DataType.long,
    Kind.NUMBER: DataType.double,
    Kind.FLAG: DataType.boolean,
}


class RunRecord:
    """An open MLflow run.

    Attributes
    ----------
    run_id : str
        Its id.
    name : str
        Its name, ``<experiment or model>-<split>-<short id>``.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        run_id: str,
        name: str,
        config: RunConfig,
        overrides: list[str],
        tags: dict[str, str],
        undisturbed: ExitStack,
    ) -> None:
        self._client = client
        self._undisturbed = undisturbed
        self._experiment_id = experiment_id
        self._config = config
        self._overrides = overrides
        self._tags = tags
        self.run_id = run_id
        self.name = name

    def log_params(self, settings: dict[str, Any]) -> None:
        """Log settings under their dotted keys."""
        params = [Param(key, str(value)[:PARAM_LENGTH]) for key, value in settings.items()]
        for start in range(0, len(params), PARAMS_PER_CALL):
            self._client.log_batch(self.run_id, params=params[start : start + PARAMS_PER_CALL])

    def log_metrics(self, metrics: dict[str, float], model: LoggedModel | None = None) -> None:
        """Log figures under their own names, of the run and, where there is one, of its model."""
        now, model_id = get_current_time_millis(), None if model is None else model.model_id
        self._log_points([Metric(name, value, now, 0, model_id) for name, value in metrics.items()])

    def log_learning_curve(self, curve: dict[str, list[float]]) -> None:
        """Log the error after every tree (thinned) as the metric history ``learning_curve/<part>_<error>``."""
        now = get_current_time_millis()
        self._log_points(
            [
                Metric(f"learning_curve/{part}_{self._error()}", error, now, n_trees)
                for part, values in curve.items()
                for n_trees, error in thinned(values)
            ]
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of a classification; none for a regression."""
        return class_names(self._config.task)

    @property
    def task(self) -> str:
        """What is predicted, by its name in the group ``task``."""
        return self._config.task.name

    def _error(self) -> str:
        return "log_loss" if self.classes else "rmse"

    def last_of_curve(self, curve: dict[str, list[float]]) -> dict[str, float]:
        """Return the last point of each history, which is what the store has as the metric."""
        return {f"learning_curve/{part}_{self._error()}": values[-1] for part, values in curve.items()}

    def log_folds(self, folds: list[dict[str, float]]) -> None:
        """Log each fold of a cross-validation as a run below this one."""
        now = get_current_time_millis()
        for number, figures in enumerate(folds):
            tags = {"mlflow.parentRunId": self.run_id, "fold": str(number)}
            metrics = [Metric(f"fold/{name}", value, now, 0) for name, value in figures.items()]
            with deferred():
                fold = self._client.create_run(self._experiment_id, tags=tags, run_name=f"{self.name}-fold-{number}")
                self._client.log_batch(fold.info.run_id, metrics=metrics)
                self._client.set_terminated(fold.info.run_id)

    def _log_points(self, points: list[Metric]) -> None:
        for start in range(0, len(points), METRICS_PER_CALL):
            self._client.log_batch(self.run_id, metrics=points[start : start + METRICS_PER_CALL])

    def log_tags(self, tags: dict[str, str]) -> None:
        """Set tags of the run."""
        self._client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in _cut(tags).items()])

    def log_cluster(self, threads: Sequence[Sequence[int]]) -> None:
        """Note which workers took part, and put them into ``config.sha256``.

        Parameters
        ----------
        threads : sequence of sequences of int
            Those of each worker of each fit.
        """
        numbers = {"cluster.n_workers": ", ".join(str(len(fit)) for fit in threads)}
        self.log_tags({**numbers, "config.sha256": self._config.digest(cluster=threads)})

    def log_datasets(self, raw: RawFile, parts: dict[str, np.ndarray]) -> None:
        """Log each part as an input of the run.

        Parameters
        ----------
        raw : RawFile
            Where the rows come from.
        parts : dict of str to ndarray of int
            Positions of each part's rows in the clean tracks. With the file's digest and the kind of cleaning they
            say which rows those are; hashing them in full, as MLflow would, costs more than fitting them.
        """
        columns: list[ColSpec | TensorSpec] = [ColSpec(_MLFLOW_TYPES[column.kind], column.name) for column in COLUMNS]
        schema = json.dumps({"mlflow_colspec": Schema(columns).to_dict()})
        source = json.dumps({"uri": shared_path(raw.path)})
        inputs = []
        for part, rows in parts.items():
            dataset = Dataset(
                name=f"{self._config.data.name}-{part}",
                digest=rows_digest(raw.sha256, self._config.cleaning.name, rows),
                source_type="local",
                source=source,
                schema=schema,
                profile=json.dumps({"num_rows": len(rows)}),
            )
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", part)]))
        self._client.log_inputs(self.run_id, inputs)

    def log_files(self, folder: Path, names: list[str], artifact_folder: str | None = None) -> None:
        """Log files of a folder as artifacts."""
        for name in names:
            self._client.log_artifact(self.run_id, str(folder / name), artifact_folder)

    def log_config(self) -> None:
        """Log the settings as ``config.json``; that of the run folder also knows where the data is on this machine."""
        self._client.log_text(self.run_id, json.dumps(self._config.shared(), indent=2), CONFIG)

    def create_model(self) -> LoggedModel:
        """Create the run's model in the store, with the settings it is made with and no files yet."""
        params = {key: str(value)[:PARAM_LENGTH] for key, value in self._config.shared_flat().items()}
        source = {name: value for name, value in self._tags.items() if name.startswith("mlflow.source.")}
        return self._client.create_logged_model(self._experiment_id, "model", self.run_id, source, params)

    def log_model(self, model: LoggedModel, models: Path, example: pd.DataFrame) -> SavedModel:
        """Save the model that scores raw rows.

        Parameters
        ----------
        model : LoggedModel
            As created before.
        models : Path
            The folder with the model's files.
        example : DataFrame
            Raw rows; the first few become the input example.
        """
        return log_model(self._client, model, self._config, models, example)

    def log_model_card(self, folder: Path, result: Result, model: SavedModel) -> str:
        """Write the model card as ``model_card/`` below a folder, log it as an artifact, and return its Markdown."""
        versions = {name.removeprefix("version."): number for name, number in self._tags.items() if "version." in name}
        changed = self._tags.get("git.dirty") == "true"
        overrides = shared_overrides(self._overrides)
        origin = Origin(self.name, model.uri, overrides, self._tags.get("git.commit"), changed, versions)
        card = model_card(self._config, result, origin)
        write_model_card(folder / "model_card", card)
        self._client.log_artifacts(self.run_id, str(folder / "model_card"), "model_card")
        return card

    def register(self, model: SavedModel, facts: dict[str, str], card: str, *, challenger: bool) -> int:
        """Register a logged model, with its card and tags to find it by, and return its version.

        From now on the run comes to its end: a version is of a finished run.
        """
        self._undisturbed.enter_context(deferred())
        code = {name: value for name, value in self._tags.items() if name.startswith(("git.", "code."))}
        description = shortened(card, "the artifact `model_card/model_card.md` of the version's run")
        return register(self._client, model, self._config, {**code, **facts}, description, challenger=challenger)

    def summary(
        self, model_uri: str, version: int | None, unbeaten: str, folder: Path, metrics: dict[str, float]
    ) -> Summary:
        """Return what a finished run tells its user."""
        tracking = self._config.tracking
        return Summary(
            run_id=self.run_id,
            run_name=self.name,
            tracking_uri=tracking.uri,
            model_uri=model_uri,
            registered_model=tracking.registered_model,
            version=version,
            folder=str(folder),
            task=self._config.task.name,
            split=self._config.split.name,
            overrides=self._overrides,
            metrics=metrics,
            unbeaten=unbeaten,
        )


def record_result(
    run: RunRecord, result: Result, folder: Path, figures: FigureProcess, clock: Stopwatch, *, register: bool
) -> Summary:
    """Record what a run came to, register the model if asked, and write ``summary.json``.

    Parameters
    ----------
    run : RunRecord
        The open run.
    result : Result
        What the stages gave.
    folder : Path
        The run folder, with the run's files.
    figures : FigureProcess
        What draws the figures there.
    clock : Stopwatch
        The times so far.
    register : bool
        Whether the model becomes a version in the registry.

    Raises
    ------
    SpotifyMLError
        If the model's formats disagree; nothing is registered then.
    """
    curve = result.fitted.learning_curve
    metrics = result.metrics()
    tracks, models = result.tracks.frame, folder / "models"
    test = result.matrices.test
    # All, but for very many: of those, rows from the first to the last.
    checked = np.unique(np.linspace(0, len(test.target) - 1, _CHECKED_ROWS).round().astype(np.intp))
    test_rows = tracks.loc[test.features.index[checked], [name for name in NAMES if name != TARGET]]
    with clock.stage("record"):
        run.log_tags({"data.sha256": result.raw.sha256})
        if result.threads is not None:
            run.log_cluster(result.threads)
        logged = run.create_model()
        run.log_metrics(metrics, logged)
        run.log_learning_curve(curve)
        run.log_folds(result.folds)
        parts = {"train": result.split.train, "validation": result.split.validation, "test": result.split.test}
        run.log_datasets(result.raw, parts)
        run.log_config()
        run.log_files(folder / "data", list(REPORTS), "data")
        run.log_files(folder / "predictions", [PREDICTIONS], "predictions")
        run.log_files(models, sorted(path.name for path in models.iterdir()), "models")
        model = run.log_model(logged, models, test_rows)
        metrics["formats/largest_difference"] = check_agreement(
            models, test.take(checked), predict_as_stored(model, test_rows), run.classes
        )
        card = run.log_model_card(folder, result, model)
        figures.wait()
        run.log_files(folder / "figures", sorted(path.name for path in (folder / "figures").iterdir()), "figures")
    version, unbeaten = None, unbeaten_baseline(run.task, metrics)
    if register:
        with clock.stage("register"):
            scores = {name.replace("/", "."): f"{metrics[name]:.4f}" for name in _HEADLINES if name in metrics}
            facts = {"data.sha256": result.raw.sha256, **scores}
            version = run.register(model, facts, card, challenger=not unbeaten)
    times = clock.metrics()
    run.log_metrics({"formats/largest_difference": metrics["formats/largest_difference"], **times})
    summary = run.summary(model.uri, version, unbeaten, folder, {**metrics, **run.last_of_curve(curve), **times})
    summary.write(folder / "summary.json")
    return summary


@contextmanager
def recorded_run(config: RunConfig, overrides: list[str], parent_run_id: str | None, logs: Path) -> Iterator[RunRecord]:
    """Open a run that is closed as ``FINISHED``, or as ``FAILED`` or ``KILLED`` with the reason as the tag ``error``.

    Parameters
    ----------
    config : RunConfig
        The whole resolved configuration; logged as params.
    overrides : list of str
        What was typed on the command line.
    parent_run_id : str or None
        The run above this one.
    logs : Path
        The log file to attach at the end.

    Raises
    ------
    TrackingError
        If the store does not answer or cannot be written.
    """
    uri = config.tracking.uri
    client, experiment_id = connect(config.tracking)
    parent = {} if parent_run_id is None else {"mlflow.parentRunId": parent_run_id}
    tags = {
        **parent,
        **code_tags(),
        **process_tags(),
        FOLDER_TAG: shared_folder(logs.parent),
        "config.sha256": config.digest(),
        "hydra.overrides": " ".join(shared_overrides(overrides)),
    }
    with store_errors(uri):
        close_abandoned(client, experiment_id)
    paths = paths_in(config.flat().values())

    def create() -> str:
        return str(client.create_run(experiment_id, tags=_cut(tags)).info.run_id)

    with ExitStack() as undisturbed, open_run(client, uri, create, logs, paths) as run_id:
        name = f"{config.name or config.model.name}-{config.split.name}-{run_id[:8]}"
        record = RunRecord(client, experiment_id, run_id, name, config, overrides, tags, undisturbed)
        client.update_run(run_id, name=name)
        record.log_params(config.shared_flat())
        yield record


def _cut(tags: dict[str, str]) -> dict[str, str]:
    return {name: value[:TAG_LENGTH] for name, value in tags.items()}
