"""The steps of a run that a backend carries out."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from spotify_ml.data.etl import CleanTracks
from spotify_ml.data.quality import QualityReport
from spotify_ml.data.sources import RawFile
from spotify_ml.data.splits import Split
from spotify_ml.evaluation.evaluate import Evaluation
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.fit import FittedEstimators


class Source(NamedTuple):
    """The clean tracks of a run, their raw file, and its quality report."""

    raw: RawFile
    tracks: CleanTracks
    quality: QualityReport


class Fit(NamedTuple):
    """The features of a run, the two fits, and their predictions.

    `threads` are those of each worker that took part in each of the two fits, on a cluster.
    """

    subsets: Subsets
    fitted: FittedEstimators
    evaluation: Evaluation
    threads: Sequence[Sequence[int]] | None = None


class Backend(Protocol):
    """Carries out the steps of a run, and takes the times of their stages.

    All steps raise a `SpotifyMLError` if the data or the split cannot be used.
    """

    def read(self) -> Source:
        """Read and clean the tracks."""

    def split(self, source: Source) -> Split:
        """Divide the tracks into train, validation and test rows."""

    def fit(self, source: Source, split: Split) -> Fit:
        """Build the features, fit on train rows and on trainval rows, and score every subset."""
