"""The report of an experiment: read, decided, written as a page and JSON, and recorded as a run."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from spotify_ml.config.live import LiveConfig
from spotify_ml.live.assignment import read_key
from spotify_ml.live.database import Database, log_address
from spotify_ml.live.decision import Decision, decide
from spotify_ml.live.monitor import FILE, DriftReport, Profile, by_genre, drift, key_id, profile_of
from spotify_ml.live.observed import LiveLog, Observed, join_outcomes, read_log
from spotify_ml.reports.figures.draw_live import draw_sequence
from spotify_ml.reports.page import as_page, render
from spotify_ml.tracking.abandoned import process_tags
from spotify_ml.tracking.limits import log_entries, points
from spotify_ml.tracking.open_run import open_run
from spotify_ml.tracking.provenance import fitted_on, read_provenance
from spotify_ml.tracking.registry import Version, find_version
from spotify_ml.tracking.run_reader import read_runs
from spotify_ml.tracking.store import connect, open_store, store_errors
from spotify_ml.tracking.versions import TAG_LENGTH, code_tags
from spotify_ml.utils.errors import ConfigError, DataError, TrackingError
from spotify_ml.utils.files import staged, temporary_folder
from spotify_ml.utils.markdown import inlined
from spotify_ml.utils.places import shared_text

_DAY_S = 86_400.0
_IMPORTANCE = "models/feature_importance.csv"
_PREDICTED = "popularity_predicted"
_FEWEST_OF_GENRE = 20
_UNITS = {"squared": "points²", "absolute": "points"}


@dataclass(frozen=True)
class LiveReport:
    """What is told of an experiment and its two versions, and how far its tracks have moved, or why that is unknown."""

    log: LiveLog
    observed: Observed
    decision: Decision
    champion: Version
    challenger: Version
    drift: DriftReport | None
    no_drift: str = ""

    @property
    def sentence(self) -> str:
        """The decision in a sentence."""
        told = {
            "promote": f"Promote {self.challenger.uri}",
            "stop": f"Stop, and keep {self.champion.uri}",
            "keep": "Keep on",
        }
        return f"{told[self.decision.outcome]}: {self.decision.why}."


def read_report(config: LiveConfig, now: float | None = None) -> LiveReport:
    """Read what was logged and observed, and decide.

    Raises `SpotifyMLError` if there is no such log or experiment, or the versions are not registered.
    """
    database = Database(log_address(config.log, config.tracking.uri))
    database.check_there()
    log = read_log(database, config.name)
    client, moment = open_store(config.tracking.uri), time.time() if now is None else now
    with store_errors(config.tracking.uri):
        champion, challenger = (
            find_version(client, f"models:/{log.model}/{n}") for n in (log.champion, log.challenger)
        )
    observed = join_outcomes(log, config.rule.late_days)
    decision = decide(log, observed, config, moment)
    try:
        key = read_key(database.file)
        profile = _profile(client, config, champion, key)
        # That of the challenger is recorded for the day on which it is champion.
        _profile(client, config, challenger, key)
        importance = _importance(client, champion, config)
        since = moment - config.drift.days * _DAY_S
        moved = drift(log, observed, profile, since, config.drift.psi, importance)
    except (ConfigError, DataError, TrackingError) as error:
        return LiveReport(log, observed, decision, champion, challenger, None, str(error))
    return LiveReport(log, observed, decision, champion, challenger, moved)


def write_report(config: LiveConfig, report: LiveReport, output: Path) -> str:
    """Write the page and the JSON beside it, record both as a run, tag both versions, and return the run's id."""
    page = as_page(_markdown(config, report), width="72rem")
    content = json.dumps(_as_dict(report), indent=2, allow_nan=False)
    for path, text in ((output, page), (output.with_suffix(".json"), content)):
        with staged(path) as file:
            file.write_text(text, encoding="utf-8")
    client, experiment_id = connect(config.tracking)
    tags = {**code_tags(), **process_tags(), "mlflow.source.name": "spotify_ml.live", "kind": "live", **_tags(report)}

    def create() -> str:
        name = f"live-{report.log.experiment.name}"
        return str(client.create_run(experiment_id, tags=tags, run_name=name).info.run_id)

    with open_run(client, config.tracking.uri, create) as run_id:
        moved = {} if report.drift is None else report.drift.metrics()
        metrics = points({**report.decision.metrics(), **moved})
        log_entries(client, run_id, params=config.shared_flat(), metrics=metrics)
        client.log_text(run_id, shared_text(page), "live/report.html")
        client.log_text(run_id, shared_text(content), "live/report.json")
        _tag_versions(client, report, run_id)
    return run_id


def _markdown(config: LiveConfig, report: LiveReport) -> str:
    decision, log = report.decision, report.log
    sequence = decision.sequences.get(config.rule.metric)
    picture = ""
    if sequence is not None:
        unit = _UNITS[config.rule.metric]
        ends = (sequence.n, sequence.value, sequence.lower, sequence.upper)
        picture = inlined(draw_sequence(*ends, sequence.decided, unit), "The difference as outcomes came in")
    ratio = [] if decision.sample_ratio is None else [decision.sample_ratio]
    return render(
        "live.md.j2",
        log=log,
        decision=decision,
        sentence=report.sentence,
        champion=report.champion.uri,
        challenger=report.challenger.uri,
        started=_day(float(log.predictions["at"].min())),
        ended=_day(float(log.predictions["at"].max())),
        picture=picture,
        rule=config.rule,
        rails=[*decision.guardrails, *ratio],
        genres=by_genre(report.observed, _FEWEST_OF_GENRE),
        drift=report.drift,
        no_drift=report.no_drift,
        days=config.drift.days,
    )


def _as_dict(report: LiveReport) -> dict[str, Any]:
    genres = by_genre(report.observed, _FEWEST_OF_GENRE).reset_index().astype(object)
    return {
        "experiment": asdict(report.log.experiment),
        "champion": report.champion.uri,
        "challenger": report.challenger.uri,
        "sentence": report.sentence,
        **report.decision.as_dict(),
        # A side of a split may have none of a genre.
        "genres": genres.where(genres.notna(), None).to_dict("records"),
        "drift": None if report.drift is None else asdict(report.drift),
        "no_drift": report.no_drift,
    }


def _tags(report: LiveReport) -> dict[str, str]:
    return {
        "live.decision": report.decision.outcome,
        "live.why": shared_text(report.decision.why)[:TAG_LENGTH],
        "live.experiment": report.log.experiment.name,
        "live.champion": report.champion.uri,
        "live.challenger": report.challenger.uri,
    }


def _tag_versions(client: MlflowClient, report: LiveReport, run_id: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for version in (report.champion, report.challenger):
        for name, value in {**_tags(report), "live.run_id": run_id, "live.at": now}.items():
            client.set_model_version_tag(version.name, str(version.number), name, value)


def _profile(client: MlflowClient, config: LiveConfig, version: Version, key: bytes) -> Profile:
    """Return the profile recorded with a version, or make it of what it was fitted on, and record it."""
    found = _text(client, config, version, f"live/{FILE}")
    if found is not None:
        try:
            profile = Profile.of_json(found)
        except (ValueError, TypeError, KeyError, AttributeError):
            profile = None
        if profile is not None and profile.key_id == key_id(key):
            return profile
    provenance = read_provenance(client, version, config.tracking.uri)
    tracks = fitted_on(provenance).trainval
    scored = read_runs(config.tracking, [version.uri])[0].predictions
    predicted = None if scored is None or _PREDICTED not in scored else scored[_PREDICTED].to_numpy()
    profile = profile_of(tracks, predicted, key)
    client.log_text(version.run_id, profile.as_json(), f"live/{FILE}")
    return profile


def _importance(client: MlflowClient, version: Version, config: LiveConfig) -> Mapping[str, float]:
    """Return the share of the gain of each feature, by name; nothing of a model that records none."""
    found = _text(client, config, version, _IMPORTANCE)
    if found is None:
        return {}
    with temporary_folder() as folder:
        path = folder / "importance.csv"
        path.write_text(found, encoding="utf-8")
        table = pd.read_csv(path)
    if not {"feature", "importance"} <= set(table.columns):
        return {}
    return {str(name): float(value) for name, value in zip(table["feature"], table["importance"], strict=True)}


def _text(client: MlflowClient, config: LiveConfig, version: Version, name: str) -> str | None:
    """Return a text file among the artifacts of a version's run; None if it is not there."""
    with store_errors(config.tracking.uri), temporary_folder() as folder:
        try:
            if name not in {each.path for each in client.list_artifacts(version.run_id, str(Path(name).parent))}:
                return None
            return Path(client.download_artifacts(version.run_id, name, str(folder))).read_text(encoding="utf-8")
        except (MlflowException, OSError):
            return None


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
