"""Tests of the report: what joins what, what is decided, what has drifted, and what is written."""

import json
import subprocess
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spotify_ml.config.check import validate_as
from spotify_ml.config.live import LiveConfig
from spotify_ml.live.assignment import CHALLENGER
from spotify_ml.live.database import OUTCOMES
from spotify_ml.live.decision import decide, sample_ratio
from spotify_ml.live.monitor import Profile, stability_index
from spotify_ml.live.observed import join_outcomes, read_log
from spotify_ml.live.report import read_report
from spotify_ml.utils.errors import ConfigError, DataError
from tests.commands import HEAVY, interpreter
from tests.live.conftest import MODEL, Store
from tests.live.experiments import DAY_S, STARTED, distinct, logged, observe, predictions
from tests.support import composed

LATE_DAYS = 30.0


def _config(store: Store, *overrides: str) -> LiveConfig:
    return validate_as(composed("live", "action=report", f"tracking.uri={store.uri}", *overrides), LiveConfig)


def _live(store: Store, *typed: str) -> "subprocess.CompletedProcess[str]":
    return interpreter(*HEAVY).run("spotify_ml.live", *typed, f"tracking.uri={store.uri}", cwd=store.folder)


def test_a_better_challenger_is_promoted_and_a_worse_one_stopped(store: Store):
    places = distinct(400)
    observe(logged(store, places), places)
    better = read_report(_config(store))
    assert better.decision.outcome == "promote"
    assert better.sentence.startswith(f"Promote models:/{MODEL}/2: the challenger's squared error is smaller by ")
    database = logged(store, places, name="back", versions=(2, 1))
    log = read_log(database, "back")
    assert (log.champion, log.challenger) == (2, 1)
    worse = decide(log, join_outcomes(log, LATE_DAYS), _config(store), time.time())
    assert worse.outcome == "stop"
    assert worse.sequences["squared"].value[-1] == pytest.approx(-better.decision.sequences["squared"].value[-1])
    assert "larger by" in worse.why


def test_split_traffic_decides_by_the_sides(store: Store):
    places = distinct(1500)
    observe(logged(store, places, mode="split"), places)
    log = read_log(log_database := logged(store, places[:1], mode="split"), None)
    observed = join_outcomes(log, LATE_DAYS)
    decision = decide(log, observed, _config(store), time.time())
    assert (decision.outcome, decision.n_outcomes) == ("promote", 1500)
    frame = observed.frame
    sides = frame["is_challenger"].to_numpy()
    assert frame.loc[sides, "champion"].isna().all()
    assert frame.loc[~sides, "challenger"].isna().all()
    assert decision.sample_ratio is not None
    assert decision.sample_ratio.passed
    log_database.engine.dispose()


def test_sides_that_are_not_as_large_as_they_should_be_stop_everything(store: Store):
    places = distinct(400)
    observe(logged(store, places, mode="split", share=0.5, shares=0.2), places)
    decision = read_report(_config(store)).decision
    assert decision.outcome == "stop"
    assert [each.name for each in decision.broken] == ["sample_ratio"]
    assert "a guardrail does not hold" in decision.why


def test_a_ratio_that_cannot_be_by_chance_has_a_p_value_in_words(store: Store):
    log = read_log(logged(store, distinct(30), mode="split"), None)
    many = pd.concat([log.predictions[log.predictions["answered"]]] * 400, ignore_index=True)
    many = many.assign(unit=many.index.astype(str), arm=CHALLENGER)
    found = sample_ratio(replace(log, predictions=many), _config(store).guardrails)
    assert found is not None
    assert (found.passed, found.value) == (False, 0.0)
    assert "p < 1e-300" in found.said


def test_without_outcomes_one_keeps_on(store: Store):
    logged(store, distinct(30))
    decision = read_report(_config(store)).decision
    assert (decision.outcome, decision.why) == ("keep", "no outcome is known yet")


def test_an_experiment_ends_at_its_horizon(store: Store):
    places = distinct(60)
    # In the middle between both, which are equally wrong.
    middle = (predictions(store.uri, 1) + predictions(store.uri, 2))[places] / 2
    observe(logged(store, places), places, middle)
    now = time.time()
    assert read_report(_config(store), now).decision.outcome == "keep"
    full = read_report(_config(store, "rule.max_outcomes=60"))
    assert full.sentence.endswith("after 60 outcomes no difference was found, and the experiment ends.")
    ended = read_report(_config(store), now + 200 * DAY_S).decision
    assert (ended.outcome, "after 205 days no difference" in ended.why) == ("stop", True)


def test_rows_without_outcome_are_in_no_figure(store: Store):
    places = distinct(300)
    database = logged(store, places)
    observe(database, places[:120])
    log = read_log(database, None)
    observed = join_outcomes(log, LATE_DAYS)
    decision = decide(log, observed, _config(store), time.time())
    assert (observed.counts["units"], observed.counts["without_outcome"]) == (300, 180)
    assert decision.sequences["squared"].n[-1] == 120
    assert np.isfinite(decision.sequences["squared"].value).all()


def _outcome(unit: str, popularity: float, after_s: float) -> dict[str, object]:
    return {"unit": unit, "popularity": popularity, "observed_at": STARTED + after_s, "received_at": time.time()}


@pytest.mark.parametrize(
    ("told", "popularity", "counted"),
    [
        ([(41, DAY_S), (43, DAY_S)], 43, {"corrected": 1}),
        ([(41, DAY_S), (43, 2 * DAY_S)], 41, {"corrected": 0}),
        ([(41, 2 * DAY_S), (43, DAY_S)], 43, {}),
        ([(41, -DAY_S)], None, {"early": 1, "without_outcome": 1}),
        ([(41, -DAY_S), (43, DAY_S)], 43, {"early": 0}),
        ([(41, 31 * DAY_S)], None, {"late": 1, "without_outcome": 1}),
    ],
    ids=["corrected", "seen again", "received later", "early", "early and right", "late"],
)
def test_of_several_outcomes_one_counts(
    store: Store, told: list[tuple[float, float]], popularity: float | None, counted: dict[str, int]
):
    (place,) = distinct(1)
    database = logged(store, [place])
    unit = store.rows["track_id"].iloc[place]
    for value, after in told:
        database.insert(OUTCOMES, [_outcome(unit, value, after)])
    observed = join_outcomes(read_log(database, None), LATE_DAYS)
    assert observed.frame["popularity"].tolist() == ([] if popularity is None else [popularity])
    assert {name: observed.counts[name] for name in counted} == counted


def test_a_unit_counts_once_by_its_first_prediction(store: Store):
    places = distinct(3)
    database = logged(store, places)
    observe(database, places)
    log = read_log(database, None)
    twice = log.predictions.assign(request=log.predictions["request"] + "x", prediction=0.0)
    observed = join_outcomes(replace(log, predictions=pd.concat([log.predictions, twice])), LATE_DAYS)
    assert len(observed.frame) == 3
    assert (observed.frame["champion"] > 0).any()


def test_an_experiment_is_to_be_named_where_there_are_several(store: Store):
    logged(store, distinct(2), name="spring")
    database = logged(store, distinct(2), name="autumn")
    with pytest.raises(ConfigError, match=r"has the experiments spring, autumn; name one of them"):
        read_log(database, None)
    with pytest.raises(ConfigError, match=r"there is no 'sprin' .did you mean 'spring'"):
        read_log(database, "sprin")


def test_an_experiment_without_a_challenger_says_so(store: Store):
    database = logged(store, [])
    database.prepare()
    with pytest.raises((DataError, ConfigError), match=r"has predicted nothing|has the experiments none"):
        read_log(database, None)


def test_drift_is_found_where_something_has_moved(store: Store):
    places = distinct(400)
    rows = store.rows.iloc[places].assign(popularity=0)
    moved = rows.assign(tempo=(rows["tempo"] + 80).clip(0, 300), track_genre="unheard-of", artists="Nobody Known")
    moved.loc[moved.index[:100], "key"] = np.nan
    observe(logged(store, places, rows=moved), places)
    found = read_report(_config(store)).drift
    assert found is not None
    assert found.columns[0].column == "tempo"
    assert {each.column for each in found.moved} <= {"tempo", "prediction"}
    assert (found.unseen_genres, found.unseen_artists) == (1.0, 1.0)
    by_name = {each.column: each for each in found.columns}
    assert by_name["key"].missing == pytest.approx(0.25)
    assert by_name["tempo"].errors is not None
    assert by_name["tempo"].importance is not None
    assert set(found.novelty) == {"artist not known"}
    # Without a move there is none, and the profile is the one that was recorded.
    observe(logged(store, places, name="same"), places)
    same = read_report(_config(store, "name=same")).drift
    assert same is not None
    assert same.moved == []
    assert same.unseen_artists < 0.5


def test_the_stability_index_is_that_of_the_formula():
    before, now = np.array([0.2, 0.8]), np.array([0.5, 0.5])
    expected = 0.3 * np.log(0.5 / 0.2) - 0.3 * np.log(0.5 / 0.8)
    assert stability_index(before, now) == pytest.approx(expected)
    assert np.isfinite(stability_index(np.array([1.0, 0.0]), np.array([0.0, 1.0])))


@pytest.mark.slow
def test_the_report_is_a_page_a_file_and_a_run(store: Store):
    places = distinct(400)
    database = logged(store, places)
    observe(database, places[:40])
    done = _live(store, "report", "output=seen/live.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Keep on: 40 outcomes do not tell the versions apart yet.")
    observe(database, places)
    done = _live(store, "report", "output=seen/live.html")
    assert done.returncode == 2, done.stderr
    sentence, _, run = done.stdout.splitlines()
    assert sentence.startswith(f"Promote models:/{MODEL}/2")
    text = (store.folder / "seen" / "live.html").read_text()
    assert "Error by genre" in text
    assert "http" not in text.replace("http-equiv", "")
    told = json.loads((store.folder / "seen" / "live.json").read_text())
    assert (told["decision"], told["outcomes"], len(told["gain"]["squared"])) == ("promote", 400, 8)
    run_id = run.split()[-1]
    recorded = store.client.get_run(run_id)
    assert recorded.data.tags["live.decision"] == "promote"
    assert recorded.data.metrics["live/squared_gain_lower"] > 0
    files = {each.path for each in store.client.list_artifacts(run_id, "live")}
    assert files == {"live/report.html", "live/report.json"}
    for number in (1, 2):
        assert store.client.get_model_version(MODEL, str(number)).tags["live.run_id"] == run_id
    for number in (1, 2):
        run = store.client.get_model_version(MODEL, str(number)).run_id
        profile = store.client.download_artifacts(run, "live/live_profile.json", str(store.folder))
        with open(profile) as file:  # noqa: PTH123
            assert Profile.of_json(file.read()).n_rows > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["report"], "there is no log"),
        (["report", "output=page.txt"], "ends in .html"),
        (["reprot"], "action"),
        (["report", "rule.alpha=2"], "rule.alpha=2"),
    ],
)
def test_what_cannot_be_reported_is_one_error(store: Store, typed: list[str], message: str):
    done = _live(store, *typed)
    assert (done.returncode, message in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr
