"""Raw rows from the JSON of Spotify's Web API: track objects joined with their audio features."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from spotify_ml.data.schema import AUDIO, EXAMPLES, LIST_SEPARATOR, NAMES, TARGET, TEXT
from spotify_ml.utils.errors import DataError

# What the endpoints wrap their objects in; a playlist's entries say `item` since 2026, and `track` before.
_WRAPPERS = {
    "tracks": ("tracks", "items", "item", "track"),
    # ReccoBeats says `content`.
    "audio_features": ("audio_features", "content"),
    "artists": ("artists", "items"),
}
_OF_TRACK = ("duration_ms", "explicit")
_FEATURES = tuple(name for name in AUDIO if name not in _OF_TRACK)
# ReccoBeats has an id of its own, and that of Spotify in an address.
_SPOTIFY_ADDRESS = re.compile(r"open\.spotify\.com/track/(\w+)")
_NOT_OF_ALL = ("time_signature",)


def tracks_from_web_api(tracks: Any, audio_features: Any, artists: Any = None) -> pd.DataFrame:
    """Turn objects of Spotify's Web API into raw rows, as the registered model takes them.

    Returned is one row per track, in their order, with the columns of the raw dataset, and ``release_date`` and
    ``isrc`` if a track has one. ``popularity`` is NaN and ``track_genre`` empty where they are not given. Spotify gives
    audio features to no application registered, or in development mode, after 27 November 2024, and popularity to none
    in development mode since 9 March 2026.

    Parameters
    ----------
    tracks : parsed JSON
        Full track objects: a list, a whole response (``{"tracks": […]}``), the pages of a playlist
        (``{"items": [{"track": {…}}, …]}``), or a list of any of these. Null entries are left out.
    audio_features : parsed JSON
        Audio-features objects, in any order: a list, a response (``{"audio_features": […]}``), or a list of these; also
        those of ReccoBeats (``{"content": […]}``), which have no ``time_signature``. Of a track that has none, those
        columns are NaN: a model scores it, but knows less.
    artists : parsed JSON, optional
        Artist objects, whose genres become ``track_genre``, written with hyphens as in the dataset.

    Raises
    ------
    DataError
        If an object lacks what a row needs, or none of the audio features belong to any of the tracks.

    Examples
    --------
    >>> tracks = {"tracks": [{
    ...     "id": "2x9RdAqNHVBKkCHDXg1HKe", "name": "A Title", "duration_ms": 201340, "explicit": False,
    ...     "popularity": 61, "album": {"name": "An Album"},
    ...     "artists": [
    ...         {"id": "3WcUjDhKZm1mZJmPsAHDJY", "name": "One"},
    ...         {"id": "0b1oCRsYUmOc1tAuOfPCVb", "name": "Two"},
    ...     ],
    ... }, None]}
    >>> features = {"audio_features": [{
    ...     "id": "2x9RdAqNHVBKkCHDXg1HKe", "danceability": 0.61, "energy": 0.72, "key": 9, "loudness": -6.1, "mode": 0,
    ...     "speechiness": 0.04, "acousticness": 0.12, "instrumentalness": 0.0, "liveness": 0.1, "valence": 0.43,
    ...     "tempo": 121.9, "time_signature": 4, "duration_ms": 201341,
    ... }]}
    >>> artists = {"artists": [{"id": "3WcUjDhKZm1mZJmPsAHDJY", "name": "One", "genres": ["hip hop", "pop"]}]}
    >>> row = tracks_from_web_api(tracks, features, artists).iloc[0]
    >>> row["artists"], row["track_genre"], float(row["tempo"])
    ('One;Two', 'hip-hop;pop', 121.9)
    """
    found = list(_objects(tracks, "tracks"))
    _check("tracks", [_lacking_of_track(track) for track in found])
    own = _features_of(found, audio_features)
    genres = None if artists is None else _genres(artists)
    columns = {
        "track_id": [track["id"] for track in found],
        "artists": [LIST_SEPARATOR.join(artist["name"] for artist in track["artists"]) for track in found],
        "album_name": [track["album"]["name"] for track in found],
        "track_name": [track["name"] for track in found],
        TARGET: [track.get("popularity") for track in found],
        **{name: [track[name] for track in found] for name in _OF_TRACK},
        **{name: [each.get(name) for each in own] for name in _FEATURES},
        "track_genre": [None if genres is None else _joined(track, genres) for track in found],
    }
    return _with_further(pd.DataFrame({name: _typed(name, columns[name]) for name in NAMES}), found)


def _with_further(rows: pd.DataFrame, tracks: list[Mapping[str, Any]]) -> pd.DataFrame:
    further = {
        "release_date": [track["album"].get("release_date") for track in tracks],
        "isrc": [(track.get("external_ids") or {}).get("isrc") for track in tracks],
    }
    return rows.assign(**{name: pd.Series(values, dtype="str") for name, values in further.items() if any(values)})


def _features_of(tracks: list[Mapping[str, Any]], audio_features: Any) -> list[Mapping[str, Any]]:
    """Return the audio features of each track, empty where there are none."""
    features = list(_objects(audio_features, "audio_features"))
    _check("audio_features", [_lacking_of_features(each) for each in features])
    known = {_spotify_id(each): each for each in features}
    own = [_own_features(track, known) for track in tracks]
    if tracks and known and not any(own):
        raise DataError(
            f"audio_features: none of {len(known)} is of one of the {len(tracks)} tracks; ask for those of the same ids"
        )
    return own


def _spotify_id(features: Mapping[str, Any]) -> str:
    found = _SPOTIFY_ADDRESS.search(str(features.get("href")))
    return found[1] if found else str(features["id"])


def _objects(given: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a response, whatever they are wrapped in."""
    if given is None:
        return
    if isinstance(given, Mapping):
        # A full track has an own key `track`, true or false, where it comes from a playlist.
        inner = (given[key] for key in _WRAPPERS[kind] if isinstance(given.get(key), Mapping | list))
        wrapped = next(inner, None)
        if wrapped is not None:
            yield from _objects(wrapped, kind)
        elif not _is_empty_entry(given, kind):
            yield given
    elif isinstance(given, Iterable) and not isinstance(given, str | bytes):
        for each in given:
            yield from _objects(each, kind)
    else:
        raise DataError(f"{kind}: expected objects as json.loads gives them, not {str(given)[:60]!r}")


def _is_empty_entry(given: Mapping[str, Any], kind: str) -> bool:
    """Tell a playlist's entry for a track that is no longer there."""
    return any(key in given and given[key] is None for key in _WRAPPERS[kind])


def _lacking_of_track(track: Mapping[str, Any]) -> list[str]:
    lacking = _lacking_id(track) + [name for name in ("name", *_OF_TRACK) if track.get(name) is None]
    artists, album = track.get("artists"), track.get("album")
    if not isinstance(artists, list) or not all(
        isinstance(each, Mapping) and isinstance(each.get("name"), str) for each in artists
    ):
        lacking.append("artists[].name")
    if not isinstance(album, Mapping) or "name" not in album:
        lacking.append("album.name")
    return lacking


def _lacking_id(each: Mapping[str, Any]) -> list[str]:
    return [] if isinstance(each.get("id"), str) else ["id"]


def _lacking_of_features(features: Mapping[str, Any]) -> list[str]:
    return _lacking_id(features) + [name for name in _FEATURES if name not in features and name not in _NOT_OF_ALL]


def _lacking_of_artist(artist: Mapping[str, Any]) -> list[str]:
    genres = artist.get("genres")
    known = isinstance(genres, list) and all(isinstance(genre, str) for genre in genres)
    return _lacking_id(artist) + ([] if known else ["genres"])


def _check(kind: str, lacking: list[list[str]]) -> None:
    broken = [position for position, names in enumerate(lacking) if names]
    if broken:
        examples = "; ".join(f"object {place + 1} lacks {', '.join(lacking[place])}" for place in broken[:EXAMPLES])
        hint = {
            "tracks": "give full track objects, as GET /tracks/{id} returns them; leave out episodes and local files",
            "audio_features": "give audio-features objects, as GET /audio-features returns them",
            "artists": "give full artist objects, as GET /artists/{id} returns them",
        }[kind]
        raise DataError(f"{kind}: {len(broken)} of {len(lacking)} objects cannot be used ({examples}); {hint}")


def _own_features(track: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the features of a track; one that was relinked to another market may have them under the id asked for."""
    asked = (track.get("linked_from") or track).get("id")
    return known.get(track["id"]) or known.get(str(asked)) or {}


def _genres(artists: Any) -> dict[str, list[str]]:
    found = list(_objects(artists, "artists"))
    _check("artists", [_lacking_of_artist(artist) for artist in found])
    return {each["id"]: [genre.replace(" ", "-") for genre in each["genres"]] for each in found}


def _joined(track: Mapping[str, Any], genres: Mapping[str, list[str]]) -> str | None:
    own = dict.fromkeys(genre for artist in track["artists"] for genre in genres.get(artist.get("id"), []))
    return LIST_SEPARATOR.join(own) or None


def _typed(name: str, values: list[Any]) -> pd.Series:
    if name in TEXT:
        return pd.Series(values, dtype="str")
    try:
        if name == "explicit":
            # By way of pandas' own type, for NumPy takes the text "false" for true.
            return pd.Series(values, dtype="boolean").astype(np.bool_)
        return pd.Series(values, dtype=np.int64 if name == "duration_ms" else np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be read ({error}); give the objects as Spotify returns them") from error
