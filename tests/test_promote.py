"""Tests of promotion: who becomes champion, on which tracks that is decided, and what is recorded of it."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from spotify_ml.config.check import validate_as
from spotify_ml.config.commands import PromoteConfig
from spotify_ml.data.unseen_rows import read_split
from spotify_ml.promote import run as answer
from spotify_ml.reports.summary import Summary
from spotify_ml.tracking import judging, promotion
from spotify_ml.tracking.promotion import Decision, promote
from spotify_ml.tracking.provenance import Provenance, read_provenance, rows_digest
from spotify_ml.tracking.registry import Version, find_version
from spotify_ml.tracking.training import train
from spotify_ml.utils.errors import ConfigError, DataError, ModelError, SpotifyMLError, TrackingError
from tests.commands import python
from tests.conftest import SAMPLE
from tests.support import composed, configured, new_store, without_figures

MODEL, CATEGORY = "spotify-popularity", "spotify-popularity-category"
WEAK, STRONG, ELSEWHERE = 1, 2, 3
PATIENCE_S = 120
# A gate that lets any figures through.
ANYTHING = ("gate.margin=-100", "gate.genre_margin=100", "gate.incomplete_margin=100")


@dataclass(frozen=True)
class Store:
    """A store with three versions: a weak and a strong one, and one of another split and file."""

    folder: Path
    summaries: dict[int, Summary]
    copy: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def overrides(self) -> list[str]:
        return [f"tracking.uri={self.uri}", f"tracking.artifact_location={self.folder / 'artifacts'}"]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def version(self, number: int) -> Version:
        return find_version(self.client, f"models:/{MODEL}/{number}")

    def tags(self, number: int, side: str = "promotion") -> dict[str, str]:
        """What promotions left with a version: with one that asked for the place, or with the ``champion``."""
        tags, prefix = self.version(number).tags, f"{side}."
        return {name.removeprefix(prefix): value for name, value in tags.items() if name.startswith(prefix)}

    def champion(self, model: str = MODEL) -> int | None:
        number = self.client.get_registered_model(model).aliases.get("champion")
        return None if number is None else int(number)

    def crown(self, number: int) -> None:
        self.client.set_registered_model_alias(MODEL, "champion", str(number))

    def promotions(self) -> list[Run]:
        """The runs of promotions, newest first."""
        experiment = self.client.get_experiment_by_name("spotify-popularity").experiment_id
        return list(self.client.search_runs([experiment], "tags.kind = 'promotion'"))

    def files(self, run_id: str) -> Path:
        return Path(self.client.download_artifacts(run_id, "promotion"))

    def config(self, *overrides: str) -> PromoteConfig:
        return validate_as(composed("promote", *self.overrides, *overrides), PromoteConfig)

    def promote(self, *overrides: str) -> Decision:
        return promote(self.config(*overrides))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("promotion")
    copy = Path(shutil.copy(SAMPLE, root / "tracks.parquet"))
    store = Store(root, {}, copy)
    new_store(root)
    versions = {
        WEAK: ["model.n_estimators=10"],
        STRONG: ["model.n_estimators=60"],
        ELSEWHERE: ["model.n_estimators=10", "seed=7", "data=file", f"data.path={copy}"],
    }
    with without_figures():
        for number, overrides in versions.items():
            store.summaries[number] = run(store, str(number), *overrides)
    return store


def run(store: Store, name: str, *overrides: str) -> Summary:
    """Train a model, and register it."""
    line = ["model.n_jobs=1", "incomplete=true", *overrides, *store.overrides]
    folder = store.folder / name
    folder.mkdir()
    return train(configured(*line), folder, line)


@pytest.fixture
def store(trained: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same store with no champion, and no trace of any."""
    monkeypatch.setattr(judging, "_TIMED_ROUNDS", 1)
    client = trained.client
    for number in (WEAK, STRONG, ELSEWHERE):
        for side in ("promotion", "champion"):
            for name in trained.tags(number, side):
                client.delete_model_version_tag(MODEL, str(number), f"{side}.{name}")
    if trained.champion() is not None:
        client.delete_registered_model_alias(MODEL, "champion")
    return trained


# --- who becomes champion


def test_the_alias_goes_from_version_to_version_and_back(store: Store):
    first = store.promote(f"version={WEAK}")
    assert (first.outcome, store.champion()) == ("promoted", WEAK)
    assert first.verdict.comparison.rival.name == "baseline_genre"

    second = store.promote(f"version={STRONG}")
    assert (second.outcome, store.champion()) == ("promoted", STRONG)
    assert store.tags(STRONG).items() >= {"decision": "promoted", "rival": "1", "run_id": second.run_id}.items()
    replaced = store.tags(WEAK, "champion")
    assert replaced.items() >= {"decision": "replaced", "rival": "2", "run_id": second.run_id}.items()
    assert {"at", "why"} <= set(replaced) & set(store.tags(STRONG))
    assert store.tags(WEAK).items() >= {"decision": "promoted", "rival": "baselines", "run_id": first.run_id}.items()

    assert (store.promote(f"version={STRONG}").outcome, store.champion()) == ("unchanged", STRONG)

    would = store.promote("rollback=true", "dry_run=true")
    assert (would.outcome, would.version.number, store.champion()) == ("restored", WEAK, STRONG)
    back = store.promote("rollback=true")
    assert (back.outcome, store.champion()) == ("restored", WEAK)
    assert (store.tags(WEAK)["decision"], store.tags(STRONG, "champion")["decision"]) == ("restored", "replaced")
    with pytest.raises(TrackingError, match="none to go back to"):
        store.promote("rollback=true")


def test_a_worse_version_needs_force(store: Store):
    store.crown(STRONG)
    refused = store.promote(f"version={WEAK}")
    assert (refused.outcome, store.champion()) == ("refused", STRONG)
    assert (store.tags(WEAK)["decision"], store.tags(STRONG, "champion")["decision"]) == ("refused", "kept")
    assert store.tags(WEAK)["why"].startswith("better: R² improves by -0.")
    forced = store.promote(f"version={WEAK}", "force=true")
    assert (forced.outcome, store.champion()) == ("forced", WEAK)
    assert store.tags(WEAK)["decision"] == "forced"
    assert store.client.get_run(forced.run_id).data.tags["promotion.decision"] == "forced"


def test_a_dry_run_decides_and_records_but_moves_nothing(store: Store):
    store.crown(WEAK)
    store.client.set_registered_model_alias(MODEL, "challenger", str(STRONG))
    decision = store.promote("dry_run=true")
    assert (decision.outcome, decision.version.number, store.champion()) == ("promoted", STRONG, WEAK)
    assert [store.tags(number, side) for number in (WEAK, STRONG) for side in ("promotion", "champion")] == [{}] * 4
    run = store.client.get_run(decision.run_id)
    assert (run.data.tags["promotion.decision"], run.data.params["dry_run"]) == ("promoted", "True")
    assert run.data.tags["promotion.dry_run"] == "true"


@pytest.mark.slow
def test_a_classifier_is_judged_as_one(store: Store):
    summary = run(store, "classifier", "model.n_estimators=60", "task=classification")
    with pytest.raises(ConfigError, match="set gate=classification"):
        store.promote(f"tracking.registered_model={CATEGORY}")
    decision = store.promote("gate=classification")
    assert (decision.outcome, store.champion(CATEGORY), store.champion()) == ("promoted", 1, None)
    figures = decision.verdict.comparison.figures
    assert set(figures) == {"log_loss", "accuracy"}
    assert figures["log_loss"]["model"].value == pytest.approx(summary.metrics["test/log_loss"], abs=1e-6)


# --- on which tracks


def test_tracks_that_the_champion_was_fitted_on_are_left_out(store: Store):
    store.crown(WEAK)
    comparison = store.promote(f"version={ELSEWHERE}", "dry_run=true").verdict.comparison
    n_test = store.summaries[ELSEWHERE].metrics["rows/test"]
    assert 200 <= comparison.n_tracks < n_test / 3
    # On tracks that it knows, it would seem far better than it is.
    assert comparison.figures["rmse"]["rival"].value > store.summaries[WEAK].metrics["test/rmse"] * 0.8


def test_too_few_tracks_decide_nothing(store: Store):
    store.crown(WEAK)
    refused = store.promote(f"version={ELSEWHERE}", "gate.fewest_tracks=300")
    assert (refused.outcome, refused.verdict) == ("refused", None)
    assert re.search(
        r"tracks: only 2\d\d of 1,1\d\d test tracks .* are new to models:/.*gate.fewest_tracks", refused.why
    )
    assert refused.why in refused.as_text()
    run = store.promotions()[0]
    assert (run.info.status, store.champion()) == ("FINISHED", WEAK)
    assert run.data.tags["promotion.decision"] == "refused"
    assert run.data.tags["promotion.why"] == refused.why
    forced = store.promote(f"version={ELSEWHERE}", "gate.fewest_tracks=300", "force=true", *ANYTHING)
    assert (forced.outcome, [each.name for each in forced.verdict.failed]) == ("forced", ["tracks"])


def test_what_the_champions_split_keeps_apart_is_kept_apart(store: Store, monkeypatch: pytest.MonkeyPatch):
    def fitted_by_artist(client: MlflowClient, version: Version, uri: str) -> Provenance:
        found = read_provenance(client, version, uri)
        if version.number != WEAK:
            return found
        config = found.config.model_copy(update={"split": found.config.split.model_copy(update={"name": "artist"})})
        split = read_split(config.data, config.cleaning, config.split, config.seed).split
        parts = {"train": split.train, "validation": split.validation}
        digests = {part: rows_digest(found.sha256, config.cleaning.name, rows) for part, rows in parts.items()}
        return replace(found, config=config, digests=digests)

    monkeypatch.setattr(judging, "read_provenance", fitted_by_artist)
    store.crown(WEAK)
    # 209 are of recordings that neither knows, but mostly by artists that the challenger does.
    refused = store.promote(f"version={STRONG}")
    assert refused.outcome == "refused"
    assert re.search(r"only 24 of 1,106 test tracks .*split=recording.* kept apart by artist", refused.why)


def test_fitted_tracks_that_cannot_be_known_are_a_refusal_but_for_force(store: Store, tmp_path: Path):
    store.crown(ELSEWHERE)
    moved = tmp_path / "moved.parquet"
    store.copy.rename(moved)
    try:
        refused = store.promote(f"version={STRONG}", "dry_run=true")
        assert refused.outcome == "refused"
        assert re.search(rf"models:/{MODEL}/3 was fitted on cannot be known.*force=true", refused.why)
        known = store.promote(f"version={STRONG}", "dry_run=true", "data=file", f"data.path={moved}", "force=true")
        assert "cannot be known" not in known.verdict.rows
        forced = store.promote(f"version={STRONG}", "dry_run=true", "force=true", *ANYTHING)
        assert (forced.outcome, [each.name for each in forced.verdict.failed]) == ("forced", ["tracks"])
        assert "models:/spotify-popularity/3 was fitted on cannot be known" in forced.verdict.rows
        assert forced.verdict.comparison.n_tracks > known.verdict.comparison.n_tracks
    finally:
        moved.rename(store.copy)


def test_a_split_made_by_other_code_is_not_taken_for_the_same(store: Store, monkeypatch: pytest.MonkeyPatch):
    def altered(client: MlflowClient, version: Version, uri: str):
        found = read_provenance(client, version, uri)
        return type(found)(**{**vars(found), "digests": {**found.digests, "train": "0123abcd"}})

    monkeypatch.setattr(judging, "read_provenance", altered)
    assert "the code that cleaned and split its data was another" in store.promote(f"version={STRONG}").why


# --- what is recorded


def test_every_decision_is_a_run_with_its_comparison(store: Store):
    store.crown(WEAK)
    decision = store.promote(f"version={STRONG}", "gate.margin=0.002")
    run = store.client.get_run(decision.run_id)
    assert (run.info.run_name, run.info.status) == (f"promotion-{STRONG}", "FINISHED")
    assert run.data.params.items() >= {"version": "2", "gate.margin": "0.002", "force": "False"}.items()
    tags = {"kind": "promotion", "promotion.decision": "promoted", "promotion.version": "2", "promotion.rival": "1"}
    assert run.data.tags.items() >= tags.items()
    metrics = run.data.metrics
    assert metrics["difference/r2"] == pytest.approx(metrics["model/r2"] - metrics["rival/r2"])
    assert metrics["difference/r2_lower"] < metrics["difference/r2"] < metrics["difference/r2_upper"]
    assert {"model/bytes", "rival/row_ms", "model/worst_genre_rmse", "rows/compared", "gate/genres"} <= set(metrics)
    # The same split: what was scored afresh is what the runs found on their test rows.
    for of, number in (("model", STRONG), ("rival", WEAK)):
        for name in ("r2", "rmse", "mae"):
            measured = store.summaries[number].metrics[f"test/{name}"]
            assert metrics[f"{of}/{name}"] == pytest.approx(measured, abs=1e-6)
    content = json.loads((store.files(decision.run_id) / "comparison.json").read_text())
    assert (content["decision"], content["passed"], content["tracks"]) == ("promoted", True, metrics["rows/compared"])
    text = (store.files(decision.run_id) / "comparison.md").read_text()
    assert "| RMSE |" in text
    assert "version 2 is champion instead of version 1" in text


# --- races


def test_a_champion_that_changed_meanwhile_is_compared_with_instead(store: Store, monkeypatch: pytest.MonkeyPatch):
    rivals = []

    def while_another_promotes(client: MlflowClient, config: PromoteConfig, version: Version, champion: Version | None):
        rivals.append(champion and champion.number)
        store.crown(STRONG)
        return hold_contest(client, config, version, champion)

    hold_contest = judging.hold_contest
    monkeypatch.setattr(judging, "hold_contest", while_another_promotes)
    decision = store.promote(f"version={WEAK}")
    assert rivals == [None, STRONG]
    assert (decision.outcome, store.champion()) == ("refused", STRONG)
    assert store.tags(WEAK)["rival"] == str(STRONG)


def test_without_a_lock_who_was_overwritten_notices(store: Store, monkeypatch: pytest.MonkeyPatch):
    """As on a tracking server: another promotion looked before this one moved, and moves after it."""
    monkeypatch.setattr(promotion, "database_path", lambda uri: None)
    monkeypatch.setattr(promotion.time, "sleep", lambda seconds: store.crown(STRONG))
    first = Decision("promoted", store.version(WEAK), None, "", "run")
    assert not promotion.carry_out(store.client, store.uri, first)
    monkeypatch.setattr(promotion.time, "sleep", lambda seconds: None)
    assert not promotion.carry_out(store.client, store.uri, first)
    again = Decision("promoted", store.version(WEAK), store.version(STRONG), "", "run")
    assert promotion.carry_out(store.client, store.uri, again)
    assert (store.champion(), store.tags(WEAK)["replaced"]) == (WEAK, str(STRONG))


@pytest.mark.slow
def test_two_promotions_at_once_leave_one_champion_and_a_record_of_both(store: Store):
    known = {run.info.run_id for run in store.promotions()}
    line = [python(), "-m", "spotify_ml.promote", *store.overrides]
    racers = {
        number: subprocess.Popen(
            [*line, f"version={number}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for number in (WEAK, STRONG)
    }
    said = {number: racer.communicate(timeout=PATIENCE_S) for number, racer in racers.items()}
    runs = [run for run in store.promotions() if run.info.run_id not in known]
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"], said
    decided = {int(run.data.params["version"]): run.data.tags for run in runs}
    # Both are better than the baselines, but whoever comes second is compared with whoever came first.
    assert store.champion() == STRONG
    assert (decided[STRONG]["promotion.decision"], racers[STRONG].returncode) == ("promoted", 0)
    if decided[WEAK]["promotion.decision"] == "promoted":
        assert racers[WEAK].returncode == 0
        assert decided[WEAK]["promotion.rival"] == "baselines"
        assert decided[STRONG]["promotion.rival"] == store.tags(STRONG)["replaced"] == str(WEAK)
        assert store.tags(WEAK, "champion")["decision"] == "replaced"
    else:
        assert racers[WEAK].returncode == 2
        assert decided[WEAK]["promotion.rival"] == store.tags(WEAK)["rival"] == str(STRONG)
        assert decided[STRONG]["promotion.rival"] == "baselines"
        assert store.tags(STRONG, "champion")["decision"] == "kept"
    for run in runs:
        assert {path.name for path in store.files(run.info.run_id).iterdir()} == {"comparison.md", "comparison.json"}


# --- bad input


@pytest.mark.parametrize(
    ("overrides", "error", "said"),
    [
        (["version=9"], TrackingError, "models:/spotify-popularity/9 is not registered.* versions up to 3"),
        (["tracking.registered_model=popularity"], TrackingError, "there is no model 'popularity'"),
        (["tracking.uri=sqlite:///nowhere.db"], TrackingError, "there is no tracking store"),
        (["rollback=true"], TrackingError, "@champion is not registered"),
        (["data=file", "data.path=no.csv"], DataError, "no.csv does not exist"),
    ],
)
def test_a_mistake_gets_one_clear_error_and_changes_nothing(
    store: Store, overrides: list[str], error: type[SpotifyMLError], said: str
):
    with pytest.raises(error, match=said):
        store.promote(*overrides)
    assert store.champion() is None


@pytest.mark.parametrize("also", ["version=1", "force=true"])
def test_going_back_takes_no_version_and_no_force(store: Store, also: str):
    with pytest.raises(ConfigError, match=r"leave out version=… and force=true"):
        answer(composed("promote", *store.overrides, "rollback=true", also))
    assert store.champion() is None


def test_changed_files_are_neither_promoted_nor_gone_back_to(store: Store):
    store.promote(f"version={WEAK}", "force=true")
    store.promote(f"version={STRONG}", "force=true")
    path = Path(store.client.get_model_version_download_uri(MODEL, str(WEAK)), "artifacts", "features.skops")
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    try:
        for overrides in ([f"version={WEAK}", "force=true"], ["rollback=true"]):
            with pytest.raises(ModelError, match=r"features.skops was changed"):
                store.promote(*overrides)
        assert store.champion() == STRONG
        store.crown(WEAK)
        with pytest.raises(ModelError, match=r"features.skops was changed.* rollback=true.* take its alias away"):
            store.promote(f"version={STRONG}")
    finally:
        path.write_bytes(content)
    assert store.champion() == WEAK


@pytest.mark.slow
def test_the_command_line_says_how_it_went(store: Store):
    def command(*overrides: str) -> subprocess.CompletedProcess[str]:
        line = [python(), "-m", "spotify_ml.promote", *store.overrides, *overrides]
        return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    store.crown(STRONG)
    used = next(f"store    {each.partition('=')[2]}\n" for each in store.overrides if each.startswith("tracking.uri="))
    refused = command(f"version={WEAK}")
    assert (refused.returncode, refused.stderr) == (2, used)
    assert "FAIL  better" in refused.stdout
    assert "refused: version 1 does not become champion instead of version 2 (better" in refused.stdout
    store.crown(WEAK)
    would = command(f"version={STRONG}", "dry_run=true")
    assert (would.returncode, would.stderr, store.champion()) == (0, used, WEAK)
    assert "dry run, nothing moves (promoted): version 2 would be champion instead of version 1\n" in would.stdout
    unfair = command(f"version={ELSEWHERE}", "gate.fewest_tracks=300")
    assert (unfair.returncode, unfair.stderr) == (2, used)
    assert re.search(
        r"^refused: version 3 does not become champion .*: only 2\d\d of 1,1\d\d test", unfair.stdout, re.M
    )
    mistyped = command("gate.margn=0.1")
    assert (mistyped.returncode, mistyped.stdout) == (1, "")
    assert mistyped.stderr == "error: unknown key 'gate.margn' (did you mean 'gate.margin'?)\n"
