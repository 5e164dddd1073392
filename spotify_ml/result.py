"""Everything one run came to."""

from dataclasses import dataclass

from spotify_ml.data.etl import CleanTracks
from spotify_ml.data.quality import QualityReport
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split
from spotify_ml.evaluation.evaluate import Evaluation
from spotify_ml.features.factory import Matrices
from spotify_ml.models.estimators import FittedEstimators


@dataclass(frozen=True)
class Result:
    """What the stages of a run gave, in their order."""

    raw: RawTracks
    tracks: CleanTracks
    quality: QualityReport
    split: Split
    matrices: Matrices
    fitted: FittedEstimators
    evaluation: Evaluation

    def sizes(self) -> dict[str, float]:
        """Return the counts of a run under their metric names; ``rows/train`` is what the final model is fitted on."""
        return {
            "rows/raw": len(self.raw.frame),
            "rows/clean": len(self.tracks.frame),
            "rows/train": len(self.split.fitting),
            "rows/val": len(self.split.validation),
            "rows/test": len(self.split.test),
            "groups/count": int(self.split.groups.max()) + 1,
            "features/count": self.matrices.fitting.features.shape[1],
            "model/trees": self.fitted.n_trees,
        }
