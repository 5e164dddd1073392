"""The stages of a run on a cluster, from the raw file to figures."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from spotify_ml.backends.base import Fit, Source
from spotify_ml.backends.dask.cluster import cluster
from spotify_ml.backends.dask.evaluate import collect_part, predict_partitions
from spotify_ml.backends.dask.features import FittedFeatures, fit_partitions
from spotify_ml.backends.dask.fit import fit_final, fit_selected
from spotify_ml.backends.dask.reading import read_rows
from spotify_ml.backends.dask.splits import split_partitions
from spotify_ml.backends.dask.tracks import clean_rows, collect_tracks
from spotify_ml.config.models import XGBoostConfig
from spotify_ml.config.run import DaskEngineConfig, RunConfig
from spotify_ml.data.schema import TARGET
from spotify_ml.data.splits import Split
from spotify_ml.evaluation.evaluate import evaluate_predictions
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.fit import FittedEstimators, check_classes
from spotify_ml.models.targets import sample_weights, task_target
from spotify_ml.utils.timing import Stopwatch

# Of the rows that a model is fitted on so many come back, to describe its features by.
_DESCRIBED_ROWS = 100_000


@contextmanager
def open_cluster(config: RunConfig, clock: Stopwatch) -> Iterator["DaskBackend"]:
    """Connect to the cluster of a configuration, or start one.

    Parameters
    ----------
    config : RunConfig
        One that `spotify_ml.config.combinations.refuse_unsupported` lets pass.
    clock : Stopwatch
        Takes the time of each stage.

    Raises
    ------
    EngineError
        If the cluster cannot be reached, or fails.
    """
    if not isinstance(config.engine, DaskEngineConfig) or not isinstance(config.model, XGBoostConfig):
        raise TypeError(f"engine={config.engine.name} with model={config.model.name} is not for a cluster")
    with ExitStack() as opened:
        with clock.stage("cluster"):
            client = opened.enter_context(cluster(config.engine))
        yield DaskBackend(config, config.model, client, clock)


class DaskBackend:
    """Carry out the steps of a run on a cluster; see `spotify_ml.backends.base.Backend`.

    The rows, their split and their features are those of a run in one process. The trees are not: which rows and
    columns a tree may see is drawn by each worker.

    Parameters
    ----------
    config : RunConfig
        The run.
    model : XGBoostConfig
        Its model.
    client : distributed.Client
        Of the cluster.
    clock : Stopwatch
        Takes the times.
    """

    def __init__(self, config: RunConfig, model: XGBoostConfig, client: Any, clock: Stopwatch) -> None:
        self._config, self._model, self._client, self._clock = config, model, client, clock
        self._partitions: Any = None

    def read(self) -> Source:
        """Read and clean the rows on the workers, and collect the clean tracks."""
        with self._clock.stage("etl"):
            raw, frames, n_rows = read_rows(self._client, self._config.data)
            self._partitions, quality = clean_rows(self._client, raw, frames, n_rows, self._config.cleaning)
            # What is not held here is let go of on the workers, and made again where it is lost.
            del frames
            return Source(raw, collect_tracks(self._client, self._partitions, quality.dropped), quality)

    def split(self, source: Source) -> Split:
        """Divide the rows by groups that the workers find."""
        with self._clock.stage("split"):
            return split_partitions(self._client, self._partitions, self._config.split, self._config.seed)

    def fit(self, source: Source, split: Split) -> Fit:
        """Build features, fit and predict on the workers; of features, test rows and some others are collected.

        Of the features, ``train`` and ``trainval`` are up to 100,000 rows: the others are on no single machine.
        """
        client, clock, task, seed = self._client, self._clock, self._config.task, self._config.seed
        tracks = source.tracks.frame
        target = tracks[TARGET].to_numpy(dtype=np.float64)
        check_classes(task, task_target(task, target[split.train]))

        # One after the other: the workers hold the matrices of one fit at a time.
        with clock.stage("features"):
            selecting = self._features(target, split, split.train, split.validation)
        with clock.stage("fit"):
            selected = fit_selected(client, self._model, task, selecting, seed)
            n_trees = selected.estimator.best_iteration + 1
        with clock.stage("evaluate"):
            on_validation = predict_partitions(client, selected.estimator, selecting.unseen, task)
            train = collect_part(client, selecting.seen, _some(split.train, seed))
            validation = collect_part(client, selecting.unseen)
            del selecting
        with clock.stage("features"):
            final = self._features(target, split, split.trainval, split.test)
        with clock.stage("fit"):
            last = fit_final(client, self._model, task, final, n_trees, seed)
            fitted = FittedEstimators(selected.estimator, last.estimator, n_trees, selected.curve)
        with clock.stage("evaluate"):
            on_trainval = predict_partitions(client, fitted.refit, final.seen, task)
            on_test = predict_partitions(client, fitted.refit, final.unseen, task)
            matrices = Subsets(
                train,
                validation,
                collect_part(client, final.seen, _some(split.trainval, seed)),
                collect_part(client, final.unseen),
                final.transformer,
            )
            n_features = matrices.trainval.features.shape[1]
            evaluation = evaluate_predictions(on_trainval, on_validation, on_test, n_features, tracks, task)
        return Fit(matrices, fitted, evaluation, (selected.threads, last.threads))

    def _features(self, target: np.ndarray, split: Split, seen: np.ndarray, unseen: np.ndarray) -> FittedFeatures:
        weights = sample_weights(self._config.task, target[seen])
        name, seed = self._config.features.name, self._config.seed
        return fit_partitions(self._client, name, self._partitions, target, split.groups, seen, unseen, seed, weights)


def _some(rows: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(rows)[:_DESCRIBED_ROWS]
