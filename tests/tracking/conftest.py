"""One small registered model for the tests of what becomes of a version after its run."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from spotify_ml.config.run import TrackingConfig
from spotify_ml.data.sources import RawTracks
from spotify_ml.reports.summary import Summary
from spotify_ml.tracking.training import train
from tests.support import configured, new_store

MODEL = "spotify-popularity"
CHAMPION = f"models:/{MODEL}@champion"


@dataclass(frozen=True)
class Store:
    """A local store with one version, which is the champion."""

    folder: Path
    summary: Summary
    rows: pd.DataFrame

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def tracking(self) -> TrackingConfig:
        return TrackingConfig(
            uri=self.uri,
            artifact_location=str(self.folder / "artifacts"),
            experiment="spotify-popularity",
            registered_model=MODEL,
        )

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    @property
    def model(self) -> Path:
        """The folder of the version's files."""
        return Path(self.client.get_model_version_download_uri(MODEL, "1"))

    def at(self, folder: Path) -> "Store":
        """The same store, moved or copied to another folder."""
        return Store(folder, self.summary, self.rows)


@pytest.fixture(scope="session")
def store(sample: RawTracks, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that one small run was recorded in; its files are not to be changed."""
    root = tmp_path_factory.mktemp("registered")
    uri = new_store(root)
    overrides = [
        "model.n_jobs=1",
        "incomplete=true",
        "model.n_estimators=30",
        f"tracking.uri={uri}",
        f"tracking.artifact_location={root / 'artifacts'}",
    ]
    (root / "run").mkdir()
    summary = train(configured(*overrides), root / "run", overrides)
    store = Store(root, summary, sample.frame.drop(columns="popularity").head(50))
    store.client.set_registered_model_alias(MODEL, "champion", "1")
    return store
