"""The whole pipeline on each group fold of the training rows."""

import pandas as pd

from spotify_ml.config.models import ModelConfig
from spotify_ml.config.run import RunConfig
from spotify_ml.data.splits import Split, fold_splits
from spotify_ml.evaluation.metrics import task_metrics
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.predictions import predict_subset
from spotify_ml.models.targets import Task, class_names


def cross_validate(config: RunConfig, n_folds: int, tracks: pd.DataFrame, split: Split) -> list[dict[str, float]]:
    """Fit features and estimator without each fold, score it, and return the figures of each; test rows stay out of it.

    The train and validation rows of the split are divided into folds by its groups. Within the other folds, validation
    rows for early stopping are cut by the split's own rule. `DataError` if there are fewer groups than folds.
    """
    return [
        fit_and_score(
            config.model, config.task, build_subsets(config.features.name, tracks, fold, config.seed), config.seed
        )
        for fold in fold_splits(split, n_folds, config.split, config.seed)
    ]


def fit_and_score(model: ModelConfig, task: Task, subsets: Subsets, seed: int) -> dict[str, float]:
    """Fit an estimator on train and validation rows, and return its figures on the test rows."""
    fitted, test = fit_estimators(model, task, subsets, seed), subsets.test
    return task_metrics(
        task, test.target, predict_subset(fitted.refit, test, class_names(task)), test.features.shape[1]
    )
