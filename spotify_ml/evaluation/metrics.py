"""How far predictions are from popularity, or from its classes."""

import numpy as np
from scipy.stats import spearmanr
from sklearn import metrics as sk

from spotify_ml.models.targets import BANDS, Task, band_codes, class_names, task_target

_CALIBRATION_BINS = 10


def task_metrics(task: Task, popularity: np.ndarray, predicted: np.ndarray, n_features: int) -> dict[str, float]:
    """Return the figures of one part by the task: `regression_metrics` or `classification_metrics`.

    `popularity` is 0 to 100, shape (n_rows,), also where classes are predicted; `predicted` is popularity or the
    probability of each class, shape (n_rows, n_classes).
    """
    if classes := class_names(task):
        return classification_metrics(task_target(task, popularity), predicted, len(classes))
    return regression_metrics(popularity, predicted, n_features)


def regression_metrics(actual: np.ndarray, predicted: np.ndarray, n_features: int) -> dict[str, float]:
    """Return the figures of popularity, 0 to 100, as predicted from so many features.

    They are ``rmse``, ``mae`` (points of popularity), and where they are defined for these rows ``r2``, ``adj_r2``
    (1 - (1 - R²)(n - 1)/(n - p - 1), Wherry 1931) and ``spearman``.
    """
    metrics = {
        "rmse": float(sk.root_mean_squared_error(actual, predicted)),
        "mae": float(sk.mean_absolute_error(actual, predicted)),
    }
    if np.ptp(actual) > 0:
        r2 = float(sk.r2_score(actual, predicted))
        metrics["r2"] = r2
        if len(actual) > n_features + 1:
            metrics["adj_r2"] = 1 - (1 - r2) * (len(actual) - 1) / (len(actual) - n_features - 1)
        if np.ptp(predicted) > 0:
            metrics["spearman"] = float(spearmanr(actual, predicted).statistic)
    return metrics


def band_metrics(actual: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return ``<band>/rmse``, ``<band>/mae`` and ``<band>/bias`` (predicted less actual) of each band with rows."""
    codes = band_codes(actual)
    metrics = {}
    for code, band in enumerate(BANDS):
        error = (predicted - actual)[codes == code]
        if len(error):
            metrics[f"{band}/rmse"] = float(np.sqrt(np.mean(error**2)))
            metrics[f"{band}/mae"] = float(np.abs(error).mean())
            metrics[f"{band}/bias"] = float(error.mean())
    return metrics


def classification_metrics(codes: np.ndarray, probabilities: np.ndarray, n_classes: int) -> dict[str, float]:
    """Return the figures of the probabilities of classes, shape (n_rows, n_classes), and the codes of the true ones.

    They are ``log_loss``, ``accuracy``, ``macro_f1``, ``calibration_error`` (the expected one, of the likeliest class
    in ten bins, Guo et al. 2017), and where every class occurs ``roc_auc`` and ``average_precision``, both the mean
    over the classes, each against the rest.
    """
    labels = np.arange(n_classes)
    likeliest = probabilities.argmax(axis=1)
    metrics = {
        "log_loss": float(sk.log_loss(codes, probabilities, labels=labels)),
        "accuracy": float(sk.accuracy_score(codes, likeliest)),
        "macro_f1": float(sk.f1_score(codes, likeliest, labels=labels, average="macro", zero_division=0)),
        "calibration_error": _calibration_error(codes == likeliest, probabilities.max(axis=1)),
    }
    if len(np.unique(codes)) == n_classes:
        # For two classes only the second is of interest.
        kept = labels[1:] if n_classes == 2 else labels
        scored = codes[:, None] == kept, probabilities[:, kept]
        metrics["roc_auc"] = float(sk.roc_auc_score(*scored))
        metrics["average_precision"] = float(sk.average_precision_score(*scored))
    return metrics


def _calibration_error(correct: np.ndarray, confidence: np.ndarray) -> float:
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=_CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(correct))
