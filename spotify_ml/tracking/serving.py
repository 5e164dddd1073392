"""MLflow's scoring server on a model's folder."""

import os
import sys
from pathlib import Path

import click
from mlflow.models import cli

from spotify_ml.errors import ModelError


def serve(folder: Path, host: str, port: int, workers: int) -> None:
    """Run ``mlflow models serve`` in this environment until it is interrupted.

    Parameters
    ----------
    folder : Path
        The saved model.
    host, port : str, int
        Where to listen.
    workers : int
        Number of processes.

    Raises
    ------
    ModelError
        If the server ends by itself.
    """
    # Requests are answered side by side: further threads for one row would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # MLflow calls uvicorn by its name, whether the environment is activated or not.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    options = {"--model-uri": folder, "--env-manager": "local", "--host": host, "--port": port, "--workers": workers}
    arguments = [str(part) for option in options.items() for part in option]
    try:
        cli.commands.main(["serve", *arguments], prog_name="mlflow models", standalone_mode=False)
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except Exception as error:
        raise ModelError("the server ended by itself; the lines above say why") from error
