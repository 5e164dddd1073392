"""Tests of which test rows two runs are compared on, and of what is said of them, on real tracks and splits."""

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, r2_score

from spotify_ml.comparison.predictions import FILE, read_predictions, scored_rows, write_predictions
from spotify_ml.comparison.recorded_run import RecordedRun
from spotify_ml.comparison.shared_rows import shared_rows
from spotify_ml.comparison.verdict import judge_pair
from spotify_ml.config.run import RecordedConfig, SplitConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.sources import RawTracks
from spotify_ml.data.splits import group_codes, split_tracks
from spotify_ml.reports.runs import compare_runs, run_report
from spotify_ml.utils.errors import DataError

NAMES = ("A", "B")
CLASSES = ("not popular", "popular")
CLASSIFICATION = {"name": "classification", "label": "popular", "threshold": 50.0, "weights": "none"}


class Runs:
    """Makes runs of the sample whose errors are known."""

    def __init__(self, raw: RawTracks) -> None:
        self.raw = raw

    def __call__(
        self,
        error: float = 10.0,
        *,
        split: str = "recording",
        seed: int = 42,
        cleaning: str = "tracks",
        sha256: str = "same",
        frame: pd.DataFrame | None = None,
        classes: tuple[str, ...] = (),
        noise: int = 0,
        reach: float | None = None,
        **changed: object,
    ) -> RecordedRun:
        tracks = clean(self.raw.frame if frame is None else frame, cleaning).frame
        settings = SplitConfig(name=split, test_size=0.2, val_size=0.12, names="normal")
        parts = split_tracks(tracks, settings, seed)
        popularity = tracks["popularity"].to_numpy()[parts.test]
        rng = np.random.default_rng([noise, seed])
        predicted = popularity + rng.normal(0, error, len(popularity))
        task = {"name": "regression", "weights": "none", "registered_model": "x"}
        if classes:
            odds = 1 / (1 + np.exp((50 - predicted) / 10))
            predicted, task = np.column_stack([1 - odds, odds]), {**CLASSIFICATION, "registered_model": "x"}
        bounds = None if reach is None else (predicted - reach, predicted + reach)
        config = RecordedConfig.model_validate(
            {
                "seed": seed,
                "data": {"name": "sample", "path": str(self.raw.path)},
                "cleaning": {"name": cleaning},
                "split": settings.model_dump(),
                "task": task,
            }
        )
        known = {
            "run_id": f"{split}-{seed}-{cleaning}-{sha256}-{error}-{noise}-{len(tracks)}",
            "name": f"run-{error}",
            "address": None,
            "status": "FINISHED",
            "started": datetime(2026, 1, 1, tzinfo=UTC),
            "params": {"model.name": "xgboost", "seed": str(seed), "tracking.uri": "somewhere"},
            "tags": {"data.sha256": sha256},
            "metrics": {"test/r2": 0.5, "test/r2_lower": 0.4, "test/r2_upper": 0.6},
            "config": config,
            "predictions": scored_rows(tracks, parts, settings, predicted, classes, bounds),
        }
        return RecordedRun(**{**known, **changed})


@pytest.fixture(scope="module")
def runs(sample: RawTracks) -> Runs:
    return Runs(sample)


def test_the_same_split_shares_all_test_rows_and_the_difference_is_that_of_the_figures(runs: Runs):
    first, second = runs(12.0), runs(8.0, noise=1)
    verdict = judge_pair(first, second, NAMES)
    actual = first.predictions["popularity"]
    by_hand = r2_score(actual, second.predictions["popularity_predicted"]) - r2_score(
        actual, first.predictions["popularity_predicted"]
    )
    assert verdict.comparison.n_tracks == len(actual)
    assert verdict.comparison.figures["r2"]["difference"].value == pytest.approx(by_hand, abs=1e-12)
    assert verdict.sentence.startswith(f"B (run-8.0) is better than A (run-12.0) by {by_hand:.4f} R² (")
    assert verdict.sentence.endswith("the difference is real.")
    other_way = judge_pair(second, first, NAMES).sentence
    assert other_way.startswith(f"A (run-8.0) is better than B (run-12.0) by {by_hand:.4f} R² (")


def test_an_interval_with_zero_in_it_may_be_chance_and_equal_predictions_are_the_same(runs: Runs):
    first, chance = runs(10.0), runs(10.0, noise=1)
    assert judge_pair(first, chance, NAMES).sentence.endswith("which may be chance.")
    again = runs(10.0, run_id="another")
    same = judge_pair(first, again, NAMES)
    assert "are the same: they predict all" in same.sentence
    assert {figures["difference"].value for figures in same.comparison.figures.values()} == {0.0}
    assert judge_pair(first, first, NAMES).sentence == "A (run-10.0) and B (run-10.0) are the same run."


def test_of_two_seeds_the_rows_in_both_test_parts_count(runs: Runs):
    first, second = runs(), runs(seed=43)
    rows = shared_rows(first, second)
    both = set(first.predictions["row"]) & set(second.predictions["row"])
    assert 100 < len(rows.tracks) == len(both) < len(first.predictions)
    assert f"{len(both):,} tracks are test tracks of both (of {len(first.predictions):,}" in rows.said


@pytest.mark.parametrize(("one", "other"), [("random", "recording"), ("recording", "album"), ("album", "random")])
def test_of_two_splits_only_rows_as_new_to_one_as_to_the_other_count(runs: Runs, one: str, other: str):
    first, second = runs(split=one), runs(split=other)
    rows = shared_rows(first, second)
    tracks = clean(runs.raw.frame, "tracks").frame
    coarser = max(one, other, key=["random", "recording", "album"].index)
    groups = group_codes(tracks, coarser)
    tests = [set(run.predictions["row"]) for run in (first, second)]
    fitted = set(groups[sorted(set(range(len(tracks))) - tests[0])]) | set(
        groups[sorted(set(range(len(tracks))) - tests[1])]
    )
    expected = [row for row in sorted(tests[0] & tests[1]) if groups[row] not in fitted]
    assert 0 < len(expected) < len(tests[0] & tests[1])
    assert list(rows.tracks["popularity"]) == list(tracks["popularity"].iloc[expected])
    assert f"kept apart by {coarser}" in rows.said
    assert (pd.crosstab(rows.groups, groups[expected]) > 0).to_numpy().sum() == len(set(rows.groups))


def test_too_few_rows_are_refused_with_how_many_there_are(runs: Runs):
    with pytest.raises(
        DataError, match=r"test tracks of both .* and \d\d of these as new .* artist: fewer than the 100"
    ):
        shared_rows(runs(), runs(split="artist"))
    half = len(runs.raw.frame) // 2
    one, other = (
        runs(frame=runs.raw.frame.head(half), sha256="one"),
        runs(frame=runs.raw.frame.tail(half), sha256="other"),
    )
    with pytest.raises(DataError, match=r"fewer than the 100"):
        shared_rows(one, other)


def test_rows_of_a_track_are_taken_together_where_cleaning_differs(runs: Runs):
    first, second = runs(5.0), runs(5.0, cleaning="rows")
    rows = shared_rows(first, second)
    table = second.predictions
    means = table.groupby("track_id")["popularity_predicted"].mean()
    assert table["track_id"].duplicated().any()
    joined = first.predictions.set_index("track_id").join(means.rename("mean"), how="inner")
    assert len(rows.tracks) <= len(joined)
    assert set(np.round(rows.second, 9)) <= set(np.round(joined["mean"], 9))


@pytest.mark.parametrize("cleaning", ["tracks", "rows"])
def test_a_run_with_intervals_is_compared_with_one_from_before_there_were_any(runs: Runs, cleaning: str):
    old, new = runs(12.0), runs(8.0, noise=1, cleaning=cleaning, reach=10.0)
    assert {*new.predictions} - {*old.predictions} == {"lower", "upper"}
    verdicts = [judge_pair(old, each, NAMES) for each in (new, runs(8.0, noise=1, cleaning=cleaning))]
    assert verdicts[0].sentence == verdicts[1].sentence
    assert verdicts[0].comparison.figures == verdicts[1].comparison.figures


def test_tracks_whose_popularity_differs_between_files_are_left_out(runs: Runs):
    changed = runs.raw.frame.assign(
        popularity=(runs.raw.frame["popularity"] + (runs.raw.frame.index % 10 == 0)).clip(0, 100)
    )
    first, second = runs(), runs(frame=changed, sha256="other")
    rows = shared_rows(first, second)
    n_test = len(first.predictions)
    n_left_out = int(re.search(r"(\d+) of them, whose popularity is not the same in both, are left out", rows.said)[1])
    assert 0 < n_left_out == n_test - len(rows.tracks)


def test_classifications_are_compared_by_log_loss(runs: Runs):
    first, second = runs(12.0, classes=CLASSES), runs(4.0, classes=CLASSES, noise=1)
    verdict = judge_pair(first, second, NAMES)
    popular = first.predictions["popularity"] >= 50
    losses = [log_loss(popular, run.predictions["probability_popular"]) for run in (first, second)]
    assert verdict.sentence.startswith(
        f"B (run-4.0) is better than A (run-12.0) by {losses[0] - losses[1]:.4f} log loss ("
    )
    refused = judge_pair(first, runs(), NAMES)
    assert refused.comparison is None
    assert re.search(
        r"cannot be compared .* predict different things \(task=classification.*; task=regression\)", refused.sentence
    )


@pytest.mark.parametrize(
    ("status", "said"), [("FINISHED", "before runs kept them"), ("RUNNING", "not finished"), ("FAILED", "it failed")]
)
def test_a_run_without_predictions_is_shown_but_not_compared(runs: Runs, status: str, said: str):
    old = runs(predictions=None, status=status, run_id="old", name="old", tags={"error": "no data\nat all"})
    pair = [runs(), old]
    verdicts = compare_runs(pair)
    assert "old has no predictions of its test rows: " in verdicts[0].sentence
    assert said in verdicts[0].sentence
    report = run_report(pair, verdicts)
    assert "settings and figures only (no data)" in report
    assert "| R², test | 0.500 (0.400 to 0.600) | 0.500 (0.400 to 0.600) |" in report
    assert "On the same tracks" not in report


def test_the_report_answers_first_and_shows_only_what_differs(runs: Runs):
    picture = b"\x89PNG"
    three = [
        runs(12.0, figures={"calibration": picture}),
        runs(8.0, noise=1, figures={"calibration": picture, "extra": picture}, address="models:/popularity/3"),
        runs(8.0, seed=43, noise=2),
    ]
    verdicts = compare_runs(three)
    report = run_report(three, verdicts)
    lines = report.splitlines()
    assert lines[2:4] == [f"- **{each.sentence}**" for each in verdicts]
    assert "B (models:/popularity/3) is better than A (run-12.0)" in lines[2]
    assert "| `seed` | 42 | 42 | 43 |" in report
    assert "`model.name`" not in report
    assert "tracking" not in report
    assert re.search(r"^\| hip-hop \| \d+ \| \d+\.\d\d \| \d+\.\d\d \| [-+]\d+\.\d\d \|$", report, re.MULTILINE)
    assert "| ![extra]" not in report.partition("### Extra")[0]
    assert re.search(
        r"### Extra\n\n\| A \| B \| C \|\n.*\n\| – \| !\[extra\]\(data:image/png;base64,.*\) \| – \|", report
    )


def test_predictions_are_read_as_they_were_written(runs: Runs, tmp_path: Path):
    rows = runs(reach=10.0).predictions
    write_predictions(tmp_path, rows)
    read = read_predictions(tmp_path, "run x")
    pd.testing.assert_frame_equal(read, rows, check_dtype=False, check_categorical=False)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-100])
    with pytest.raises(DataError, match=r"run x: predictions/test\.parquet is damaged"):
        read_predictions(tmp_path, "run x")
