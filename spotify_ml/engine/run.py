"""The stages of a run on a cluster, from the raw file to figures."""

from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import numpy as np

from spotify_ml.config import DaskEngineConfig, RunConfig, XGBoostConfig
from spotify_ml.data.etl import CleanTracks
from spotify_ml.data.quality import QualityReport
from spotify_ml.data.schema import TARGET
from spotify_ml.data.sources import RawFile
from spotify_ml.data.splits import Split
from spotify_ml.engine.cluster import cluster
from spotify_ml.engine.evaluate import collect_part, predict_partitions
from spotify_ml.engine.features import FittedFeatures, fit_partitions
from spotify_ml.engine.fit import fit_final, fit_selected
from spotify_ml.engine.reading import read_rows
from spotify_ml.engine.splits import split_partitions
from spotify_ml.engine.tracks import clean_rows, collect_tracks
from spotify_ml.evaluation.evaluate import Evaluation, evaluate_predictions
from spotify_ml.features.factory import train_folds
from spotify_ml.features.parts import Matrices
from spotify_ml.models.estimators import FittedEstimators, check_classes
from spotify_ml.models.targets import sample_weights, task_target
from spotify_ml.timing import Stopwatch

# Of the rows that a model is fitted on so many come back, to describe its features by.
_DESCRIBED_ROWS = 100_000


class Stages(NamedTuple):
    """What the stages gave, as in `spotify_ml.result.Result`.

    Of `matrices`, ``train`` and ``fitting`` are up to 100,000 of their rows: the others are on no single machine.
    `threads` are those of each worker that took part in each of the two fits.
    """

    raw: RawFile
    tracks: CleanTracks
    quality: QualityReport
    split: Split
    matrices: Matrices
    fitted: FittedEstimators
    evaluation: Evaluation
    threads: tuple[tuple[int, ...], tuple[int, ...]]


def run_on_cluster(config: RunConfig, clock: Stopwatch) -> Stages:
    """Read, clean, split, build features, fit and evaluate on the cluster of a configuration.

    The rows, their split and their features are those of a run in one process. The trees are not: which rows and
    columns a tree may see is drawn by each worker.

    Parameters
    ----------
    config : RunConfig
        One that `spotify_ml.engine.support.refuse_unsupported` lets pass.
    clock : Stopwatch
        Takes the time of each stage.

    Raises
    ------
    SpotifyMLError
        If the data or the split cannot be used, or the cluster fails.
    """
    if not isinstance(config.engine, DaskEngineConfig) or not isinstance(config.model, XGBoostConfig):
        raise TypeError(f"engine={config.engine.name} with model={config.model.name} is not for a cluster")
    model, task, seed = config.model, config.task, config.seed
    with ExitStack() as opened:
        with clock.stage("cluster"):
            client = opened.enter_context(cluster(config.engine))
        with clock.stage("etl"):
            raw, frames, n_rows = read_rows(client, config.data)
            partitions, quality = clean_rows(client, raw, frames, n_rows, config.cleaning)
            # What is not held here is let go of on the workers, and made again where it is lost.
            del frames
            tracks = collect_tracks(client, partitions, quality.dropped)
        with clock.stage("split"):
            split = split_partitions(client, partitions, config.split, seed)
        target = tracks.frame[TARGET].to_numpy(dtype=np.float64)
        check_classes(task, task_target(task, target[split.train]))

        def features(seen: np.ndarray, unseen: np.ndarray) -> FittedFeatures:
            weights = sample_weights(task, target[seen])
            return fit_partitions(
                client, config.features.name, partitions, target, split.groups, seen, unseen, seed, weights
            )

        # One after the other: the workers hold the matrices of one fit at a time.
        with clock.stage("features"):
            selecting = features(split.train, split.validation)
        with clock.stage("fit"):
            selected = fit_selected(client, model, task, selecting, seed)
            n_trees = selected.estimator.best_iteration + 1
        with clock.stage("evaluate"):
            on_validation = predict_partitions(client, selected.estimator, selecting.unseen, task)
            train = collect_part(client, selecting.seen, _some(split.train, seed))
            validation = collect_part(client, selecting.unseen)
            del selecting
        with clock.stage("features"):
            final = features(split.fitting, split.test)
        with clock.stage("fit"):
            last = fit_final(client, model, task, final, n_trees, seed)
            fitted = FittedEstimators(selected.estimator, last.estimator, n_trees, selected.curve)
        with clock.stage("evaluate"):
            on_fitting = predict_partitions(client, fitted.final, final.seen, task)
            on_test = predict_partitions(client, fitted.final, final.unseen, task)
            matrices = Matrices(
                train,
                validation,
                collect_part(client, final.seen, _some(split.fitting, seed)),
                collect_part(client, final.unseen),
                final.transformer,
                partial(train_folds, config.features.name, tracks.frame, split, seed),
            )
            n_features = matrices.fitting.features.shape[1]
            evaluation = evaluate_predictions(on_fitting, on_validation, on_test, n_features, tracks.frame, task)
    return Stages(raw, tracks, quality, split, matrices, fitted, evaluation, (selected.threads, last.threads))


def _some(rows: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(rows)[:_DESCRIBED_ROWS]
