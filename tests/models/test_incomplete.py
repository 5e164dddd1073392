"""The model of incomplete rows: when it answers, that it sees nothing it may not, and what it says of odd rows."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.data.etl import clean
from spotify_ml.data.schema import AUDIO, OPTIONAL_AUDIO, TARGET
from spotify_ml.data.schema import NAMES as NAMES_OF_RAW
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import Split, split_tracks
from spotify_ml.evaluation.coverage import calibrate_intervals
from spotify_ml.evaluation.evaluate import as_served, evaluate
from spotify_ml.evaluation.incomplete import pattern_metrics, score_patterns
from spotify_ml.evaluation.patterns import PATTERNS
from spotify_ml.features.builder import build_subsets
from spotify_ml.features.subsets import Subsets
from spotify_ml.features.transformers.columns import transform_columns
from spotify_ml.models import incomplete_fit
from spotify_ml.models.estimators import fit_estimators
from spotify_ml.models.files import AGREEMENT, check_agreement, load_model_files, model_files, write_model
from spotify_ml.models.fit import FittedEstimators
from spotify_ml.models.incomplete_fit import model_of
from spotify_ml.models.popularity import PopularityModel
from spotify_ml.models.predictions import predict_matrix
from spotify_ml.utils.errors import ConfigError
from tests.support import configured

NAMES = {"artist": "artists", "album": "album_name", "genre": "track_genre", "title": "track_name"}
CONFIG = ["incomplete=true", "model.n_estimators=40", "model.learning_rate=0.2", "model.n_jobs=1"]


class Fitted:
    """Both models, fitted on the sample."""

    def __init__(self, tracks: pd.DataFrame, split: Split, *overrides: str) -> None:
        self.config = configured(*CONFIG, *overrides)
        self.split, self.tracks, task = split, tracks, self.config.task
        self.subsets: Subsets = build_subsets("full", tracks, split, self.config.seed)
        self.fitted: FittedEstimators = fit_estimators(self.config.model, task, self.subsets, self.config.seed)
        intervals = calibrate_intervals(task, self.fitted, self.subsets, split.groups)
        self.model: PopularityModel = model_of(self.config, self.fitted, self.subsets, tracks, split, intervals)
        self.rows = tracks.iloc[split.test][[name for name in NAMES_OF_RAW if name != TARGET]]
        self.target = tracks[TARGET].to_numpy(dtype=float)[split.test]


@pytest.fixture(scope="module")
def tracks(sample: RawTracks) -> pd.DataFrame:
    return clean(sample.frame, "tracks").frame


@pytest.fixture(scope="module")
def split(tracks: pd.DataFrame) -> Split:
    return split_tracks(tracks, configured().split, 42)


@pytest.fixture(scope="module")
def fitted(tracks: pd.DataFrame, split: Split) -> Fitted:
    return Fitted(tracks, split)


def blank(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return rows.assign(**{column: pd.array([None] * len(rows), dtype="str") for column in columns})


# --- when it answers -----------------------------------------------------------------------------------------------


def test_rows_of_which_all_is_known_are_answered_by_the_first_model(fitted: Fitted):
    matrix = fitted.subsets.test.matrix()
    complete = fitted.model.incomplete.shares(matrix, other=False) == 0
    assert complete.mean() > 0.8
    expected = predict_matrix(fitted.fitted.refit, matrix)
    np.testing.assert_allclose(fitted.model.predict(fitted.rows)[complete], expected[complete], atol=AGREEMENT)


@pytest.mark.parametrize("column", NAMES.values())
def test_absent_empty_and_missing_columns_are_the_same(fitted: Fitted, column: str):
    absent = fitted.model.predict(fitted.rows.drop(columns=column))
    for rows in (blank(fitted.rows, column), fitted.rows.assign(**{column: " "}), fitted.rows.assign(**{column: ""})):
        np.testing.assert_array_equal(fitted.model.predict(rows), absent)
    assert not np.array_equal(absent, fitted.model.predict(fitted.rows))


def test_a_row_is_scored_the_same_alone_and_among_others(fitted: Fitted):
    rows = fitted.rows.head(40).copy()
    rows.iloc[::2, rows.columns.get_loc("track_genre")] = None
    rows.iloc[::3, rows.columns.get_loc("artists")] = "Nobody that anyone knows"
    for catalogue in ("own", "other"):
        options = {"interval": 0.9, "known": True, "catalogue": catalogue}
        alone = [fitted.model.predict(rows.iloc[[row]], **options) for row in range(40)]
        pd.testing.assert_frame_equal(pd.concat(alone), fitted.model.predict(rows, **options), atol=1e-4)


def test_where_the_catalogue_knows_neither_artist_nor_album_both_models_count(fitted: Fitted):
    model, rows = fitted.model, fitted.rows.assign(artists="Nobody that anyone knows", album_name="Nothing either")
    share = model.incomplete.share
    assert 0 < share < 1
    own = PopularityModel(model.features, model.estimator, medians=dict(zip(AUDIO, model.medians, strict=True)))
    expected = (1 - share) * own.predict(rows) + share * model.predict(rows, catalogue="other")
    np.testing.assert_allclose(model.predict(rows), expected, atol=1e-6)


def test_rows_of_another_catalogue_are_predicted_nearer_to_the_truth_if_it_is_said(fitted: Fitted):
    rows = fitted.rows.assign(artists="Nobody that anyone knows", album_name="Nothing either")
    own, other = (fitted.model.predict(rows, catalogue=catalogue) for catalogue in ("own", "other"))
    errors = [np.mean((predicted - fitted.target) ** 2) for predicted in (own, other)]
    assert errors[1] < errors[0]
    scored = [fitted.model.predict(rows, interval=0.9, catalogue=catalogue) for catalogue in ("own", "other")]
    widths = [(each["upper"] - each["lower"]).mean() for each in scored]
    assert widths[1] > widths[0]


def test_predictions_without_names_are_no_worse_than_the_mean(fitted: Fitted):
    mean = fitted.tracks[TARGET].iloc[fitted.split.trainval].mean()
    constant = np.mean((fitted.target - mean) ** 2)
    for columns in (
        [*NAMES.values()],
        ["artists", "album_name", "track_genre"],
        ["artists", "album_name"],
        ["track_genre"],
    ):
        predicted = fitted.model.predict(blank(fitted.rows, *columns))
        assert np.mean((predicted - fitted.target) ** 2) < constant


# --- equal names ---------------------------------------------------------------------------------------------------

SPELLINGS: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
    "padded": lambda name: f"  {name} ",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_names_written_otherwise_are_the_same_names(fitted: Fitted, spelling: str):
    texts = ["artists", "album_name", "track_genre"]
    written = fitted.rows.assign(
        **{column: fitted.rows[column].map(SPELLINGS[spelling], na_action="ignore") for column in texts}
    )
    known = fitted.model.predict(written, known=True)["known"]
    assert known.tolist() == fitted.model.predict(fitted.rows, known=True)["known"].tolist()
    # What words and letters of an album in capitals tell may differ.
    if spelling != "capitals":
        np.testing.assert_array_equal(fitted.model.predict(written), fitted.model.predict(fitted.rows))


# --- odd rows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        dict.fromkeys([*AUDIO, *NAMES.values()]),
        {"track_genre": "word " * 10_000},
        {"track_genre": ";".join(f"genre {number}" for number in range(10_000))},
        {"artists": ";;;", "track_genre": " ; ;"},
        {"artists": "Nobody", "album_name": "Nothing", "track_genre": "no genre", "track_name": "?"},
    ],
    ids=["nothing", "a long genre", "many genres", "separators", "strangers"],
)
def test_odd_rows_get_a_sensible_prediction_and_a_wide_interval(fitted: Fitted, odd: dict[str, str | None]):
    rows = fitted.rows.head(30).assign(
        **{name: pd.Series([value] * 30, dtype=object).to_numpy() for name, value in odd.items()}
    )
    scored = fitted.model.predict(rows, interval=0.9, explain=3)
    usual = fitted.model.predict(fitted.rows.head(30), interval=0.9)
    assert scored["popularity"].between(0, 100).all()
    assert ((scored["lower"] <= scored["popularity"]) & (scored["popularity"] <= scored["upper"])).all()
    assert (scored["upper"] - scored["lower"]).mean() > (usual["upper"] - usual["lower"]).mean()
    assert (scored["known"] != "artist;album;genre").all()


@pytest.mark.parametrize("name", OPTIONAL_AUDIO)
def test_a_missing_audio_value_is_taken_to_be_the_median(fitted: Fitted, name: str):
    median = float(fitted.tracks[name].iloc[fitted.split.trainval].astype(float).median())
    expected = fitted.model.predict(fitted.rows.assign(**{name: median}))
    np.testing.assert_array_equal(fitted.model.predict(fitted.rows.drop(columns=name)), expected)
    scored = fitted.model.predict(
        fitted.rows.head(3).drop(columns=name), explain=len(fitted.model.features.get_feature_names_out())
    )
    label = {"duration_ms": "duration (ms)"}.get(name, name.replace("_", " "))
    values = [each["value"] for each in scored["reasons"].iloc[0] if each["feature"] == label]
    assert values in ([None], [])


# --- intervals and reasons -----------------------------------------------------------------------------------------


def test_intervals_widen_with_what_is_not_known(fitted: Fitted):
    def width(rows: pd.DataFrame) -> float:
        scored = fitted.model.predict(rows, interval=0.9)
        return float((scored["upper"] - scored["lower"]).mean())

    widths = [
        width(blank(fitted.rows, *columns))
        for columns in ([], ["track_genre"], ["artists", "album_name"], list(NAMES.values()))
    ]
    assert widths == sorted(widths)
    assert widths[-1] > 2 * widths[0]


def test_reasons_add_up_to_the_prediction_whichever_model_answers(fitted: Fitted):
    rows = fitted.rows.head(60).copy()
    rows.iloc[:20, rows.columns.get_loc("track_genre")] = None
    rows.iloc[20:40, rows.columns.get_loc("artists")] = "Nobody that anyone knows"
    rows.iloc[20:40, rows.columns.get_loc("album_name")] = "Nothing either"
    for catalogue in ("own", "other"):
        scored = fitted.model.predict(rows, explain=4, catalogue=catalogue)
        points = scored["reasons"].map(lambda reasons: sum(each["points"] for each in reasons))
        total = (scored["base"] + points + scored["others"]).clip(0, 100)
        np.testing.assert_allclose(total, scored["popularity"], atol=0.05)


# --- figures -------------------------------------------------------------------------------------------------------


def test_every_pattern_has_the_figures_that_raw_rows_without_these_columns_have(fitted: Fitted):
    patterns = score_patterns(fitted.model, fitted.config.task, fitted.subsets.test).set_index("pattern")
    # The sample has no release dates.
    asked = {name: pattern for name, pattern in PATTERNS.items() if "release" not in pattern.absent}
    assert list(patterns.index) == list(asked)
    for name, pattern in asked.items():
        rows = blank(fitted.rows, *(NAMES[key] for key in pattern.absent))
        rows = rows.drop(columns=list(OPTIONAL_AUDIO)) if pattern.without_details else rows
        if pattern.unknown:
            continue
        scored = fitted.model.predict(rows, interval=0.9)
        assert patterns.loc[name, "bias"] == pytest.approx((scored["popularity"] - fitted.target).mean(), abs=0.02)
        inside = (scored["lower"] <= fitted.target) & (fitted.target <= scored["upper"])
        assert patterns.loc[name, "coverage_90"] == pytest.approx(inside.mean(), abs=0.01)
    metrics = pattern_metrics(patterns.reset_index())
    assert metrics["test_without_genre/r2"] == patterns.loc["test_without_genre", "r2"]


def test_test_figures_are_of_what_is_served(fitted: Fitted):
    first = evaluate(fitted.fitted, fitted.subsets, fitted.tracks, fitted.config.task)
    served = as_served(first, fitted.model, fitted.subsets.test, fitted.config.task)
    predicted = fitted.model.predict(fitted.rows)
    np.testing.assert_allclose(served.predicted, predicted, atol=AGREEMENT)
    assert served.metrics["test/rmse"] == pytest.approx(np.sqrt(np.mean((predicted - fitted.target) ** 2)), abs=1e-6)
    assert served.metrics["val/rmse"] == first.metrics["val/rmse"]


# --- leakage -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_popularity_of_test_rows_changes_nothing(fitted: Fitted, tracks: pd.DataFrame, split: Split):
    planted = tracks.copy()
    planted.loc[planted.index[split.test], TARGET] = 100 - planted[TARGET].iloc[split.test]
    other = Fitted(planted, split)
    rows = blank(fitted.rows, "track_genre")
    for options in ({}, {"interval": 0.9}, {"catalogue": "other"}):
        pd.testing.assert_frame_equal(
            pd.DataFrame(other.model.predict(rows, **options)), pd.DataFrame(fitted.model.predict(rows, **options))
        )


@pytest.mark.slow
def test_the_early_stopped_fit_sees_no_validation_row(fitted: Fitted, tracks: pd.DataFrame, split: Split, monkeypatch):
    """Intervals are as wide as errors on validation rows are; a fit that had seen these would make fewer."""
    seen = []
    fit = incomplete_fit.fit_single

    def spy(config, task, subsets, seed):
        seen.append(subsets)
        return fit(config, task, subsets, seed)

    monkeypatch.setattr(incomplete_fit, "fit_single", spy)
    Fitted(tracks, split)
    (copied,) = seen
    assert set(copied.train.features.index) == set(split.train)
    assert set(copied.validation.features.index) == set(split.validation)
    assert set(copied.trainval.features.index) == set(split.trainval)
    groups = split.groups
    assert not set(groups[copied.train.features.index]) & set(groups[copied.validation.features.index])


# --- files and parameters ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_both_pairs_of_files_score_as_the_models_do(fitted: Fitted, tmp_path: Path):
    write_model(tmp_path, "xgboost", fitted.model, pd.DataFrame({"feature": []}), {})
    stem = "xgboost_popularity_model"
    there = {path.name for path in tmp_path.iterdir()}
    assert there >= {f"{stem}{kind}.{suffix}" for kind in ("", "_incomplete") for suffix in ("joblib", "json")}
    read = load_model_files(model_files(tmp_path))
    for rows in (fitted.rows, blank(fitted.rows, "track_genre"), blank(fitted.rows, *NAMES.values())):
        for options in ({"interval": 0.9, "known": True}, {"explain": 3, "catalogue": "other"}):
            expected, found = (
                model.predict(rows, **options).drop(columns="reasons", errors="ignore")
                for model in (fitted.model, read)
            )
            pd.testing.assert_frame_equal(found, expected, atol=1e-3)
    lacking = blank(fitted.rows, "track_genre")
    features, incomplete = fitted.model.features, fitted.model.incomplete
    view = incomplete.features.view(transform_columns(features, lacking), np.zeros(len(lacking), dtype=bool))
    assert check_agreement(tmp_path, view, read.predict(lacking), incomplete=True) <= AGREEMENT


@pytest.mark.slow
def test_classes_have_a_model_of_incomplete_rows_too(tracks: pd.DataFrame, split: Split):
    fitted = Fitted(tracks, split, "task=classification")
    probabilities = fitted.model.predict(blank(fitted.rows, "track_genre", "artists"), known=True)
    assert probabilities["known"].eq("album").any()
    np.testing.assert_allclose(probabilities.drop(columns="known").sum(axis=1), 1, atol=1e-6)
    patterns = score_patterns(fitted.model, fitted.config.task, fitted.subsets.test)
    assert {"log_loss", "macro_f1"} <= set(patterns)


@pytest.mark.parametrize("asked", [{"known": True}, {"catalogue": "other"}])
def test_a_model_without_one_of_incomplete_rows_says_so(fitted: Fitted, asked: dict[str, object]):
    alone = PopularityModel(fitted.model.features, fitted.model.estimator)
    with pytest.raises(ConfigError, match="this model has none of incomplete rows beside it"):
        alone.predict(fitted.rows, **asked)


def test_an_unknown_catalogue_is_refused(fitted: Fitted):
    with pytest.raises(ConfigError, match="catalogue='mine': there are own, other"):
        fitted.model.predict(fitted.rows, catalogue="mine")
