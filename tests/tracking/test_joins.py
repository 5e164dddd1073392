"""Tests of runs with joined tables: what is recorded, what their models score, and how they are promoted."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from spotify_ml import load_model
from spotify_ml.config.check import validate_as
from spotify_ml.config.combinations import refuse_unsupported
from spotify_ml.config.commands import PromoteConfig
from spotify_ml.config.run import DataConfig, RunConfig
from spotify_ml.data.etl import clean
from spotify_ml.data.schema import AUDIO, NAMES, TARGET
from spotify_ml.data.sources import RawTracks
from spotify_ml.reports.summary import Summary, summary_table
from spotify_ml.scoring.requests import read_request
from spotify_ml.tracking.promotion import Decision, promote
from spotify_ml.tracking.training import train
from spotify_ml.utils.errors import ConfigError
from tests.commands import python
from tests.support import composed, configured, new_store, without_figures

PLAIN, JOINED = 1, 2
COLUMNS = ["hits_weeks", "hits_studios", "hits_playlists", "matched_hits"]
PATIENCE_S = 300


@dataclass(frozen=True)
class Store:
    """A store with a version without and one with a joined table, of the popular tracks alone."""

    folder: Path
    table: Path
    tracks: pd.DataFrame
    summaries: dict[int, Summary]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def places(self) -> list[str]:
        return [f"tracking.uri={self.uri}", f"tracking.artifact_location={self.folder / 'artifacts'}"]

    @property
    def data(self) -> list[str]:
        return ["data=file", f"data.path={self.folder / 'tracks.parquet'}"]

    def train(self, name: str, *overrides: str) -> Summary:
        line = [*self.data, "model.n_jobs=1", "model.n_estimators=20", "cache=off", *overrides, *self.places]
        folder = self.folder / name
        folder.mkdir()
        (folder / "train.log").touch()
        return train(configured(*line), folder, line)

    def promote(self, *overrides: str) -> Decision:
        lenient = ["gate.fewest_tracks=50", "gate.genre_margin=100", "gate.incomplete_margin=100"]
        return promote(validate_as(composed("promote", *self.places, *lenient, *overrides), PromoteConfig))

    def command(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        line = [python(), "-m", f"spotify_ml.{module}", *arguments]
        return subprocess.run(line, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture(scope="module")
def store(sample: RawTracks, tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("joins")
    new_store(root)
    raw = sample.frame.sample(2500, random_state=2, ignore_index=True)
    raw.to_parquet(root / "tracks.parquet")
    tracks = clean(raw, "tracks").frame
    hits = tracks[tracks[TARGET] > 50].reset_index(drop=True)
    table = pd.DataFrame(
        {
            "track_id": hits["track_id"],
            "weeks": (hits[TARGET] - 50) // 5,
            "studios": np.where(np.arange(len(hits)) % 2, "Sun;Motown", "Abbey Road"),
            "playlists": np.arange(len(hits)),
            "tempo": 100.0,
        }
    )
    table.to_csv(root / "hits.csv", index=False)
    made = Store(root, root / "hits.csv", tracks, {})
    with without_figures():
        made.summaries[PLAIN] = made.train("plain")
        made.summaries[JOINED] = made.train("joined", f"data.join=[{made.table}]", "incomplete=true")
    return made


def raw_rows(store: Store) -> pd.DataFrame:
    return store.tracks[[name for name in NAMES if name != TARGET]]


def joined_rows(store: Store) -> pd.DataFrame:
    table = pd.read_csv(store.table).set_index("track_id").reindex(store.tracks["track_id"]).reset_index(drop=True)
    added = {f"hits_{name}": table[name].array for name in ("weeks", "studios", "playlists")}
    return raw_rows(store).assign(**added)


def test_the_control_is_reported_beside_the_baselines(store: Store):
    plain, joined = store.summaries[PLAIN].metrics, store.summaries[JOINED].metrics
    assert not [name for name in plain if "matched" in name or "joined" in name]
    assert 0.4 < joined["baseline_matched/r2"] < joined["test/r2"]
    assert joined["importance/joined"] > 0.1
    assert joined["features/count"] == plain["features/count"] + 3 + 6
    assert "baseline_matched" in summary_table(store.summaries[JOINED])
    recorded = MlflowClient(store.uri).get_run(store.summaries[JOINED].run_id)
    assert recorded.data.metrics["baseline_matched/r2"] == joined["baseline_matched/r2"]
    name, _, digest = recorded.data.tags["data.join.sha256"].partition("=")
    assert (name, len(digest)) == ("hits", 64)


def test_the_card_and_the_metadata_say_what_was_joined(store: Store):
    folder = Path(store.summaries[JOINED].folder)
    card = (folder / "model_card" / "model_card.md").read_text(encoding="utf-8")
    assert "| `hits` | track_id |" in card
    assert "tempo (is a column of the tracks themselves)" in card
    assert "columns near popularity itself, `hits_playlists`:" in card
    assert "which joined tables it is in" in card
    assert str(store.folder) not in card
    metadata = json.loads((folder / "models" / "model_metadata.json").read_text(encoding="utf-8"))
    assert metadata["data"]["joins"][0]["columns"] == COLUMNS[:3]
    assert list(metadata["further"]) == COLUMNS
    plain = Path(store.summaries[PLAIN].folder, "model_card", "model_card.md").read_text(encoding="utf-8")
    assert "Joined" not in plain


def test_a_model_takes_joined_columns_where_rows_have_them(store: Store):
    model = load_model(f"models:/spotify-popularity/{JOINED}", store.uri)
    assert set(model.further) == set(COLUMNS)
    signature = {column.name: column.required for column in model.model.metadata.signature.inputs}
    assert [signature[name] for name in COLUMNS] == [False] * 4
    matched = store.tracks["track_id"].isin(pd.read_csv(store.table)["track_id"])
    rows = joined_rows(store)
    found = model.predict(rows)
    np.testing.assert_allclose(model.predict(rows.assign(matched_hits=matched.to_numpy())), found)
    without = model.predict(raw_rows(store))
    np.testing.assert_allclose(without[~matched], found[~matched])
    np.testing.assert_allclose(model.predict(raw_rows(store).assign(matched_hits=0)), without)
    assert found[matched].mean() > without[matched].mean() + 5
    assert np.isfinite(model.predict(rows[[*AUDIO, "hits_weeks"]])).all()
    plain = load_model(f"models:/spotify-popularity/{PLAIN}", store.uri)
    np.testing.assert_array_equal(plain.predict(rows), plain.predict(raw_rows(store)))


def test_requests_in_any_form_carry_joined_columns(store: Store):
    model = load_model(f"models:/spotify-popularity/{JOINED}", store.uri)
    rows = joined_rows(store).head(50)
    expected = model.predict(rows)
    bodies = {
        "text/csv": rows.to_csv(index=False).encode(),
        "application/json": json.dumps({"dataframe_records": json.loads(rows.to_json(orient="records"))}).encode(),
    }
    for kind, body in bodies.items():
        given, _ = read_request(body, kind, None, model.further)
        np.testing.assert_allclose(model.predict(given), expected, atol=1e-4)


def test_a_version_with_a_join_takes_over_and_is_compared_fairly_after(store: Store):
    client = MlflowClient(store.uri)
    first = store.promote(f"version={PLAIN}")
    assert first.outcome == "promoted"
    second = store.promote(f"version={JOINED}")
    assert second.outcome == "promoted", second.why
    figures = second.verdict.comparison.figures["r2"]
    test = [store.summaries[number].metrics["test/r2"] for number in (PLAIN, JOINED)]
    # Each has scored the test rows of its run with the columns that it knows.
    assert [figures["rival"].value, figures["model"].value] == pytest.approx(test, abs=0.02)
    back = store.promote(f"version={PLAIN}")
    assert back.outcome == "refused"
    assert {"better", "schema"} <= {each.name for each in back.verdict.failed}
    assert back.verdict.comparison.figures["r2"]["rival"].value == pytest.approx(figures["model"].value, abs=1e-9)
    assert "inputs lack hits_weeks" in back.why

    elsewhere = store.folder / "elsewhere"
    elsewhere.mkdir()
    moved = store.table.rename(elsewhere / "hits.csv")
    try:
        refused = store.promote(f"version={PLAIN}")
        assert (refused.outcome, refused.verdict) == ("refused", None)
        assert "its joined table hits (sha256 " in refused.why
        assert "data.join=… says where it is" in refused.why
        found = store.promote(f"version={PLAIN}", *store.data, f"data.join=[{moved}]")
        assert found.verdict is not None
        np.testing.assert_allclose(
            found.verdict.comparison.figures["r2"]["rival"].value, figures["model"].value, atol=1e-9
        )
    finally:
        moved.rename(store.table)
        client.delete_registered_model_alias("spotify-popularity", "champion")


def test_a_version_with_a_join_has_the_control_among_its_rivals(store: Store):
    decision = store.promote(f"version={JOINED}", "dry_run=true")
    assert decision.verdict.comparison.rival.name == "baseline_matched"


def test_other_features_say_that_they_do_without(store: Store, caplog: pytest.LogCaptureFixture):
    with without_figures(), caplog.at_level("INFO"):
        summary = store.train("audio", f"data.join={store.table}", "features=audio", "register=false")
    assert caplog.text.count("data.join: features=audio does without joined columns") == 1
    assert summary.metrics["features/count"] == 14
    assert summary.metrics["baseline_matched/r2"] > 0.4
    card = Path(summary.folder, "model_card", "model_card.md").read_text(encoding="utf-8")
    assert "The model does without these columns." in card
    assert "near popularity itself" not in card


def test_classes_have_the_control_as_well(store: Store):
    with without_figures():
        summary = store.train("classes", f"data.join={store.table}", "task=classification", "register=false")
    assert summary.metrics["baseline_matched/log_loss"] < summary.metrics["baseline_mean/log_loss"]


def test_features_in_files_give_the_same_model(store: Store):
    overrides = [f"data.join={store.table}", "register=false"]
    with without_figures():
        found = [store.train(kind, *overrides, f"matrices={kind}").metrics["test/r2"] for kind in ("memory", "disk")]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_a_cluster_is_refused():
    config = configured("engine=dask", "data.join=[a.csv]")
    with pytest.raises(ConfigError, match=r"engine=dask with data.join=….*use data.join=null"):
        refuse_unsupported(config)


def test_configurations_without_a_join_are_what_they_were(tmp_path: Path):
    plain, empty, one = (configured(*overrides) for overrides in ([], ["data.join=[]"], ["data.join=a.csv"]))
    assert plain == empty
    assert "join" not in plain.model_dump()["data"]
    assert plain.digest() != one.digest()
    assert one.data.join == ("a.csv",)
    assert RunConfig.model_validate_json(one.model_dump_json(by_alias=True)) == one
    assert DataConfig.model_validate_json(plain.data.model_dump_json()) == plain.data


@pytest.mark.slow
def test_whole_commands_train_score_and_look_at_joined_tables(store: Store):
    run = store.folder / "whole"
    quick = ["model.n_jobs=1", "model.n_estimators=5", "incomplete=false", "register=true", f"hydra.run.dir={run}"]
    done = store.command("train", *store.data, "data.join=[hits.csv]", *quick, *store.places)
    assert done.returncode == 0, done.stderr
    assert "baseline_matched" in done.stdout
    n = pd.read_csv(store.table).shape[0]
    log = (run / "train.log").read_text(encoding="utf-8")
    assert f"hits: {n:,} of {len(store.tracks):,} tracks are in it by track_id" in log
    number = json.loads((run / "summary.json").read_text(encoding="utf-8"))["version"]

    model, path = f"model=models:/spotify-popularity/{number}", f"input={store.folder / 'tracks.parquet'}"
    outputs = {"without": [], "with": ["join=[hits.csv]"]}
    scored = {}
    for name, join in outputs.items():
        done = store.command("predict", model, path, f"output={name}.parquet", *join, f"tracking.uri={store.uri}")
        assert done.returncode == 0, done.stderr
        assert ("has no column hits_playlists, hits_studios, hits_weeks:" in done.stderr) == (not join)
        assert ("; in hits: " in done.stderr) == bool(join)
        scored[name] = pd.read_parquet(store.folder / f"{name}.parquet")
    assert list(scored["with"]) == list(scored["without"])
    loaded = load_model(f"models:/spotify-popularity/{number}", store.uri)
    expected = pd.Series(loaded.predict(joined_rows(store)), index=store.tracks["track_id"])
    by_track = scored["with"].drop_duplicates("track_id").set_index("track_id")["popularity_predicted"]
    known = store.tracks.groupby("track_id").size().index
    # Genres of a row are not those of the track.
    assert by_track[known].corr(expected[known]) > 0.95
    assert not np.allclose(scored["with"]["popularity_predicted"], scored["without"]["popularity_predicted"])

    joined_rows(store).to_csv(store.folder / "columns.csv", index=False)
    done = store.command("predict", model, "input=columns.csv", "output=columns.parquet", f"tracking.uri={store.uri}")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        pd.read_parquet(store.folder / "columns.parquet")["popularity_predicted"], expected.to_numpy(), atol=1e-4
    )

    other = store.command("predict", model, path, "output=x.csv", "join=[columns.csv]", f"tracking.uri={store.uri}")
    assert other.returncode == 1
    assert "takes no column of a table 'columns'" in other.stderr
    (store.folder / "strangers").mkdir()
    strangers = pd.read_csv(store.table)
    strangers.assign(track_id=strangers["track_id"] + "x").to_csv(store.folder / "strangers" / "hits.csv", index=False)
    done = store.command(
        "predict", model, path, "output=y.csv", "join=[strangers/hits.csv]", f"tracking.uri={store.uri}"
    )
    assert done.returncode == 0, done.stderr
    assert "is in the joined table 'hits': are its keys those of the rows?" in done.stderr
    gone = store.command("predict", model, path, "output=x.csv", "join=[gone.csv]", f"tracking.uri={store.uri}")
    assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)
    assert "gone.csv does not exist" in gone.stderr
    refused = store.command("train", *store.data, "data.join=[gone.csv]", *store.places)
    assert "error: gone.csv does not exist; check the join" in refused.stderr

    looked = store.command("profile", *store.data, "data.join=[hits.csv]", "output=page.html")
    assert looked.returncode == 0, looked.stderr
    page = (store.folder / "page.html").read_text(encoding="utf-8")
    assert "Joined tables" in page
    assert "hits_weeks" in page
    over = store.command("profile", *store.data, "data.join=[page.html]", "output=page.html")
    assert "is read and would be written over" in over.stderr
