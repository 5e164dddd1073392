"""What features are worth: each to the estimator, and families of them to its predictions."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss, r2_score
from sklearn.pipeline import Pipeline
from xgboost import XGBModel

from spotify_ml.features.display_names import FAMILIES, families
from spotify_ml.features.subsets import Subset
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.predictions import predict_matrix
from spotify_ml.models.targets import Task, class_names, task_target

_PERMUTED_ROWS = 1000
_REPEATS = 5
_SHUFFLED_ROWS = 2000


def feature_importance(fitted: FittedEstimators, validation: Subset, task: Task) -> pd.DataFrame:
    """Return what each feature is worth to the estimator; of one that does not know, as the validation rows show.

    Each feature is a row, most important first: ``feature`` and ``importance`` (a share of the whole); of XGBoost also
    ``gain``, ``weight`` and ``cover``.
    """
    final = fitted.refit
    if isinstance(final, XGBModel):
        booster = final.get_booster()
        scores = {kind: booster.get_score(importance_type=kind) for kind in ("gain", "weight", "cover")}
        table = pd.DataFrame(scores, index=booster.feature_names).fillna(0.0)
        table.insert(0, "importance", final.feature_importances_)
    else:
        raw = _raw_importance(fitted.early_stopped, final, validation, task)
        table = pd.DataFrame({"importance": raw / (raw.sum() or 1.0)}, index=validation.features.columns)
    return table.sort_values("importance", ascending=False, kind="stable").rename_axis("feature").reset_index()


def family_importance(estimator: Any, test: Subset, task: Task, seed: int) -> pd.DataFrame:
    """Return how much worse rows are predicted when the columns of a family are those of other rows.

    All columns of a family change places together, so that what they say of each other stays true, and none of them
    stands in for another; the estimator, which was never fitted on these rows, is not fitted again (Breiman 2001,
    section 10, by families). Of more than 2,000 rows so many are drawn, by the seed.

    The table is indexed by ``family``, in the order of `FAMILIES`, those without a column left out: ``importance``, the
    loss of R² or the rise of the log loss, as the mean of five permutations, and ``std``, their standard deviation. It
    is empty where the rows have no R².
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(test.target))[:_SHUFFLED_ROWS]
    matrix, target = test.take(rows), task_target(task, test.target)[rows]
    if not class_names(task) and np.ptp(target) == 0:
        return pd.DataFrame({"importance": [], "std": []}, index=pd.Index([], name="family"))
    of_columns = np.array(families([str(name) for name in test.features.columns]))
    present = [name for name in FAMILIES if name in of_columns]
    found = _score(predict_matrix(estimator, matrix, class_names(task)), target, task)
    losses = np.empty((len(present), _REPEATS))
    for repeat in range(_REPEATS):
        others = matrix[rng.permutation(len(rows))]
        # In one call, of which each costs a forest more than its rows do.
        shuffled = np.vstack([np.where(of_columns == name, others, matrix) for name in present])
        predicted = np.split(predict_matrix(estimator, shuffled, class_names(task)), len(present))
        losses[:, repeat] = [found - _score(own, target, task) for own in predicted]
    return pd.DataFrame(
        {"importance": losses.mean(axis=1), "std": losses.std(axis=1, ddof=1)}, index=pd.Index(present, name="family")
    )


def _score(predicted: np.ndarray, target: np.ndarray, task: Task) -> float:
    """Return R², or the negative log loss: higher is better."""
    labels = range(len(class_names(task)))
    return float(-log_loss(target, predicted, labels=labels) if labels else r2_score(target, predicted))


def _raw_importance(selected: Any, final: Any, validation: Subset, task: Task) -> np.ndarray:
    """Return what an estimator knows of its features' importance, or how much worse it gets without each of them."""
    known = getattr(final, "feature_importances_", None)
    if known is not None:
        return np.asarray(known, dtype=np.float64)
    if isinstance(final, Pipeline):
        # Of scaled features, the size of a coefficient says how much it moves.
        return np.abs(np.atleast_2d(final[-1].coef_)).mean(axis=0)

    def score(estimator: Any, X: np.ndarray, y: np.ndarray) -> float:
        return _score(predict_matrix(estimator, X, class_names(task)), y, task)

    # The validation rows are new to the first fit alone.
    X = validation.take(np.arange(min(_PERMUTED_ROWS, len(validation.target))))
    y = task_target(task, validation.target)[:_PERMUTED_ROWS]
    drop = permutation_importance(selected, X, y, scoring=score, n_repeats=1, random_state=0).importances_mean
    return np.maximum(drop, 0)
