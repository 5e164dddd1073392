"""What one trial does: fit a configuration on the train rows, as far as it is worth it, and judge it."""

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
from spotify_ml.models.fit import build_estimator, estimator_rows, fit_selected, library_refusals
from spotify_ml.models.popularity import predict_part
from spotify_ml.models.targets import class_names
from spotify_ml.utils.timing import Stopwatch

Value = TypeVar("Value")
# What decides the rows of each part.
_ROWS = ("cleaning", "split", "seed")

# A tree at rate 1 would be infinitely far.
_HIGHEST_RATE = 0.99
# Told the step and the error there; raises to end the trial.
Report = Callable[[int, float], None]
# Told the figures of every fold so far; raises to end the trial.
FoldReport = Callable[[list[dict[str, float]]], None]


@dataclass(frozen=True)
class TrialResult:
    """What a trial came to.

    Attributes
    ----------
    metrics : dict of str to float
        ``val/…``, ``time/fit_s``, ``time/predict_s``, ``model/bytes``, and of boosting ``model/trees``; of folds the
        mean.
    curve : dict of str to list of float
        Validation error after every tree, under ``val``, of the last fold if there are several; empty without trees.
    """

    metrics: dict[str, float]
    curve: dict[str, list[float]]


@dataclass
class Curve:
    """The error after every tree so far, whether the fit comes to its end or not."""

    errors: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Fold:
    """The subsets of one fit, the rows it is judged by, and quantised matrices by what these depend on."""

    subsets: Subsets
    judged: Subset
    binned: dict[str, tuple[QuantileDMatrix, DMatrix]] = field(default_factory=dict)


class _Watch(TrainingCallback):
    """Keep the learning curve, and report it at every whole step of -log(1 - learning rate) × trees.

    A tree at rate r leaves at best the share 1 - r of what is still to be explained (Friedman 2001, Greedy function
    approximation, on shrinkage), n trees (1 - r)^n: at equal steps, trials of different rates have come equally far.
    """

    def __init__(self, curve: Curve, learning_rate: float, report: Report | None) -> None:
        super().__init__()
        self._curve, self._report = curve, report
        self._rate = -log1p(-min(learning_rate, _HIGHEST_RATE))

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, dict[str, list[float]]]) -> bool:
        error = next(iter(evals_log["val"].values()))[-1]
        self._curve.errors.append(error)
        step = int((epoch + 1) * self._rate + 1e-9)
        if self._report is not None and step > int(epoch * self._rate + 1e-9):
            self._report(step, error)
        return False


class TrialData:
    """Everything that trials share: each table, split, feature matrix and quantised matrix is made once.

    Parameters
    ----------
    n_folds : int or None
        Number of group folds of the train and validation rows to judge by; None: judge by the validation rows.
    """

    def __init__(self, n_folds: int | None) -> None:
        self._n_folds = n_folds
        self._sources: dict[str, Source] = {}
        self._splits: dict[str, Split] = {}
        self._folds: dict[str, list[_Fold]] = {}

    def source(self, config: RunConfig) -> Source:
        """Return the clean tracks of a configuration, as the first stage of a run does."""
        return _once(self._sources, config.digest("cleaning"), _backend(config).read)

    def fit(
        self, config: RunConfig, report: Report | None, between_folds: FoldReport | None, curve: Curve
    ) -> TrialResult:
        """Fit and judge a configuration.

        Parameters
        ----------
        config : RunConfig
            The run, with the trial's values in it.
        report : callable or None
            Told the error at every step of an XGBoost fit; raises to end it.
        between_folds : callable or None
            Told the figures of the folds after each of them; raises to end the trial.
        curve : Curve
            Filled while the fit goes on.

        Raises
        ------
        SpotifyMLError
            If the values make no fit.
        """
        results: list[dict[str, float]] = []
        for fold in _once(self._folds, config.digest(*_ROWS, "features"), partial(self._make_folds, config)):
            curve.errors.clear()
            results.append(_fit_fold(config, fold, None if self._n_folds else report, curve))
            if self._n_folds and between_folds is not None:
                between_folds(results)
        metrics = {name: fmean(result[name] for result in results) for name in results[0]}
        return TrialResult(metrics, {"val": curve.errors} if curve.errors else {})

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
    """Build the features of a fold: all are fitted on its train rows, as nothing is fitted a second time."""
    split = builder.split
    n_validation = len(split.validation)
    train, others, transformer = builder.subsets(split.train, np.concatenate([split.validation, split.test]))
    validation, judged = (
        Subset(others.features.iloc[rows], others.target[rows])
        for rows in (slice(n_validation), slice(n_validation, None))
    )
    return _Fold(Subsets(train, validation, train, judged, transformer, builder), judged)


def _backend(config: RunConfig) -> LocalBackend:
    # Of trials the log tells other times.
    return LocalBackend(config, Stopwatch(logging.DEBUG))


def _once(known: dict[str, Value], key: str, make: Callable[[], Value]) -> Value:
    if key not in known:
        known[key] = make()
    return known[key]


def _fit_fold(config: RunConfig, fold: _Fold, report: Report | None, curve: Curve) -> dict[str, float]:
    started = perf_counter()
    estimator, n_trees = _fit(config, fold, report, curve)
    fitted = perf_counter()
    predicted = predict_part(estimator, fold.judged, class_names(config.task))
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


def _fit(config: RunConfig, fold: _Fold, report: Report | None, curve: Curve) -> tuple[Any, int | None]:
    model = config.model
    if isinstance(model, XGBoostConfig):
        return _fit_xgboost(config, model, fold, report, curve)
    if isinstance(model, EnsembleConfig | TwoPartConfig):
        return fit_estimators(model, config.task, fold.subsets, config.seed).early_stopped, None
    estimator, n_trees, errors = fit_selected(
        model, config.task, fold.subsets.train, fold.subsets.validation, config.seed
    )
    curve.errors.extend(errors.get("val", []))
    return estimator, n_trees


def _fit_xgboost(
    config: RunConfig, model: XGBoostConfig, fold: _Fold, report: Report | None, curve: Curve
) -> tuple[Any, int]:
    """Fit as a run's first fit does, on matrices that other trials have quantised already."""
    estimator = build_estimator(model, config.task, config.seed)
    with library_refusals(model.name):
        train, validation = _quantised(config, model, fold)
        booster = grow(
            estimator,
            len(class_names(config.task)),
            train,
            model.n_estimators,
            evals=[(validation, "val")],
            callbacks=[EarlyStopping(rounds=model.early_stopping_rounds), _Watch(curve, model.learning_rate, report)],
        )
    n_trees = booster.best_iteration + 1
    return booster[:n_trees], n_trees


def _quantised(config: RunConfig, model: XGBoostConfig, fold: _Fold) -> tuple[QuantileDMatrix, DMatrix]:
    key = f"{model.max_bin} {config.digest('task')}"
    if key not in fold.binned:
        train, validation = (
            estimator_rows(model, config.task, part) for part in (fold.subsets.train, fold.subsets.validation)
        )
        settings = {"max_bin": model.max_bin, "nthread": model.n_jobs}
        binned = QuantileDMatrix(train.X, train.y, weight=train.weights, **settings)
        # Binned rows are slow to watch; see `spotify_ml.models.families.xgboost`.
        fold.binned[key] = binned, DMatrix(validation.X, validation.y, nthread=model.n_jobs)
    return fold.binned[key]


class Reporter:
    """Report the error along the fit, and end the trial where the pruner says so."""

    def __init__(self, trial: Trial, sign: int) -> None:
        self._trial, self._sign = trial, sign

    def __call__(self, step: int, error: float) -> None:
        """Report the error after so many trees."""
        self._trial.report(self._sign * error, step)
        if self._trial.should_prune():
            raise TrialPruned


class FoldReporter:
    """Report the figure of every fold, or the mean of those so far, and end the trial where the pruner says so."""

    def __init__(self, trial: Trial, metric: str, single: bool) -> None:
        self._trial, self._metric, self._single = trial, metric, single

    def __call__(self, figures: list[dict[str, float]]) -> None:
        """Report the folds so far."""
        of_folds = [each[self._metric] for each in figures]
        self._trial.report(of_folds[-1] if self._single else fmean(of_folds), len(figures))
        if self._trial.should_prune():
            raise TrialPruned
