"""Everything one run came to."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import pandas as pd

from spotify_ml.data.etl import CleanTracks
from spotify_ml.data.quality import QualityReport
from spotify_ml.data.sources import RawFile
from spotify_ml.data.splits import Split
from spotify_ml.evaluation.bootstrap import Interval
from spotify_ml.evaluation.coverage import coverage_metrics
from spotify_ml.evaluation.evaluate import Evaluation
from spotify_ml.evaluation.explain import Explanation
from spotify_ml.evaluation.incomplete import pattern_metrics
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.popularity import PopularityModel


@dataclass(frozen=True)
class Result:
    """What the stages of a run gave, in their order.

    ``folds`` and ``baselines`` are empty where they were not asked for. ``intervals`` says how sure figures of the test
    rows are. ``model`` scores raw rows; ``coverage`` says how often its intervals hold the truth, and ``patterns`` how
    good it is for rows of which something is not known. ``threads`` are those of each worker that took part in each
    fit, on a cluster.
    """

    raw: RawFile
    tracks: CleanTracks
    quality: QualityReport
    split: Split
    subsets: Subsets
    fitted: FittedEstimators
    evaluation: Evaluation
    folds: list[dict[str, float]]
    baselines: dict[str, float]
    intervals: dict[str, Interval]
    model: PopularityModel
    coverage: pd.DataFrame
    patterns: pd.DataFrame
    explanation: Explanation
    threads: Sequence[Sequence[int]] | None = None

    def metrics(self) -> dict[str, float]:
        """Return every figure under its MLflow name; of folds, their mean and spread."""
        folds: dict[str, float] = {}
        for metric in set.intersection(*map(set, self.folds)) if self.folds else ():
            values = [fold[metric] for fold in self.folds]
            folds |= {f"cv/{metric}_mean": fmean(values), f"cv/{metric}_std": stdev(values)}
        ends = {
            f"test/{metric}_{end}": getattr(interval, end)
            for metric, interval in self.intervals.items()
            for end in ("lower", "upper")
        }
        return {
            **self.sizes(),
            **self.evaluation.metrics,
            **ends,
            **coverage_metrics(self.coverage),
            **pattern_metrics(self.patterns),
            **self.explanation.metrics(),
            **self.baselines,
            **dict(sorted(folds.items())),
        }

    def sizes(self) -> dict[str, float]:
        """Return the counts of a run under their metric names; ``rows/train`` is what the final model is fitted on."""
        trees = {} if self.fitted.n_trees is None else {"model/trees": float(self.fitted.n_trees)}
        return {
            "rows/raw": self.quality.raw_rows,
            "rows/clean": len(self.tracks.frame),
            "rows/train": len(self.split.trainval),
            "rows/val": len(self.split.validation),
            "rows/test": len(self.split.test),
            "groups/count": int(self.split.groups.max()) + 1,
            "features/count": self.subsets.trainval.features.shape[1],
            **trees,
        }
