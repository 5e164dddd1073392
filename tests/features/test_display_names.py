"""Tests of the plain names of feature columns: every column has one, and those of a set differ."""

import pandas as pd
import pytest
from sklearn import config_context

from spotify_ml.data.etl import clean
from spotify_ml.data.schema import AUDIO, TARGET
from spotify_ml.data.sources import RawTracks
from spotify_ml.features.builder import build_features
from spotify_ml.features.display_names import FAMILIES, family, label
from tests.layouts import dated

FAMILIES_OF = {
    "full": set(FAMILIES) - {"release", "joined"},
    "further": set(FAMILIES) - {"joined"},
    "audio": {"audio"},
    "reference": {"audio", "genre"},
}


def _columns(name: str, tracks: pd.DataFrame) -> list[str]:
    features = build_features("full" if name == "further" else name, given=tracks.columns)
    with config_context(enable_metadata_routing=True):
        features.fit(tracks, tracks[TARGET].to_numpy())
    return list(features.get_feature_names_out())


@pytest.mark.parametrize("name", FAMILIES_OF)
def test_every_column_of_a_feature_set_has_a_name_of_its_own_and_a_family(sample: RawTracks, name: str):
    tracks = clean(sample.frame, "tracks").frame.head(2000)
    columns = _columns(name, dated(tracks).assign(collected=20_000.0) if name == "further" else tracks)
    labels = [label(column) for column in columns]
    assert len(set(labels)) == len(columns)
    assert not [text for text in labels if "_" in text]
    assert {family(column) for column in columns} == FAMILIES_OF[name]


@pytest.mark.parametrize(
    ("column", "text", "kind"),
    [
        ("artist_mean", "artist's other recordings: mean popularity", "artist"),
        ("artist_album_max", "album's other recordings: highest popularity", "album"),
        ("album_live", "album: says live", "text"),
        ("genres_count", "genre set's other recordings: number", "genre"),
        ("genre_drum-and-bass", "genre: drum-and-bass", "genre"),
        ("n_artists", "number of artists", "artist"),
        ("mood_energy_Sad/Low Energy", "mood: Sad/Low Energy", "audio"),
        ("time_signature", "time signature", "audio"),
        ("energy_squared", "energy, squared", "audio"),
    ],
)
def test_columns_are_named_for_people(column: str, text: str, kind: str):
    assert (label(column), family(column)) == (text, kind)


@pytest.mark.parametrize(
    ("column", "text", "kind"),
    [
        ("popularity_squared", "popularity squared", "audio"),
        ("title_emoji", "title emoji", "text"),
        ("artist_age", "artist age", "artist"),
        ("album_artist_median", "album artist median", "album"),
        ("n_top_genres", "n top genres", "genre"),
        ("new", "new", "audio"),
    ],
)
def test_a_new_column_is_told_by_its_own_name(column: str, text: str, kind: str):
    assert (label(column), family(column)) == (text, kind)


@pytest.mark.parametrize("name", FAMILIES_OF)
def test_no_column_of_a_feature_set_falls_back_to_its_own_name(sample: RawTracks, name: str):
    columns = _columns(name, clean(sample.frame, "tracks").frame.head(2000))
    derived = [column for column in columns if column not in AUDIO]
    assert [column for column in derived if label(column) == column.replace("_", " ")] == []
