"""Tests of the model that scores raw rows, and of the files it is kept in."""

from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from xgboost import XGBRegressor

from spotify_ml.config.run import SplitConfig
from spotify_ml.data.contract import scoring_rows
from spotify_ml.data.etl import add_derived_columns, clean
from spotify_ml.data.schema import REQUIRED_AUDIO
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import split_tracks
from spotify_ml.evaluation.coverage import calibrate_intervals
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.subsets import Subsets
from spotify_ml.features.transformers.columns import transform_columns
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.files import AGREEMENT, check_agreement, load_model_files, model_files, write_model
from spotify_ml.models.incomplete_fit import model_of
from spotify_ml.models.intervals import within_range
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.predictions import clip_popularity
from spotify_ml.utils.errors import ConfigError, DataError, SpotifyMLError
from tests.support import configured

FEATURE_SETS = ["full", "audio", "reference"]


class Written:
    """A model fitted on the sample and written to a folder."""

    def __init__(self, features: str, tracks: pd.DataFrame, folder: Path) -> None:
        config = configured("model.n_estimators=20", "model.learning_rate=0.3", "model.n_jobs=1")
        split = split_tracks(tracks, SplitConfig(name="recording", test_size=0.2, val_size=0.12), config.seed)
        self.folder = folder
        self.subsets: Subsets = build_subsets(features, tracks, split, config.seed)
        fitted = fit_estimators(config.model, config.task, self.subsets, 0)
        self.estimator: XGBRegressor = fitted.refit
        self.rows = tracks.iloc[split.test]
        importance = pd.DataFrame({"feature": []})
        self.intervals = calibrate_intervals(config.task, fitted, self.subsets, split.groups)
        model = model_of(config, fitted, self.subsets, tracks, split, self.intervals)
        write_model(folder, "xgboost", model, importance, {"seed": 0})
        self.model = load_model_files(model_files(folder))


@pytest.fixture(scope="module", params=FEATURE_SETS)
def written(request: pytest.FixtureRequest, sample: RawTracks, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(request.param, clean(sample.frame, "tracks").frame, tmp_path_factory.mktemp(request.param))


def test_raw_rows_are_scored_like_their_features(written: Written):
    expected = written.estimator.predict(written.subsets.test.features).clip(0, 100)
    np.testing.assert_allclose(written.model.predict(written.rows), expected, atol=AGREEMENT)


def test_file_formats_agree(written: Written):
    difference = check_agreement(written.folder, written.subsets.test.matrix(), written.model.predict(written.rows))
    assert 0 <= difference <= AGREEMENT


@pytest.mark.parametrize("wrong", [0.001, -0.001, np.nan])
def test_formats_that_disagree_are_refused(written: Written, wrong: float):
    off = written.model.predict(written.rows)
    off[3] += wrong
    with pytest.raises(SpotifyMLError, match="disagree"):
        check_agreement(written.folder, written.subsets.test.matrix(), off)


def test_a_wrong_file_is_noticed(written: Written, tmp_path: Path):
    for path in written.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    other = XGBRegressor(n_estimators=1, max_depth=1, n_jobs=1)
    other.fit(written.subsets.train.features, written.subsets.train.target)
    joblib.dump(other, model_files(tmp_path).joblib)
    with pytest.raises(SpotifyMLError, match="disagree"):
        check_agreement(tmp_path, written.subsets.test.matrix(), written.model.predict(written.rows))


def test_all_files_are_there(written: Written):
    assert {path.name for path in written.folder.iterdir()} == {
        "xgboost_popularity_model.joblib",
        "xgboost_popularity_model.json",
        "features.skops",
        "intervals.json",
        "feature_importance.csv",
        "model_metadata.json",
    }


def test_no_rows_give_no_predictions(written: Written):
    assert written.model.predict(written.rows.head(0)).shape == (0,)


def test_a_row_alone_is_scored_as_in_a_batch(written: Written):
    batch = written.model.predict(written.rows)
    alone = [written.model.predict(written.rows.iloc[[row]]).item() for row in (0, 1, 2, len(written.rows) - 1)]
    assert alone == [batch[0], batch[1], batch[2], batch[-1]]


def test_rows_are_left_as_they_were(written: Written):
    before = written.rows.copy()
    written.model.predict(written.rows)
    pd.testing.assert_frame_equal(written.rows, before)


def test_intervals_and_reasons_are_given_with_the_same_prediction(written: Written):
    rows, matrix = written.rows.head(80), written.subsets.test.matrix()[:80]
    given = written.model.predict(rows, interval=0.9, explain=5)
    assert list(given) == ["popularity", "lower", "upper", "base", "reasons", "others"]
    assert given.index.equals(rows.index)
    np.testing.assert_array_equal(given["popularity"], written.model.predict(rows))
    predicted = given["popularity"].to_numpy()
    lower, upper = within_range(predicted, written.intervals.margins(matrix, predicted, [0.9])[0])
    np.testing.assert_allclose(given[["lower", "upper"]], np.column_stack([lower, upper]), atol=1e-3)
    sums = given["base"] + [sum(reason["points"] for reason in reasons) for reasons in given["reasons"]]
    np.testing.assert_allclose((sums + given["others"]).clip(0, 100), given["popularity"], atol=1e-3)
    assert set(given["reasons"].map(len)) == {5}


@pytest.mark.parametrize("n_rows", [0, 1])
@pytest.mark.parametrize("asked", [{"interval": 0.8}, {"explain": 1}, {"interval": 0.8, "explain": 1}])
def test_few_rows_get_what_they_get_among_others(written: Written, n_rows: int, asked: dict[str, float]):
    expected = written.model.predict(written.rows, **asked).head(n_rows)
    given = written.model.predict(written.rows.head(n_rows), **asked)
    pd.testing.assert_frame_equal(given, expected, check_exact=False, atol=1e-3)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"interval": 1.2}, r"interval=1\.2: give a confidence above 0 and below 1"),
        ({"explain": -1}, "explain=-1: give how many of the"),
        ({"interval": 0.9, "explain": 500}, "explain=500: give how many of the"),
    ],
)
def test_what_cannot_be_asked_is_refused(written: Written, asked: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message):
        written.model.predict(written.rows, **asked)


def test_a_model_saved_without_intervals_says_so(written: Written):
    older = load_model_files(replace(model_files(written.folder), intervals=None))
    with pytest.raises(ConfigError, match=r"interval=0\.9: this model was saved without prediction intervals"):
        older.predict(written.rows, interval=0.9)


def test_classes_have_neither_intervals_nor_reasons(written: Written):
    classifier = PopularityModel(written.model.features, written.model.estimator, ("Low", "High"))
    with pytest.raises(ConfigError, match=r"interval=0\.9 and explain=5: of a regression alone"):
        classifier.predict(written.rows, interval=0.9, explain=5)


@pytest.mark.parametrize("name", REQUIRED_AUDIO)
def test_an_absent_audio_column_is_named(written: Written, name: str):
    with pytest.raises(DataError, match=rf"\b{name}\b"):
        written.model.predict(written.rows.drop(columns=name))


def test_all_absent_audio_columns_are_named_at_once(written: Written):
    with pytest.raises(DataError) as caught:
        written.model.predict(written.rows.drop(columns=["energy", "tempo", "valence"]))
    for name in ("energy", "tempo", "valence"):
        assert name in str(caught.value)


def test_text_in_an_audio_column_is_named(written: Written):
    with pytest.raises(DataError, match="tempo is not numeric"):
        written.model.predict(written.rows.assign(tempo="fast"))


def test_numbers_out_of_range_are_refused_or_clipped(written: Written):
    rows = written.rows.head(3).assign(loudness=[40.0, -5.0, -500.0])
    with pytest.raises(DataError, match=r"loudness is outside -100 to 20 in 2 rows \(row 1: 40.0, row 3: -500.0\)"):
        written.model.predict(rows)
    clipped = written.model.predict(rows, out_of_range="clip")
    np.testing.assert_array_equal(clipped, written.model.predict(rows.assign(loudness=[20.0, -5.0, -100.0])))
    with pytest.raises(ConfigError, match="out_of_range='cut': there are refuse, clip"):
        written.model.predict(rows, out_of_range="cut")


def test_the_steps_give_what_scikit_learn_gives(written: Written):
    tracks = add_derived_columns(scoring_rows(written.rows).frame())
    features = written.subsets.transformer
    expected = np.asarray(features.transform(tracks), dtype=np.float32)
    np.testing.assert_array_equal(transform_columns(features, tracks), expected)


@pytest.mark.parametrize(("raw", "clipped"), [(-3.5, 0.0), (0.0, 0.0), (55.5, 55.5), (100.0, 100.0), (104.0, 100.0)])
def test_predictions_are_clipped_to_the_range_of_popularity(raw: float, clipped: float):
    result = clip_popularity(np.array([raw], dtype=np.float32))
    assert result.dtype == np.float64
    assert result.tolist() == [clipped]
