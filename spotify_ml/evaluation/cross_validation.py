"""The whole pipeline on each group fold of the training rows."""

import pandas as pd

from spotify_ml.config.run import RunConfig
from spotify_ml.data.splits import Split, fold_splits
from spotify_ml.evaluation.metrics import task_metrics
from spotify_ml.features.builder import build_subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.popularity import predict_part
from spotify_ml.models.targets import class_names


def cross_validate(config: RunConfig, n_folds: int, tracks: pd.DataFrame, split: Split) -> list[dict[str, float]]:
    """Fit features and estimator without each fold, score it, and return the figures of each; test rows stay out of it.

    The train and validation rows of the split are divided into folds by its groups. Within the other folds, validation
    rows for early stopping are cut by the split's own rule. `DataError` if there are fewer groups than folds.
    """
    figures = []
    for fold in fold_splits(split, n_folds, config.split, config.seed):
        matrices = build_subsets(config.features.name, tracks, fold, config.seed)
        fitted = fit_estimators(config.model, config.task, matrices, config.seed)
        held_out = matrices.test
        predicted = predict_part(fitted.refit, held_out, class_names(config.task))
        figures.append(task_metrics(config.task, held_out.target, predicted, held_out.features.shape[1]))
    return figures
