"""What the predictions of a run come from: the worth of features and families, and what each added on test rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from xgboost import XGBModel

from spotify_ml.evaluation.importance import family_importance, feature_importance
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.explanation import contributions, is_explainable
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.targets import Task, class_names

_FEWEST_ROWS, _MOST_ROWS = 100, 500
# Splits times depth times rows, which is what `spotify_ml.models.tree_shap` takes: about a second on two cores.
_WORK = 1.25e8
# What a depth without a limit is taken for.
_DEEP = 16


@dataclass(frozen=True)
class Explanation:
    """What the predictions of a run come from, by feature and by family.

    Both tables are as of `spotify_ml.evaluation.importance`. ``contributions`` is what every feature added to the
    prediction of some test rows, in points; None where the model does not know, and of a classification, whose classes
    have log-odds each, and no points. With it ``importance`` has its mean size as ``contribution``.
    """

    importance: pd.DataFrame
    families: pd.DataFrame
    contributions: pd.DataFrame | None

    def metrics(self) -> dict[str, float]:
        """Return the importance of families and its spread under their metric names."""
        return {
            f"importance/{name}{suffix}": float(value)
            for column, suffix in (("importance", ""), ("std", "_std"))
            for name, value in self.families[column].items()
        }


def explain(fitted: FittedEstimators, subsets: Subsets, task: Task, seed: int) -> Explanation:
    """Say what the predictions of a run's test rows come from; the seed decides which rows are looked at."""
    importance = feature_importance(fitted, subsets.validation, task)
    families = family_importance(fitted.refit, subsets.test, task, seed)
    if class_names(task) or not is_explainable(fitted.refit):
        return Explanation(importance, families, None)
    test = subsets.test
    rows = np.random.default_rng(seed).permutation(len(test.target))[: _n_rows(fitted.refit, importance)]
    values = contributions(fitted.refit, test.take(rows))[:, :-1]
    added = pd.DataFrame(values, index=test.features.index[rows], columns=test.features.columns)
    sizes = added.abs().mean()
    importance = importance.assign(contribution=sizes[importance["feature"]].to_numpy())
    return Explanation(importance, families, added)


def _n_rows(estimator: Any, importance: pd.DataFrame) -> int:
    """Return how many rows to look at: fewer of a larger model, whose rows take longer."""
    if not isinstance(estimator, XGBModel):
        return _FEWEST_ROWS
    work = importance["weight"].sum() * (estimator.max_depth or _DEEP)
    return int(np.clip(_WORK / max(work, 1), _FEWEST_ROWS, _MOST_ROWS))
