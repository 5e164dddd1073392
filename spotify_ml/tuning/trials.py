"""What one trial does: fit a configuration on the train rows, as far as it is worth it, and judge it."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from math import log1p
from statistics import fmean
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from optuna.exceptions import TrialPruned
from optuna.trial import Trial
from xgboost import DMatrix, QuantileDMatrix
from xgboost.callback import EarlyStopping, TrainingCallback

from spotify_ml.config.models import EnsembleConfig, TwoPartConfig, XGBoostConfig
from spotify_ml.config.run import RunConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, fold_splits, split_tracks
from spotify_ml.evaluation.metrics import task_metrics
from spotify_ml.features.builder import FeatureBuilder, fit_features, with_categories
from spotify_ml.features.subsets import Subset, Subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.fit import build_estimator, estimator_rows, fit_selected, library_refusals
from spotify_ml.models.popularity import predict_part
from spotify_ml.models.targets import class_names

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
    """The parts of one fit, of which `test` is judged, and their quantised matrices by what these depend on."""

    parts: Subsets
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
    raw : RawTracks
        The raw tracks.
    n_folds : int or None
        Number of group folds of the train and validation rows to judge by; None: judge by the validation rows.
    """

    def __init__(self, raw: RawTracks, n_folds: int | None) -> None:
        self._raw = raw
        self._n_folds = n_folds
        self._tables: dict[str, tuple[pd.DataFrame, list[Split]]] = {}
        self._folds: dict[str, list[_Fold]] = {}

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
        for fold in self._parts(config):
            curve.errors.clear()
            results.append(_fit_fold(config, fold, None if self._n_folds else report, curve))
            if self._n_folds and between_folds is not None:
                between_folds(results)
        metrics = {name: fmean(result[name] for result in results) for name in results[0]}
        return TrialResult(metrics, {"val": curve.errors} if curve.errors else {})

    def _parts(self, config: RunConfig) -> list[_Fold]:
        key = config.digest("cleaning", "split", "seed", "features")
        if key not in self._folds:
            tracks, splits = self._table(config)
            self._folds[key] = [self._fold(config, tracks, split) for split in splits]
        return self._folds[key]

    def _table(self, config: RunConfig) -> tuple[pd.DataFrame, list[Split]]:
        key = config.digest("cleaning", "split", "seed")
        if key not in self._tables:
            tracks = clean(self._raw.frame, config.cleaning.name).frame
            split = split_tracks(tracks, config.split, config.seed)
            splits = [split]
            if self._n_folds:
                splits = list(fold_splits(split, self._n_folds, config.split, config.seed))
            self._tables[key] = (with_categories(tracks), splits)
        return self._tables[key]

    def _fold(self, config: RunConfig, tracks: pd.DataFrame, split: Split) -> _Fold:
        """Build the features of one fit; the test part of a split is judged with folds only, where it is the fold."""
        judged = split.test if self._n_folds else split.validation[:0]
        unseen = np.concatenate([split.validation, judged])
        name, seed = config.features.name, config.seed
        train, others, features = fit_features(name, tracks, split.groups, split.train, unseen, seed)
        n_validation = len(split.validation)
        validation = _rows(others, slice(n_validation))
        test = _rows(others, slice(n_validation, None)) if self._n_folds else validation
        # No trial is fitted a second time, so that train rows are all there is to fit on.
        return _Fold(Subsets(train, validation, train, test, features, FeatureBuilder(name, tracks, split, seed)))


def _rows(part: Subset, rows: slice) -> Subset:
    return Subset(part.features.iloc[rows], part.target[rows])


def _fit_fold(config: RunConfig, fold: _Fold, report: Report | None, curve: Curve) -> dict[str, float]:
    started = perf_counter()
    estimator, n_trees = _fit(config, fold, report, curve)
    fitted = perf_counter()
    predicted = predict_part(estimator, fold.parts.test, class_names(config.task))
    predicted_in = perf_counter() - fitted
    n_features = fold.parts.test.features.shape[1]
    scored = task_metrics(config.task, fold.parts.test.target, predicted, n_features)
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
        return fit_estimators(model, config.task, fold.parts, config.seed).early_stopped, None
    estimator, n_trees, errors = fit_selected(model, config.task, fold.parts.train, fold.parts.validation, config.seed)
    curve.errors.extend(errors.get("val", []))
    return estimator, n_trees


def _fit_xgboost(
    config: RunConfig, model: XGBoostConfig, fold: _Fold, report: Report | None, curve: Curve
) -> tuple[Any, int]:
    """Fit as ``XGBModel.fit`` would, on matrices that other trials have quantised already."""
    parameters = build_estimator(model, config.task, config.seed).get_xgb_params()
    classes = class_names(config.task)
    if len(classes) > 2:
        parameters["num_class"] = len(classes)
    with library_refusals(model.name):
        train, validation = _quantised(config, model, fold)
        booster = xgboost.train(
            parameters,
            train,
            model.n_estimators,
            evals=[(validation, "val")],
            verbose_eval=False,
            callbacks=[EarlyStopping(rounds=model.early_stopping_rounds), _Watch(curve, model.learning_rate, report)],
        )
    n_trees = booster.best_iteration + 1
    return booster[:n_trees], n_trees


def _quantised(config: RunConfig, model: XGBoostConfig, fold: _Fold) -> tuple[QuantileDMatrix, DMatrix]:
    key = f"{model.max_bin} {config.digest('task')}"
    if key not in fold.binned:
        train, validation = (
            estimator_rows(model, config.task, part) for part in (fold.parts.train, fold.parts.validation)
        )
        settings = {"max_bin": model.max_bin, "nthread": model.n_jobs}
        binned = QuantileDMatrix(train.X, train.y, weight=train.weights, **settings)
        # Binned rows are slow to watch; see `spotify_ml.models.estimators`.
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
