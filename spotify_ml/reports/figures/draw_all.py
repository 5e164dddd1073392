"""The pictures of a run; run as a module, it draws what `drawing` sends."""

import gc
import pickle
import signal
import sys
from collections.abc import Iterator
from multiprocessing import Process
from pathlib import Path
from typing import IO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spotify_ml.reports.figures import draw_errors, draw_explanations, draw_groups
from spotify_ml.reports.figures.figure_process import ErrorData, ExplanationData, FigureData
from spotify_ml.utils.errors import OutputError
from spotify_ml.utils.files import staged


def save_figures(folder: Path, data: FigureData) -> None:
    """Draw figures of a run as PNG files in a folder that is there; `OSError` if it cannot be written."""
    for name, figure in figures(data):
        # `savefig` would draw everything twice, the first time to know where it will be.
        FigureCanvasAgg(figure).print_png(folder / f"{name}.png")  # type: ignore[no-untyped-call]


def figures(data: FigureData) -> Iterator[tuple[str, Figure]]:
    """Yield what there is to draw, by the name of its file."""
    return _of_errors(data) if isinstance(data, ErrorData) else _of_explanation(data)


def _of_errors(data: ErrorData) -> Iterator[tuple[str, Figure]]:
    classes = bool(data.classes)
    if data.n_trees is not None and data.learning_curve:
        yield "learning_curve", draw_errors.draw_learning_curve(data.learning_curve, data.n_trees, classes=classes)
    if classes:
        yield "confusion_matrix", draw_errors.draw_confusion(data.actual, data.predicted, data.classes)
        yield "calibration", draw_errors.draw_class_calibration(data.calibration)
    else:
        yield "predicted_vs_actual", draw_errors.draw_predictions(data.actual, data.predicted)
        yield "residuals", draw_errors.draw_residuals(data.actual, data.predicted, data.calibration)
        yield "residuals_qq", draw_errors.draw_residuals_qq(data.actual, data.predicted)
        yield "calibration", draw_errors.draw_calibration(data.calibration)
    if len(data.genres):
        yield "error_by_genre", draw_groups.draw_errors_by_genre(data.genres, data.error)
    yield "error_by_band", draw_groups.draw_errors_by_band(data.bands, data.error)
    yield "error_by_known_tracks", draw_groups.draw_errors_by_known_tracks(data.known_tracks, data.error)
    if len(data.patterns):
        yield "error_by_what_is_known", draw_groups.draw_errors_by_pattern(data.patterns, data.error)
    if len(data.coverage):
        yield "interval_coverage", draw_groups.draw_coverage(data.coverage)


def _of_explanation(data: ExplanationData) -> Iterator[tuple[str, Figure]]:
    yield "feature_importance", draw_explanations.draw_importance(data.importance)
    if len(data.families):
        yield (
            "importance_by_family",
            draw_explanations.draw_family_importance(data.families, classes=bool(data.classes)),
        )
    # Where nothing varies, no feature adds anything.
    if data.contributions.to_numpy().any():
        yield "shap_bar", draw_explanations.draw_shap_bar(data.contributions)
        yield "shap_beeswarm", draw_explanations.draw_shap_beeswarm(data.contributions, data.values)
        yield "shap_dependence", draw_explanations.draw_shap_dependence(data.contributions, data.values)


def main() -> None:
    """Draw what comes on standard input into the folder that is the argument; not all comes where a run ends early."""
    # Ctrl-C reaches the whole group of processes; the run decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Figures are full of cycles, which take longer to look for than they are in the way of so short a process.
    gc.disable()
    try:
        with staged(Path(sys.argv[1])) as folder:
            folder.mkdir()
            _draw_all(folder, sys.stdin.buffer)
    except EOFError:
        return
    except OutputError as error:
        sys.exit(str(error))


def _draw_all(folder: Path, pipe: IO[bytes]) -> None:
    """Draw each part in a process of its own, as it comes: together they take half the time of one after the other."""
    processes = []
    try:
        while (data := pickle.load(pipe)) is not None:  # noqa: S301 - from the process that started this one
            processes.append(Process(target=_draw, args=(folder, data)))
            processes[-1].start()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()
            process.join()
    if any(process.exitcode for process in processes):
        # They have said why.
        sys.exit(1)


def _draw(folder: Path, data: FigureData) -> None:
    try:
        save_figures(folder, data)
    except OSError as error:
        sys.exit(f"{folder} cannot be written: {error.strerror or error}")


if __name__ == "__main__":
    main()
