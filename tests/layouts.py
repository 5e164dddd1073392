"""Rows of the sample written as other people's files have them: in their headers, units and notations."""

import csv
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from spotify_ml.config.layouts import known_layouts
from spotify_ml.data.place import SAMPLE
from spotify_ml.data.schema import FURTHER_NAMES, NAMES

SHARES = ("danceability", "energy", "speechiness", "acousticness", "instrumentalness", "liveness", "valence")
_SHARP = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_AUDIO = (
    "Danceability,Energy,Key,Loudness,Mode,Speechiness,Acousticness,Instrumentalness,Liveness,Valence,Tempo,"
    "Time Signature"
)
_RAW_AUDIO = "danceability,energy,key,loudness,mode,speechiness,acousticness,instrumentalness,liveness,valence,tempo"
# Exactly as in the files.
HEADERS = {
    "exportify": "Track URI,Track Name,Album Name,Artist Name(s),Release Date,Duration (ms),Popularity,Explicit,"
    f"Added By,Added At,Genres,Record Label,{_AUDIO}",
    "exportify_watsonbox": "Track URI,Track Name,Artist URI(s),Artist Name(s),Album URI,Album Name,"
    "Album Artist URI(s),Album Artist Name(s),Album Release Date,Album Image URL,Disc Number,Track Number,"
    "Track Duration (ms),"
    "Track Preview URL,Explicit,Popularity,ISRC,Added By,Added At,Artist Genres,"
    f"{_AUDIO},Album Genres,Label,Copyrights",
    "tidytuesday_2020": "track_id,track_name,track_artist,track_popularity,track_album_id,track_album_name,"
    f"track_album_release_date,playlist_name,playlist_id,playlist_genre,playlist_subgenre,{_RAW_AUDIO},duration_ms",
    "tracks_1921_2020": "id,name,popularity,duration_ms,explicit,artists,id_artists,release_date,"
    f"{_RAW_AUDIO},time_signature",
    "tracks_1200k": "id,name,album,album_id,artists,artist_ids,track_number,disc_number,explicit,"
    f"{_RAW_AUDIO},duration_ms,time_signature,year,release_date",
    "tracks_1m": f",artist_name,track_name,track_id,popularity,year,genre,{_RAW_AUDIO},duration_ms,time_signature",
    "spotify_features": "genre,artist_name,track_name,track_id,popularity,acousticness,danceability,duration_ms,energy,"
    "instrumentalness,key,liveness,loudness,mode,speechiness,tempo,time_signature,valence",
    "top_songs_2023": "track_name,artist(s)_name,artist_count,released_year,released_month,released_day,"
    "in_spotify_playlists,in_spotify_charts,streams,in_apple_playlists,in_apple_charts,in_deezer_playlists,"
    "in_deezer_charts,in_shazam_charts,bpm,key,mode,danceability_%,valence_%,energy_%,acousticness_%,instrumentalness_%,"
    "liveness_%,speechiness_%",
}
LAYOUTS = tuple(HEADERS)
WITH_POPULARITY = tuple(name for name in LAYOUTS if name not in ("tracks_1200k", "top_songs_2023"))


def names(layout: str) -> list[str]:
    return next(csv.reader([HEADERS[layout]]))


def _joined(separator: str, escape: str = "") -> Callable[[str], str]:
    return lambda text: separator.join(name.replace(",", f"{escape},") for name in text.split(";"))


def _python_list(text: str) -> str:
    return str(text.split(";"))


def _letter(key: int) -> str:
    return _SHARP[int(key)] if key >= 0 else ""


# What stands in a file in place of the values of a raw column.
WRITTEN: dict[str, dict[str, Callable[..., object]]] = {
    "exportify": {
        "track_id": "spotify:track:{}".format,
        "track_genre": _joined(","),
        "explicit": lambda flag: str(flag).lower(),
    },
    "exportify_watsonbox": {
        "track_id": "spotify:track:{}".format,
        "artists": _joined(", ", "\\"),
        "track_genre": _joined(","),
        "explicit": lambda flag: str(flag).lower(),
    },
    "tidytuesday_2020": {},
    "tracks_1921_2020": {"artists": _python_list, "explicit": int},
    "tracks_1200k": {"artists": _python_list, "time_signature": float},
    "tracks_1m": {"release_date": lambda date: int(date[:4])},
    "spotify_features": {
        "key": _letter,
        "mode": ("Minor", "Major").__getitem__,
        "time_signature": "{}/4".format,
    },
    "top_songs_2023": {
        "artists": _joined(", "),
        "release_date": lambda date: int(date[:4]),
        "key": _letter,
        "mode": ("Minor", "Major").__getitem__,
        **dict.fromkeys(SHARES, lambda share: round(share * 100)),
    },
}


def written(tracks: pd.DataFrame, layout: str) -> pd.DataFrame:
    """Return raw rows in the columns of a layout, as text is written there; other columns hold something."""
    tracks = dated(tracks) if "release_date" not in tracks else tracks
    config = next(each for each in known_layouts() if each.name == layout)
    own = {raw: rule.names[0] for raw, rule in config.raw_columns().items()}
    columns = {
        name: tracks[raw].map(WRITTEN[layout].get(raw, lambda value: value), na_action="ignore")
        for raw, name in own.items()
    }
    rules = config.raw_columns()
    for place, part in enumerate(rules["release_date"].then if "release_date" in rules else [], 1):
        columns[part] = tracks["release_date"].map(lambda date, place=place: int(date.split("-")[place]))
    return pd.DataFrame({name: columns.get(name, f"x {name}") for name in names(layout)}, index=tracks.index)


def dated(tracks: pd.DataFrame) -> pd.DataFrame:
    """Return raw rows with a release date and a label; the same ones for the same rows."""
    days = np.datetime64("1990-01-01") + pd.util.hash_pandas_object(tracks, index=False).to_numpy() % 12_000
    labels = [f"Label {code}" for code in pd.factorize(tracks["album_name"])[0] % 50]
    return tracks.assign(release_date=days.astype(str), label=labels)


def as_raw(tracks: pd.DataFrame, layout: str) -> pd.DataFrame:
    """Return raw rows with what a layout knows of them: no columns that it lacks, and its own rounding."""
    config = next(each for each in known_layouts() if each.name == layout)
    absent = {name: None for name in NAMES if name not in (config.columns or {})}
    own = [name for name in FURTHER_NAMES if name in (config.columns or {})]
    known = tracks.assign(**absent, **dated(tracks)[own])
    if layout == "tracks_1m":
        known["release_date"] = known["release_date"].str[:4]
    if layout == "top_songs_2023":
        known = known.assign(**{name: (known[name] * 100).round() / 100 for name in SHARES})
        known = known.assign(artists=known["artists"].str.replace(",", ";").str.replace("; ", ";"))
    if layout in ("top_songs_2023", "spotify_features"):
        known = known.assign(key=known["key"].where(known["key"] >= 0))
    return known


def as_csv(frame: pd.DataFrame, *, header: Sequence[str] | None = None) -> bytes:
    text = io.StringIO()
    frame.to_csv(text, index=False, lineterminator="\n", header=list(frame) if header is None else list(header))
    return text.getvalue().encode()


def main() -> None:
    """Write a file of the sample's tracks in every format to the folder that is named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tracks = pd.read_parquet(SAMPLE)
    for layout in LAYOUTS:
        path = folder / f"{layout}.csv"
        path.write_bytes(as_csv(written(tracks, layout)))
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
