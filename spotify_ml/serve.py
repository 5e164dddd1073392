"""The command that serves a registered model over HTTP, once its files are checked."""

import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ml.cli.command import run_command
from spotify_ml.scoring import KNOWS_NO_STRANGERS

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from spotify_ml.config.commands import ServeConfig
    from spotify_ml.config.traffic import LoggedTrafficConfig


def run(composed: "DictConfig") -> None:
    """Find the model, check its files, and serve it until Ctrl-C."""
    from spotify_ml.cli.checks import checked, use_store
    from spotify_ml.config.commands import ServeConfig

    config = checked(composed, ServeConfig)
    if config.traffic.mode != "single":
        _serve_traffic(config, config.traffic)
        return
    calibration = None if config.calibration is None else Path(config.calibration).absolute()
    _check_free(config.host, config.port)
    use_store(config.tracking.uri)

    from spotify_ml.scoring.calibrated import check_model, read_calibration
    from spotify_ml.tracking.protocol import Limits
    from spotify_ml.tracking.registry import classes, find_version, parameters, version_files
    from spotify_ml.tracking.serving import serve
    from spotify_ml.tracking.store import open_store, store_errors

    client = open_store(config.tracking.uri)
    with store_errors(config.tracking.uri):
        version = find_version(client, config.model_uri)
        folder = version_files(version, config.tracking.uri)
    if calibration is not None:
        # Each process reads it itself: what cannot be served is to be seen before.
        check_model(version.uri, classes(folder), parameters(folder))
        read_calibration(calibration, version.identity)
    _announce(version.uri, config)
    if "known" not in parameters(folder):
        sys.stderr.write(f"warning: {version.uri} {KNOWS_NO_STRANGERS}\n")
    limits = Limits(config.max_mb, config.timeout_s, config.max_requests, config.max_rows)
    serve(version, folder, config.host, config.port, config.workers, limits, calibration)


def _serve_traffic(config: "ServeConfig", traffic: "LoggedTrafficConfig") -> None:
    """Serve two versions until Ctrl-C."""
    from spotify_ml.cli.checks import use_store
    from spotify_ml.utils.errors import ConfigError

    if config.workers > 1:
        raise ConfigError(
            f"config: workers={config.workers}: traffic={traffic.mode} is answered by one process; leave it out, and "
            "start further servers, with one log in PostgreSQL: traffic.log=postgresql://…"
        )
    if config.calibration is not None:
        raise ConfigError("config: calibration=…: a calibration is for one version; leave it out, or traffic=…")
    _check_free(config.host, config.port)
    use_store(config.tracking.uri)
    # Before the versions are loaded: their libraries look at it once.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    from spotify_ml.live.server import open_traffic, serve_traffic

    opened = open_traffic(config, traffic)
    pair = opened.versions.pair
    other = "" if pair.challenger is None else pair.challenger.version.uri
    _announce(f"{pair.champion.version.uri}, with {other} by traffic={traffic.mode},", config)
    serve_traffic(config, opened)


def _announce(served: str, config: "ServeConfig") -> None:
    """Say what is served where, and to whom."""
    print(f"{served} at http://{config.host}:{config.port}/invocations; Ctrl-C ends it", flush=True)
    if not _is_loopback(config.host):
        sys.stderr.write(
            f"warning: host={config.host} lets whoever reaches this machine ask the model: there is no password and no "
            "encryption; put a proxy before it (docs/serving.md)\n"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_free(host: str, port: int) -> None:
    from spotify_ml.utils.errors import ConfigError

    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise ConfigError(
            f"config: {host}:{port} cannot be served at ({os.strerror(error.errno or 0)}); set host=… or port=…"
        ) from error


def main() -> None:
    """Run the command line."""
    run_command(run, "serve")


if __name__ == "__main__":
    main()
