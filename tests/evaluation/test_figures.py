"""Tests of the figures: sound pictures whose titles are true, whatever the data, drawn by a process of their own."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from spotify_ml.evaluation.calibration import calibration_table
from spotify_ml.reports.figures.draw_all import figures, save_figures
from spotify_ml.reports.figures.draw_errors import (
    draw_calibration,
    draw_learning_curve,
    draw_residuals,
    draw_residuals_qq,
)
from spotify_ml.reports.figures.draw_explanations import draw_family_importance, draw_importance, draw_shap_dependence
from spotify_ml.reports.figures.draw_groups import (
    draw_coverage,
    draw_errors_by_band,
    draw_errors_by_genre,
    draw_errors_by_known_tracks,
)
from spotify_ml.reports.figures.figure_process import ErrorData, ExplanationData, FigureData, FigureProcess
from spotify_ml.utils.errors import OutputError
from tests.evaluation.conftest import ResultOf, figure_data

NAMES = {
    "learning_curve.png",
    "predicted_vs_actual.png",
    "residuals.png",
    "residuals_qq.png",
    "calibration.png",
    "error_by_genre.png",
    "error_by_band.png",
    "error_by_known_tracks.png",
    "interval_coverage.png",
    "feature_importance.png",
    "importance_by_family.png",
    "shap_bar.png",
    "shap_beeswarm.png",
    "shap_dependence.png",
}
Shown = tuple[ErrorData, ExplanationData]
CONTRIBUTIONS = {"shap_bar.png", "shap_beeswarm.png", "shap_dependence.png"}
EXPLAINED = CONTRIBUTIONS | {"feature_importance.png", "importance_by_family.png"}


@pytest.fixture(scope="module")
def shown(result_of: ResultOf) -> Shown:
    return figure_data(*result_of())


def drawn(folder: Path, data: Iterable[FigureData]) -> set[str]:
    """Draw, look whether all are pictures with something in them, and return their names."""
    folder.mkdir()
    for part in data:
        save_figures(folder, part)
    for path in folder.iterdir():
        pixels = picture(path)
        assert pixels.shape[:2] == (450, 700)
        assert np.ptp(pixels[..., :3]) > 0.5
    return {path.name for path in folder.iterdir()}


def picture(path: Path) -> np.ndarray:
    """The pixels of a PNG, which `imread` refuses where the file is none or is cut."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return mpl.image.imread(path)


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def errors(error: float, bias: float | None = None, **kinds: int) -> pd.DataFrame:
    """A table of errors, the given one in its first kind and one point less in every other."""
    values = pd.Series([error, *[error - 1] * (len(kinds) - 1)], index=list(kinds))
    table = pd.DataFrame({"tracks": kinds, "log_loss" if bias is None else "rmse": values})
    table = table.assign(lower=values - 1, upper=np.nan)
    return table if bias is None else table.assign(bias=bias)


def title_of(figure: Any) -> str:
    return " ".join(figure.get_suptitle().split())


# --- pictures


@pytest.fixture(scope="module")
def usual(shown: Shown, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the figures of `shown`."""
    folder = tmp_path_factory.mktemp("usual") / "figures"
    assert drawn(folder, shown) == NAMES
    return folder


def test_figures_show_the_data(usual: Path, result_of: ResultOf, tmp_path: Path):
    config, result = result_of("features=audio", "cleaning=rows", "split=artist")
    assert drawn(tmp_path / "figures", figure_data(config, result)) == NAMES
    for name in NAMES:
        assert (picture(usual / name) != picture(tmp_path / "figures" / name)).any()


def test_a_model_without_trees_has_no_figures_of_them(result_of: ResultOf, tmp_path: Path):
    names = drawn(tmp_path / "figures", figure_data(*result_of("model=linear", "features=reference")))
    assert names == NAMES - CONTRIBUTIONS - {"learning_curve.png"}


def test_classes_have_figures_of_their_own(result_of: ResultOf, tmp_path: Path):
    names = drawn(tmp_path / "figures", figure_data(*result_of("features=reference", "task=classification")))
    regression = {"predicted_vs_actual.png", "residuals.png", "residuals_qq.png", "interval_coverage.png"}
    assert names == NAMES - regression - CONTRIBUTIONS | {"confusion_matrix.png"}


def odd(shown: Shown, actual: np.ndarray, predicted: np.ndarray, kinds: pd.DataFrame) -> Shown:
    errors_shown, explained = shown
    return replace(
        errors_shown,
        learning_curve={"train": [9.0], "val": [9.5]},
        n_trees=1,
        actual=actual,
        predicted=predicted,
        calibration=calibration_table(actual, predicted, np.zeros(len(actual), int)),
        genres=kinds,
        bands=kinds,
        known_tracks=kinds,
        coverage=errors_shown.coverage[errors_shown.coverage["genre"] == "all"],
    ), replace(
        explained,
        importance=explained.importance.head(1).assign(importance=0.0, gain=0.0, cover=0.0, weight=0.0),
        families=explained.families.head(1).assign(importance=0.0, std=0.0),
        contributions=explained.contributions.iloc[:1, :2],
        values=explained.values.iloc[:1, :2] * np.nan,
    )


@pytest.mark.parametrize(
    ("actual", "predicted"),
    [
        pytest.param([0.0, 100.0], [100.0, 0.0], id="the ends of the range"),
        pytest.param([5.0] * 9, [5.0] * 9, id="all the same, and right"),
        pytest.param([0.0, 1.0, 60.0], [33.0] * 3, id="all predicted the same"),
        pytest.param([7.0], [9.0], id="one track"),
    ],
)
def test_odd_data_make_sound_figures(shown: Shown, actual: list[float], predicted: list[float], tmp_path: Path):
    of_errors, _ = odd(shown, np.array(actual), np.array(predicted), errors(0.0, 0.0, **{"$x$ <[genre]> _^": 1}))
    assert drawn(tmp_path / "figures", [of_errors]) == NAMES - EXPLAINED


def test_odd_explanations_make_sound_figures(shown: Shown, tmp_path: Path):
    _, of_explanation = odd(shown, np.array([7.0]), np.array([9.0]), pd.DataFrame())
    assert drawn(tmp_path / "figures", [of_explanation]) == EXPLAINED


def test_what_there_is_not_is_not_drawn(shown: Shown):
    none = pd.DataFrame()
    errors_shown, explained = shown
    data = [
        replace(errors_shown, genres=none, coverage=none),
        replace(explained, families=none, contributions=none, values=none),
    ]
    absent = {"error_by_genre.png", "interval_coverage.png", "importance_by_family.png"} | CONTRIBUTIONS
    assert {f"{name}.png" for part in data for name, _ in figures(part)} == NAMES - absent


# --- titles


def test_titles_say_what_the_tables_say():
    table = errors(12.34, -7.7, rock=40, soul=30, jazz=30)
    assert title_of(draw_errors_by_genre(table, 9)) == "RMSE is 12.3 in rock, 11.3 in jazz; over all test tracks 9.0"
    assert "the one genre" in title_of(draw_errors_by_genre(table.head(1), 9))
    band = errors(12.34, -7.7, **{"above 66": 40, "popularity 0": 3})
    assert title_of(draw_errors_by_band(band, 9)) == (
        "Furthest off are tracks of popularity above 66: RMSE 12.3, on average 7.7 points too low"
    )
    assert title_of(draw_errors_by_band(errors(0.5, **{"popularity 0": 3}), 0.5)) == (
        "All are tracks of popularity 0: Log loss 0.50"
    )
    known = errors(8.0, 1.0, **{"0": 4, "over 50": 3})
    assert title_of(draw_errors_by_known_tracks(known, 9)) == (
        "RMSE is 8.0 on artists with 0 known tracks, 7.0 on those with over 50"
    )
    assert title_of(draw_errors_by_known_tracks(known.head(1), 9)).startswith("All test tracks are by artists with 0")


def test_a_curve_that_still_falls_is_not_called_lowest():
    curve = {"train": [30.0, 25.0, 20.0], "val": [31.0, 27.0, 26.0]}
    assert "lowest at 2 trees: RMSE 27.00" in title_of(draw_learning_curve(curve, 2, classes=False))
    assert "still falls at the last of 3 trees: log loss 26.00" in title_of(draw_learning_curve(curve, 3, classes=True))


def test_titles_of_errors_are_true():
    predicted = np.repeat([10.0, 50.0], 500)
    error = np.concatenate([np.linspace(-1, 1, 500), np.linspace(-10, 10, 500)])
    title = title_of(
        draw_residuals(predicted - error, predicted, calibration_table(predicted - error, predicted, np.arange(1000)))
    )
    assert title == "80% of the errors span 1.6 points where about 10 is predicted, 16.0 points where about 50 is"
    heavy = np.concatenate([np.zeros(960), np.full(20, 40.0), np.full(20, -40.0)])
    title = title_of(draw_residuals_qq(50 - heavy, np.full(1000, 50.0)))
    assert title.startswith("1% of the errors are more than 40 points from their mean")
    assert title.endswith(f"more than {2.576 * heavy.std():.0f}")
    assert title_of(draw_residuals_qq(predicted, predicted)) == "All errors are the same"
    table = pd.DataFrame({"tracks": 5, "predicted": [10.0, 60.0], "actual": [11.0, 57.0], "margin": 1.0})
    assert title_of(draw_calibration(table)) == (
        "Of 2 equal parts of the predictions, the mean furthest off is 3.0 points too high, where about 60 is predicted"
    )


def test_titles_of_features_are_true():
    table = pd.DataFrame({"importance": [0.2, 0.5], "std": 0.1}, index=pd.Index(["audio", "album"], name="family"))
    assert title_of(draw_family_importance(table, classes=False)) == (
        "Shuffling the album columns costs 0.500 of R², more than those of any other family"
    )
    assert "raises log loss by 0.200, and there are no others" in title_of(
        draw_family_importance(table.head(1), classes=True)
    )
    assert "no worse than chance does: loss of R² 0.050 at most" in title_of(
        draw_family_importance(table.assign(importance=0.05), classes=False)
    )
    unused = pd.DataFrame({"feature": ["tempo"], "importance": [0.0]})
    assert title_of(draw_importance(unused)) == "The model uses no feature"
    added, values = (pd.DataFrame({"tempo": np.linspace(*ends, 100)}) for ends in ((-5, 5), (60, 160)))
    assert title_of(draw_shap_dependence(added, values)) == (
        "“tempo” adds −4.5 points in its lowest tenth (up to 70), +4.5 in its highest (from 150)"
    )
    assert "much the same" in title_of(draw_shap_dependence(added, values * 0))


def test_coverage_names_the_worst_and_best_genre(shown: Shown):
    coverage = shown[0].coverage
    own = coverage[(coverage["level"] == 0.9) & (coverage["genre"] != "all")]
    title = title_of(draw_coverage(coverage))
    assert own["genre"][own["coverage"].idxmin()] in title
    assert own["genre"][own["coverage"].idxmax()] in title


# --- the process


def test_another_process_draws_the_same_pictures(shown: Shown, usual: Path, tmp_path: Path):
    with FigureProcess(tmp_path / "figures") as process:
        for part in shown:
            process.draw(part)
        process.wait()
    for name in NAMES:
        np.testing.assert_array_equal(picture(usual / name), picture(tmp_path / "figures" / name))


def test_figures_that_cannot_be_written_are_one_clear_error(shown: Shown, tmp_path: Path):
    (tmp_path / "file").touch()
    with FigureProcess(tmp_path / "file" / "figures") as process:
        process.draw(shown[0])
        with pytest.raises(OutputError, match=r"file/figures cannot be drawn: .* cannot be written"):
            process.wait()


def test_a_figure_that_cannot_be_written_is_one_clear_error_and_leaves_none(shown: Shown, tmp_path: Path):
    with FigureProcess(tmp_path / "figures") as process:
        wait_until(lambda: any(tmp_path.glob(".*/figures")))
        (next(tmp_path.glob(".*/figures")) / "shap_bar.png").mkdir()
        process.draw(shown[1])
        with pytest.raises(OutputError, match=r"figures cannot be drawn: .* cannot be written: Is a directory"):
            process.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_gone_says_so_when_waited_for(shown: Shown, tmp_path: Path):
    with FigureProcess(tmp_path / "figures") as process:
        process._process.kill()
        process._process.wait()
        process.draw(replace(shown[0], actual=np.zeros(500_000)))
        with pytest.raises(OutputError, match="cannot be drawn: exit code -9"):
            process.wait()
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("drawing", [False, True], ids=["before it draws", "while it draws"])
def test_a_run_that_ends_early_ends_the_process_and_leaves_no_figures(shown: Shown, tmp_path: Path, drawing: bool):
    process = FigureProcess(tmp_path / "figures")
    process.draw(shown[1])
    if drawing:
        wait_until(lambda: any(tmp_path.glob(".*/figures/*.png")))
    with pytest.raises(RuntimeError, match="early"), process:
        raise RuntimeError("early")
    assert process._process.poll() is not None
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_gone_leaves_no_figures(tmp_path: Path):
    """Nobody is left to end the process: its pipe closes before all was said."""
    process = FigureProcess(tmp_path / "figures")
    process._process.communicate()
    assert process._process.returncode == 0
    assert list(tmp_path.iterdir()) == []
