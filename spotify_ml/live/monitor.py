"""Drift: what a version was fitted on as a profile, and how far live traffic has moved from it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.data.names import normal_genre
from spotify_ml.data.schema import AUDIO, LIST_SEPARATOR
from spotify_ml.live.assignment import artist_hash
from spotify_ml.live.observed import LiveLog, Observed, numbers_of

_BINS = 10
# A bin without a row would make the index infinite.
_LEAST = 1e-4
PREDICTION = "prediction"
FILE = "live_profile.json"


@dataclass(frozen=True)
class ColumnProfile:
    """A column of numbers: the inner edges of its bins, the share of rows in each, and the share missing."""

    edges: list[float]
    shares: list[float]
    missing: float


@dataclass(frozen=True)
class Profile:
    """What a version was fitted on: each input column, its genres and artists, and its predictions of test tracks.

    Artists are in the hashes of a log, whose key has the digest ``key_id``: they say nothing to who has not the key.
    """

    n_rows: int
    columns: dict[str, ColumnProfile]
    genres: dict[str, float]
    artists: list[str]
    key_id: str
    predictions: ColumnProfile | None = None

    def as_json(self) -> str:
        """Return the profile as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> "Profile":
        """Read what `as_json` returned; raises `ValueError`, `TypeError` or `KeyError` of anything else."""
        told = json.loads(text)
        columns = {name: ColumnProfile(**each) for name, each in told.pop("columns").items()}
        predictions = told.pop("predictions")
        return cls(columns=columns, predictions=None if predictions is None else ColumnProfile(**predictions), **told)


@dataclass(frozen=True)
class Drift:
    """How far a column has moved: its index, shares missing before and now, and whether that would have mattered.

    ``importance`` is the column's share of the champion's gain, ``errors`` its RMSE where there are more rows than
    before, and elsewhere; None where nothing is known.
    """

    column: str
    psi: float
    missing_before: float
    missing: float
    importance: float | None = None
    errors: tuple[float, float] | None = None


@dataclass(frozen=True)
class DriftReport:
    """How far live traffic has moved, the farthest columns first, and what was never seen before."""

    n_rows: int
    columns: list[Drift]
    unseen_genres: float
    unseen_artists: float
    out_of_range: float
    psi_limit: float
    said: str = ""
    novelty: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def moved(self) -> list[Drift]:
        """The columns that have moved by more than the limit."""
        return [each for each in self.columns if each.psi >= self.psi_limit]

    def metrics(self) -> dict[str, float]:
        """Return every figure under the name that it is recorded by."""
        shares = {"unseen_genres": self.unseen_genres, "unseen_artists": self.unseen_artists}
        return {f"drift/{each.column}": each.psi for each in self.columns} | {
            f"drift/{name}": value for name, value in shares.items()
        }


def profile_of(tracks: pd.DataFrame, predictions: np.ndarray | None, key: bytes) -> Profile:
    """Return the profile of tracks that a version was fitted on, and of its predictions of test tracks.

    Parameters
    ----------
    tracks : DataFrame
        Clean tracks.
    predictions : ndarray or None
        Of test tracks.
    key : bytes
        Of the hashes of artists in the log.
    """
    genres = _genres(tracks["track_genre"])
    return Profile(
        len(tracks),
        {name: _profile(tracks[name].to_numpy(np.float64, na_value=np.nan)) for name in AUDIO if name in tracks},
        {str(name): float(share) for name, share in genres.value_counts(normalize=True).items()},
        sorted({each for name in tracks["artists"].dropna().unique() if (each := artist_hash(name, key))}),
        key_id(key),
        None if predictions is None else _profile(predictions),
    )


def key_id(key: bytes) -> str:
    """Return what tells a key from others, and does not tell the key."""
    return hashlib.sha256(b"spotify_ml live key " + key).hexdigest()[:16]


def drift(
    log: LiveLog,
    observed: Observed,
    profile: Profile,
    since: float,
    psi_limit: float,
    importance: Mapping[str, float],
) -> DriftReport:
    """Return how far the rows of a window have moved from a profile.

    Parameters
    ----------
    log, observed : LiveLog, Observed
        What was predicted, and observed.
    profile : Profile
        Of what the champion was fitted on.
    since : float
        The beginning of the window.
    psi_limit : float
        The index from which on a column has moved.
    importance : mapping of str to float
        The share of the model's gain of each column.
    """
    rows = log.answered[log.answered["at"] >= since]
    numbers, with_outcome = numbers_of(rows), numbers_of(observed.frame)
    squares = _champion_squares(observed)
    found = []
    for name, before in profile.columns.items():
        shares, missing = _shares(numbers[name].to_numpy(), before.edges)
        errors = _errors_where_more(with_outcome[name].to_numpy(), squares, before, shares)
        psi = stability_index(np.array(before.shares), shares)
        found.append(Drift(name, psi, before.missing, missing, importance.get(name), errors))
    if profile.predictions is not None:
        shares, missing = _shares(rows["prediction"].to_numpy(np.float64), profile.predictions.edges)
        psi = stability_index(np.array(profile.predictions.shares), shares)
        found.append(Drift(PREDICTION, psi, profile.predictions.missing, missing))
    genres, artists = rows["genre"].map(_genre), set(profile.artists)
    is_unseen = ~rows["artist_group"].isin(artists) & rows["artist_group"].notna()
    return DriftReport(
        len(rows),
        sorted(found, key=lambda each: -each.psi),
        float((~genres.isin(set(profile.genres)) & genres.notna()).mean()) if len(rows) else 0.0,
        float(is_unseen.mean()) if len(rows) else 0.0,
        float((rows["out_of_range"].fillna("") != "").mean()) if len(rows) else 0.0,
        psi_limit,
        novelty=_by_novelty(observed, artists, squares),
    )


def stability_index(before: np.ndarray, now: np.ndarray) -> float:
    """Return the population stability index of two distributions over the same bins.

    Examples
    --------
    >>> stability_index(np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    0.0
    """
    first, second = np.maximum(before, _LEAST), np.maximum(now, _LEAST)
    return float(((second - first) * np.log(second / first)).sum())


def _profile(values: np.ndarray) -> ColumnProfile:
    known = values[np.isfinite(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])).tolist() if len(known) else []
    shares, missing = _shares(values, edges)
    return ColumnProfile(edges, shares.tolist(), missing)


def _shares(values: np.ndarray, edges: list[float]) -> tuple[np.ndarray, float]:
    """Return the share of known values in each bin, and that of all values which are missing."""
    known = values[np.isfinite(values)]
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    return counts / max(len(known), 1), 1 - len(known) / max(len(values), 1)


def _champion_squares(observed: Observed) -> np.ndarray:
    """Return the squared errors of the version that is champion, NaN where it did not predict."""
    return ((observed.frame["champion"] - observed.frame["popularity"]) ** 2).to_numpy(np.float64)


def _errors_where_more(
    values: np.ndarray, squares: np.ndarray, before: ColumnProfile, shares: np.ndarray
) -> tuple[float, float] | None:
    """Return the RMSE in the bins that hold more rows than before, and in the others."""
    known = np.isfinite(values) & np.isfinite(squares)
    is_more = (shares > np.array(before.shares))[np.searchsorted(before.edges, values[known], side="left")]
    parts = squares[known][is_more], squares[known][~is_more]
    if not all(map(len, parts)):
        return None
    more, others = (float(np.sqrt(each.mean())) for each in parts)
    return more, others


def _by_novelty(observed: Observed, artists: set[str], squares: np.ndarray) -> dict[str, dict[str, float]]:
    is_known = observed.frame["artist_group"].isin(artists).to_numpy()
    challenger = ((observed.frame["challenger"] - observed.frame["popularity"]) ** 2).to_numpy(np.float64)
    found = {}
    for name, where in (("artist known", is_known), ("artist not known", ~is_known)):
        if where.any():
            found[name] = {"tracks": float(where.sum()), **_rmse(squares[where], challenger[where])}
    return found


def _rmse(champion: np.ndarray, challenger: np.ndarray) -> dict[str, float]:
    pairs: dict[str, np.ndarray] = {"champion": champion, "challenger": challenger}
    return {
        name: float(np.sqrt(each[np.isfinite(each)].mean())) for name, each in pairs.items() if np.isfinite(each).any()
    }


def by_genre(observed: Observed, fewest: int) -> pd.DataFrame:
    """Return the RMSE of both versions by genre, of those with so many outcomes, most outcomes first."""
    frame = observed.frame
    squares = {role: (frame[role] - frame["popularity"]) ** 2 for role in ("champion", "challenger")}
    listed = pd.DataFrame({"genre": frame["genre"].fillna("").str.split(LIST_SEPARATOR), **squares}).explode("genre")
    grouped = listed[listed["genre"] != ""].groupby("genre")
    found = grouped[["champion", "challenger"]].mean().pow(0.5).assign(tracks=grouped.size())
    return found[found["tracks"] >= fewest].sort_values("tracks", ascending=False, kind="stable")


def _genres(values: pd.Series) -> pd.Series:
    return values.dropna().astype(str).str.split(LIST_SEPARATOR).explode().map(normal_genre)


def _genre(value: Any) -> str | None:
    return None if not isinstance(value, str) or not value else normal_genre(value.split(LIST_SEPARATOR)[0])
