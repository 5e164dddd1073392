"""The champion: who it is, how the alias moves one promotion at a time, and the record of every decision."""

import gc
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from filelock import FileLock
from mlflow import MlflowClient

from spotify_ml.comparison.gate import Verdict
from spotify_ml.config.commands import PromoteConfig
from spotify_ml.reports.page import render
from spotify_ml.tracking import judging
from spotify_ml.tracking.abandoned import close_abandoned, process_tags
from spotify_ml.tracking.limits import log_entries, points
from spotify_ml.tracking.open_run import open_run
from spotify_ml.tracking.registry import Version, find_version, version_files
from spotify_ml.tracking.store import connect, open_store, store_errors
from spotify_ml.tracking.versions import TAG_LENGTH, code_tags
from spotify_ml.utils.errors import TrackingError
from spotify_ml.utils.paths import database_path
from spotify_ml.utils.places import shared_text
from spotify_ml.utils.stops import deferred

log = logging.getLogger(__name__)

_CHAMPION = "champion"
# Of a version that has become champion: the one before it, which a rollback goes back to.
_REPLACED_TAG = "promotion.replaced"
_NOBODY = "baselines"
# On a tracking server: longer than what lies between looking at the alias and moving it.
_SETTLE_S = 2.0


@dataclass(frozen=True)
class Decision:
    """What was decided of a version, and why, beside the champion that it was compared with or takes over from.

    ``forced``: promoted although the gate refused it; ``unchanged``: it was the champion already; ``restored``: it was
    the champion before, and is again. The verdict says what was compared, and the run of `run_id` records it.
    """

    outcome: Literal["promoted", "forced", "refused", "unchanged", "restored"]
    version: Version
    champion: Version | None
    why: str
    run_id: str
    verdict: Verdict | None = None

    @property
    def moves(self) -> bool:
        """Whether the alias moves."""
        return self.outcome in ("promoted", "forced", "restored")

    def as_text(self, *, dry_run: bool = False) -> str:
        """Return the decision in a line, of a dry run as what would become of the version."""
        number = self.version.number
        before = "" if self.champion is None else f" instead of version {self.champion.number}"
        failed = self.why if self.verdict is None else ", ".join(each.name for each in self.verdict.failed)
        becomes = f"version {number} {'would be' if dry_run else 'is'} champion"
        said = {
            "promoted": f"{becomes}{before}",
            "forced": f"{becomes}{before}, although the gate refuses it ({failed})",
            "refused": f"version {number} does not become champion{before} ({failed})",
            "unchanged": f"version {number} is champion already",
            "restored": f"{becomes} again{before}",
        }
        outcome = f"dry run, nothing moves ({self.outcome})" if dry_run else self.outcome
        return f"{outcome}: {said[self.outcome]}"


def promote(config: PromoteConfig) -> Decision:
    """Decide whether a version becomes champion, record that, and move the alias.

    Raises `SpotifyMLError` if there is no such version, it cannot be compared fairly, or the store cannot be used.
    """
    client, uri, name = open_store(config.tracking.uri), config.tracking.uri, config.tracking.registered_model
    with store_errors(uri):
        experiment = client.get_experiment_by_name(config.tracking.experiment)
        # First: a version that is not complete is not there to be promoted.
        if experiment is not None:
            close_abandoned(client, experiment.experiment_id)
        champion = find_version(client, f"models:/{name}@{_CHAMPION}") if config.rollback else None
        if champion is None:
            which = "@challenger" if config.version is None else f"/{config.version}"
            version = find_version(client, f"models:/{name}{which}")
        else:
            version = _previous(client, champion)
            # Its files are there, or it is said that they are not.
            version_files(version, uri)
        with _recorded(config, version) as run_id:
            if champion is None:
                decision = _compete(client, config, run_id, version)
            else:
                decision = _roll_back(client, config, run_id, champion, version)
            _log(client, run_id, decision, dry_run=config.dry_run)
            return decision


def _roll_back(
    client: MlflowClient, config: PromoteConfig, run_id: str, champion: Version, version: Version
) -> Decision:
    decision = Decision("restored", version, champion, f"version {champion.number} was rolled back", run_id)
    if not config.dry_run and not carry_out(client, config.tracking.uri, decision):
        raise TrackingError(f"{champion.uri} is not the champion any more: another promotion was faster; look again")
    return decision


def _compete(client: MlflowClient, config: PromoteConfig, run_id: str, version: Version) -> Decision:
    """Compare with the champion until the one that was compared with is still there when the alias moves."""
    while True:
        decision = _decide(client, config, run_id, version, _champion(client, version.name))
        if config.dry_run or carry_out(client, config.tracking.uri, decision):
            return decision


def _decide(
    client: MlflowClient, config: PromoteConfig, run_id: str, version: Version, champion: Version | None
) -> Decision:
    if champion is not None and champion.number == version.number:
        return Decision("unchanged", version, champion, "it is champion already", run_id)
    try:
        verdict = judging.hold_contest(client, config, version, champion)
    except judging.NoFairTracksError as error:
        return Decision("refused", version, champion, f"tracks: {error}", run_id)
    finally:
        # Loaded models are held by cycles, and a command collects none: XGBoost's would outlive its library.
        gc.collect()
    if not verdict.failed:
        return Decision("promoted", version, champion, "every condition of the gate holds", run_id, verdict)
    why = "; ".join(f"{each.name}: {each.said}" for each in verdict.failed)
    return Decision("forced" if config.force else "refused", version, champion, why, run_id, verdict)


def _champion(client: MlflowClient, name: str) -> Version | None:
    number = client.get_registered_model(name).aliases.get(_CHAMPION)
    return None if number is None else find_version(client, f"models:/{name}/{number}")


def _previous(client: MlflowClient, champion: Version) -> Version:
    """Return the champion before this one."""
    if _REPLACED_TAG not in champion.tags:
        raise TrackingError(
            f"{champion.uri} took the place of no other version, so there is none to go back to; "
            "promote another with version=…"
        )
    return find_version(client, f"models:/{champion.name}/{champion.tags[_REPLACED_TAG]}")


def carry_out(client: MlflowClient, uri: str, decision: Decision) -> bool:
    """Move the alias ``champion`` as decided and tag both versions, or return False if the champion is another by now.

    Beside a SQLite store a lock lets one process at a time look and move. A tracking server has no lock to give: there
    the alias is looked at, moved, and after a pause looked at again. Whoever moved it last finds itself; whoever was
    overwritten meanwhile finds the other, as long as the pause is longer than the moment between looking and moving
    (Fischer's mutual exclusion by time, in Lamport 1987).
    """
    name, database = decision.version.name, database_path(uri)
    with nullcontext() if database is None else FileLock(f"{database}.promotion.lock"):
        if _number(_champion(client, name)) != _number(decision.champion):
            return False
        # The alias and what is said of it.
        with deferred():
            if decision.moves:
                _move(client, decision)
            _tag(client, decision)
    if database is not None or not decision.moves:
        return True
    time.sleep(_SETTLE_S)
    return _number(_champion(client, name)) == decision.version.number


def _move(client: MlflowClient, decision: Decision) -> None:
    version, champion = decision.version, decision.champion
    back = decision.outcome == "restored"
    # First, so that a champion always knows the one before.
    if champion is not None and not back:
        client.set_model_version_tag(version.name, str(version.number), _REPLACED_TAG, str(champion.number))
    client.set_registered_model_alias(version.name, _CHAMPION, str(version.number))
    if champion is not None and back:
        client.delete_model_version_tag(champion.name, str(champion.number), _REPLACED_TAG)


def _tag(client: MlflowClient, decision: Decision) -> None:
    """Say on both versions what was decided, beside whom, when, why, and where it is recorded.

    ``promotion.…`` is of a version that asked for the place, ``champion.…`` of one that had it.
    """
    version, champion = decision.version, decision.champion
    if decision.outcome == "unchanged":
        return
    sides: list[tuple[Version, str, str, Version | None]] = [(version, "promotion", decision.outcome, champion)]
    if champion is not None:
        sides.append((champion, "champion", "replaced" if decision.moves else "kept", version))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for own, side, outcome, other in sides:
        tags = {
            "decision": outcome,
            "rival": _NOBODY if other is None else str(other.number),
            "at": now,
            "why": shared_text(decision.why)[:TAG_LENGTH],
            "run_id": decision.run_id,
        }
        for key, value in tags.items():
            client.set_model_version_tag(own.name, str(own.number), f"{side}.{key}", value)


def _number(version: Version | None) -> int | None:
    return None if version is None else version.number


@contextmanager
def _recorded(config: PromoteConfig, version: Version) -> Iterator[str]:
    """Open the run of a promotion, which is closed as ``FINISHED``, whatever is decided, ``FAILED`` or ``KILLED``."""
    client, experiment_id = connect(config.tracking)
    tags = {**code_tags(), **process_tags(), "mlflow.source.name": "spotify_ml.promote", "kind": "promotion"}

    def create() -> str:
        return str(client.create_run(experiment_id, tags=tags, run_name=f"promotion-{version.number}").info.run_id)

    with open_run(client, config.tracking.uri, create) as run_id:
        log_entries(client, run_id, params={**config.shared_flat(), "version": version.number})
        yield run_id


def _log(client: MlflowClient, run_id: str, decision: Decision, *, dry_run: bool) -> None:
    """Record what was decided, and as figures and files what was compared."""
    verdict = decision.verdict
    tags = {
        "promotion.decision": decision.outcome,
        "promotion.version": str(decision.version.number),
        "promotion.rival": _NOBODY if decision.champion is None else str(decision.champion.number),
        "promotion.why": shared_text(decision.why),
        "promotion.dry_run": str(dry_run).lower(),
    }
    log_entries(client, run_id, metrics=points(verdict.metrics() if verdict else {}), tags=tags)
    if verdict is not None:
        content = {**verdict.as_dict(), "decision": decision.outcome, "why": decision.why, "dry_run": dry_run}
        text = render("promotion.md.j2", verdict=verdict, decision=decision.as_text(dry_run=dry_run))
        for name, told in {"comparison.md": text, "comparison.json": json.dumps(content, indent=2)}.items():
            client.log_text(run_id, shared_text(told), f"promotion/{name}")
