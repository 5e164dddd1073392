"""Tests of the baselines against implementations too plain to be wrong."""

from statistics import mean

import numpy as np
import pandas as pd
import pytest

from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.evaluation.baselines import predict_genre_mean, predict_mean


def tracks(*genres: str | None) -> pd.DataFrame:
    return pd.DataFrame({"track_genre": pd.array(genres, dtype="str")})


def plain_genre_mean(fitting: pd.DataFrame, popularity: np.ndarray, wanted: pd.DataFrame) -> list[float]:
    """Mean of the means of a track's known genres; the overall mean where none is known."""
    known: dict[str, list[float]] = {}
    for genres, value in zip(fitting["track_genre"], popularity, strict=True):
        for genre in genres.split(";"):
            known.setdefault(genre, []).append(value)
    return [
        mean([mean(known[genre]) for genre in genres.split(";") if genre in known] or [popularity.mean()])
        for genres in wanted["track_genre"]
    ]


def test_mean_is_that_of_the_fitting_rows():
    np.testing.assert_allclose(predict_mean(np.array([10.0, 20.0, 60.0]), 2), [30, 30])


@pytest.mark.parametrize(
    ("genre", "expected"),
    [
        ("pop", 30.0),
        ("rock", 70.0),
        ("jazz", 5.0),
        ("pop;rock", 50.0),
        ("rock;pop", 50.0),
        ("jazz;pop;rock", 35.0),
        ("unheard", 36.25),
        ("pop;unheard", 30.0),
        ("unheard;unseen", 36.25),
        ("", 36.25),
        (None, 36.25),
    ],
)
def test_values_worked_out_by_hand(genre: str | None, expected: float):
    fitting = tracks("pop", "pop;rock", "rock", "jazz")
    # pop: 0 and 60; rock: 60 and 80; jazz: 5.
    popularity = np.array([0.0, 60.0, 80.0, 5.0])
    assert predict_genre_mean(fitting, popularity, tracks(genre)).tolist() == [pytest.approx(expected)]


@pytest.mark.parametrize("cleaning", ["tracks", "rows"])
def test_agrees_with_the_plain_implementation_on_the_sample(sample: RawTracks, cleaning: str):
    frame = clean(sample.frame, cleaning).frame
    shuffled = frame.sample(frac=1, random_state=0)
    # One genre is never seen in fitting.
    missing = frame["track_genre"].iloc[0].split(";")[0]
    fitting = shuffled[~shuffled["track_genre"].str.contains(missing, regex=False)].head(3000)
    wanted = shuffled.tail(1500)
    assert wanted["track_genre"].str.contains(missing, regex=False).any()
    popularity = fitting["popularity"].to_numpy(dtype=float)
    expected = plain_genre_mean(fitting, popularity, wanted)
    np.testing.assert_allclose(predict_genre_mean(fitting, popularity, wanted), expected)


def test_wanted_popularity_is_not_looked_at(sample: RawTracks):
    frame = clean(sample.frame, "tracks").frame
    fitting, wanted = frame.iloc[:4000], frame.iloc[4000:]
    popularity = fitting["popularity"].to_numpy(dtype=float)
    blind = predict_genre_mean(fitting, popularity, wanted.drop(columns="popularity"))
    np.testing.assert_array_equal(blind, predict_genre_mean(fitting, popularity, wanted))
