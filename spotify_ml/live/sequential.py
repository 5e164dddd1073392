"""Confidence sequences: intervals of a difference that hold at every look at once, however often one looks.

The sequence is the asymptotic one of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit
theory and asymptotic confidence sequences", Annals of Statistics 52(6), 2024, theorem 2.2 (arXiv 2103.06476): after n
outcomes with standard deviation s, the mean is within ::

    s * sqrt( 2 (n r² + 1) / (n² r²) * log( sqrt(n r² + 1) / alpha ) )

of its estimate for all n at once, with probability 1 - alpha. ``r`` decides where it is tightest: near n* for
``r² = (-2 log(alpha) + log(-2 log(alpha)) + 1) / n*`` (their appendix on tuning).

Outcomes of one artist are alike, so s² is that of sums over groups of artists, by outcome: the variance of the mean,
robust to groups, times n. Groups come back again and again, and so the sums are no longer a walk with independent
steps. They are then more alike from look to look than such a walk on the same clock of variances: for n < m, the
covariance is at least the variance at n. By Slepian's inequality they leave a boundary no more often.
``scripts/simulate_live.py`` shows the error rates.
"""

from dataclasses import dataclass

import numpy as np

# A variance of fewer groups is not to be trusted, nor a mean of fewer outcomes to be normal.
FEWEST_OUTCOMES, FEWEST_GROUPS = 50, 20


@dataclass(frozen=True)
class ConfidenceSequence:
    """A difference after each of some numbers of outcomes, shape (n_looks,), with bounds that hold at all of them.

    ``deviation`` is that of one outcome, by groups; bounds are infinite before there are enough outcomes and groups.
    """

    n: np.ndarray
    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    deviation: np.ndarray
    n_groups: np.ndarray

    @property
    def decided(self) -> int | None:
        """The first look at which the difference is not zero, None if there is none."""
        (found,) = np.nonzero((self.lower > 0) | (self.upper < 0))
        return int(found[0]) if len(found) else None


def margins(n: np.ndarray, deviation: np.ndarray, alpha: float, planned: int) -> np.ndarray:
    """Return half the widths of a confidence sequence, see the module.

    Parameters
    ----------
    n : ndarray, shape (n_looks,)
        Numbers of outcomes.
    deviation : ndarray, shape (n_looks,)
        The standard deviation of one outcome, as far as it is known then.
    alpha : float
        The probability that the difference is ever outside.
    planned : int
        The number of outcomes at which the sequence is to be tightest.
    """
    r2 = (-2 * np.log(alpha) + np.log(-2 * np.log(alpha)) + 1) / planned
    scaled = n * r2 + 1
    return deviation * np.sqrt(2 * scaled / (n**2 * r2) * np.log(np.sqrt(scaled) / alpha))


def looks_at(n: int, every: int) -> np.ndarray:
    """Return after which outcomes one looks: each so many, and at the last."""
    found = np.arange(every, n + 1, every)
    return found if len(found) and found[-1] == n else np.append(found, n)


def paired_sequence(
    differences: np.ndarray, groups: np.ndarray, looks: np.ndarray, alpha: float, planned: int
) -> ConfidenceSequence:
    """Return the confidence sequence of a mean of differences in the order in which they became known.

    Parameters
    ----------
    differences : ndarray, shape (n_outcomes,)
        Of two versions on the same track.
    groups : ndarray of int, shape (n_outcomes,)
        Codes of artists.
    looks : ndarray of int, shape (n_looks,)
        After how many outcomes to look, ascending.
    alpha, planned : float, int
        As of `margins`.
    """
    values = np.stack([np.ones(len(differences)), differences], axis=1)
    totals = np.cumsum(values, axis=0)[looks - 1]
    mean = totals[:, 1] / totals[:, 0]
    weights = np.stack([-mean, np.ones(len(looks))], axis=1)
    return _sequence(mean, weights, values, groups, looks, alpha, planned)


def split_sequence(
    losses: np.ndarray,
    is_challenger: np.ndarray,
    expected: np.ndarray | None,
    groups: np.ndarray,
    looks: np.ndarray,
    alpha: float,
    planned: int,
) -> ConfidenceSequence:
    """Return the confidence sequence of the champion's mean loss less the challenger's, each of its own units.

    With `expected`, a figure of each unit that no assignment can change, the variance that it explains is taken off
    (CUPED: Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data", WSDM 2013); its coefficient is that of a regression within both arms.

    Parameters
    ----------
    losses, expected : ndarray, shape (n_outcomes,)
        Of the version that answered, and what the champion expects of its own loss.
    is_challenger : ndarray of bool, shape (n_outcomes,)
        Who answered.
    groups, looks, alpha, planned : ndarray, ndarray, float, int
        As of `paired_sequence`.
    """
    arm = is_challenger.astype(np.float64)
    x = np.zeros(len(losses)) if expected is None else expected
    values = np.stack([1 - arm, (1 - arm) * losses, (1 - arm) * x, arm, arm * losses, arm * x], axis=1)
    sums = np.cumsum(values, axis=0)[looks - 1]
    squares = np.cumsum(np.stack([x * x, x * losses], axis=1), axis=0)[looks - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        n0, n1 = sums[:, 0], sums[:, 3]
        mean_y0, mean_x0, mean_y1, mean_x1 = sums[:, 1] / n0, sums[:, 2] / n0, sums[:, 4] / n1, sums[:, 5] / n1
        within_xx = squares[:, 0] - n0 * mean_x0**2 - n1 * mean_x1**2
        within_xy = squares[:, 1] - n0 * mean_x0 * mean_y0 - n1 * mean_x1 * mean_y1
        slope = np.where(within_xx > 1e-9 * np.maximum(squares[:, 0], 1e-300), within_xy / within_xx, 0.0)
        adjusted0, adjusted1 = mean_y0 - slope * mean_x0, mean_y1 - slope * mean_x1
        # The influence of an outcome on the difference: what it is above its arm's mean, by the arm's share.
        c0, c1 = (n0 + n1) / n0, (n0 + n1) / n1
        weights = np.stack([-c0 * adjusted0, c0, -c0 * slope, c1 * adjusted1, -c1, c1 * slope], axis=1)
    return _sequence(adjusted0 - adjusted1, weights, values, groups, looks, alpha, planned)


def _sequence(
    value: np.ndarray,
    weights: np.ndarray,
    values: np.ndarray,
    groups: np.ndarray,
    looks: np.ndarray,
    alpha: float,
    planned: int,
) -> ConfidenceSequence:
    """Return a sequence whose variance is that of sums, by group, of weighted values, as far as each look."""
    moments, n_groups = _moments_of_groups(values, groups, looks)
    spread = np.einsum("li,lij,lj->l", weights, moments, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.sqrt(np.maximum(spread, 0) / looks * n_groups / (n_groups - 1))
    margin = margins(looks.astype(np.float64), deviation, alpha, planned)
    is_known = (looks >= FEWEST_OUTCOMES) & (n_groups >= FEWEST_GROUPS) & np.isfinite(margin) & np.isfinite(value)
    margin = np.where(is_known, margin, np.inf)
    centre = np.where(np.isfinite(value), value, 0.0)
    return ConfidenceSequence(looks, value, centre - margin, centre + margin, deviation, n_groups)


def _moments_of_groups(values: np.ndarray, groups: np.ndarray, looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the products of sums by group, summed over groups, and how many groups there are, as far as each look.

    Shapes are (n_looks, n_values, n_values) and (n_looks,). Each outcome adds to its group what stands before it.
    """
    order = np.argsort(groups, kind="stable")
    ordered = values[order]
    running = np.cumsum(ordered, axis=0) - ordered
    is_first = np.append(True, groups[order][1:] != groups[order][:-1])
    starts = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    before, first = np.empty_like(values), np.empty(len(values))
    before[order] = running - running[starts]
    first[order] = is_first
    crossed = before[:, :, np.newaxis] * values[:, np.newaxis, :]
    added = crossed + crossed.transpose(0, 2, 1) + values[:, :, np.newaxis] * values[:, np.newaxis, :]
    return np.cumsum(added, axis=0)[looks - 1], np.cumsum(first)[looks - 1]
