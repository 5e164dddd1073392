"""Tests of a registered model that is calibrated to another catalogue: by predict, kept in a file, and served."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import spotify_ml
from spotify_ml.data.sources import RawTracks
from spotify_ml.predict import places
from spotify_ml.scoring.calibrated import CalibratedModel, SavedCalibration, calibrate, check_model, read_calibration
from spotify_ml.scoring.known_rows import read_known
from spotify_ml.tracking.registry import ScoringModel, classes
from spotify_ml.utils.errors import ConfigError, DataError
from tests.commands import HEAVY, interpreter
from tests.servers import free_port, wait_for
from tests.test_predict import configured
from tests.tracking.conftest import CHAMPION, Store

PATIENCE_S = 120


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    """Tracks of a catalogue where all are half as popular."""
    frame = sample.frame.drop_duplicates("track_id").sample(600, random_state=0).reset_index(drop=True)
    return frame.assign(popularity=(frame["popularity"] // 2).astype(int))


@pytest.fixture(scope="module")
def known(tracks: pd.DataFrame) -> pd.DataFrame:
    return tracks.head(300)


@pytest.fixture(scope="module")
def new(tracks: pd.DataFrame) -> pd.DataFrame:
    return tracks.tail(300).drop(columns="popularity").reset_index(drop=True)


@pytest.fixture(scope="module")
def model(store: Store) -> ScoringModel:
    return spotify_ml.load_model(CHAMPION, store.uri)


@pytest.fixture(scope="module")
def saved(model: ScoringModel, known: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> SavedCalibration:
    path = tmp_path_factory.mktemp("known") / "known.csv"
    known.to_csv(path, index=False)
    return calibrate(model.predict, read_known(str(path)), "own", model.version.identity)


@pytest.fixture(scope="module")
def calibrated(model: ScoringModel, saved: SavedCalibration) -> CalibratedModel:
    return CalibratedModel(model.predict, saved)


# --- the model behind it


def test_predictions_are_put_right_and_figures_say_so(
    model: ScoringModel, calibrated: CalibratedModel, new: pd.DataFrame, tracks: pd.DataFrame
):
    popularity = tracks["popularity"].tail(300).to_numpy()
    scored = pd.DataFrame(calibrated.predict(new, {"interval": 0.9, "known": True}))
    assert list(scored) == ["popularity", "lower", "upper", "known"]
    assert np.mean(np.asarray(model.predict(new)) - popularity) > 10
    assert abs(np.mean(scored["popularity"] - popularity)) < 2
    assert ((scored["lower"] <= popularity) & (popularity <= scored["upper"])).mean() == pytest.approx(0.9, abs=0.06)
    assert scored["known"].tolist() == pd.DataFrame(model.predict(new, {"known": True}))["known"].tolist()
    saved = calibrated.saved
    assert saved.before.bias > 10 > 1 > abs(saved.after.bias)
    assert saved.before.r2 < saved.after.r2
    assert saved.after.coverage_90 == pytest.approx(0.9, abs=0.05)


def test_the_model_s_parameters_are_those_of_the_model_without_it(calibrated: CalibratedModel, new: pd.DataFrame):
    plain = calibrated.predict(new)
    assert isinstance(plain, np.ndarray)
    named = calibrated.predict(new.set_index("track_id", drop=False), {"known": True, "catalogue": "own"})
    assert isinstance(named, pd.DataFrame)
    assert named.index.tolist() == new["track_id"].tolist()
    np.testing.assert_array_equal(named["popularity"], plain)
    loud = new.assign(energy=new["energy"] + 1)
    with pytest.raises(DataError, match="energy is outside 0 to 1"):
        calibrated.predict(loud)
    np.testing.assert_array_equal(
        calibrated.predict(loud, {"out_of_range": "clip"}), calibrated.predict(new.assign(energy=1.0))
    )
    with pytest.raises(DataError, match="knows no confidence"):
        calibrated.predict(new, {"confidence": 0.9})


def test_a_row_alone_is_as_among_others(calibrated: CalibratedModel, new: pd.DataFrame):
    asked = {"interval": 0.9, "known": True}
    together = pd.DataFrame(calibrated.predict(new, asked))
    for row in range(0, 300, 30):
        alone = pd.DataFrame(calibrated.predict(new.iloc[[row]], asked))
        pd.testing.assert_frame_equal(alone, together.iloc[[row]], check_exact=True)


def test_rows_may_lack_names_genre_and_sound(calibrated: CalibratedModel, new: pd.DataFrame):
    absent = ["artists", "album_name", "track_name", "track_genre", "track_id", "explicit", "key", "loudness"]
    for rows in (new.drop(columns=absent), new.assign(track_genre="polka", tempo=np.nan, artists="Nobody at all")):
        scored = pd.DataFrame(calibrated.predict(rows, {"interval": 0.9}))
        assert scored.notna().all(axis=None)
        assert (scored["lower"] <= scored["popularity"]).all()
        assert (scored["popularity"] <= scored["upper"]).all()
    assert len(calibrated.predict(new.head(0))) == 0


def test_an_interval_that_the_rows_do_not_allow_is_the_whole_range(calibrated: CalibratedModel, new: pd.DataFrame):
    scored = pd.DataFrame(calibrated.predict(new, {"interval": 0.9999}))
    assert (scored["lower"] == 0).all()
    assert (scored["upper"] == 100).all()


REFUSED = {
    "reasons": ({"explain": 3}, "explain=3: reasons are of the model alone"),
    "another catalogue": ({"catalogue": "other"}, "catalogue=other: the calibration was fitted with catalogue=own"),
    "no catalogue": ({"catalogue": "mine"}, "catalogue=mine: the calibration was fitted with catalogue=own"),
    "no confidence": ({"interval": 1}, "interval=1: give a confidence above 0 and below 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_give_is_refused(calibrated: CalibratedModel, new: pd.DataFrame, name: str):
    params, message = REFUSED[name]
    with pytest.raises(ConfigError, match=message):
        calibrated.predict(new, params)


def test_the_other_catalogue_is_calibrated_with_its_own_setting(model: ScoringModel, known: pd.DataFrame, tmp_path):
    known.to_csv(tmp_path / "known.csv", index=False)
    rows = read_known(str(tmp_path / "known.csv"))
    saved = calibrate(model.predict, rows, "other", model.version.identity)
    alone = np.asarray(model.predict(known, {"catalogue": "other"}))
    assert saved.catalogue == "other"
    assert saved.before.bias == pytest.approx(np.mean(alone - known["popularity"]), abs=1e-4)
    assert np.isfinite(CalibratedModel(model.predict, saved).predict(known, {"catalogue": "other"})).all()


def test_only_a_regression_that_tells_what_it_knows_can_be_calibrated(store: Store, model: ScoringModel):
    check_model(model.version.uri, classes(store.model), model.params)
    assert classes(store.model) == model.classes == ()
    with pytest.raises(ConfigError, match="models:/m/1 gives the probabilities of classes"):
        check_model("models:/m/1", ("low", "high"), ["known"])
    with pytest.raises(ConfigError, match="models:/m/1 does not tell what it knows of a track"):
        check_model("models:/m/1", (), ["interval", "explain", "out_of_range"])


# --- the file


def test_a_calibration_is_the_same_from_its_file(saved: SavedCalibration, tmp_path: Path):
    saved.write(tmp_path / "c.json")
    read = read_calibration(tmp_path / "c.json", saved.model)
    assert read == saved
    assert read.content() == (tmp_path / "c.json").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]
    assert json.loads(saved.content())["n_rows"] == 300


def _changed(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return changed


DAMAGED = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "a CSV": lambda content: b"track_id,popularity\nx,5\n",
    "not UTF-8": lambda content: content.replace(b"own", b"\xff\xff\xff"),
    "other JSON": lambda content: b'{"model": {}}',
    "a list": lambda content: b"[]",
    "another format": _changed(lambda document: document.update(format="spotify_ml catalogue calibration 9")),
    "a spare key": _changed(lambda document: document.update(spare=1)),
    "a key less": _changed(lambda document: document["calibration"].pop("artists")),
    "a text for a number": _changed(lambda document: document["calibration"].update(intercept="5")),
    "no finite number": _changed(lambda document: document["calibration"].update(intercept=float("inf"))),
    "an input that is none": _changed(lambda document: document["calibration"]["inputs"].append({"name": "x"})),
    "an unknown input": _changed(lambda document: document["calibration"]["inputs"][0].update(name="charm")),
    "no errors": _changed(lambda document: document["calibration"]["errors"].update(none=[-1.0])),
    "an empty range": _changed(lambda document: document["calibration"]["inputs"][0].update(low=1e9)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_or_foreign_file_is_one_error(saved: SavedCalibration, tmp_path: Path, name: str):
    path = tmp_path / "c.json"
    path.write_bytes(DAMAGED[name](saved.content()))
    with pytest.raises(DataError) as caught:
        read_calibration(path, saved.model)
    assert str(caught.value).startswith(f"calibration={path} is no file that calibrate=… wrote, or is damaged (")
    assert "\n" not in str(caught.value)


def test_a_file_for_another_version_is_refused(saved: SavedCalibration, tmp_path: Path):
    saved.write(tmp_path / "c.json")
    for changed in ({"version": "models:/spotify-popularity/2"}, {"run": "0" * 32}, {"files": "0" * 64}):
        with pytest.raises(ConfigError, match=f"is for version models:/.*, not for .*{next(iter(changed.values()))}"):
            read_calibration(tmp_path / "c.json", saved.model | changed)
    with pytest.raises(DataError, match="cannot be read"):
        read_calibration(tmp_path, saved.model)


# --- what is asked for


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("rows.csv", "known.csv", "c.json", "x.csv.calibration.json"):
        Path(name).write_text("track_id\n")
    os.mkfifo("pipe.csv")
    return tmp_path


ASKED = {
    "both": (["calibrate=known.csv", "calibration=c.json"], ConfigError, "set one of them"),
    "reasons of one": (["calibrate=known.csv", "explain=3"], ConfigError, "ask for them without calibrate=…"),
    "reasons of the other": (["calibration=c.json", "explain=3"], ConfigError, "ask for them without calibration=…"),
    "standard input": (["calibrate=known.csv", "input=-"], ConfigError, "reads input=- twice"),
    "a pipe": (["calibrate=known.csv", "input=pipe.csv"], ConfigError, "reads input=pipe.csv twice"),
    "standard output": (["calibrate=known.csv", "output=-"], ConfigError, "name a file with output=…"),
    "no known rows": (["calibrate=none.csv"], DataError, "calibrate=none.csv does not exist"),
    "no file": (["calibration=none.json"], DataError, "calibration=none.json does not exist"),
    "over known rows": (["calibrate=known.csv", "output=known.csv"], ConfigError, "known.csv is read and would be"),
    "over what is read": (
        ["calibrate=x.csv.calibration.json"],
        ConfigError,
        "x.csv.calibration.json is read and would be written over",
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_cannot_be_done_is_refused_at_once(here: Path, name: str):
    overrides, kind, message = ASKED[name]
    with pytest.raises(kind) as caught:
        places(configured("input=rows.csv", "output=x.csv", *overrides))
    assert message in str(caught.value)


def test_a_calibration_may_correct_a_pipe(here: Path):
    assert places(configured("input=-", "output=-", "calibration=c.json")) == (None, None)


# --- the commands


def predict(store: Store, *overrides: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return interpreter(*HEAVY).run("spotify_ml.predict", f"tracking.uri={store.uri}", *overrides, cwd=cwd)


@pytest.mark.slow
def test_predict_calibrates_says_how_well_and_keeps_the_file(
    store: Store, known: pd.DataFrame, new: pd.DataFrame, tmp_path: Path
):
    known.to_csv(tmp_path / "known.csv.gz", index=False)
    pd.concat([new, known.head(5).drop(columns="popularity")]).to_csv(tmp_path / "new.csv", index=False)
    done = predict(store, "input=new.csv", "output=scored.csv", "calibrate=known.csv.gz", "interval=0.9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert told[1].startswith("calibrated on ")
    assert "copies of rows to be scored left out): R² " in told[1]
    assert "(n=" in told[1]
    assert "calibration in scored.csv.calibration.json" in told[2]
    model = spotify_ml.load_model(CHAMPION, store.uri)
    saved = read_calibration(tmp_path / "scored.csv.calibration.json", model.version.identity)
    assert saved.n_rows <= 295
    assert str(saved) in told[1]
    scored = pd.read_csv(tmp_path / "scored.csv")
    expected = pd.DataFrame(CalibratedModel(model.predict, saved).predict(scored, {"interval": 0.9, "known": True}))
    np.testing.assert_array_equal(scored["popularity_predicted"], expected["popularity"])
    np.testing.assert_array_equal(scored[["popularity_lower", "popularity_upper"]], expected[["lower", "upper"]])
    assert scored["known"].tolist() == expected["known"].tolist()
    again = predict(
        store,
        "input=new.csv",
        "output=again.csv",
        "calibration=scored.csv.calibration.json",
        "interval=0.9",
        cwd=tmp_path,
    )
    assert again.returncode == 0, again.stderr
    assert "calibrated by scored.csv.calibration.json" in again.stderr
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "scored.csv").read_bytes()
    other = predict(
        store,
        "input=new.csv",
        "output=other.csv",
        "calibration=scored.csv.calibration.json",
        "catalogue=other",
        cwd=tmp_path,
    )
    assert other.returncode == 1
    assert other.stderr.splitlines()[1:] == [
        "error: catalogue=other: the calibration was fitted with catalogue=own; set that, or fit one with "
        "catalogue=other"
    ]
    assert not (tmp_path / "other.csv").exists()


@pytest.mark.slow
def test_folders_and_zips_are_calibrated_and_scored_again_only_for_another_calibration(
    store: Store, known: pd.DataFrame, new: pd.DataFrame, tmp_path: Path
):
    (tmp_path / "rows").mkdir()
    for number, rows in enumerate((new.head(150), new.tail(150))):
        rows.to_csv(tmp_path / "rows" / f"{number}.csv", index=False)
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        for number in (0, 1):
            archive.write(tmp_path / "rows" / f"{number}.csv", f"{number}.csv")
    known.to_parquet(tmp_path / "known.parquet")
    asked = ["input=rows", "output=scored", "calibrate=known.parquet"]
    first = predict(store, *asked, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "calibration in scored.calibration.json" in first.stderr
    assert "2 files kept" in predict(store, *asked, cwd=tmp_path).stderr
    packed = predict(store, "input=rows.zip", "output=all.csv", "calibrate=known.parquet", cwd=tmp_path)
    assert packed.returncode == 0, packed.stderr
    content = (tmp_path / "scored.calibration.json").read_bytes()
    assert (tmp_path / "all.csv.calibration.json").read_bytes() == content
    parts = [pd.read_csv(tmp_path / "scored" / f"{number}.csv")["popularity_predicted"] for number in (0, 1)]
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "all.csv")["popularity_predicted"], pd.concat(parts))
    known.head(200).to_parquet(tmp_path / "known.parquet")
    assert "files kept" not in predict(store, *asked, cwd=tmp_path).stderr
    assert (tmp_path / "scored.calibration.json").read_bytes() != content


@pytest.mark.slow
def test_a_job_that_fails_leaves_no_calibration(store: Store, known: pd.DataFrame, new: pd.DataFrame, tmp_path: Path):
    known.to_csv(tmp_path / "known.csv", index=False)
    new.assign(energy=new["energy"].where(new.index != 250, 7.0)).to_csv(tmp_path / "new.csv", index=False)
    asked = ["input=new.csv", "output=scored.csv"]
    failed = predict(store, *asked, "calibrate=known.csv", cwd=tmp_path)
    assert failed.returncode == 1
    assert "energy is outside 0 to 1 in 1 row (row 251: 7.0)" in failed.stderr
    known.head(99).to_csv(tmp_path / "few.csv", index=False)
    few = predict(store, *asked, "calibrate=few.csv", "on_error=skip", cwd=tmp_path)
    assert few.returncode == 1
    assert "at least 100 different ones are needed" in few.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few.csv", "known.csv", "new.csv"]


def _post(port: int, rows: pd.DataFrame, **params: object) -> tuple[int, Any]:
    body = json.dumps(
        {"dataframe_records": json.loads(rows.to_json(orient="records", double_precision=15)), "params": params}
    ).encode()
    address = f"http://127.0.0.1:{port}/invocations"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return response.status, json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["message"]


def _serve(store: Store, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "spotify_ml.serve", f"tracking.uri={store.uri}", *overrides]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_served_calibration_answers_as_predict_does(
    store: Store, saved: SavedCalibration, calibrated: CalibratedModel, new: pd.DataFrame, tmp_path: Path, workers: int
):
    saved.write(tmp_path / "c.json")
    port, log = free_port(), tmp_path / "log"
    command = _serve(store, "calibration=c.json", f"port={port}", f"workers={workers}")
    with log.open("wb") as told:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=told, stderr=told)
    try:
        wait_for(port, process, log)
        status, answer = _post(port, new)
        assert status == 200, answer
        np.testing.assert_array_equal(answer, calibrated.predict(new))
        status, answer = _post(port, new.head(3), interval=0.9, known=True)
        assert status == 200, answer
        expected = pd.DataFrame(calibrated.predict(new.head(3), {"interval": 0.9, "known": True}))
        assert answer == expected.to_dict(orient="records")
        assert _post(port, new, explain=2)[0] == 400
        status, answer = _post(port, new, catalogue="other")
        assert (status, answer[:46]) == (400, "catalogue=other: the calibration was fitted wi")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


@pytest.mark.slow
def test_a_server_does_not_start_with_a_calibration_that_is_none(store: Store, saved: SavedCalibration, tmp_path: Path):
    document = json.loads(saved.content())
    (tmp_path / "cut.json").write_bytes(saved.content()[:500])
    (tmp_path / "other.json").write_text(json.dumps(document | {"model": {"version": "models:/other/7"}}))
    for name, message in (
        ("cut.json", "is no file that calibrate=… wrote, or is damaged"),
        ("other.json", "is for version models:/other/7, not for version models:/spotify-popularity/1"),
        ("none.json", "none.json cannot be read: No such file or directory"),
    ):
        command = _serve(store, f"calibration={name}", f"port={free_port()}")
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
