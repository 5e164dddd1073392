"""The steps of a run on a cluster."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from spotify_ml.backends.base import Fit, Source
from spotify_ml.backends.dask.cluster import cluster
from spotify_ml.backends.dask.evaluate import collect_subset, predict_partitions
from spotify_ml.backends.dask.features import FittedFeatures, fit_partitions
from spotify_ml.backends.dask.fit import fit_on_workers
from spotify_ml.backends.dask.reading import read_rows
from spotify_ml.backends.dask.splits import split_partitions
from spotify_ml.backends.dask.tracks import clean_rows, collect_tracks
from spotify_ml.config.models import XGBoostConfig
from spotify_ml.config.run import DaskEngineConfig, RunConfig
from spotify_ml.data.prepare import say_absent, say_layout
from spotify_ml.data.schema import TARGET, absent_columns
from spotify_ml.data.splits import Split, check_names_of
from spotify_ml.evaluation.evaluate import evaluate_predictions
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.fit import FittedEstimators, check_classes
from spotify_ml.models.targets import sample_weights, task_target
from spotify_ml.utils.timing import Stopwatch

# Rows of train and of trainval that are collected, to describe features.
_DESCRIBED_ROWS = 100_000


@contextmanager
def open_cluster(config: RunConfig, clock: Stopwatch) -> Iterator["DaskBackend"]:
    """Connect to the cluster of a configuration, or start one; raise EngineError if it cannot be reached, or fails."""
    if not isinstance(config.engine, DaskEngineConfig) or not isinstance(config.model, XGBoostConfig):
        raise TypeError(f"engine={config.engine.name} with model={config.model.name} is not for a cluster")
    with ExitStack() as opened:
        with clock.stage("cluster"):
            client = opened.enter_context(cluster(config.engine))
        yield DaskBackend(config, config.model, client, clock)


class DaskBackend:
    """Carries out the steps of a run on a cluster; see `spotify_ml.backends.base.Backend`.

    Rows, split and features are those of a run in one process. The trees are not: each worker samples its own rows and
    columns.
    """

    def __init__(self, config: RunConfig, model: XGBoostConfig, client: Any, clock: Stopwatch) -> None:
        self._config, self._model, self._client, self._clock = config, model, client, clock
        self._partitions: Any = None

    def read(self) -> Source:
        """Read and clean the rows on the workers, and collect the clean tracks."""
        with self._clock.stage("etl"):
            raw, frames, n_rows = read_rows(self._client, self._config.data, self._config.layout)
            say_layout(raw)
            self._partitions, quality = clean_rows(self._client, raw, frames, n_rows, self._config.cleaning)
            # Without a reference here, workers free the raw rows, and read them again if they are needed.
            del frames
            tracks = collect_tracks(self._client, self._partitions, quality.dropped)
            say_absent(raw, tracks.frame)
            return Source(raw, tracks, quality)

    def split(self, source: Source) -> Split:
        """Divide the rows by groups that the workers find."""
        with self._clock.stage("split"):
            check_names_of(self._config.split, absent_columns(source.tracks.frame))
            return split_partitions(self._client, self._partitions, self._config.split, self._config.seed)

    def fit(self, source: Source, split: Split) -> Fit:
        """Build features, fit and predict on the workers.

        The test and validation features are collected, and up to 100,000 rows of train and of trainval, which may not
        fit on one machine.
        """
        client, clock, task, seed = self._client, self._clock, self._config.task, self._config.seed
        tracks = source.tracks.frame
        target = tracks[TARGET].to_numpy(dtype=np.float64)
        check_classes(task, task_target(task, target[split.train]))

        # The workers hold the features of one fit at a time.
        with clock.stage("features"):
            train_features = self._features(target, split, split.train, split.validation)
        with clock.stage("fit"):
            early_stopped = fit_on_workers(client, self._model.probe(), task, train_features, seed)
            chosen = early_stopped.estimator.best_iteration + 1
            n_trees = self._model.trees_of_refit(chosen)
        with clock.stage("evaluate"):
            on_validation = predict_partitions(client, early_stopped.estimator, train_features.unseen, task)
            train = collect_subset(client, train_features.seen, _some(split.train, seed))
            validation = collect_subset(client, train_features.unseen)
            del train_features
        with clock.stage("features"):
            final_features = self._features(target, split, split.trainval, split.test)
        with clock.stage("fit"):
            refit = fit_on_workers(client, self._model, task, final_features, seed, n_trees)
            fitted = FittedEstimators(early_stopped.estimator, refit.estimator, chosen, n_trees, early_stopped.curve)
        with clock.stage("evaluate"):
            on_trainval = predict_partitions(client, fitted.refit, final_features.seen, task)
            on_test = predict_partitions(client, fitted.refit, final_features.unseen, task)
            subsets = Subsets(
                train,
                validation,
                collect_subset(client, final_features.seen, _some(split.trainval, seed)),
                collect_subset(client, final_features.unseen),
                final_features.transformer,
            )
            n_features = subsets.trainval.features.shape[1]
            evaluation = evaluate_predictions(on_trainval, on_validation, on_test, n_features, tracks, task)
        return Fit(subsets, fitted, evaluation, (early_stopped.threads, refit.threads))

    def _features(self, target: np.ndarray, split: Split, seen: np.ndarray, unseen: np.ndarray) -> FittedFeatures:
        weights = sample_weights(self._config.task, target[seen])
        name, seed = self._config.features.name, self._config.seed
        return fit_partitions(self._client, name, self._partitions, target, split.groups, seen, unseen, seed, weights)


def _some(rows: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(rows)[:_DESCRIBED_ROWS]
