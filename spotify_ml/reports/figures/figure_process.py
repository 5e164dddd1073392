"""The process that draws a run's figures while the run goes on."""

import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, cast

import numpy as np
import pandas as pd

from spotify_ml.utils.errors import OutputError
from spotify_ml.utils.files import remove_abandoned


@dataclass(frozen=True)
class ErrorData:
    """What the figures of a run's errors show; a table without rows is not drawn.

    ``actual`` is the popularity of the test rows, or the codes of their classes; ``predicted`` their predicted
    popularity, or the probability of each class, shape (n_test,) or (n_test, n_classes). The ``error`` is the RMSE, or
    log loss, of the test rows, and ``learning_curve`` that after every tree, for ``train`` and ``val``.
    """

    learning_curve: dict[str, list[float]]
    n_trees: int | None
    actual: np.ndarray
    predicted: np.ndarray
    error: float
    # As of `spotify_ml.evaluation.calibration`.
    calibration: pd.DataFrame
    # As of `spotify_ml.evaluation.by_group.errors_by`, indexed by what people call the kinds.
    genres: pd.DataFrame
    bands: pd.DataFrame
    known_tracks: pd.DataFrame
    coverage: pd.DataFrame
    # As of `spotify_ml.evaluation.incomplete.score_patterns`, indexed by what people call the patterns.
    patterns: pd.DataFrame
    classes: tuple[str, ...]


@dataclass(frozen=True)
class ExplanationData:
    """What the figures of a run's explanation show, under plain names; a table without rows is not drawn.

    ``contributions`` are what features added to the predictions of some test rows, in points, and ``values`` what they
    did it by; the most important stand first.
    """

    importance: pd.DataFrame
    families: pd.DataFrame
    contributions: pd.DataFrame
    values: pd.DataFrame
    classes: tuple[str, ...]


FigureData = ErrorData | ExplanationData


class FigureProcess:
    """A process that imports matplotlib at once, draws what it is given, and ends with this one.

    Importing and drawing take about as long as fitting the sample, and need nothing of a run but what they show. The
    folder is there, with all figures, once `wait` returns. No executor of the standard library will do: its workers
    import the user's script again, and stay when the run is killed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Its standard input closes with this process, however that ends.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spotify_ml.reports.figures.draw_all", str(folder)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own, to end it with those that it starts.
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        """Return the process, already started."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process; what is not drawn by now is not wanted."""
        _kill(self._process)
        remove_abandoned(self._folder.parent)
        for pipe in filter(None, (self._process.stdin, self._process.stderr)):
            # What the process did not take is still to be written.
            with suppress(BrokenPipeError):
                pipe.close()

    def draw(self, data: FigureData | None) -> None:
        """Have figures drawn, after those that were asked for before; None says that these were all."""
        pipe = cast("IO[bytes]", self._process.stdin)
        # If the process ended before, `wait` says why.
        with suppress(BrokenPipeError):
            pickle.dump(data, pipe)
            pipe.flush()

    def wait(self) -> None:
        """Wait until all figures are drawn; `OutputError`, with what the process said, if it could not draw them."""
        self.draw(None)
        said = b"" if self._process.stderr is None else self._process.stderr.read()
        if self._process.wait():
            reason = said.decode(errors="replace").strip().splitlines() or [f"exit code {self._process.returncode}"]
            raise OutputError(f"the figures in {self._folder} cannot be drawn: {reason[-1]}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started, and return when all are gone."""
    if process.poll() is None and hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    # Open as long as one of them is left.
    if process.stderr is not None:
        process.stderr.read()
    process.wait()
