"""The fitting of whatever ``model=`` names: one estimator, or one that is made of several."""

from spotify_ml.config.models import EnsembleConfig, ModelConfig, TwoPartConfig
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.ensembles import fit_average, fit_two_part
from spotify_ml.models.fit import FittedEstimators, fit_single
from spotify_ml.models.targets import Task


def fit_estimators(config: ModelConfig, task: Task, matrices: Subsets, seed: int) -> FittedEstimators:
    """Choose the number of trees on the validation rows, then fit that many on train and validation rows.

    Parameters
    ----------
    config : ModelConfig
        The estimator and its parameters.
    task : RegressionConfig or ClassificationConfig
        What it predicts.
    matrices : Subsets
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
    if isinstance(config, EnsembleConfig):
        return fit_average(config, task, matrices, seed)
    if isinstance(config, TwoPartConfig):
        return fit_two_part(config, task, matrices, seed)
    return fit_single(config, task, matrices.train, matrices.validation, matrices.trainval, seed)
