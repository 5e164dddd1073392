"""Tests of what a run tells its user: which baseline it does not beat, and summaries of earlier versions."""

import json
from pathlib import Path

import pytest

from spotify_ml.evaluation.metric_names import unbeaten_baseline
from spotify_ml.reports.summary import Summary, summary_table


@pytest.mark.parametrize(
    ("task", "figures", "expected"),
    [
        ("regression", {"test/r2": 0.9, "baseline_mean/r2": 0.0, "baseline_genre/r2": 0.2}, ""),
        ("regression", {"test/r2": -0.05, "baseline_mean/r2": -0.01, "baseline_genre/r2": 0.2}, "baseline_genre"),
        ("regression", {"test/r2": 0.1, "baseline_mean/r2": 0.1, "baseline_genre/r2": 0.05}, "baseline_mean"),
        ("regression", {"test/r2": 0.3, "baseline_genre/r2": 0.2, "baseline_audio/r2": 0.4}, "baseline_audio"),
        ("regression", {"baseline_mean/r2": 0.0}, ""),
        ("classification", {"test/log_loss": 0.5, "baseline_mean/log_loss": 0.9}, ""),
        ("classification", {"test/log_loss": 1.0, "baseline_mean/log_loss": 0.9}, "baseline_mean"),
    ],
)
def test_a_model_is_set_beside_the_best_of_its_baselines(task: str, figures: dict[str, float], expected: str):
    assert unbeaten_baseline(task, figures) == expected


def test_the_table_counts_every_row_once_and_says_why_there_is_no_challenger():
    metrics = {"test/r2": -0.05, "baseline_genre/r2": 0.15}
    metrics |= {f"rows/{part}": n for part, n in {"clean": 5849, "train": 4743, "val": 611, "test": 1106}.items()}
    summary = Summary(
        "id", "run", "uri", "m", "popularity", 3, "folder", "regression", "artist", [], metrics, "baseline_genre"
    )
    table = summary_table(summary)
    assert "5,849 rows, split=artist: 4,132 train, 611 validation, 1,106 test\n" in table
    assert (
        "models:/popularity/3, not the challenger: no better than baseline_genre (test R² -0.050 beside 0.150)" in table
    )


def test_a_summary_of_an_earlier_version_is_read(tmp_path: Path):
    summary = Summary("id", "run", "uri", "m", "popularity", 3, "f", "regression", "artist", [], {"val/rmse": 1.0})
    summary.write(tmp_path / "summary.json")
    written = json.loads((tmp_path / "summary.json").read_text())
    del written["unbeaten"]
    (tmp_path / "summary.json").write_text(json.dumps(written))
    assert Summary.read(tmp_path / "summary.json") == summary
