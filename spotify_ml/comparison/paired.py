"""Two models side by side on the same tracks: figures, differences and genres."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.evaluation.bootstrap import Interval, bootstrap_differences, bootstrap_metrics
from spotify_ml.evaluation.by_group import row_errors
from spotify_ml.evaluation.genres import errors_by_genre
from spotify_ml.evaluation.metric_names import title
from spotify_ml.models.targets import Task

_MEGABYTE = 1e6
_MILLISECOND = 1e-3


@dataclass(frozen=True)
class Contender:
    """What a model says of the tracks that it is compared on.

    Attributes
    ----------
    name : str
        What to call it.
    predicted : ndarray of float, shape (n_tracks,) or (n_tracks, n_classes)
        Popularity, or the probability of each class.
    n_bytes : int or None
        The size of its files; None of a baseline.
    row_seconds : float or None
        How long it takes to score a track, of many at once; None of a baseline.
    """

    name: str
    predicted: np.ndarray
    n_bytes: int | None = None
    row_seconds: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A model and its rival on the same tracks.

    Attributes
    ----------
    model, rival : Contender
        Both.
    n_tracks, n_groups : int
        How many tracks, of how many groups.
    confidence : float
        Of the intervals.
    figures : dict of str to dict of str to Interval
        By metric: of the ``model``, of the ``rival``, and their ``difference`` (model less rival).
    genre_metric : str
        The error that genres are compared by.
    genres : DataFrame
        By genre with enough tracks, most deteriorated first: ``tracks``, ``model``, ``rival`` and ``difference``.
    """

    model: Contender
    rival: Contender
    n_tracks: int
    n_groups: int
    confidence: float
    figures: dict[str, dict[str, Interval]]
    genre_metric: str
    genres: pd.DataFrame

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the comparison as a table: what, of the model, of the rival, and the difference."""
        percent = f"{self.confidence:.0%}"
        table = [("", self.model.name, self.rival.name, f"difference, {percent} interval")]
        for name, of in self.figures.items():
            difference = of["difference"]
            interval = f"{difference.value:+.4f} ({difference.lower:+.4f} to {difference.upper:+.4f})"
            table.append((title(name), f"{of['model'].value:.4f}", f"{of['rival'].value:.4f}", interval))
        if len(self.genres):
            worst = next(iter(self.genres.index))
            change = f"{self.genres['difference'].iloc[0]:+.4f} in {worst}"
            table.append(
                (f"worst genre, {title(self.genre_metric)}", self._worst("model"), self._worst("rival"), change)
            )
        table.append(("size", _size(self.model), _size(self.rival), ""))
        table.append(("time a track", _time(self.model), _time(self.rival), ""))
        return table

    def _worst(self, of: str) -> str:
        return f"{self.genres[of].max():.4f} {self.genres[of].idxmax()}"

    def metrics(self) -> dict[str, float]:
        """Return every figure under the name that it is recorded by."""
        values = {"rows/compared": float(self.n_tracks), "groups/compared": float(self.n_groups)}
        for name, figures in self.figures.items():
            for of, interval in figures.items():
                values |= {
                    f"{of}/{name}": interval.value,
                    f"{of}/{name}_lower": interval.lower,
                    f"{of}/{name}_upper": interval.upper,
                }
        for of, contender in (("model", self.model), ("rival", self.rival)):
            if len(self.genres):
                values[f"{of}/worst_genre_{self.genre_metric}"] = float(self.genres[of].max())
            if contender.n_bytes is not None:
                values[f"{of}/bytes"] = float(contender.n_bytes)
            if contender.row_seconds is not None:
                values[f"{of}/row_ms"] = contender.row_seconds / _MILLISECOND
        if len(self.genres):
            values[f"difference/worst_genre_{self.genre_metric}"] = float(self.genres["difference"].max())
        return values

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as what JSON can say."""
        return {
            **{
                of: {"name": each.name, "bytes": each.n_bytes, "row_seconds": each.row_seconds}
                for of, each in (("model", self.model), ("rival", self.rival))
            },
            "tracks": self.n_tracks,
            "groups": self.n_groups,
            "confidence": self.confidence,
            "figures": {
                name: {of: asdict(interval) for of, interval in figures.items()}
                for name, figures in self.figures.items()
            },
            "genres": {"metric": self.genre_metric, "table": self.genres.reset_index().to_dict("records")},
        }


def compare_pair(
    task: Task,
    tracks: pd.DataFrame,
    groups: np.ndarray,
    model: Contender,
    rival: Contender,
    *,
    seed: int,
    confidence: float,
    genre_tracks: int,
) -> Comparison:
    """Compare a model with its rival.

    Parameters
    ----------
    task : RegressionConfig or ClassificationConfig
        What both predict.
    tracks : DataFrame
        Clean tracks that neither was fitted on.
    groups : ndarray of int, shape (n_tracks,)
        Their groups, which are resampled as a whole.
    model, rival : Contender
        What they say of the tracks.
    seed : int
        Of the resamples.
    confidence : float
        Of the intervals.
    genre_tracks : int
        Genres with fewer tracks are left out.
    """
    popularity = tracks["popularity"].to_numpy(dtype=np.float64)
    options: dict[str, Any] = {"seed": seed, "confidence": confidence}
    own = [bootstrap_metrics(task, popularity, each.predicted, groups, **options) for each in (model, rival)]
    differences = bootstrap_differences(task, popularity, model.predicted, rival.predicted, groups, **options)
    errors = [row_errors(task, popularity, each.predicted) for each in (model, rival)]
    error = next(iter(errors[0]))
    by_genre = [errors_by_genre(tracks["track_genre"], each, groups, genre_tracks) for each in errors]
    genres = pd.DataFrame({"tracks": by_genre[0]["tracks"], "model": by_genre[0][error], "rival": by_genre[1][error]})
    genres["difference"] = genres["model"] - genres["rival"]
    # Predictions that are no numbers have no error; that they are none is another condition.
    genres = genres.dropna()
    return Comparison(
        model,
        rival,
        len(tracks),
        len(np.unique(groups)),
        confidence,
        {
            name: {"model": own[0][name], "rival": own[1][name], "difference": difference}
            for name, difference in differences.items()
        },
        error,
        genres.sort_values("difference", ascending=False, kind="stable").rename_axis("genre"),
    )


def _size(contender: Contender) -> str:
    return "" if contender.n_bytes is None else f"{contender.n_bytes / _MEGABYTE:.2f} MB"


def _time(contender: Contender) -> str:
    return "" if contender.row_seconds is None else f"{contender.row_seconds / _MILLISECOND:.4f} ms"
