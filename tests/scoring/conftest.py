"""Small models of the sample for the tests of batch scoring, without a store."""

import pandas as pd
import pytest

from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.features.builder import build_subsets
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.targets import class_names
from tests.support import configured


def _model(sample: RawTracks, *overrides: str) -> PopularityModel:
    config = configured("model.n_estimators=10", "model.n_jobs=1", *overrides)
    tracks = clean(sample.frame, "tracks").frame
    matrices = build_subsets(config.features.name, tracks, split_tracks(tracks, config.split, config.seed), config.seed)
    final = fit_estimators(config.model, config.task, matrices, config.seed).refit
    return PopularityModel(matrices.transformer, final, class_names(config.task))


@pytest.fixture(scope="session")
def model(sample: RawTracks) -> PopularityModel:
    return _model(sample)


@pytest.fixture(scope="session")
def classifier(sample: RawTracks) -> PopularityModel:
    return _model(sample, "task=classification", "features=audio")


@pytest.fixture
def rows(sample: RawTracks) -> pd.DataFrame:
    return sample.frame.head(300).assign(note=[f'"{row}", say' for row in range(300)])
