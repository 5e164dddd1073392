"""Tests of ``scripts/peers.py``: what the peers are given, the table, and its errors."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, split_tracks

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "peers.py"
SEED = 42
RAW = {
    "artists",
    "album_name",
    "track_genre",
    "key",
    "mode",
    "time_signature",
    "duration_ms",
    "explicit",
    "danceability",
    "energy",
    "loudness",
    "speechiness",
    "acousticness",
    "instrumentalness",
    "liveness",
    "valence",
    "tempo",
}


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up.
    sys.modules["peers"] = module
    spec.loader.exec_module(module)
    return module


script = load_script()


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{missing} not installed: pip install -e '.[peers]'")


@dataclasses.dataclass(frozen=True)
class Finished:
    code: int
    stdout: str
    stderr: str
    output: Path

    @property
    def error(self) -> str:
        """The one line that says what is wrong; nothing else was printed or written."""
        assert self.code == 1
        assert not self.output.exists()
        (line,) = self.stderr.splitlines()
        return line.removeprefix("error: ")

    @property
    def rows(self) -> list[list[str]]:
        lines = [line for line in self.output.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


Command = Callable[..., Finished]


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")

    def run(*args: str) -> Finished:
        output = tmp_path / "docs" / "peers.md"
        code = script.main([*args, "--output", str(output)])
        printed = capsys.readouterr()
        return Finished(code, printed.out, printed.err, output)

    return run


@pytest.fixture
def no_fit(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let nothing be fitted: the names of what would have been."""
    fitted: list[str] = []

    def score(split: str, model: str) -> Any:
        fitted.append(f"{model} on {split}")
        return script.Score(split, model, 0.5, 12.345, 6.789, 1.23, 1234)

    monkeypatch.setattr(script, "score_project", lambda overrides, split: score(split, "spotify_ml"))
    monkeypatch.setattr(script, "score_peer", lambda name, config, budget: score(config.split.name, name))
    return fitted


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame


@pytest.fixture(scope="module")
def split(tracks: pd.DataFrame) -> Split:
    return split_tracks(tracks, SplitConfig(name="artist", test_size=0.2, val_size=0.12), SEED)


@pytest.fixture(scope="module")
def task(tracks: pd.DataFrame, split: Split) -> Any:
    return script.task_of(tracks, split, SEED, 5.0)


def small(task: Any, n_rows: int = 400) -> Any:
    """The first rows of every part, so that a fit is quick."""
    return dataclasses.replace(
        task,
        **{
            part: script.Rows(getattr(task, part).features.head(n_rows), getattr(task, part).target[:n_rows])
            for part in ("train", "validation", "trainval", "test")
        },
    )


def test_peers_get_raw_columns_only(task: Any) -> None:
    assert set(task.train.features) == RAW | {"first_artist"}


def test_peers_get_the_rows_of_the_split(task: Any, tracks: pd.DataFrame, split: Split) -> None:
    for part in ("train", "validation", "trainval", "test"):
        rows, expected = getattr(task, part), tracks.iloc[getattr(split, part)]
        np.testing.assert_array_equal(rows.target, expected["popularity"])
        for name in RAW:
            assert rows.features[name].tolist() == expected[name].tolist()


def test_first_artist_is_the_first_of_the_artists(task: Any) -> None:
    features = task.train.features
    several = features["artists"].str.contains(";")
    assert several.any()
    assert (features["first_artist"] == features["artists"].map(lambda names: names.split(";")[0])).all()


@pytest.mark.parametrize("name", list(script.PEERS))
def test_test_target_does_not_change_a_prediction(
    name: str, task: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if name == "flaml":
        pytest.skip("a search by the clock does not repeat")
    pytest.importorskip(script.PEERS[name].module, reason="pip install -e '.[peers]'")
    monkeypatch.setitem(script.LIGHTGBM, "n_estimators", 20)
    monkeypatch.setitem(script.LIGHTGBM, "n_jobs", 1)
    monkeypatch.setitem(script.CATBOOST, "iterations", 20)
    given = small(task)
    other = dataclasses.replace(given, test=script.Rows(given.test.features, 100 - given.test.target))
    first, second = (script.PEERS[name].predict(one) for one in (given, other))
    np.testing.assert_array_equal(first.popularity, second.popularity)
    assert 1 <= first.trees <= 20


@pytest.mark.parametrize("name", ["lightgbm", "catboost"])
def test_number_of_trees_is_chosen_on_validation_rows(name: str, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation rows that nothing can be learnt for stop the fit at once."""
    pytest.importorskip(script.PEERS[name].module, reason="pip install -e '.[peers]'")
    monkeypatch.setattr(script, "PATIENCE", 3)
    monkeypatch.setitem(script.LIGHTGBM, "n_estimators", 50)
    monkeypatch.setitem(script.LIGHTGBM, "n_jobs", 1)
    monkeypatch.setitem(script.CATBOOST, "iterations", 50)
    given = small(task)
    mirrored = 2 * given.train.target.mean() - given.train.target
    hopeless = dataclasses.replace(given, validation=script.Rows(given.train.features, mirrored))
    helpful = dataclasses.replace(given, validation=given.train)
    few, many = (script.PEERS[name].predict(one).trees for one in (hopeless, helpful))
    assert few <= 3 < many


@pytest.mark.parametrize("name", ["lightgbm", "catboost"])
def test_empty_text_is_fitted_and_predicted(name: str, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(script.PEERS[name].module, reason="pip install -e '.[peers]'")
    monkeypatch.setitem(script.LIGHTGBM, "n_estimators", 5)
    monkeypatch.setitem(script.LIGHTGBM, "n_jobs", 1)
    monkeypatch.setitem(script.CATBOOST, "iterations", 5)
    given = small(task)

    def without_texts(rows: Any) -> Any:
        features = rows.features.copy()
        features.loc[1::2, list(script.TEXTS)] = None
        return script.Rows(features, rows.target)

    parts = {part: without_texts(getattr(given, part)) for part in ("train", "validation", "trainval", "test")}
    prediction = script.PEERS[name].predict(dataclasses.replace(given, **parts))
    assert np.isfinite(prediction.popularity).all()


def test_table_names_command_versions_and_cores(command: Command, no_fit: list[str]) -> None:
    finished = command("--splits", "artist", "--peers", "lightgbm")
    if importlib.util.find_spec("lightgbm") is None:
        pytest.skip("lightgbm is not installed")
    header = finished.output.read_text(encoding="utf-8").splitlines()[0]
    assert header.startswith("`python scripts/peers.py --splits artist --peers lightgbm")
    assert re.search(r"xgboost \d\S+, lightgbm \d\S+, scikit-learn \d\S+, pandas \d\S+; \d+ cores?, seed 42", header)


@needs("lightgbm", "catboost")
def test_table_has_every_model_on_every_split(command: Command, no_fit: list[str]) -> None:
    finished = command("--splits", "artist,recording,artist", "--peers", "catboost, lightgbm", "--seed", "7")
    expected = [
        f"{model} on {split}" for split in ("artist", "recording") for model in ("spotify_ml", "catboost", "lightgbm")
    ]
    assert no_fit == expected
    header, _, *rows = finished.rows
    assert header == ["split", "model", "test R²", "RMSE", "MAE", "seconds", "trees"]
    assert [f"{row[1]} on {row[0]}" for row in rows] == expected
    assert rows[0][2:] == ["0.500", "12.35", "6.79", "1.2", "1,234"]


@needs("lightgbm")
def test_table_replaces_an_older_one(command: Command, no_fit: list[str], tmp_path: Path) -> None:
    for split in ("artist", "album"):
        finished = command("--splits", split, "--peers", "lightgbm")
    assert {row[0] for row in finished.rows[2:]} == {"album"}
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["peers.md"]


def test_unknown_peer_is_one_error_with_the_nearest_name(command: Command, no_fit: list[str]) -> None:
    error = command("--peers", "lightbgm").error
    assert error == "unknown peer 'lightbgm' (did you mean 'lightgbm'?); there are: lightgbm, catboost, flaml"
    assert no_fit == []


def test_unknown_split_is_one_error_with_the_nearest_name(command: Command, no_fit: list[str]) -> None:
    assert "unknown split 'artists' (did you mean 'artist'?)" in command("--splits", "artists").error


def test_no_peer_is_one_error(command: Command, no_fit: list[str]) -> None:
    assert command("--peers", ",").error == "no peer is named; there are: lightgbm, catboost, flaml"


@pytest.mark.parametrize("missing", [["catboost"], ["lightgbm", "flaml"]])
def test_absent_peer_is_one_error_that_names_the_extra(
    command: Command, no_fit: list[str], monkeypatch: pytest.MonkeyPatch, missing: list[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        script.importlib.util, "find_spec", lambda name, *rest: None if name in missing else found(name, *rest)
    )
    error = command("--peers", ",".join(missing)).error
    assert error.startswith(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed")
    assert "pip install -e '.[peers]'" in error
    assert no_fit == []


@needs("lightgbm")
def test_absent_data_is_one_error(command: Command, no_fit: list[str], tmp_path: Path) -> None:
    path = tmp_path / "it's, not=here.csv"
    assert command("--peers", "lightgbm", "--data", str(path)).error.startswith(f"{path} does not exist")
    assert no_fit == []


def test_budget_must_be_positive(capsys: pytest.CaptureFixture[str]) -> None:
    for budget in ("0", "-3", "nan", "soon"):
        with pytest.raises(SystemExit) as exit_info:
            script.main(["--budget", budget])
        assert exit_info.value.code == 2
    assert "--budget" in capsys.readouterr().err


def test_failed_run_of_the_project_is_one_error() -> None:
    with pytest.raises(script.PeerError, match=r"spotify_ml\.train data=nowhere"):
        script.score_project(["data=nowhere"], "artist")


@pytest.mark.slow
@needs("lightgbm")
def test_lightgbm_beside_the_project_on_the_sample(command: Command) -> None:
    finished = command("--splits", "artist", "--peers", "lightgbm", "--data", "sample")
    assert finished.code == 0, finished.stderr
    project, lightgbm = finished.rows[2:]
    assert project[:2] == ["artist", "**spotify_ml**"]
    assert lightgbm[:2] == ["artist", "LightGBM"]
    for row in (project, lightgbm):
        r2, rmse, mae, seconds = map(float, row[2:6])
        assert -0.5 < r2 < 1
        assert 0 < mae < rmse < 50
        assert seconds > 0
        assert int(row[6]) >= 1
        assert row[2] in finished.stdout


@pytest.mark.slow
@needs("flaml", "lightgbm", "catboost")
def test_flaml_finds_a_learner_within_its_budget(task: Any) -> None:
    prediction = script.predict_flaml(task)
    assert prediction.learner
    assert np.isfinite(prediction.popularity).all()
    assert np.sqrt(np.mean((prediction.popularity - task.test.target) ** 2)) < 1.1 * task.test.target.std()
