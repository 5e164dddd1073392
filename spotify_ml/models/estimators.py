"""Estimators and how they are fitted: as many trees as the validation rows ask for, then once more on everything."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import xgboost
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from spotify_ml.config import (
    CatBoostConfig,
    ClassificationConfig,
    EnsembleConfig,
    ForestConfig,
    HistGradientBoostingConfig,
    LightGBMConfig,
    LinearConfig,
    ModelConfig,
    RegressionConfig,
    SingleConfig,
    TwoPartConfig,
    XGBoostConfig,
)
from spotify_ml.errors import ConfigError, DataError, says_no_memory
from spotify_ml.features.parts import Matrices, Part
from spotify_ml.models.matrices import xgboost_matrices
from spotify_ml.models.targets import Task, class_names, sample_weights, task_target

Curve = dict[str, list[float]]
# The ways to grow trees for which XGBoost bins values once, before the first of them.
_BINNING = ("auto", "hist")


@dataclass(frozen=True)
class FittedEstimators:
    """The two fits of a run.

    Attributes
    ----------
    selected : estimator
        Fitted on the train rows, with the number of trees that the validation rows chose.
    final : estimator
        Fitted on train and validation rows with that number of trees.
    n_trees : int or None
        The chosen number of trees, for boosting.
    learning_curve : dict of str to list of float
        Error after every tree of the first fit, for ``train`` and ``val``; empty where there is none.
    """

    selected: Any
    final: Any
    n_trees: int | None = None
    learning_curve: Curve = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """How one library's estimators are built, and how they stop early.

    Attributes
    ----------
    build : callable
        Configuration, task and seed to an unfitted estimator.
    watch : callable or None
        Fit an estimator on one set while watching another; returns the number of trees and the learning curve.
    refit_parameters : callable or None
        Number of trees to the parameters of a fit of just so many.
    """

    build: Callable[[Any, Task, int], Any]
    watch: Callable[[Any, "Rows", "Rows"], tuple[int, Curve]] | None = None
    refit_parameters: Callable[[int], dict[str, Any]] | None = None


@dataclass(frozen=True)
class Rows:
    """Features, what the task predicts, and weights, as estimators take them; of features in files, all of the part."""

    X: Any
    y: np.ndarray
    weights: np.ndarray | None


def fit_estimators(config: ModelConfig, task: Task, matrices: Matrices, seed: int) -> FittedEstimators:
    """Choose the number of trees on the validation rows, then fit that many on train and validation rows.

    Parameters
    ----------
    config : ModelConfig
        The estimator and its parameters.
    task : RegressionConfig or ClassificationConfig
        What it predicts.
    matrices : Matrices
        Features and popularity of each part.
    seed : int
        Drives whatever is random in a fit.

    Raises
    ------
    ConfigError
        If the combination of parameters is refused, or its library is not installed.
    DataError
        If a class has no track to learn from.
    """
    if isinstance(config, EnsembleConfig | TwoPartConfig):
        # They are made of what this module fits.
        from spotify_ml.models.ensembles import fit_average, fit_two_part

        if isinstance(config, EnsembleConfig):
            return fit_average(config, task, matrices, seed)
        return fit_two_part(config, task, matrices, seed)
    return fit_single(config, task, matrices.train, matrices.validation, matrices.fitting, seed)


def fit_single(
    config: SingleConfig, task: Task, train: Part, validation: Part, fitting: Part, seed: int
) -> FittedEstimators:
    """Fit one estimator twice; parameters and errors as for `fit_estimators`."""
    selected, n_trees, curve = fit_selected(config, task, train, validation, seed)
    with library_refusals(config.name):
        final = refit(config, task, fitting, n_trees, seed)
    return FittedEstimators(selected, final, n_trees, curve)


def fit_selected(
    config: SingleConfig, task: Task, train: Part, validation: Part, seed: int
) -> tuple[Any, int | None, Curve]:
    """Fit one estimator on the train rows; return it, its number of trees, and its learning curve.

    Parameters and errors are those of `fit_estimators`.
    """
    family = _FAMILIES[type(config)]
    train_rows = _rows_to_fit(config, task, train)
    estimator = build_estimator(config, task, seed)
    with library_refusals(config.name):
        if family.watch is None:
            _fit(estimator, train_rows)
            return estimator, None, {}
        return estimator, *family.watch(estimator, train_rows, estimator_rows(config, task, validation))


def build_estimator(config: SingleConfig, task: Task, seed: int) -> Any:
    """Return an unfitted estimator."""
    return _FAMILIES[type(config)].build(config, task, seed)


def refit(config: SingleConfig, task: Task, part: Part, n_trees: int | None, seed: int) -> Any:
    """Fit one estimator on other rows, with a number of trees chosen before."""
    family = _FAMILIES[type(config)]
    estimator = build_estimator(config, task, seed)
    if family.refit_parameters is not None and n_trees is not None:
        estimator.set_params(**family.refit_parameters(n_trees))
    _fit(estimator, _rows_to_fit(config, task, part))
    return estimator


def estimator_rows(config: SingleConfig, task: Task, part: Part) -> Rows:
    """Return a part as an estimator takes it."""
    features: Any
    if part.storage.kind != "memory":
        features = part
    elif isinstance(config, XGBoostConfig):
        # It keeps the names in its file; the others would only warn about them.
        features = part.features
    else:
        features = part.matrix()
    if isinstance(config, HistGradientBoostingConfig):
        # It cannot bin a column without any value; a constant one it leaves alone, whatever is scored later.
        features[:, np.isnan(features).all(axis=0)] = 0
    return Rows(features, task_target(task, part.target), sample_weights(task, part.target))


def _rows_to_fit(config: SingleConfig, task: Task, part: Part) -> Rows:
    rows = estimator_rows(config, task, part)
    check_classes(task, rows.y)
    return rows


def check_classes(task: Task, target: np.ndarray) -> None:
    """Refuse rows to fit on that lack a class.

    Parameters
    ----------
    task : RegressionConfig or ClassificationConfig
        What is predicted; a regression has no classes to lack.
    target : ndarray, shape (n_rows,)
        As of `spotify_ml.models.targets.task_target`.

    Raises
    ------
    DataError
        Naming every class without a row.
    """
    missing = sorted(set(range(len(class_names(task)))) - set(np.unique(target).tolist()))
    if missing:
        names = ", ".join(class_names(task)[code] for code in missing)
        threshold = (
            " or mend task.threshold=…" if isinstance(task, ClassificationConfig) and task.label == "popular" else ""
        )
        raise DataError(f"task=classification: no train row is {names}; give more tracks{threshold}")


def _fit(estimator: Any, rows: Rows, **watching: Any) -> None:
    if isinstance(rows.X, Part):
        _grow(estimator, rows, estimator.n_estimators)
        return
    # In a pipeline the weights go to its last step.
    name = "estimator__sample_weight" if isinstance(estimator, Pipeline) else "sample_weight"
    estimator.fit(rows.X, rows.y, **{name: rows.weights}, **watching)


@contextmanager
def library_refusals(name: str) -> Iterator[None]:
    """Turn what a boosting library says of a combination of parameters into a `ConfigError`."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"xgboost", "lightgbm", "catboost", "_catboost"}:
            raise
        if says_no_memory(str(error)):
            raise MemoryError(str(error).strip().splitlines()[0]) from error
        reason = str(error).partition("Check failed: ")[2] or str(error)
        raise ConfigError(f"config: {name} refuses these values of model.…: {reason.splitlines()[0]}") from error


def _extra(library: str) -> Any:
    """Import a library that only some models need."""
    try:
        return import_module(library)
    except ImportError as error:
        raise ConfigError(
            f"model={library} needs a library that is not installed; add it with `pip install -e '.[{library}]'`"
        ) from error


def _parameters(config: SingleConfig) -> dict[str, Any]:
    return config.model_dump(exclude={"name"})


def _build_xgboost(config: XGBoostConfig, task: Task, seed: int) -> Any:
    parameters = _parameters(config) | {"random_state": seed}
    if isinstance(task, RegressionConfig):
        return XGBRegressor(objective="reg:squarederror", eval_metric="rmse", **parameters)
    binary = len(class_names(task)) == 2
    objective, metric = ("binary:logistic", "logloss") if binary else ("multi:softprob", "mlogloss")
    return XGBClassifier(objective=objective, eval_metric=metric, **parameters)


def _watch_xgboost(estimator: Any, train: Rows, validation: Rows) -> tuple[int, Curve]:
    """Fit to the trees and the curve that ``XGBModel.fit`` gives, without binning the validation rows.

    Where they are binned, as they are there, every new tree looks their values up one by one, which takes half as long
    again as to grow it.
    """
    errors: dict[str, dict[str, list[float]]] = {}
    booster = _grow(
        estimator,
        train,
        estimator.n_estimators,
        validation,
        early_stopping_rounds=estimator.early_stopping_rounds,
        evals_result=errors,
        verbose_eval=False,
    )
    return booster.best_iteration + 1, {part: next(iter(curve.values())) for part, curve in errors.items()}


def _grow(
    estimator: Any, train: Rows, n_trees: int, validation: Rows | None = None, **watching: Any
) -> xgboost.Booster:
    """Fit by XGBoost's own interface, which takes features in files as well."""
    with xgboost_matrices(estimator.n_jobs) as make:
        booster = _grown(make, estimator, train, n_trees, validation, watching)
    give_booster(estimator, booster)
    return booster


def give_booster(estimator: Any, booster: xgboost.Booster) -> None:
    """Make a booster the fitted part of an XGBoost estimator, and leave its parameters as they are.

    Loading one turns what was fitted (the base score, the types of the columns …) into parameters: a clone that is
    fitted on other rows would start from the mean of these.
    """
    parameters = estimator.get_params()
    estimator.load_model(booster.save_raw("ubj"))
    for name, value in parameters.items():
        # Not by set_params, which would change the booster as well.
        setattr(estimator, name, value)


def _grown(
    make: Callable[..., xgboost.DMatrix],
    estimator: Any,
    train: Rows,
    n_trees: int,
    validation: Rows | None,
    watching: dict[str, Any],
) -> xgboost.Booster:
    parameters = estimator.get_xgb_params()
    if estimator.objective == "multi:softprob":
        parameters["num_class"] = len(np.unique(train.y))
    binning = {"max_bin": estimator.max_bin} if estimator.tree_method in _BINNING else {}
    fitted = make(train.X, train.y, train.weights, **binning)
    evals = []
    if validation is not None:
        # Errors are those of the rows as they are, whatever the rows count in fitting.
        shown = fitted if train.weights is None else make(train.X, train.y, None)
        evals = [(shown, "train"), (make(validation.X, validation.y, None), "val")]
    return xgboost.train(parameters, fitted, n_trees, evals=evals, **watching)


def _build_linear(config: LinearConfig, task: Task, seed: int) -> Any:
    # C is the inverse of the penalty; a ridge sums its errors as it does.
    last = (
        Ridge(alpha=config.alpha, random_state=seed)
        if isinstance(task, RegressionConfig)
        else LogisticRegression(C=1 / config.alpha, max_iter=1000, random_state=seed)
    )
    steps = [("imputer", SimpleImputer(keep_empty_features=True)), ("scaler", StandardScaler()), ("estimator", last)]
    return Pipeline(steps)


def _build_forest(config: ForestConfig, task: Task, seed: int) -> Any:
    regression = isinstance(task, RegressionConfig)
    if config.name == "random_forest":
        forest = RandomForestRegressor if regression else RandomForestClassifier
    else:
        forest = ExtraTreesRegressor if regression else ExtraTreesClassifier
    # scikit-learn means one thread by None.
    return forest(random_state=seed, **(_parameters(config) | {"n_jobs": config.n_jobs or -1}))


def _build_hist(config: HistGradientBoostingConfig, task: Task, seed: int) -> Any:
    regression = isinstance(task, RegressionConfig)
    boosting = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    return boosting(random_state=seed, early_stopping=True, tol=0, **_parameters(config))


def _watch_hist(estimator: Any, train: Rows, validation: Rows) -> tuple[int, Curve]:
    _fit(estimator, train, X_val=validation.X, y_val=validation.y)
    # The scores are negative losses, the first of them before any tree; a squared one is halved.
    scores = {"train": estimator.train_score_[1:], "val": estimator.validation_score_[1:]}
    squared = isinstance(estimator, HistGradientBoostingRegressor)
    losses = {part: np.sqrt(-2 * values) if squared else -values for part, values in scores.items()}
    n_trees = int(np.argmin(losses["val"])) + 1
    # It keeps the trees that it saw come to nothing.
    del estimator._predictors[n_trees:]
    return n_trees, {part: values.tolist() for part, values in losses.items()}


def _build_lightgbm(config: LightGBMConfig, task: Task, seed: int) -> Any:
    lightgbm = _extra("lightgbm")
    parameters = {"random_state": seed, "deterministic": True, "verbosity": -1, **_parameters(config)}
    if isinstance(task, RegressionConfig):
        return lightgbm.LGBMRegressor(metric="rmse", **parameters)
    return lightgbm.LGBMClassifier(**parameters)


def _watch_lightgbm(estimator: Any, train: Rows, validation: Rows) -> tuple[int, Curve]:
    features, targets = (train.X, validation.X), (train.y, validation.y)
    _fit(estimator, train, eval_X=features, eval_y=targets, eval_names=["train", "val"])
    curve = {name: np.asarray(next(iter(errors.values()))).tolist() for name, errors in estimator.evals_result_.items()}
    return int(estimator.best_iteration_), curve


def _build_catboost(config: CatBoostConfig, task: Task, seed: int) -> Any:
    catboost = _extra("catboost")
    boosting = catboost.CatBoostRegressor if isinstance(task, RegressionConfig) else catboost.CatBoostClassifier
    # Its log files would land in the current folder.
    return boosting(random_seed=seed, verbose=False, allow_writing_files=False, **_parameters(config))


def _watch_catboost(estimator: Any, train: Rows, validation: Rows) -> tuple[int, Curve]:
    _fit(estimator, train, eval_set=[(validation.X, validation.y)])
    errors = estimator.get_evals_result()
    curve = {name: next(iter(errors[key].values())) for name, key in (("train", "learn"), ("val", "validation"))}
    return int(estimator.tree_count_), curve


_FAMILIES: dict[type, Family] = {
    XGBoostConfig: Family(
        _build_xgboost, _watch_xgboost, lambda n_trees: {"n_estimators": n_trees, "early_stopping_rounds": None}
    ),
    LinearConfig: Family(_build_linear),
    ForestConfig: Family(_build_forest),
    HistGradientBoostingConfig: Family(
        _build_hist, _watch_hist, lambda n_trees: {"max_iter": n_trees, "early_stopping": False}
    ),
    LightGBMConfig: Family(
        _build_lightgbm, _watch_lightgbm, lambda n_trees: {"n_estimators": n_trees, "early_stopping_round": None}
    ),
    CatBoostConfig: Family(
        _build_catboost, _watch_catboost, lambda n_trees: {"iterations": n_trees, "early_stopping_rounds": None}
    ),
}
