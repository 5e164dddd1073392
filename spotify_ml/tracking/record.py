"""The record of one run: opened before anything is read, filled in as results come, and always closed."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from spotify_ml.config.run import RunConfig
from spotify_ml.data.outputs import REPORTS
from spotify_ml.data.schema import COLUMNS, NAMES, TARGET, Kind, absent_columns
from spotify_ml.evaluation.metric_names import LOSSES, unbeaten_baseline
from spotify_ml.evaluation.result import Result
from spotify_ml.features.transformers.columns import transform_columns
from spotify_ml.models.files import check_agreement
from spotify_ml.models.targets import class_names
from spotify_ml.reports.figures.figure_process import FigureProcess
from spotify_ml.reports.model_card import Origin, model_card, write_model_card
from spotify_ml.reports.summary import Summary
from spotify_ml.tracking.abandoned import FOLDER_TAG, close_abandoned, process_tags
from spotify_ml.tracking.limits import PARAM_LENGTH, curve_points, log_entries, points, shortened
from spotify_ml.tracking.model import SavedModel, log_model, predict_as_stored, register
from spotify_ml.tracking.open_run import open_run
from spotify_ml.tracking.provenance import CONFIG, JOINS_TAG, rows_digest
from spotify_ml.tracking.store import connect, store_errors
from spotify_ml.tracking.versions import TAG_LENGTH, code_tags
from spotify_ml.utils.places import paths_in, shared_folder, shared_overrides, shared_path
from spotify_ml.utils.stops import deferred
from spotify_ml.utils.timing import Stopwatch

log = logging.getLogger(__name__)

# By so many test rows the files of a model are compared.
_CHECKED_ROWS = 5000
# And by so many of them from which names and genres were taken.
_LACKING_ROWS = 600
_DIFFERENCE = "formats/largest_difference"
# The figures that a version is searched by; of a regression the first two.
_HEADLINES = ("test/r2", "test/rmse", "test/log_loss", "test/macro_f1")
_MLFLOW_TYPES = {
    Kind.TEXT: DataType.string,
    Kind.INTEGER: DataType.long,
    Kind.NUMBER: DataType.double,
    Kind.FLAG: DataType.boolean,
}


@dataclass(frozen=True)
class RunRecord:
    """An open MLflow run; its ``name`` is ``<experiment or model>-<split>-<short id>``."""

    run_id: str
    name: str
    config: RunConfig
    overrides: list[str]
    tags: dict[str, str]
    client: MlflowClient
    experiment_id: str
    # What is entered here lasts to the end of the run.
    opened: ExitStack

    def log_metrics(self, metrics: dict[str, float]) -> None:
        """Log figures under their own names."""
        log_entries(self.client, self.run_id, metrics=points(metrics))

    def last_of_curve(self, curve: dict[str, list[float]]) -> dict[str, float]:
        """Return the last point of each history, which is what the store has as the metric."""
        return {self._history(part): errors[-1] for part, errors in curve.items()}

    def _history(self, part: str) -> str:
        return f"learning_curve/{part}_{LOSSES[self.config.task.name]}"

    def log_folds(self, folds: list[dict[str, float]]) -> None:
        """Log each fold of a cross-validation as a run below this one."""
        for number, figures in enumerate(folds):
            tags = {"mlflow.parentRunId": self.run_id, "fold": str(number)}
            with deferred():
                fold = self.client.create_run(self.experiment_id, tags=tags, run_name=f"{self.name}-fold-{number}")
                metrics = points({f"fold/{name}": value for name, value in figures.items()})
                log_entries(self.client, fold.info.run_id, metrics=metrics)
                self.client.set_terminated(fold.info.run_id)

    def log_figures(self, result: Result, metrics: dict[str, float], model: LoggedModel) -> None:
        """Log figures of the run and its model, what they come from, and the learning curve, in as few calls as can be.

        What they come from are digests of the data and of joined tables, and of a cluster the workers that took part,
        which ``config.sha256`` then knows; also the layouts of the data other than raw columns, and the raw columns
        without a value, if there are any. The error after every tree (thinned) is the metric history
        ``learning_curve/<part>_<error>``.
        """
        raw, threads = result.raw, result.threads
        tags = {"data.sha256": raw.sha256}
        if raw.joins:
            tags[JOINS_TAG] = " ".join(map("=".join, raw.joins))
        if threads is not None:
            tags["cluster.n_workers"] = ", ".join(str(len(fit)) for fit in threads)
            tags["config.sha256"] = self.config.digest(cluster=threads)
        told = {
            "data.layout": ", ".join(each.name for each in raw.layouts),
            "data.absent": ", ".join(absent_columns(result.tracks.frame)),
        }
        curve = result.fitted.learning_curve
        figures = points(metrics, model.model_id)
        figures += [point for part, errors in curve.items() for point in curve_points(self._history(part), errors)]
        params = {name: value for name, value in told.items() if value}
        log_entries(self.client, self.run_id, metrics=figures, params=params, tags=tags)

    def log_datasets(self, result: Result) -> None:
        """Log each part as an input of the run.

        With the file's digest and the kind of cleaning, the positions of a part's rows in the clean tracks say which
        rows those are; hashing them in full, as MLflow would, costs more than fitting them.
        """
        split, raw = result.split, result.raw
        columns: list[ColSpec | TensorSpec] = [ColSpec(_MLFLOW_TYPES[column.kind], column.name) for column in COLUMNS]
        schema = json.dumps({"mlflow_colspec": Schema(columns).to_dict()})
        inputs = []
        for part, rows in {"train": split.train, "validation": split.validation, "test": split.test}.items():
            dataset = Dataset(
                name=f"{self.config.data.name}-{part}",
                digest=rows_digest(raw.sha256, self.config.cleaning.name, rows),
                source_type="local",
                source=json.dumps({"uri": shared_path(raw.path)}),
                schema=schema,
                profile=json.dumps({"num_rows": len(rows)}),
            )
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", part)]))
        try:
            self.client.log_inputs(self.run_id, inputs)
        except MlflowException:
            # Two runs at once may both have added the same dataset; the second time it is there.
            self.client.log_inputs(self.run_id, inputs)

    def log_files(self, folder: Path, names: Sequence[str] | None = None) -> None:
        """Log files of a folder, or all of them, as artifacts below its name."""
        for name in sorted(path.name for path in folder.iterdir()) if names is None else names:
            self.client.log_artifact(self.run_id, str(folder / name), folder.name)

    def create_model(self) -> LoggedModel:
        """Create the run's model in the store, with the settings it is made with and no files yet."""
        params = {key: str(value)[:PARAM_LENGTH] for key, value in self.config.shared_flat().items()}
        source = {name: value for name, value in self.tags.items() if name.startswith("mlflow.source.")}
        return self.client.create_logged_model(self.experiment_id, "model", self.run_id, source, params)

    def log_model_card(self, folder: Path, result: Result, model: SavedModel) -> str:
        """Write the model card as ``model_card/`` below a folder, log it as an artifact, and return its Markdown."""
        versions = {name.removeprefix("version."): number for name, number in self.tags.items() if "version." in name}
        changed = self.tags.get("git.dirty") == "true"
        overrides = shared_overrides(self.overrides)
        origin = Origin(self.name, model.uri, overrides, self.tags.get("git.commit"), changed, versions)
        card = model_card(self.config, result, origin)
        write_model_card(folder / "model_card", card)
        self.log_files(folder / "model_card")
        return card

    def register(self, model: SavedModel, facts: dict[str, str], card: str, *, challenger: bool) -> int:
        """Register a logged model, with its card and tags to find it by, and return its version.

        From now on the run comes to its end: a version is of a finished run.
        """
        self.opened.enter_context(deferred())
        code = {name: value for name, value in self.tags.items() if name.startswith(("git.", "code."))}
        description = shortened(card, "the artifact `model_card/model_card.md` of the version's run")
        return register(self.client, model, self.config, {**code, **facts}, description, challenger=challenger)


def record_result(
    run: RunRecord, result: Result, folder: Path, figures: FigureProcess, clock: Stopwatch, *, register: bool
) -> Summary:
    """Record what a run came to, register the model if asked, and write ``summary.json`` into the run folder.

    The folder holds the run's files, all but those that `figures` draws there. If the model's formats disagree, a
    `SpotifyMLError` says so and nothing is registered.
    """
    config, curve, metrics = run.config, result.fitted.learning_curve, result.metrics()
    with clock.stage("record"):
        logged = run.create_model()
        run.log_figures(result, metrics, logged)
        run.log_folds(result.folds)
        run.log_datasets(result)
        # The settings in the run folder also know where the data is on this machine.
        run.client.log_text(run.run_id, json.dumps(config.shared(), indent=2), CONFIG)
        run.log_files(folder / "data", REPORTS)
        for name in ("predictions", "models"):
            run.log_files(folder / name)
        model, metrics[_DIFFERENCE] = _log_model(run, logged, result, folder / "models")
        card = run.log_model_card(folder, result, model)
        figures.wait()
        run.log_files(folder / "figures")
    version, unbeaten = None, unbeaten_baseline(config.task.name, metrics)
    if register:
        with clock.stage("register"):
            scores = {name.replace("/", "."): f"{metrics[name]:.4f}" for name in _HEADLINES if name in metrics}
            facts = {"data.sha256": result.raw.sha256, **scores}
            version = run.register(model, facts, card, challenger=not unbeaten)
    times = clock.metrics()
    run.log_metrics({_DIFFERENCE: metrics[_DIFFERENCE], **times})
    summary = Summary(
        run_id=run.run_id,
        run_name=run.name,
        tracking_uri=config.tracking.uri,
        model_uri=model.uri,
        registered_model=config.tracking.registered_model,
        version=version,
        folder=str(folder),
        task=config.task.name,
        split=config.split.name,
        overrides=run.overrides,
        metrics={**metrics, **run.last_of_curve(curve), **times},
        unbeaten=unbeaten,
    )
    summary.write(folder / "summary.json")
    return summary


def _log_model(run: RunRecord, logged: LoggedModel, result: Result, models: Path) -> tuple[SavedModel, float]:
    """Save the model that scores raw rows, and return it with the largest difference between its formats."""
    test = result.subsets.test
    # All, but for very many: of those, rows from the first to the last.
    checked = np.unique(np.linspace(0, len(test.target) - 1, _CHECKED_ROWS).round().astype(np.intp))
    raw_columns = [name for name in (*NAMES, *result.model.further) if name != TARGET]
    rows: pd.DataFrame = result.tracks.frame.loc[test.features.index[checked], raw_columns]
    incomplete, classes = result.model.incomplete, class_names(run.config.task)
    model = log_model(
        run.client,
        logged,
        run.config,
        models,
        rows,
        takes_incomplete=incomplete is not None,
        further=result.model.further,
    )
    matrix = test.take(checked)
    if incomplete is None:
        return model, check_agreement(models, matrix, predict_as_stored(model, rows), classes)
    # Where both models count, the answer is of neither.
    complete = incomplete.shares(matrix, other=False) == 0
    lacking = _without_names(rows)
    predicted = predict_as_stored(model, pd.concat([rows[complete], lacking]))
    own, others = np.split(predicted, [complete.sum()])
    features = transform_columns(result.subsets.transformer, lacking)
    asked = incomplete.shares(features, other=False) == 1
    view, others = incomplete.features.view(features[asked], np.zeros(int(asked.sum()), dtype=bool)), others[asked]
    return model, max(
        check_agreement(models, matrix[complete], own, classes),
        check_agreement(models, view, others, classes, incomplete=True),
    )


def _without_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Return some rows, of which the genre, the artist and album, or all of these are absent in turn."""
    some = rows.iloc[:: max(1, len(rows) // _LACKING_ROWS)].copy()
    for column, kinds in {"track_genre": (0, 2), "artists": (1, 2), "album_name": (1, 2)}.items():
        some[column] = some[column].mask(np.isin(np.arange(len(some)) % 3, kinds))
    return some


@contextmanager
def recorded_run(config: RunConfig, overrides: list[str], parent_run_id: str | None, logs: Path) -> Iterator[RunRecord]:
    """Open a run that is closed as ``FINISHED``, or as ``FAILED`` or ``KILLED`` with the reason as the tag ``error``.

    The whole configuration is logged as params, what was typed as a tag, and at the end the log file is attached.
    Raises `TrackingError` if the store does not answer or cannot be written.
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
        cut = {name: value[:TAG_LENGTH] for name, value in tags.items()}
        return str(client.create_run(experiment_id, tags=cut).info.run_id)

    with ExitStack() as opened, open_run(client, uri, create, logs, paths) as run_id:
        name = f"{config.name or config.model.name}-{config.split.name}-{run_id[:8]}"
        client.update_run(run_id, name=name)
        log_entries(client, run_id, params=config.shared_flat())
        yield RunRecord(run_id, name, config, overrides, tags, client, experiment_id, opened)
