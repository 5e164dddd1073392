"""Tests of runs found again and compared, in a real store with real runs of the sample."""

import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score

from spotify_ml.config.run import RunConfig, TrackingConfig
from spotify_ml.reports.runs import compare_runs, run_report
from spotify_ml.reports.summary import Summary
from spotify_ml.tracking.relocation import relocate
from spotify_ml.tracking.run_reader import finished_runs, read_runs
from spotify_ml.tracking.study import StudyRecord
from spotify_ml.tracking.training import train
from spotify_ml.utils.errors import DataError, TrackingError
from spotify_ml.utils.paths import PROJECT
from tests.commands import python
from tests.support import configured
from tests.tracking.conftest import Store


@dataclass(frozen=True)
class Recorded:
    """A store with two runs: all features, which is the champion, and audio alone."""

    store: Store
    audio: Summary

    @property
    def full(self) -> Summary:
        return self.store.summary

    @property
    def tracking(self) -> TrackingConfig:
        return self.store.tracking


def settings(store: Store, *overrides: str) -> RunConfig:
    places = [f"tracking.uri={store.uri}", f"tracking.artifact_location={store.folder / 'artifacts'}"]
    small = ["cache=off", "model.n_jobs=1", "model.n_estimators=30", "register=false"]
    return configured(*places, *small, *overrides)


def trained(store: Store, name: str, *overrides: str) -> Summary:
    (store.folder / name).mkdir()
    return train(settings(store, *overrides), store.folder / name, list(overrides))


@pytest.fixture(scope="module")
def recorded(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    copy = store.at(tmp_path_factory.mktemp("compared") / "store")
    shutil.copytree(store.folder, copy.folder)
    relocate(copy.tracking)
    return Recorded(copy, trained(copy, "audio", "features=audio"))


@pytest.mark.parametrize("how", ["id", "beginning", "name", "version", "alias"])
def test_a_run_is_found_by_whatever_names_it(recorded: Recorded, how: str):
    summary = recorded.full
    name = {
        "id": summary.run_id,
        "beginning": summary.run_id[:8],
        "name": summary.run_name,
        "version": f"models:/{summary.registered_model}/1",
        "alias": f"models:/{summary.registered_model}@champion",
    }[how]
    (run,) = read_runs(recorded.tracking, [name])
    assert (run.run_id, run.name, run.status) == (summary.run_id, summary.run_name, "FINISHED")
    assert run.address == ("models:/spotify-popularity/1" if how in ("version", "alias") else None)


def test_the_recorded_predictions_are_those_that_the_figures_come_from(recorded: Recorded):
    (run,) = read_runs(recorded.tracking, [recorded.full.run_id])
    rows = run.predictions
    assert len(rows) == recorded.full.metrics["rows/test"]
    assert r2_score(rows["popularity"], rows["popularity_predicted"]) == pytest.approx(
        recorded.full.metrics["test/r2"], abs=1e-12
    )
    held = rows["popularity"].between(rows["lower"], rows["upper"])
    assert held.mean() == pytest.approx(recorded.full.metrics["interval/coverage_90"], abs=1e-12)
    assert {"learning_curve", "feature_importance"} <= set(run.figures)
    assert run.model_bytes > 10_000


def test_the_run_that_knows_more_is_better_by_the_difference_of_the_recorded_figures(recorded: Recorded):
    runs = read_runs(recorded.tracking, [recorded.audio.run_id, recorded.full.run_id])
    (verdict,) = compare_runs(runs)
    by_hand = recorded.full.metrics["test/r2"] - recorded.audio.metrics["test/r2"]
    difference = verdict.comparison.figures["r2"]["difference"]
    assert difference.value == pytest.approx(by_hand, abs=1e-9)
    assert 0 < difference.lower < by_hand < difference.upper
    assert (
        f"B ({recorded.full.run_name}) is better than A ({recorded.audio.run_name}) by {by_hand:.4f} R²"
        in verdict.sentence
    )
    report = run_report(runs, [verdict])
    differing = re.search(r"## What differs\n\n(.*?)\n\n##", report, re.DOTALL)[1].splitlines()[2:]
    assert "| `features.name` | audio | full |" in differing
    assert not [line for line in differing if "tracking" in line or "register" in line]
    figures = {key: recorded.full.metrics[f"test/r2{key}"] for key in ("", "_lower", "_upper")}
    assert f"{figures['']:.3f} ({figures['_lower']:.3f} to {figures['_upper']:.3f})" in report
    assert report.count("data:image/png;base64,") == sum(len(run.figures) for run in runs)


def test_equal_settings_under_other_code_are_told(recorded: Recorded):
    (run,) = read_runs(recorded.tracking, [recorded.audio.run_id])
    later = replace(run, tags={**run.tags, "code.sha256": "0" * 64})
    told = "**A and B have the same `config.sha256` and data, but not the same code or libraries:**"
    assert told in run_report([run, later], compare_runs([run, later]))
    assert told not in run_report([run, run], compare_runs([run, run]))
    other = replace(later, tags={**later.tags, "config.sha256": "1" * 64})
    assert told not in run_report([run, other], compare_runs([run, other]))


def test_the_intervals_agree_with_those_of_the_run(recorded: Recorded):
    runs = read_runs(recorded.tracking, [recorded.full.run_id, recorded.audio.run_id])
    (verdict,) = compare_runs(runs)
    # The same seed draws the same groups.
    for metric, figures in verdict.comparison.figures.items():
        assert figures["rival"].lower == pytest.approx(recorded.full.metrics[f"test/{metric}_lower"], abs=1e-9)


def test_runs_that_did_not_come_to_an_end_show_what_they_have(recorded: Recorded, tmp_path: Path):
    with pytest.raises(DataError):
        trained(recorded.store, "failed", "data=file", f"data.path={tmp_path / 'none.csv'}")
    failed = recorded.store.client.search_runs(["1"], "attributes.status = 'FAILED'")[0].info.run_id
    study = StudyRecord(settings(recorded.store))
    study.open("night", None, {})
    study.log_params({"model.max_depth": 6, "model.gamma": 1})
    trial = study.start_trial(3, {"model.max_depth": 4})
    study.end_trial(trial, "complete", {"val/r2": 0.8, "val/rmse": 9.0})
    runs = read_runs(recorded.tracking, [recorded.full.run_id, failed, trial])
    assert (runs[2].params["model.max_depth"], runs[2].params["model.gamma"]) == ("4", "1")
    verdicts = compare_runs(runs)
    assert "has no predictions of its test rows: it failed" in verdicts[0].sentence
    report = run_report(runs, verdicts)
    assert "none.csv does not exist" in report
    assert "trial 3 of a study" in report
    assert re.search(r"\| R², validation \| 0\.\d+ \| – \| 0\.800 \|", report)


def test_what_names_no_run_is_refused_with_what_was_meant(recorded: Recorded):
    client, tracking = recorded.store.client, recorded.tracking
    mistyped = recorded.full.run_name.replace("recording", "recordnig")
    with pytest.raises(TrackingError, match=rf"no run '{mistyped}' \(did you mean '{recorded.full.run_name}'\?\)"):
        read_runs(tracking, [mistyped])
    # The beginning of an id that is too short to name a run is no hint.
    for unlike in ("nothing", recorded.full.run_id[:2]):
        with pytest.raises(TrackingError, match=rf"there is no run '{unlike}'; give"):
            read_runs(tracking, [unlike])
    with pytest.raises(TrackingError, match=r"0{32} is not in the store"):
        read_runs(tracking, ["0" * 32])
    with pytest.raises(TrackingError, match=r"@nobody is not registered"):
        read_runs(tracking, ["models:/spotify-popularity@nobody"])
    first, second = (client.create_run("1", run_name="it's twice").info.run_id for _ in range(2))
    with pytest.raises(TrackingError, match=f"several runs: ({first}, {second}|{second}, {first}); name one by its id"):
        read_runs(tracking, ["it's twice"])
    with pytest.raises(TrackingError, match="neither settings nor figures"):
        read_runs(tracking, [first])
    client.delete_run(first)
    with pytest.raises(TrackingError, match=f"{first} was deleted"):
        read_runs(tracking, [first])


def test_the_latest_finished_runs_are_listed_without_what_is_no_model(recorded: Recorded):
    table = finished_runs(recorded.tracking, 10)
    assert {recorded.full.run_id, recorded.audio.run_id} <= set(table.index)
    assert table["started"].is_monotonic_decreasing
    assert np.isfinite(table["test/r2"]).all()
    assert table.loc[recorded.audio.run_id, "features"] == "audio"
    assert len(finished_runs(recorded.tracking, 1)) == 1
    elsewhere = recorded.tracking.model_copy(update={"experiment": "spotify-popularit"})
    with pytest.raises(TrackingError, match=r"no experiment 'spotify-popularit' \(did you mean 'spotify-popularity'"):
        finished_runs(elsewhere, 10)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["html", "md"])
def test_the_command_writes_one_page_that_needs_no_other(recorded: Recorded, suffix: str, tmp_path: Path):
    page = tmp_path / "reports" / f"page.{suffix}"
    names = [recorded.full.run_id[:6], recorded.audio.run_name]
    command = [python(), str(PROJECT / "scripts" / "compare.py"), *names, f"output=reports/page.{suffix}"]
    done = subprocess.run(
        [*command, f"tracking.uri={recorded.tracking.uri}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, f"store    {recorded.tracking.uri}\n")
    answer, written = done.stdout.splitlines()
    assert answer.startswith(f"A ({recorded.full.run_name}) is better than B ({recorded.audio.run_name}) by ")
    assert written == str(page)
    text = page.read_text(encoding="utf-8")
    assert answer in text
    assert not re.findall(r'(?:src|href)="(?!data:image/png;base64,)', text)
    assert str(tmp_path) not in text
    assert [entry.name for entry in tmp_path.iterdir()] == ["reports"]
