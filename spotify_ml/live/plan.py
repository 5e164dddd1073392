"""How many outcomes an experiment takes: of a test that is looked at once, and of bounds that hold at every look."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from spotify_ml.live.sequential import margins
from spotify_ml.utils.errors import ConfigError

_MOST = 10**9


@dataclass(frozen=True)
class Plan:
    """Numbers of outcomes that find a difference, of `effect` standard deviations of one outcome, with some power."""

    mode: str
    fixed: int
    sequential: int

    def __str__(self) -> str:
        """Return the numbers in a line."""
        asked = f"{self.sequential:>12,} outcomes, looked at as often as you like"
        return f"{self.mode:<9}{asked}; {self.fixed:,} looked at once"


def plan(effect: float, power: float, alpha: float, planned: int, share: float) -> list[Plan]:
    """Return how many outcomes shadow and split traffic take.

    Parameters
    ----------
    effect : float
        The difference of errors, in standard deviations: of the difference on a track in shadow traffic, of the error
        of a track in split traffic.
    power : float
        The probability to find it.
    alpha, planned : float, int
        As of `spotify_ml.live.sequential.margins`.
    share : float
        Of the units that the challenger answers.

    Raises
    ------
    ConfigError
        If statsmodels is not installed.
    """
    try:
        from statsmodels.stats.power import TTestIndPower, TTestPower
    except ImportError as error:
        raise ConfigError("config: live plan needs statsmodels; add it with `pip install -e '.[live]'`") from error
    asked = {"effect_size": effect, "power": power, "alpha": alpha}
    paired = float(TTestPower().solve_power(**asked))
    # The first is the challenger's side; of the champion's there are so many times as many.
    ratio = (1 - share) / share
    side = float(TTestIndPower().solve_power(**asked, ratio=ratio))
    return [
        Plan("shadow", int(np.ceil(paired)), sequential_size(effect, power, alpha, planned)),
        Plan(
            "split",
            int(np.ceil(side * (1 + ratio))),
            sequential_size(effect * np.sqrt(share * (1 - share)), power, alpha, planned),
        ),
    ]


def sequential_size(effect: float, power: float, alpha: float, planned: int) -> int:
    """Return after how many outcomes the bounds leave out zero with some power; without what depends on groups.

    At that number alone: who looks before it finds the difference with a little more.

    Examples
    --------
    >>> sequential_size(0.2, 0.8, 0.05, 500)
    377
    """
    chance = NormalDist().inv_cdf(power)

    def finds(n: int) -> bool:
        margin = float(margins(np.array([float(n)]), np.ones(1), alpha, planned)[0])
        return effect - margin >= chance / np.sqrt(n)

    low, high = 1, 2
    while not finds(high):
        low, high = high, 2 * high
        if high > _MOST:
            raise ConfigError(f"config: effect={effect:g} takes more than {_MOST:,} outcomes; name a larger one")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if finds(middle) else (middle, high)
    return high
