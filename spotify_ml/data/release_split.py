"""The split by release date: fitted on what came out before a day, tested on what came later."""

import logging

import numpy as np
import pandas as pd

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.dates import Dates, day_of, day_text, parse_dates
from spotify_ml.utils.errors import DataError

log = logging.getLogger(__name__)


def split_by_release(
    tracks: pd.DataFrame, groups: np.ndarray, config: SplitConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the positions of train, validation and test rows, ascending.

    Test rows came out on ``config.cut`` or later, by default the last ``test_size`` of the groups by date; of the
    earlier ones, validation rows are those of the last ``val_size`` of the groups. Rows without a date, or with one
    that holds the cut, are in no part, nor are later copies of earlier rows.

    Parameters
    ----------
    tracks : DataFrame
        Clean tracks.
    groups : ndarray of int, shape (n_rows,)
        The recording that each row is a copy of.
    config : SplitConfig
        With ``name="release"``.

    Raises
    ------
    DataError
        If no track has a date, or a part would be empty.
    """
    if "release_date" not in tracks:
        raise DataError(
            "split=release needs release_date, of which the tracks have no value; add dates by data.join=…, or set "
            "split=recording or split=artist"
        )
    dates = parse_dates(tracks["release_date"])
    dated = dates.precision > 0
    if not dated.any():
        raise DataError("split=release: no track has a known release_date; set split=recording or split=artist")
    given = None if config.cut is None else day_of(config.cut)
    asked = f"split.test_size={config.test_size}" if given is None else f"split.cut={config.cut}"
    cut = _last(dates, groups, dated, config.test_size) if given is None else given
    rest, test = _sides(dates, groups, cut)
    watched = _last(dates, groups, rest & dated, config.val_size) if rest.any() else cut
    train, validation = _sides(dates, groups, watched, rest)
    parts = {"train": train, "validation": validation, "test": test}
    if empty := [name for name, rows in parts.items() if not rows.any()]:
        span = f"{day_text(np.nanmin(dates.first))} to {day_text(np.nanmax(dates.last))}"
        raise DataError(
            f"split=release {asked} split.val_size={config.val_size} leaves no {' and no '.join(empty)} rows: the "
            f"{int(dated.sum()):,} dated tracks are of {span}; choose another split.cut or size"
        )
    n_between = int((dated & ~(train | validation | test)).sum())
    log.info(
        "split=release: validated from %s, tested from %s; left out: %s tracks without a date, %s whose date holds "
        "such a day or that are copies of earlier ones",
        day_text(watched),
        day_text(cut),
        f"{int((~dated).sum()):,}",
        f"{n_between:,}",
    )
    return np.flatnonzero(train), np.flatnonzero(validation), np.flatnonzero(test)


def by_release(tracks: pd.DataFrame, groups: np.ndarray) -> np.ndarray:
    """Return groups numbered by their first release, those without a date first; the split tells if none has one."""
    if "release_date" not in tracks:
        return groups
    days = parse_dates(tracks["release_date"]).first
    first = np.full(groups.max() + 1, np.inf)
    np.fmin.at(first, groups, days)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(np.where(np.isinf(first), -np.inf, first), kind="stable")] = np.arange(len(first))
    return rank[groups]


def _last(dates: Dates, groups: np.ndarray, rows: np.ndarray, share: float) -> int:
    """Return the day from which on a share of the groups of some rows came out first."""
    first = np.full(groups.max() + 1, np.inf)
    np.minimum.at(first, groups[rows], dates.first[rows])
    return int(np.quantile(first[np.isfinite(first)], 1 - share, method="higher"))


def _sides(dates: Dates, groups: np.ndarray, cut: int, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of the rows before a day, and of those from it on that are no copies of these."""
    among = dates.precision > 0 if rows is None else rows
    before = among & (dates.last < cut)
    after = among & (dates.first >= cut)
    is_earlier = np.zeros(groups.max() + 1, dtype=bool)
    is_earlier[groups[among & (dates.first < cut)]] = True
    return before, after & ~is_earlier[groups]
