"""Tests of the command that scores files: the real command line, and what it refuses before it starts."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import spotify_ml
from spotify_ml.config.check import validate_as
from spotify_ml.config.commands import PredictConfig
from spotify_ml.data.schema import Scales
from spotify_ml.predict import _summary, asked_params, places, warnings
from spotify_ml.scoring.rows import Tally
from spotify_ml.utils.errors import ConfigError, DataError, SpotifyMLError
from tests.commands import python
from tests.support import composed
from tests.tracking import conftest
from tests.tracking.conftest import CHAMPION, Store

PATIENCE_S = 120
store = conftest.store


def configured(*overrides: str) -> PredictConfig:
    return validate_as(composed("predict", *overrides), PredictConfig)


# --- refused before anything is loaded


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an input, its link, another name for it, and a folder."""
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("track_id\n")
    Path("link.csv").symlink_to("rows.csv")
    Path("hard.csv").hardlink_to("rows.csv")
    Path("rows").mkdir()
    Path("rows/a.csv").write_text("track_id\n")
    Path("linked").mkdir()
    Path("linked/a.csv").symlink_to(Path("rows/a.csv").absolute())
    Path("a.csv.rejected.csv").write_text("track_id\n")
    return tmp_path


REFUSED = {
    "no such input": (["input=row.csv", "output=x.csv"], DataError, "row.csv does not exist"),
    "the same file": (["input=rows.csv", "output=./rows.csv"], ConfigError, "is read and would be written over"),
    "a link to it": (["input=rows.csv", "output=link.csv"], ConfigError, "is read and would be written over"),
    "a hard link to it": (["input=rows.csv", "output=hard.csv"], ConfigError, "is read and would be written over"),
    "a folder of links": (
        ["input=rows", "output=linked"],
        ConfigError,
        "linked/a.csv, which is the same as rows/a.csv",
    ),
    "rows set aside": (
        ["input=a.csv.rejected.csv", "output=a.csv", "on_error=skip"],
        ConfigError,
        "a.csv.rejected.csv is read and would be written over",
    ),
    "the store": (
        ["input=rows/a.csv", "output=rows.csv", "tracking.uri=sqlite:///rows.csv"],
        ConfigError,
        "rows.csv is read and would be written over",
    ),
    "the same folder": (["input=rows", "output=rows"], ConfigError, "is read and would be written over"),
    "another format": (["input=rows.csv", "output=x.xlsx"], ConfigError, "in .parquet, .pq or .csv"),
    "a file into a folder": (["input=rows.csv", "output=rows"], ConfigError, "in .parquet, .pq or .csv"),
    "a folder into a file": (["input=rows", "output=rows.csv"], ConfigError, "a folder is scored into a folder"),
    "a folder into a pipe": (["input=rows", "output=-"], ConfigError, "a folder is scored into a folder"),
    "no side file": (["input=-", "output=-", "on_error=skip"], ConfigError, "name a file with output=…"),
    "a file in the way": (["input=-", "output=rows.csv/x.csv"], ConfigError, "rows.csv is no folder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_at_once(here: Path, name: str):
    overrides, kind, message = REFUSED[name]
    before = sorted(here.rglob("*"))
    with pytest.raises(kind) as caught:
        places(configured(*overrides))
    assert message in str(caught.value)
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    "asked", ["interval=0", "interval=1", "interval=1.2", "interval=high", "explain=0", "csv_formulas=drop"]
)
def test_what_no_model_can_give_is_refused_by_its_key(asked: str):
    with pytest.raises(ConfigError, match=asked.partition("=")[0]):
        configured("input=-", "output=-", asked)


def test_input_and_output_must_be_given():
    with pytest.raises(SpotifyMLError, match=r"set it with input=…"):
        configured("output=-")


# --- what it says of what was known


def tallied(known: dict[str, int], absent: dict[str, str] | None = None) -> Tally:
    return Tally(n_rows=sum(known.values()), known=Counter(known), absent=absent or {})


def test_rows_that_the_catalogue_does_not_know_are_told_first():
    strangers = {"none": 30, "genre": 31, "artist": 39}
    config = configured("input=mine.csv", "output=x.csv")
    (told,) = warnings(config, CHAMPION, True, tallied(strangers))
    assert "knows neither artist nor album of 61 of 100 rows" in told
    assert told.endswith("set catalogue=other if the tracks come from elsewhere")
    other = configured("input=mine.csv", "output=x.csv", "catalogue=other")
    (told,) = warnings(other, CHAMPION, True, tallied(strangers))
    assert "catalogue=other" not in told
    assert list(warnings(config, CHAMPION, True, tallied({"artist": 51, "none": 49}))) == []


def test_absent_columns_are_named_with_those_that_look_like_them():
    absent = {"artists": " (did you mean 'artist_name'?)", "track_genre": ""}
    (told,) = warnings(configured("input=mine.csv", "output=x.csv"), CHAMPION, True, tallied({"album": 5}, absent))
    assert told == (
        "mine.csv has no column artists (did you mean 'artist_name'?), track_genre: the predictions do without"
    )


def test_a_version_from_before_says_that_it_cannot_judge_strangers():
    config = configured("input=mine.csv", "output=x.csv", "interval=0.8")
    assert asked_params(config, ["out_of_range", "interval", "explain"], CHAMPION) == {"interval": 0.8}
    (told,) = warnings(config, CHAMPION, False, tallied({}))
    assert told.startswith(f"{CHAMPION} cannot judge tracks of unknown artists, albums and genres")
    with pytest.raises(ConfigError, match=r"catalogue=other: models:/.* has no model of incomplete rows"):
        asked_params(configured("input=a.csv", "output=x.csv", "catalogue=other"), ["interval"], CHAMPION)


# --- the command line


def start(store: Store, *overrides: str, cwd: Path, **options: object) -> subprocess.Popen[bytes]:
    # Limits and signals are of a process of its own.
    program = sys.executable if "preexec_fn" in options else python()
    command = [program, "-m", "spotify_ml.predict", f"tracking.uri={store.uri}", *overrides]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, cwd=cwd, **{**pipes, **options})


@pytest.mark.slow
def test_a_pipe_is_scored_and_nothing_else_written_to_it(store: Store, tmp_path: Path):
    process = start(store, f"model={CHAMPION}", "input=-", "output=-", "interval=0.9", "explain=2", cwd=tmp_path)
    out, err = process.communicate(store.rows.to_csv(index=False).encode(), PATIENCE_S)
    assert process.returncode == 0, err
    scored = pd.read_csv(StringIO(out.decode()))
    model = spotify_ml.load_model(CHAMPION, store.uri)
    np.testing.assert_array_equal(scored["popularity_predicted"], model.predict(store.rows))
    expected = model.predict(store.rows, {"interval": 0.9, "explain": 2})
    np.testing.assert_allclose(scored[["popularity_lower", "popularity_upper"]], expected[["lower", "upper"]])
    assert scored["popularity_reasons"].map(json.loads).tolist() == expected["reasons"].tolist()
    said = err.decode().splitlines()
    assert said[0] == f"store    {store.uri}"
    assert said[1].startswith("50 rows scored by models:/spotify-popularity/1 in ")
    assert len(said) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_file_of_strangers_is_scored_and_said_to_be_one(store: Store, tmp_path: Path):
    rows = store.rows.drop(columns=["artists", "key", "mode", "explicit"]).assign(album_name="Qqq")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    model = spotify_ml.load_model(CHAMPION, store.uri)
    for catalogue in ("own", "other"):
        line = ["input=rows.csv", "output=scored.csv", f"catalogue={catalogue}"]
        process = start(store, f"model={CHAMPION}", *line, cwd=tmp_path)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        said = err.decode().splitlines()
        assert said[1].startswith("warning: rows.csv has no column artists, explicit, key")
        assert said[2].startswith(
            "warning: models:/spotify-popularity/1 knows neither artist nor album of 50 of 50 rows"
        )
        assert "known: artist 0%, album 0%, genre 100%" in said[3]
        scored = pd.read_csv(tmp_path / "scored.csv")
        assert set(scored["known"]) == {"genre"}
        expected = model.predict(rows, {"known": True, "catalogue": catalogue})
        np.testing.assert_array_equal(scored["popularity_predicted"], expected["popularity"])


@pytest.mark.slow
def test_formulas_are_kept_or_escaped_on_standard_output_and_in_a_folder(store: Store, tmp_path: Path):
    rows = store.rows.assign(track_name="=1+1", note="-1").rename(columns={"note": "@note"})
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_bytes(rows.to_csv(index=False).encode())
    for asked, apostrophe in (["csv_formulas=keep"], ""), (["csv_formulas=escape"], "'"), ([], ""):
        piped = start(store, "input=-", "output=-", *asked, cwd=tmp_path)
        out, err = piped.communicate((tmp_path / "rows" / "a.csv").read_bytes(), PATIENCE_S)
        assert piped.returncode == 0, err
        folder = start(store, "input=rows", "output=scored", *asked, cwd=tmp_path)
        _, err = folder.communicate(timeout=PATIENCE_S)
        # What was written otherwise is written anew.
        assert b"files kept" not in err
        for written in (out, (tmp_path / "scored" / "a.csv").read_bytes()):
            scored = pd.read_csv(StringIO(written.decode()))
            assert set(scored["track_name"]) == {f"{apostrophe}=1+1"}
            assert set(scored[f"{apostrophe}@note"]) == {-1}
            pd.testing.assert_series_equal(scored["loudness"], store.rows["loudness"].reset_index(drop=True))


@pytest.mark.slow
def test_a_full_disk_is_one_error_and_leaves_nothing(store: Store, tmp_path: Path):
    source = tmp_path / "rows.csv"
    pd.concat([store.rows] * 400).to_csv(source, index=False)

    def no_file_above_a_megabyte() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    process = start(store, "input=rows.csv", "output=new/scored.csv", cwd=tmp_path, preexec_fn=no_file_above_a_megabyte)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert err.decode().splitlines()[1:] == ["error: new/scored.csv cannot be written: File too large"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [source]


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_written(store: Store, tmp_path: Path):
    os.mkfifo(tmp_path / "rows.csv")
    process = start(
        store,
        "input=rows.csv",
        "output=scored.parquet",
        cwd=tmp_path,
        # A shell lets jobs in the background ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # The command waits for more rows than these.
    with (tmp_path / "rows.csv").open("wb") as rows:
        content = store.rows.to_csv(index=False).encode()
        header, _, body = content.partition(b"\n")
        rows.write(header + b"\n" + body * (9 * 2**20 // len(body)))
        rows.flush()
        deadline = time.monotonic() + PATIENCE_S
        while not list(tmp_path.glob(".*.partial")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


# --- what it says


def test_the_last_line_names_what_was_passed_over_and_what_looks_wrong():
    tally = Tally(n_rows=40, passed_over=[f"note {number}" for number in range(12)], clipped=Counter(energy=40))
    tally.scales.add(Scales(40, Counter(energy=40), Counter(energy=40)))
    said = _summary(configured("input=rows", "output=scored", "out_of_range=clip"), "models:/m/1", tally, 2.0)
    assert said == (
        "40 rows scored by models:/m/1 in 2.00 s (20 rows/s); "
        f"passed over: {', '.join(tally.passed_over[:10])} and 2 more; clipped: energy 40; "
        "energy looks like another unit; convert the column to 0 to 1\n"
    )
