"""Estimators and how they are fitted: as many trees as the validation rows ask for, then once more on everything."""

from dataclasses import dataclass

from xgboost import XGBRegressor
from xgboost.core import XGBoostError

from spotify_ml.config import ModelConfig
from spotify_ml.errors import ConfigError
from spotify_ml.features.factory import Matrices


@dataclass(frozen=True)
class FittedEstimators:
    """The two fits of a run.

    Attributes
    ----------
    selected : XGBRegressor
        Fitted on the train rows, stopped early; predicts with its best number of trees.
    final : XGBRegressor
        Fitted on train and validation rows with that number of trees.
    n_trees : int
        The chosen number of trees.
    learning_curve : dict of str to list of float
        RMSE after every tree of the first fit, for ``train`` and ``val``.
    """

    selected: XGBRegressor
    final: XGBRegressor
    n_trees: int
    learning_curve: dict[str, list[float]]


def build_estimator(config: ModelConfig, seed: int) -> XGBRegressor:
    """Return the unfitted estimator of a configuration."""
    return XGBRegressor(
        objective="reg:squarederror", eval_metric="rmse", random_state=seed, **config.model_dump(exclude={"name"})
    )


def fit_estimators(estimator: XGBRegressor, matrices: Matrices) -> FittedEstimators:
    """Choose the number of trees on the validation rows, then fit that many on train and validation rows.

    Parameters
    ----------
    estimator : XGBRegressor
        Unfitted, with ``early_stopping_rounds``; becomes the selected fit.
    matrices : Matrices
        Features and target of each part.

    Raises
    ------
    ConfigError
        If XGBoost refuses the combination of parameters.
    """
    try:
        return _fit(estimator, matrices)
    except XGBoostError as error:
        reason = str(error).partition("Check failed: ")[2] or str(error)
        raise ConfigError(f"config: XGBoost refuses these values of model.…: {reason.splitlines()[0]}") from error


def _fit(estimator: XGBRegressor, matrices: Matrices) -> FittedEstimators:
    watched = [(part.features, part.target) for part in (matrices.train, matrices.validation)]
    estimator.fit(*watched[0], eval_set=watched, verbose=False)
    n_trees = estimator.best_iteration + 1
    final = XGBRegressor(**{**estimator.get_params(), "n_estimators": n_trees, "early_stopping_rounds": None})
    final.fit(matrices.fitting.features, matrices.fitting.target, verbose=False)
    history = estimator.evals_result()
    curve = {"train": history["validation_0"]["rmse"], "val": history["validation_1"]["rmse"]}
    return FittedEstimators(estimator, final, n_trees, curve)
