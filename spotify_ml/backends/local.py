"""A run in this process: features in memory, or in files."""

from spotify_ml.backends.base import Fit, Source
from spotify_ml.config.run import RunConfig
from spotify_ml.data.cache import StageCache
from spotify_ml.data.prepare import prepare_split, prepare_tracks
from spotify_ml.data.splits import Split
from spotify_ml.evaluation.evaluate import evaluate
from spotify_ml.features.prepare import prepare_matrices
from spotify_ml.features.subsets import Subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.utils.timing import Stopwatch


class LocalBackend:
    """Carries out the steps of a run in this process; see `spotify_ml.backends.base.Backend`."""

    def __init__(self, config: RunConfig, clock: Stopwatch) -> None:
        self._config, self._clock = config, clock
        self._cache = StageCache.of(config.cache)

    def read(self) -> Source:
        """Read and clean the tracks, or take them from the cache."""
        with self._clock.stage("etl"):
            return Source(*prepare_tracks(self._config, self._cache))

    def split(self, source: Source) -> Split:
        """Divide the tracks, or take the split from the cache."""
        with self._clock.stage("split"):
            return prepare_split(self._config, source.raw, source.tracks.frame, self._cache)

    def subsets(self, source: Source, split: Split) -> Subsets:
        """Build the features of every subset, or take them from the cache."""
        with self._clock.stage("features"):
            return prepare_matrices(self._config, source.raw, source.tracks.frame, split, self._cache)

    def fit(self, source: Source, split: Split) -> Fit:
        """Build the features, fit, and score every subset."""
        config, subsets = self._config, self.subsets(source, split)
        with self._clock.stage("fit"):
            fitted = fit_estimators(config.model, config.task, subsets, config.seed)
        with self._clock.stage("evaluate"):
            return Fit(subsets, fitted, evaluate(fitted, subsets, source.tracks.frame, config.task))
