"""Two models side by side on the same tracks: figures, differences and genres."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.evaluation.bootstrap import Interval, bootstrap_differences, bootstrap_metrics
from spotify_ml.evaluation.by_group import errors_by_genre, row_errors
from spotify_ml.evaluation.metric_names import title
from spotify_ml.models.targets import Task

_SIDES = ("model", "rival")
_MEGABYTE = 1e6
_MILLISECOND = 1e-3


@dataclass(frozen=True)
class Contender:
    """What a model says of the tracks that it is compared on: popularity, or the probability of each class.

    ``incomplete_error`` is the error that it is fitted by, for the same tracks without names and genre. A baseline has
    none, no size of files and no time to score a track, of many at once.
    """

    name: str
    predicted: np.ndarray
    incomplete_error: float | None = None
    n_bytes: int | None = None
    row_seconds: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A model and its rival on the same tracks.

    ``figures`` are by metric those of the ``model``, of the ``rival``, and their ``difference`` (model less rival).
    ``genres`` has the error of each genre with enough tracks, most deteriorated first: ``tracks``, ``model``, ``rival``
    and ``difference``.
    """

    model: Contender
    rival: Contender
    n_tracks: int
    n_groups: int
    confidence: float
    figures: dict[str, dict[str, Interval]]
    genre_metric: str
    genres: pd.DataFrame

    def rows(self) -> list[tuple[str, ...]]:
        """Return the comparison as a table: what, of the model, of the rival, and the difference."""
        both = self.model, self.rival
        table = [("", self.model.name, self.rival.name, f"difference, {self.confidence:.0%} interval")]
        for name, of in self.figures.items():
            difference = of["difference"]
            interval = f"{difference.value:+.4f} ({difference.lower:+.4f} to {difference.upper:+.4f})"
            table.append((title(name), f"{of['model'].value:.4f}", f"{of['rival'].value:.4f}", interval))
        if len(self.genres):
            model, rival = (f"{self.genres[of].max():.4f} {self.genres[of].idxmax()}" for of in _SIDES)
            change = f"{self.genres['difference'].iloc[0]:+.4f} in {self.genres.index[0]}"
            table.append((f"worst genre, {title(self.genre_metric)}", model, rival, change))
        sizes = ("" if each.n_bytes is None else f"{each.n_bytes / _MEGABYTE:.2f} MB" for each in both)
        times = ("" if each.row_seconds is None else f"{each.row_seconds / _MILLISECOND:.4f} ms" for each in both)
        return [*table, ("size", *sizes, ""), ("time a track", *times, "")]

    def metrics(self) -> dict[str, float]:
        """Return every figure under the name that it is recorded by."""
        values = {"rows/compared": float(self.n_tracks), "groups/compared": float(self.n_groups)}
        for name, figures in self.figures.items():
            for of, interval in figures.items():
                values[f"{of}/{name}"] = interval.value
                values |= {f"{of}/{name}_{end}": getattr(interval, end) for end in ("lower", "upper")}
        if len(self.genres):
            worst = self.genres[[*_SIDES, "difference"]].max()
            values |= {f"{of}/worst_genre_{self.genre_metric}": float(error) for of, error in worst.items()}
        for of, contender in zip(_SIDES, (self.model, self.rival), strict=True):
            if contender.n_bytes is not None:
                values[f"{of}/bytes"] = float(contender.n_bytes)
            if contender.row_seconds is not None:
                values[f"{of}/row_ms"] = contender.row_seconds / _MILLISECOND
        return values

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as what JSON can say."""
        return {
            **{
                of: {"name": each.name, "bytes": each.n_bytes, "row_seconds": each.row_seconds}
                for of, each in zip(_SIDES, (self.model, self.rival), strict=True)
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
    """Compare a model with its rival on clean tracks that neither was fitted on.

    Groups, shape (n_tracks,), are resampled as a whole, by the seed. Genres of fewer than `genre_tracks` are left out.
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
