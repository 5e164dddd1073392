"""Tests of what is logged of a run: all of it, in calls and values that every store takes."""

from pathlib import Path

from mlflow import MlflowClient

from spotify_ml.tracking.limits import PARAM_LENGTH, curve_points, log_entries, points
from spotify_ml.tracking.versions import TAG_LENGTH
from tests.support import new_store


def test_more_than_one_call_takes_is_logged_in_several(tmp_path: Path):
    client = MlflowClient(new_store(tmp_path))
    run_id = client.create_run("0").info.run_id
    metrics = {f"m/{number}": float(number) for number in range(2500)}
    params = {f"p.{number}": number for number in range(250)}
    log_entries(client, run_id, metrics=points(metrics), params=params, tags={"a": "b"})
    found = client.get_run(run_id).data
    assert found.metrics == metrics
    assert found.params == {name: str(value) for name, value in params.items()}
    assert found.tags["a"] == "b"


def test_long_values_are_cut(tmp_path: Path):
    client = MlflowClient(new_store(tmp_path))
    run_id = client.create_run("0").info.run_id
    log_entries(client, run_id, params={"p": "x" * 7000}, tags={"t": "x" * 7000})
    found = client.get_run(run_id).data
    assert (len(found.params["p"]), len(found.tags["t"])) == (PARAM_LENGTH, TAG_LENGTH)


def test_a_long_curve_keeps_its_ends_and_a_short_one_every_tree():
    long, short = curve_points("c", [1 / tree for tree in range(1, 2001)]), curve_points("c", [3.0, 2.0])
    assert len(long) < 300
    assert [(long[end].step, long[end].value) for end in (0, -1)] == [(1, 1.0), (2000, 1 / 2000)]
    assert [(point.step, point.value) for point in short] == [(1, 3.0), (2, 2.0)]
    assert curve_points("c", []) == []
