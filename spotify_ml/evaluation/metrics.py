"""How far predictions are from popularity."""

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error


def regression_metrics(actual: np.ndarray, predicted: np.ndarray, n_features: int) -> dict[str, float]:
    """Return the figures of one part; one that is undefined for these rows is left out.

    Parameters
    ----------
    actual, predicted : ndarray of float, shape (n_rows,)
        Popularity, 0 to 100.
    n_features : int
        Number of columns the predictor used, for adjusted R².

    Returns
    -------
    dict of str to float
        ``rmse``, ``mae`` (points of popularity), and where they are defined ``r2``, ``adj_r2``
        (1 - (1 - R²)(n - 1)/(n - p - 1), Wherry 1931) and ``spearman``.
    """
    metrics = {
        "rmse": float(root_mean_squared_error(actual, predicted)),
        "mae": float(mean_absolute_error(actual, predicted)),
    }
    if np.ptp(actual) > 0:
        r2 = float(r2_score(actual, predicted))
        metrics["r2"] = r2
        if len(actual) > n_features + 1:
            metrics["adj_r2"] = 1 - (1 - r2) * (len(actual) - 1) / (len(actual) - n_features - 1)
        if np.ptp(predicted) > 0:
            metrics["spearman"] = float(spearmanr(actual, predicted).statistic)
    return metrics
