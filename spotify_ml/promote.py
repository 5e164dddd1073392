"""The command that lets a version become champion if it shows that it is better, or goes back to the champion before.

Exit codes: 0 the version is champion, or would be (``dry_run=true``); 2 the gate refused it; 1 an error; 130 Ctrl-C.
"""

import gc
import sys
from typing import TYPE_CHECKING

from spotify_ml.cli.command import run_command

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from omegaconf import DictConfig

    from spotify_ml.config.commands import PromoteConfig
    from spotify_ml.tracking.promotion import Decision, PromotionRecord
    from spotify_ml.tracking.registry import Version

_REFUSED = 2


def promote(config: "PromoteConfig") -> "Decision":
    """Decide whether a version becomes champion, record that, and move the alias.

    Parameters
    ----------
    config : PromoteConfig
        Which version, and by which gate.

    Raises
    ------
    SpotifyMLError
        If there is no such version, it cannot be compared fairly, or the store cannot be used.
    """
    from spotify_ml.utils.errors import ConfigError

    if config.rollback and (config.force or config.version is not None):
        raise ConfigError("config: rollback=true goes back to the champion before; leave out version=… and force=true")

    from spotify_ml.tracking.abandoned import close_abandoned
    from spotify_ml.tracking.promotion import recorded_promotion
    from spotify_ml.tracking.store import open_store, store_errors

    client = open_store(config.tracking.uri)
    with store_errors(config.tracking.uri):
        experiment = client.get_experiment_by_name(config.tracking.experiment)
        # First: a version that is not complete is not there to be promoted.
        if experiment is not None:
            close_abandoned(client, experiment.experiment_id)
        if config.rollback:
            champion, version = _previous(client, config)
            with recorded_promotion(config, version) as record:
                return _roll_back(client, config, record, champion, version)
        version = _candidate(client, config)
        with recorded_promotion(config, version) as record:
            return _compete(client, config, record, version)


def _candidate(client: "MlflowClient", config: "PromoteConfig") -> "Version":
    from spotify_ml.tracking.registry import find_version

    which = "@challenger" if config.version is None else f"/{config.version}"
    return find_version(client, f"models:/{config.tracking.registered_model}{which}")


def _previous(client: "MlflowClient", config: "PromoteConfig") -> tuple["Version", "Version"]:
    """Return the champion, and the one before it, whose files are seen to be there."""
    from spotify_ml.tracking.promotion import find_previous
    from spotify_ml.tracking.registry import find_version, version_files

    champion = find_version(client, f"models:/{config.tracking.registered_model}@champion")
    version = find_previous(client, champion)
    version_files(version, config.tracking.uri)
    return champion, version


def _roll_back(
    client: "MlflowClient", config: "PromoteConfig", record: "PromotionRecord", champion: "Version", version: "Version"
) -> "Decision":
    from spotify_ml.tracking.promotion import Decision, carry_out
    from spotify_ml.utils.errors import TrackingError

    why = f"version {champion.number} was rolled back"
    decision = Decision("restored", version, champion, why, record.run_id)
    if not config.dry_run and not carry_out(client, config.tracking.uri, decision):
        raise TrackingError(f"{champion.uri} is not the champion any more: another promotion was faster; look again")
    record.log(decision)
    return decision


def _compete(
    client: "MlflowClient", config: "PromoteConfig", record: "PromotionRecord", version: "Version"
) -> "Decision":
    """Compare with the champion until the one that was compared with is still there when the alias moves."""
    from spotify_ml.tracking.promotion import carry_out, find_champion

    while True:
        decision = _decide(client, config, record, version, find_champion(client, version.name))
        if config.dry_run or carry_out(client, config.tracking.uri, decision):
            record.log(decision)
            return decision


def _decide(
    client: "MlflowClient",
    config: "PromoteConfig",
    record: "PromotionRecord",
    version: "Version",
    champion: "Version | None",
) -> "Decision":
    from spotify_ml.tracking.judging import NoFairTracksError, hold_contest
    from spotify_ml.tracking.promotion import Decision

    if champion is not None and champion.number == version.number:
        return Decision("unchanged", version, champion, "it is champion already", record.run_id)
    try:
        verdict = hold_contest(client, config, version, champion)
    except NoFairTracksError as error:
        return Decision("refused", version, champion, f"tracks: {error}", record.run_id)
    finally:
        # Loaded models are held by cycles, and a command collects none: XGBoost's would outlive its library.
        gc.collect()
    if not verdict.failed:
        return Decision("promoted", version, champion, "every condition of the gate holds", record.run_id, verdict)
    why = "; ".join(f"{each.name}: {each.said}" for each in verdict.failed)
    return Decision("forced" if config.force else "refused", version, champion, why, record.run_id, verdict)


def run(composed: "DictConfig") -> None:
    """Promote as configured, and say what was decided."""
    from spotify_ml.cli.checks import checked, use_store
    from spotify_ml.config.commands import PromoteConfig

    config = checked(composed, PromoteConfig)
    use_store(config.tracking.uri)
    decision = promote(config)
    if decision.verdict is not None:
        print(f"{decision.verdict.as_text()}\n")
    print(f"{decision.as_text(dry_run=config.dry_run)}\nrun      {decision.run_id}")
    if decision.outcome == "refused":
        sys.exit(_REFUSED)


def main() -> None:
    """Run the command line."""
    run_command(run, "promote")


if __name__ == "__main__":
    main()
