"""Tests of what an experiment takes, of its outcomes as training data, and of the gate that asks it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spotify_ml.data.schema import NAMES
from spotify_ml.live.plan import plan, sequential_size
from spotify_ml.live.sequential import looks_at, paired_sequence
from spotify_ml.tracking.judging import live_condition
from spotify_ml.tracking.registry import Version, find_version
from spotify_ml.utils.errors import ConfigError
from tests.commands import HEAVY, interpreter
from tests.live.conftest import MODEL, Store
from tests.live.experiments import distinct, logged, observe

ALPHA, PLANNED = 0.05, 500


def test_a_test_that_is_looked_at_once_takes_what_the_textbook_says():
    """Cohen 1988: 26 a side for an effect of 0.8, 64 for 0.5, 393 or 394 for 0.2, at a power of 0.8."""
    for effect, side in ((0.8, 26), (0.5, 64), (0.2, 394)):
        _, split = plan(effect, 0.8, ALPHA, PLANNED, 0.5)
        assert abs(split.fixed - 2 * side) <= 2
    shadow, _ = plan(0.2, 0.8, ALPHA, PLANNED, 0.5)
    assert shadow.fixed == 199


def test_the_planned_number_has_the_power_that_was_asked_for():
    n, rng = sequential_size(0.2, 0.8, ALPHA, PLANNED), np.random.default_rng(0)
    looks, found = looks_at(n, 50), 0
    for _ in range(400):
        sequence = paired_sequence(rng.normal(0.2, 1, n), np.arange(n), looks, ALPHA, PLANNED)
        found += sequence.decided is not None
    # Who looks before finds a little more.
    assert 0.78 < found / 400 < 0.93


def test_a_small_share_takes_more():
    half, tenth = (plan(0.2, 0.8, ALPHA, PLANNED, share)[1] for share in (0.5, 0.1))
    assert tenth.fixed > 2.5 * half.fixed
    assert tenth.sequential > 2.5 * half.sequential


def test_what_no_traffic_can_find_is_refused():
    with pytest.raises(ConfigError, match="takes more than"):
        sequential_size(1e-6, 0.8, ALPHA, PLANNED)


def _run(store: Store, command: str, *typed: str) -> "subprocess.CompletedProcess[str]":
    return interpreter(*HEAVY).run(command, *typed, f"tracking.uri={store.uri}", cwd=store.folder)


@pytest.mark.slow
def test_the_command_says_what_it_takes(store: Store):
    done = _run(store, "spotify_ml.live", "plan", "effect=0.2", "power=0.8")
    assert done.returncode == 0, done.stderr
    assert "shadow            377 outcomes, looked at as often as you like; 199 looked at once" in done.stdout
    for effect in ("0", "-0.2"):
        refused = _run(store, "spotify_ml.live", "plan", f"effect={effect}")
        assert (refused.returncode, f"effect={effect}" in refused.stderr) == (1, True)


@pytest.mark.slow
def test_what_was_seen_is_trained_on_with_the_catalogue(store: Store):
    places, output = distinct(300), store.folder / "observed.parquet"
    database = logged(store, places, keep_inputs=True)
    observe(database, places[:200])
    done = _run(store, "spotify_ml.live", "table", "output=observed.parquet")
    assert "200 new rows, 200 in all" in done.stdout, done.stderr
    table = pd.read_parquet(output)
    seen = store.rows.iloc[places[:200]]
    assert list(table.columns[: len(NAMES)]) == list(NAMES)
    assert table["track_id"].tolist() == seen["track_id"].tolist()
    assert table["tempo"].tolist() == pytest.approx(seen["tempo"].tolist())
    assert table["collected"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()
    before = output.read_bytes()
    assert "0 new rows, 200 in all" in _run(store, "spotify_ml.live", "table", "output=observed.parquet").stdout
    assert output.read_bytes() == before
    observe(database, places)
    assert "100 new rows, 300 in all" in _run(store, "spotify_ml.live", "table", "output=observed.parquet").stdout
    sample = Path(sys.modules["spotify_ml"].__file__).parent / "data" / "sample" / "spotify_by_genre.parquet"
    catalogues = f"data.path=[observed.parquet,{sample}]"
    cheap = ["model.n_estimators=20", "model.n_jobs=1", "baselines=quick", "incomplete=false", "cache=off"]
    trained = _run(store, "spotify_ml.train", "data=file", catalogues, *cheap)
    assert trained.returncode == 0, trained.stderr


@pytest.mark.slow
def test_what_cannot_be_a_table_is_one_error(store: Store):
    places = distinct(5)
    observe(logged(store, places), places)
    done = _run(store, "spotify_ml.live", "table", "output=observed.parquet")
    assert (done.returncode, "serve with traffic.keep_inputs=true" in done.stderr) == (1, True)
    observe(logged(store, places, name="kept", keep_inputs=True), places)
    (store.folder / "other.parquet").write_text("no table")
    pd.DataFrame({"a": [1]}).to_parquet(store.folder / "another.parquet")
    for output, message in {"other": "cannot be added to", "another": "is no table of live traffic"}.items():
        done = _run(store, "spotify_ml.live", "table", "name=kept", f"output={output}.parquet")
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert "ends in .parquet" in _run(store, "spotify_ml.live", "table", "output=seen.csv").stderr


def test_the_gate_asks_the_last_report():
    champion, tags = Version(MODEL, 1, "a", {}), {"live.champion": f"models:/{MODEL}/1"}
    tags |= {
        "live.challenger": f"models:/{MODEL}/2",
        "live.decision": "promote",
        "live.at": "today",
        "live.why": "it is",
    }
    for changes, passed in (
        ({}, True),
        ({"live.decision": "keep"}, False),
        ({"live.decision": "stop"}, False),
        ({"live.champion": f"models:/{MODEL}/3"}, False),
    ):
        version = Version(MODEL, 2, "b", {**tags, **changes})
        assert live_condition(version, champion).passed is passed
    assert "run `python -m spotify_ml.live report`" in live_condition(Version(MODEL, 2, "b", {}), champion).said
    assert not live_condition(Version(MODEL, 2, "b", tags), None).passed


@pytest.mark.slow
def test_promotion_takes_the_evidence_of_live_traffic(store: Store):
    typed = ("evidence=live", "dry_run=true", "cache=off")
    before = _run(store, "spotify_ml.promote", *typed)
    assert (before.returncode, "FAIL  live" in before.stdout) == (2, True), before.stdout + before.stderr
    places = distinct(400)
    observe(logged(store, places), places)
    assert _run(store, "spotify_ml.live", "report").returncode == 2
    assert json.loads((store.folder / "outputs" / "live.json").read_text())["decision"] == "promote"
    after = _run(store, "spotify_ml.promote", *typed)
    assert "pass  live" in after.stdout, after.stdout + after.stderr
    assert find_version(store.client, f"models:/{MODEL}@champion").number == 1
