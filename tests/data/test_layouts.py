"""Tests of layouts: each format is recognised by its header, read as the raw rows that it holds, or refused."""

import random
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from spotify_ml.config.layouts import AUTO, LayoutConfig, RawColumn, known_layouts
from spotify_ml.config.run import DataConfig
from spotify_ml.data import batches
from spotify_ml.data.arrow import arrow_frame
from spotify_ml.data.batches import open_input
from spotify_ml.data.contract import scoring_rows
from spotify_ml.data.layouts import find_layout
from spotify_ml.data.schema import AUDIO, FURTHER_NAMES, NAMES, NEEDED, absent_columns
from spotify_ml.data.sources import RawTracks, inspect_tracks, read_tracks
from spotify_ml.utils.errors import DataError
from tests.layouts import HEADERS, LAYOUTS, as_csv, as_raw, names, written
from tests.support import composed

N_ROWS = 600
BOM = b"\xef\xbb\xbf"


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return sample.frame.sample(N_ROWS, random_state=1, ignore_index=True)


@pytest.fixture(autouse=True)
def _many_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "_BLOCK", 50_000)
    monkeypatch.setattr(batches, "_BATCH_ROWS", 200)


def read(path: Path, layout: LayoutConfig = AUTO) -> pd.DataFrame:
    """Return the raw rows of a file as a model takes them."""
    source = open_input(path, layout)
    rows = [arrow_frame(source.layout.raw_rows(batch.table, source.origin, every=False)) for batch in source.batches()]
    return scoring_rows(pd.concat(rows, ignore_index=True)).frame()


def expected(tracks: pd.DataFrame, layout: str) -> pd.DataFrame:
    return scoring_rows(as_raw(tracks, layout)).frame()


def config(name: str) -> LayoutConfig:
    return next(each for each in known_layouts() if each.name == name)


def custom(**columns: object) -> LayoutConfig:
    return LayoutConfig.model_validate({"name": "custom", "columns": columns})


def test_every_format_says_where_each_audio_feature_is_or_that_it_has_none():
    assert RawColumn.__args__ == (*NAMES, *FURTHER_NAMES)
    for layout in known_layouts():
        assert set(AUDIO) - set(layout.raw_columns()) == set(layout.lacks), layout.name
        assert {raw for raw in layout.translations.values() for raw in raw} <= set(layout.raw_columns())


def test_there_is_a_file_of_every_format():
    assert {layout.name for layout in known_layouts()} == set(LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_is_read_as_the_raw_rows_that_it_holds(tracks: pd.DataFrame, tmp_path: Path, layout: str):
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv(written(tracks, layout)))
    assert open_input(path).layout.name == layout
    assert_frame_equal(read(path), expected(tracks, layout))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("variant", ["mark", "CRLF", "blanks", "capitals", "quoted", "order"])
def test_variants_of_a_file_are_read_alike(tracks: pd.DataFrame, tmp_path: Path, layout: str, variant: str):
    path, frame = tmp_path / "tracks.csv", written(tracks, layout)
    header = list(frame)
    changed = {
        "mark": lambda: BOM + as_csv(frame),
        "CRLF": lambda: as_csv(frame).replace(b"\n", b"\r\n"),
        "blanks": lambda: as_csv(frame, header=[f" {name.replace(' ', '  ')} " for name in header]),
        "capitals": lambda: as_csv(frame, header=[name.upper() for name in header]),
        "quoted": lambda: frame.to_csv(index=False, quoting=1, lineterminator="\n").encode(),
        "order": lambda: as_csv(frame[header[::-1]]),
    }
    path.write_bytes(changed[variant]())
    assert_frame_equal(read(path), expected(tracks, layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parquet_is_read_as_csv_is(tracks: pd.DataFrame, tmp_path: Path, layout: str):
    path = tmp_path / "tracks.parquet"
    frame = written(tracks, layout)
    pq.write_table(pa.table({name: pa.array(frame[name], from_pandas=True) for name in frame}), path)
    assert_frame_equal(read(path), expected(tracks, layout))


def test_lists_of_a_parquet_file_are_lists_already(tracks: pd.DataFrame, tmp_path: Path):
    frame = written(tracks, "tracks_1921_2020").assign(artists=tracks["artists"].str.split(";"))
    frame.to_parquet(tmp_path / "tracks.parquet")
    assert_frame_equal(read(tmp_path / "tracks.parquet"), expected(tracks, "tracks_1921_2020"))


@pytest.mark.parametrize("language", range(12))
def test_exportify_is_read_in_every_language(tracks: pd.DataFrame, tmp_path: Path, language: int):
    layout = config("exportify_watsonbox")
    english, own = (layout.variants()[which] for which in (0, language))
    labels = {english[raw].names[0]: own[raw].names[0] for raw in english}
    frame = written(tracks, layout.name)
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv(frame, header=[labels.get(name, f"¿{name}?" * bool(language) or name) for name in frame]))
    assert open_input(path).layout.name == layout.name
    assert_frame_equal(read(path), expected(tracks, layout.name))


OLDER = {
    "another id": ("Track URI", "Spotify ID"),
    "artists' ids": ("Added By", "Artist IDs"),
    "no explicit": ("Explicit", None),
    "no label": ("Record Label", None),
}


@pytest.mark.parametrize("change", OLDER)
def test_older_exports_are_recognised(change: str):
    old, new = OLDER[change]
    header = [new if name == old else name for name in names("exportify")]
    header += ["Added By"] if new == "Artist IDs" else []
    found = find_layout([name for name in header if name], "a.csv", AUTO)
    assert found.name == "exportify"
    assert ("explicit" in found.columns) == (change != "no explicit")


def mutated(header: Sequence[str], chance: random.Random) -> list[str]:
    """Return a header with columns shuffled, dropped, added, and written in another case or with white space."""
    changed = list(header)
    if chance.random() < 0.7:
        chance.shuffle(changed)
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2, 4])):
        changed.remove(chance.choice(changed))
    others = [name for other in HEADERS for name in names(other)] + [
        *NAMES,
        "notes",
        "rating",
        "Unnamed: 0",
        "my genre",
    ]
    for _ in range(chance.choice([0, 0, 0, 1, 2])):
        changed.insert(chance.randrange(len(changed) + 1), chance.choice(others))
    forms = [str.upper, str.lower, str.title, lambda name: f" {name}", lambda name: f"{name}  ", lambda name: name]
    if chance.random() < 0.6:
        changed = [chance.choice(forms)(name) for name in changed]
    return changed


def plain(header: Sequence[str]) -> set[str]:
    return {" ".join(name.casefold().split()) for name in header}


@pytest.mark.parametrize("for_training", [True, False])
def test_no_header_of_two_thousand_is_taken_for_another_layout(*, for_training: bool):
    chance, found = random.Random(19), {"right": 0, "refused": 0}
    for number in range(2000):
        layout = LAYOUTS[number % len(LAYOUTS)]
        header = mutated(names(layout), chance)
        try:
            name = find_layout(header, "tracks.csv", AUTO, for_training=for_training).name
        except DataError:
            found["refused"] += 1
            continue
        # Without its own columns, a header may be that of another format.
        assert name == layout or plain(header) >= plain(names(name)), header
        found["right"] += 1
    assert found["right"] > 500


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_a_needed_column_the_nearest_layout_is_shown(layout: str):
    header = [name for name in names(layout) if name not in ("danceability", "Danceability", "danceability_%")]
    with pytest.raises(DataError) as caught:
        find_layout(header, "tracks.csv", AUTO)
    assert f"the nearest is {layout}" in str(caught.value) or "lack the columns danceability" in str(caught.value)


def test_what_is_left_over_is_shown():
    header = [name for name in names("tracks_1m") if name not in ("year", "popularity")]
    with pytest.raises(
        DataError, match=r"nearest is (tracks_1m|spotify_features)(.|\n)*(missing: 'year'|left over: '')"
    ):
        find_layout(header, "tracks.csv", AUTO)


def test_columns_of_no_layout_are_said(tracks: pd.DataFrame):
    found = find_layout([*names("exportify"), "my notes"], "tracks.csv", AUTO)
    assert str(found) == "layout=exportify; not used: 'my notes'"


def test_raw_columns_are_what_they_always_were():
    for more in ([], ["id", "name"], ["genre", "artist_name", "year", ""]):
        assert find_layout([*NAMES, *more], "tracks.csv", AUTO).is_raw
        assert find_layout([*AUDIO, "note"], "tracks.csv", AUTO).is_raw


def test_a_named_layout_needs_the_columns_that_are_read_alone(tracks: pd.DataFrame, tmp_path: Path):
    frame = written(tracks, "tracks_1921_2020").drop(columns=["id_artists", "release_date"])
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv(frame))
    with pytest.raises(DataError, match="nearest is tracks_1921_2020"):
        open_input(path)
    assert_frame_equal(read(path, config("tracks_1921_2020")), expected(tracks, "tracks_1921_2020"))
    with pytest.raises(DataError, match=r"layout=exportify:\n  missing: 'Track URI' \(track_id\)"):
        open_input(path, config("exportify"))


def test_a_column_that_is_there_twice_is_refused():
    header = names("exportify")
    with pytest.raises(DataError, match="tempo more than once: 'TEMPO', 'tempo '"):
        find_layout([*("TEMPO" if name == "Tempo" else name for name in header), "tempo "], "tracks.csv", AUTO)
    # Of two that differ in case, the exact one is meant.
    assert find_layout([*header, "tempo"], "tracks.csv", AUTO).columns["tempo"][0] == "Tempo"


def test_a_layout_of_ones_own(tracks: pd.DataFrame, tmp_path: Path):
    frame = tracks.rename(columns={"artists": "Singer", "energy": "Energy %", "duration_ms": "Seconds"})
    frame["Energy %"] *= 100
    frame["Seconds"] /= 1000
    frame["Singer"] = frame["Singer"].str.replace(";", " / ")
    frame = frame.drop(columns=["explicit", "album_name"])
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv(frame))
    layout = custom(
        artists={"from": "Singer", "values": "list", "separator": " / "},
        energy={"from": "Energy %", "values": "percent"},
        duration_ms={"from": "Seconds", "values": "seconds"},
    )
    found = read(path, layout)
    assert_frame_equal(found, scoring_rows(tracks.assign(explicit=None, album_name=None)).frame(), atol=1e-15)


def test_what_a_layout_of_ones_own_lacks_is_named():
    with pytest.raises(DataError, match=r"missing: 'Singr' \(artists\) \(did you mean 'Singer'\?\)"):
        find_layout(["Singer", *AUDIO], "tracks.csv", custom(artists="Singr"))
    with pytest.raises(DataError, match="missing: 'loudness'"):
        find_layout([name for name in AUDIO if name != "loudness"], "tracks.csv", custom(artists="key"))
    with pytest.raises(DataError, match=r"'tempo' stands for (artists and tempo|tempo and artists)"):
        find_layout(AUDIO, "tracks.csv", custom(artists="tempo"))
    lacking = LayoutConfig.model_validate({"name": "custom", "lacks": ["loudness", "duration_ms"]})
    header = [name for name in NEEDED if name not in lacking.lacks]
    assert "loudness" not in find_layout(header, "tracks.csv", lacking).columns


def test_training_needs_popularity_but_a_look_does_not(tracks: pd.DataFrame, tmp_path: Path):
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv(written(tracks, "tracks_1200k")))
    data = DataConfig(name="file", path=str(path))
    with pytest.raises(DataError, match="has no popularity, which training needs"):
        read_tracks(data)
    raw, violations = inspect_tracks(data)
    assert (len(raw.frame), violations, absent_columns(raw.frame)) == (N_ROWS, [], ["popularity", "track_genre"])


LOOKS = {
    "a list of Python": (
        "tracks_1m",
        {"artist_name": "['A', \"B's\"]"},
        "layout=tracks_1200k or layout=tracks_1921_2020",
    ),
    "percents": ("tracks_1m", {"energy": "57"}, "layout=top_songs_2023"),
    "shares": ("top_songs_2023", {"energy_%": "0.57"}, "layout=exportify or"),
    "seconds": (
        "tracks_1m",
        {"duration_ms": "210"},
        r"custom '\+layout.columns={duration_ms: {from: duration_ms, values: sec",
    ),
    "raw": ("raw", {"artists": "['A']"}, "layout=tracks_1200k or layout=tracks_1921_2020"),
}


@pytest.mark.parametrize("name", LOOKS)
def test_values_of_another_layout_are_refused_with_the_one_to_choose(tracks: pd.DataFrame, tmp_path: Path, name: str):
    layout, values, message = LOOKS[name]
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv((tracks if layout == "raw" else written(tracks, layout)).assign(**values)))
    with pytest.raises(DataError, match=message):
        read(path)


WRONG = {
    "a letter that is no key": ("spotify_features", {"key": "H"}, "key"),
    "a number for a letter": ("spotify_features", {"key": "5"}, "key"),
    "another mode": ("spotify_features", {"mode": "Dorian"}, "mode"),
    "another day": ("spotify_features", {"time_signature": "5-Mar"}, "time_signature"),
    "a letter for a number": ("tracks_1m", {"key": "C#"}, "key"),
    "a day for beats": ("tracks_1m", {"time_signature": "4-Apr"}, "time_signature"),
    "a word": ("tracks_1m", {"tempo": "NA"}, "tempo"),
    "a word for percents": ("top_songs_2023", {"energy_%": "undefined"}, "energy"),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_no_rule_reads_are_named(tracks: pd.DataFrame, tmp_path: Path, name: str):
    layout, values, column = WRONG[name]
    frame = written(tracks, layout).astype(object)
    for own, value in values.items():
        frame.loc[5, own] = value
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv(frame))
    with pytest.raises(DataError, match=rf"{column} is not numeric in 1 row \(row 6"):
        read(path)


def test_text_that_is_no_list_is_refused_by_its_row(tracks: pd.DataFrame, tmp_path: Path):
    frame = written(tracks, "tracks_1921_2020")
    frame.loc[5, "artists"] = "A, B"
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv(frame))
    with pytest.raises(DataError, match=r"'artists' holds 'A, B' \(row 6\), where layout=tracks_1921_2020 has lists"):
        read(path)


def test_latin_1_is_read_where_a_layout_may_be_in_it(tracks: pd.DataFrame, tmp_path: Path):
    named = tracks.assign(track_name=["Café", *["x"] * (N_ROWS - 2), "Señora"], artists="Beyoncé;Ça")
    path = tmp_path / "tracks.csv"
    path.write_bytes(as_csv(written(named, "top_songs_2023")).decode().encode("latin-1"))
    assert_frame_equal(read(path), expected(named, "top_songs_2023"))
    path.write_bytes(as_csv(written(named, "tracks_1m")).decode().encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        read(path)


@pytest.mark.parametrize("command", ["train", "predict", "profile"])
def test_every_command_has_the_key(command: str):
    needed = ["input=a.csv", "output=b.csv"] if command == "predict" else []
    for layout in ("auto", "raw", *LAYOUTS):
        assert composed(command, f"layout={layout}", *needed).layout.name == layout
    own = composed(command, "layout=custom", "+layout.columns={artists: Singer, popularity: Pop}", *needed).layout
    assert own.columns == {"artists": "Singer", "popularity": "Pop"}
