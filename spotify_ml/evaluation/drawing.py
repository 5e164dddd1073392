"""The process that draws a run's figures while the run goes on."""

import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import numpy as np
import pandas as pd

from spotify_ml.errors import OutputError
from spotify_ml.files import partial_name


@dataclass(frozen=True)
class FigureData:
    """What the figures of a run show; a table without rows is not drawn.

    Attributes
    ----------
    learning_curve : dict of str to list of float
        Error after every tree, for ``train`` and ``val``; empty where there is none.
    n_trees : int or None
        The chosen number of trees.
    actual : ndarray, shape (n_test,)
        Popularity of the test rows, or the codes of their classes.
    predicted : ndarray of float, shape (n_test,) or (n_test, n_classes)
        Their predicted popularity, or the probability of each class.
    error : float
        RMSE, or log loss, of the test rows.
    calibration : DataFrame
        As of `spotify_ml.evaluation.calibration.calibration_table`, or of `class_calibration_table`.
    genres, bands, known_tracks : DataFrame
        As of `spotify_ml.evaluation.errors.errors_by`, indexed by what people call the kinds.
    coverage : DataFrame
        Of intervals, as in `spotify_ml.result.Result`.
    importance : DataFrame
        As in `spotify_ml.evaluation.explain.Explanation`, with ``feature`` in plain names.
    families : DataFrame
        As in `spotify_ml.evaluation.explain.Explanation`.
    contributions, values : DataFrame
        What features added to the predictions of some test rows, in points, and the values they did it by; most
        important first, under plain names.
    classes : tuple of str
        The classes of a classification; none for a regression.
    """

    learning_curve: dict[str, list[float]]
    n_trees: int | None
    actual: np.ndarray
    predicted: np.ndarray
    error: float
    calibration: pd.DataFrame
    genres: pd.DataFrame
    bands: pd.DataFrame
    known_tracks: pd.DataFrame
    coverage: pd.DataFrame
    importance: pd.DataFrame
    families: pd.DataFrame
    contributions: pd.DataFrame
    values: pd.DataFrame
    classes: tuple[str, ...] = ()


class FigureProcess:
    """A process that imports matplotlib at once, draws when it is told to, and ends with this one.

    Importing and drawing take about as long as fitting the sample, and need nothing of the fit but its figures.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        # Its standard input closes with this process, however that ends.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spotify_ml.evaluation.figures"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        """Return the process, already started."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process; what is not drawn by now is not wanted."""
        self._process.kill()
        self._process.wait()
        if self._folder is not None:
            shutil.rmtree(partial_name(self._folder, self._process.pid), ignore_errors=True)
        for pipe in filter(None, (self._process.stdin, self._process.stderr)):
            pipe.close()

    def draw(self, folder: Path, data: FigureData) -> None:
        """Start drawing; `wait` says when the folder is there."""
        self._folder = folder
        try:
            with cast("IO[bytes]", self._process.stdin) as pipe:
                pickle.dump((folder, data), pipe)
        except BrokenPipeError:
            # It ended before; `wait` says why.
            return

    def wait(self) -> None:
        """Wait until the figures are drawn.

        Raises
        ------
        OutputError
            With what the process said, if it could not draw them.
        """
        said = b"" if self._process.stderr is None else self._process.stderr.read()
        if self._process.wait():
            reason = said.decode(errors="replace").strip().splitlines() or [f"exit code {self._process.returncode}"]
            raise OutputError(f"the figures in {self._folder} cannot be drawn: {reason[-1]}")
