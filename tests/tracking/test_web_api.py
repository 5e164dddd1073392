"""Test of Spotify's own JSON with a registered model."""

import numpy as np

from spotify_ml import load_model
from spotify_ml.data.web_api import tracks_from_web_api
from tests.tracking.conftest import CHAMPION, Store

TRACK = {
    "id": "2x9RdAqNHVBKkCHDXg1HKe",
    "name": "A Title",
    "artists": [{"id": "3WcUjDhKZm1mZJmPsAHDJY", "name": "One"}],
    "album": {"name": "An Album"},
    "duration_ms": 201340,
    "explicit": False,
}
FEATURES = {
    **{"id": TRACK["id"], "danceability": 0.61, "energy": 0.72, "key": 9, "loudness": -6.1, "mode": 0},
    **{"speechiness": 0.04, "acousticness": 0.12, "instrumentalness": 0.0, "liveness": 0.1, "valence": 0.43},
    **{"tempo": 121.9, "time_signature": 4},
}


def test_objects_of_the_web_api_are_scored_with_and_without_audio_features(store: Store):
    rows = tracks_from_web_api([TRACK, {**TRACK, "id": "unknown"}], [FEATURES])
    predicted = load_model(CHAMPION, store.uri).predict(rows)
    assert np.isfinite(predicted).all()
    assert ((predicted >= 0) & (predicted <= 100)).all()
    assert predicted[0] != predicted[1]
