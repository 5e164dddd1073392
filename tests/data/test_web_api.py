"""Tests of raw rows from the Web API's objects: every shape that the endpoints return, and what cannot be used."""

import copy
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spotify_ml.data.schema import AUDIO, NAMES
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.web_api import tracks_from_web_api
from spotify_ml.utils.errors import DataError

FEATURES = [name for name in AUDIO if name not in {"duration_ms", "explicit"}]
WRAPPED = {
    "list": lambda tracks: tracks,
    "several tracks": lambda tracks: {"tracks": [tracks[0], None, *tracks[1:]]},
    "search": lambda tracks: {"tracks": {"href": "https://…", "total": len(tracks), "items": tracks}},
    "playlist page": lambda tracks: {"items": [{"track": track, "is_local": False} for track in tracks]},
    "playlist page of 2026": lambda tracks: {"items": [{"item": track, "track": track} for track in tracks]},
    "whole playlist": lambda tracks: {"id": "p", "tracks": {"items": [{"track": track} for track in tracks]}},
    "whole playlist of 2026": lambda tracks: {"id": "p", "items": {"items": [{"item": track} for track in tracks]}},
    "entry without a track": lambda tracks: {"items": [{"track": None}, *({"track": track} for track in tracks)]},
    "several pages": lambda tracks: [{"tracks": tracks[:2]}, {"tracks": tracks[2:]}],
}


def objects(frame: pd.DataFrame) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Real tracks as the Web API would return them: tracks, their audio features, and their artists."""
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    artists = sorted({name for row in rows for name in row["artists"].split(";")})
    tracks = [
        {
            "type": "track",
            "id": row["track_id"],
            "name": row["track_name"],
            "artists": [{"type": "artist", "id": f"id of {name}", "name": name} for name in row["artists"].split(";")],
            "album": {"type": "album", "name": row["album_name"], "artists": []},
            **{name: row[name] for name in ("duration_ms", "explicit", "popularity")},
            # A playlist's track says so itself.
            "track": True,
            "episode": False,
        }
        for row in rows
    ]
    features = [{"id": row["track_id"], "type": "audio_features", **{n: row[n] for n in FEATURES}} for row in rows]
    genres = {name: row["track_genre"] for row in rows for name in row["artists"].split(";")}
    known = [{"id": f"id of {name}", "genres": [genres[name].replace("-", " ")], "name": name} for name in artists]
    return tracks, features, known


@pytest.fixture(scope="module")
def rows(sample: RawTracks) -> pd.DataFrame:
    frame = sample.frame.groupby("track_genre").head(2)
    return frame.drop_duplicates("track_id").reset_index(drop=True)


def test_a_real_track_comes_back_as_it_stands_in_the_dataset(rows: pd.DataFrame):
    tracks, features, artists = objects(rows)
    pd.testing.assert_frame_equal(tracks_from_web_api(tracks, features, artists), rows, check_dtype=False)


@pytest.mark.parametrize("shape", WRAPPED)
def test_every_shape_of_a_response_gives_the_same_rows(shape: str, rows: pd.DataFrame):
    tracks, features, artists = objects(rows)
    expected = tracks_from_web_api(tracks, features, artists)
    wrapped = tracks_from_web_api(
        WRAPPED[shape](tracks), {"audio_features": [None, *features[::-1]]}, {"artists": artists}
    )
    pd.testing.assert_frame_equal(wrapped, expected)


def test_what_is_not_known_is_empty(rows: pd.DataFrame):
    tracks, features, _ = objects(rows)
    for track in tracks:
        del track["popularity"]
    features[1]["tempo"] = None
    found = tracks_from_web_api(tracks, features[1:])
    assert found[FEATURES].isna().to_numpy().nonzero()[0].tolist() == [0] * len(FEATURES) + [1]
    assert found["popularity"].isna().all()
    assert found["track_genre"].isna().all()
    assert tracks_from_web_api(tracks, [])[FEATURES].isna().all(axis=None)


def test_features_are_joined_by_id_also_of_a_relinked_track(rows: pd.DataFrame):
    tracks, features, _ = objects(rows)
    tracks[0] = {**tracks[0], "id": "another", "linked_from": {"id": tracks[0]["id"]}}
    found = tracks_from_web_api([tracks[3], tracks[0], tracks[3]], features)
    np.testing.assert_array_equal(found["tempo"], rows["tempo"].iloc[[3, 0, 3]])
    assert found["track_id"].tolist() == [tracks[3]["id"], "another", tracks[3]["id"]]


def test_nothing_gives_no_rows_with_all_columns():
    found = tracks_from_web_api({"tracks": [None]}, {"audio_features": [None]})
    assert list(found.columns) == list(NAMES)
    assert len(found) == 0


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        pytest.param(
            lambda t, f: t[1].pop("album"), r"tracks: 1 of \d+ .*object 2 lacks album.name\)", id="simplified"
        ),
        pytest.param(lambda t, f: t[0].update(id=None), r"object 1 lacks id\).*local files", id="local file"),
        pytest.param(lambda t, f: t[0].update(artists=["A"]), r"lacks artists\[\]\.name", id="artists as text"),
        pytest.param(lambda t, f: f[2].pop("tempo"), r"audio_features: 1 of .*object 3 lacks tempo", id="no tempo"),
        pytest.param(lambda t, f: t[0]["artists"][0].update(name=None), r"lacks artists\[\]\.name", id="no name"),
        pytest.param(lambda t, f: f[0].update(id=["a"]), r"audio_features: 1 of .*lacks id", id="id no text"),
        pytest.param(lambda t, f: f[0].update(key="C"), r"key cannot be read", id="text in a number"),
        pytest.param(lambda t, f: t[0].update(explicit="false"), r"explicit cannot be read", id="text for a flag"),
        pytest.param(lambda t, f: [e.update(id="x") for e in f], r"none of 1 is of one of", id="other tracks"),
        pytest.param(lambda t, f: t.append("an id"), r"tracks: expected objects .*'an id'", id="no object"),
    ],
)
def test_objects_that_cannot_be_used_are_one_clear_error(broken, message: str, rows: pd.DataFrame):
    tracks, features, _ = copy.deepcopy(objects(rows))
    broken(tracks, features)
    with pytest.raises(DataError) as error:
        tracks_from_web_api(tracks, features)
    assert re.search(message, str(error.value))


@pytest.mark.parametrize("genres", [{}, {"genres": "pop"}, {"genres": [None]}], ids=["none", "text", "null"])
def test_artists_without_genres_are_refused(genres: dict[str, object], rows: pd.DataFrame):
    tracks, features, _ = objects(rows)
    with pytest.raises(DataError, match=r"artists: .*object 1 lacks genres"):
        tracks_from_web_api(tracks, features, [{**track["artists"][0], **genres} for track in tracks])


def test_isrcs_are_kept(rows: pd.DataFrame):
    tracks, features, _ = objects(rows)
    tracks[1]["external_ids"] = {"isrc": "USRC17607839"}
    found = tracks_from_web_api(tracks, features)
    assert list(found) == [*NAMES, "isrc"]
    assert found["isrc"].dropna().to_dict() == {1: "USRC17607839"}


def test_tracks_of_development_mode_have_no_popularity(rows: pd.DataFrame):
    tracks, features, _ = objects(rows)
    without = [{name: value for name, value in track.items() if name != "popularity"} for track in tracks]
    found, whole = tracks_from_web_api(without, features), tracks_from_web_api(tracks, features)
    assert found["popularity"].isna().all()
    pd.testing.assert_frame_equal(found.drop(columns="popularity"), whole.drop(columns="popularity"))


def test_features_of_reccobeats_are_joined_by_the_id_in_their_address(rows: pd.DataFrame):
    tracks, features, _ = objects(rows)
    own = [
        {
            **{name: value for name, value in each.items() if name not in ("id", "type", "time_signature")},
            "id": f"0000-{number}",
            "href": f"https://open.spotify.com/track/{each['id']}",
            "isrc": "USRC17607839",
        }
        for number, each in enumerate(features)
    ]
    found = tracks_from_web_api(tracks, {"content": own})
    expected = tracks_from_web_api(tracks, features)
    assert found["time_signature"].isna().all()
    pd.testing.assert_frame_equal(found.drop(columns="time_signature"), expected.drop(columns="time_signature"))
