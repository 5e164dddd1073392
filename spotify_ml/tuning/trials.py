"""One trial: a fit on the train rows, judged on the validation rows."""

import logging
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import log1p
from statistics import fmean
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from optuna.exceptions import TrialPruned
from optuna.trial import Trial
from xgboost import DMatrix, QuantileDMatrix
from xgboost.callback import EarlyStopping, TrainingCallback

from spotify_ml.backends.base import Source
from spotify_ml.backends.local import LocalBackend
from spotify_ml.config.models import EnsembleConfig, TwoPartConfig, XGBoostConfig
from spotify_ml.config.run import RunConfig
from spotify_ml.data.splits import Split, fold_splits
from spotify_ml.evaluation.metrics import task_metrics
from spotify_ml.features.builder import FeatureBuilder
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.families.xgboost import grow
from spotify_ml.models.fit import build_estimator, estimator_rows, fit_early_stopped, library_refusals
from spotify_ml.models.predictions import predict_subset
from spotify_ml.models.targets import class_names
from spotify_ml.tuning.objectives import Objective
from spotify_ml.utils.timing import Stopwatch

Value = TypeVar("Value")
# Settings that decide the rows of each subset.
_ROWS = ("cleaning", "split", "seed")

# At rate 1, the step would be infinite.
_HIGHEST_RATE = 0.99
# Called with a step and the error there; raises to end the trial.
Report = Callable[[int, float], None]
# Called with the metrics of all folds so far; raises to end the trial.
FoldReport = Callable[[list[dict[str, float]]], None]


@dataclass(frozen=True)
class _Fold:
    """The subsets of one fit, the rows that judge it, and quantised matrices by their settings."""

    subsets: Subsets
    judged: Subset
    binned: dict[str, tuple[QuantileDMatrix, DMatrix]] = field(default_factory=dict)


class _Watch(TrainingCallback):
    """Keeps the learning curve, and reports it at every whole step of -log(1 - learning rate) × trees.

    A tree at rate r leaves at best the share 1 - r of the remaining error, n trees (1 - r)^n (Friedman 2001, Greedy
    function approximation, on shrinkage): at equal steps, trials of different rates are equally far.
    """

    def __init__(self, curve: list[float], learning_rate: float, report: Report | None) -> None:
        super().__init__()
        self._curve, self._report = curve, report
        self._rate = -log1p(-min(learning_rate, _HIGHEST_RATE))

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, dict[str, list[float]]]) -> bool:
        error = next(iter(evals_log["val"].values()))[-1]
        self._curve.append(error)
        step = int((epoch + 1) * self._rate + 1e-9)
        if self._report is not None and step > int(epoch * self._rate + 1e-9):
            self._report(step, error)
        return False


class TrialData:
    """Everything that trials share: each table, split, feature set and quantised matrix is made once.

    A trial is judged by `n_folds` group folds of the trainval rows, or by the validation rows if it is None.
    """

    def __init__(self, n_folds: int | None) -> None:
        self._n_folds = n_folds
        self._sources: dict[str, Source] = {}
        self._splits: dict[str, Split] = {}
        self._folds: dict[str, list[_Fold]] = {}

    def source(self, config: RunConfig) -> Source:
        """Return the clean tracks of a configuration."""
        return _once(self._sources, config.digest("cleaning"), _backend(config).read)

    def fit(
        self,
        config: RunConfig,
        curve: list[float],
        report: Report | None = None,
        report_folds: FoldReport | None = None,
    ) -> dict[str, float]:
        """Fit and judge a configuration, and return its metrics; with folds, their means.

        They are ``val/…``, ``time/fit_s``, ``time/predict_s``, ``model/bytes`` and, for boosting, ``model/trees``.
        `curve` is filled with the validation error after every tree, also if the fit is ended; with folds, it is that
        of the last one. `report` is called at steps of an XGBoost fit, `report_folds` after each fold. Raises
        `SpotifyMLError` if no model can be fitted with these values.
        """
        results: list[dict[str, float]] = []
        for fold in _once(self._folds, config.digest(*_ROWS, "features"), partial(self._make_folds, config)):
            curve.clear()
            results.append(_fit_fold(config, fold, None if self._n_folds else report, curve))
            if self._n_folds and report_folds is not None:
                report_folds(results)
        return {name: fmean(result[name] for result in results) for name in results[0]}

    def _make_folds(self, config: RunConfig) -> list[_Fold]:
        backend, source = _backend(config), self.source(config)
        split = _once(self._splits, config.digest(*_ROWS), partial(backend.split, source))
        if not self._n_folds:
            subsets = backend.subsets(source, split)
            return [_Fold(subsets, subsets.validation)]
        name, tracks = config.features.name, source.tracks.frame
        splits = fold_splits(split, self._n_folds, config.split, config.seed)
        return [_fold(FeatureBuilder(name, tracks, each, config.seed)) for each in splits]


def _fold(builder: FeatureBuilder) -> _Fold:
    """Build the features of a fold, all fitted on its train rows, as there is no refit."""
    split = builder.split
    n_validation = len(split.validation)
    train, others, transformer = builder.subsets(split.train, np.concatenate([split.validation, split.test]))
    validation, judged = (
        Subset(others.features.iloc[rows], others.target[rows])
        for rows in (slice(n_validation), slice(n_validation, None))
    )
    return _Fold(Subsets(train, validation, train, judged, transformer, builder), judged)


def _backend(config: RunConfig) -> LocalBackend:
    # The times of single stages are not logged for trials.
    return LocalBackend(config, Stopwatch(logging.DEBUG))


def _once(known: dict[str, Value], key: str, make: Callable[[], Value]) -> Value:
    if key not in known:
        known[key] = make()
    return known[key]


def _fit_fold(config: RunConfig, fold: _Fold, report: Report | None, curve: list[float]) -> dict[str, float]:
    started = perf_counter()
    estimator, n_trees = _fit(config, fold, report, curve)
    fitted = perf_counter()
    predicted = predict_subset(estimator, fold.judged, class_names(config.task))
    predicted_in = perf_counter() - fitted
    n_features = fold.judged.features.shape[1]
    scored = task_metrics(config.task, fold.judged.target, predicted, n_features)
    return {
        **{f"val/{name}": value for name, value in scored.items()},
        **({} if n_trees is None else {"model/trees": float(n_trees)}),
        "model/bytes": float(len(pickle.dumps(estimator))),
        "time/fit_s": fitted - started,
        "time/predict_s": predicted_in,
    }


def _fit(config: RunConfig, fold: _Fold, report: Report | None, curve: list[float]) -> tuple[Any, int | None]:
    model = config.model
    if isinstance(model, XGBoostConfig):
        return _fit_xgboost(config, model, fold, report, curve)
    if isinstance(model, EnsembleConfig | TwoPartConfig):
        return fit_estimators(model, config.task, fold.subsets, config.seed).early_stopped, None
    estimator, n_trees, errors = fit_early_stopped(model, config.task, fold.subsets, config.seed)
    curve.extend(errors.get("val", []))
    return estimator, n_trees


def _fit_xgboost(
    config: RunConfig, model: XGBoostConfig, fold: _Fold, report: Report | None, curve: list[float]
) -> tuple[Any, int]:
    """Fit like the early-stopped fit of a run, with matrices that trials share."""
    estimator = build_estimator(model, config.task, config.seed)
    with library_refusals(model.name):
        train, validation = _quantised(config, model, fold)
        booster = grow(
            estimator,
            len(class_names(config.task)),
            train,
            model.n_estimators,
            evals=[(validation, "val")],
            # The round that stops calls no callback after the one that stops it.
            callbacks=[_Watch(curve, model.learning_rate, report), EarlyStopping(rounds=model.early_stopping_rounds)],
        )
    n_trees = booster.best_iteration + 1
    return booster[:n_trees], n_trees


def _quantised(config: RunConfig, model: XGBoostConfig, fold: _Fold) -> tuple[QuantileDMatrix, DMatrix]:
    key = f"{model.max_bin} {config.digest('task')}"
    if key not in fold.binned:
        train, validation = (
            estimator_rows(model, config.task, subset) for subset in (fold.subsets.train, fold.subsets.validation)
        )
        settings = {"max_bin": model.max_bin, "nthread": model.n_jobs}
        binned = QuantileDMatrix(train.X, train.y, weight=train.weights, **settings)
        # Not binned; see `spotify_ml.models.families.xgboost`.
        fold.binned[key] = binned, DMatrix(validation.X, validation.y, nthread=model.n_jobs)
    return fold.binned[key]


class Pruning:
    """Reports a trial's figures to the pruner, and raises TrialPruned when the pruner ends the trial.

    `by_fold`: report each fold's own figure, not the mean of the folds so far.
    """

    def __init__(self, trial: Trial, objective: Objective, *, by_fold: bool) -> None:
        self._trial, self._objective, self._by_fold = trial, objective, by_fold

    def after_trees(self, step: int, error: float) -> None:
        """Report the error after a number of trees, negated if the objective is maximised."""
        self._report(error if self._objective.direction == "minimize" else -error, step)

    def after_folds(self, figures: list[dict[str, float]]) -> None:
        """Report the figures of the folds so far."""
        values = [each[self._objective.metric] for each in figures]
        self._report(values[-1] if self._by_fold else fmean(values), len(figures))

    def _report(self, value: float, step: int) -> None:
        self._trial.report(value, step)
        if self._trial.should_prune():
            raise TrialPruned
