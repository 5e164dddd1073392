"""Tests of the figures: sound pictures, whatever the data, drawn by a process of their own."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest

from spotify_ml.errors import OutputError
from spotify_ml.evaluation.drawing import FigureData, FigureProcess
from spotify_ml.evaluation.figures import save_figures

NAMES = {"learning_curve.png", "predicted_vs_actual.png", "feature_importance.png"}
CURVE = {"train": [30.0, 25.0, 20.0, 18.0], "val": [31.0, 27.0, 26.0, 26.5]}


def data(
    actual: np.ndarray,
    predicted: np.ndarray,
    n_features: int = 30,
    curve: dict[str, list[float]] = CURVE,
    n_trees: int = 3,
) -> FigureData:
    shares = np.arange(n_features, 0, -1, dtype=float) / n_features
    importance = {f"feature {number}": share for number, share in enumerate(shares.tolist())}
    return FigureData(curve, n_trees, actual, predicted, importance)


def values(n_rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, n_rows)


def picture(path: Path) -> np.ndarray:
    """The pixels of a PNG, which `imread` refuses where the file is none or is cut."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return mpl.image.imread(path)


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(data(values(500, 0), values(500, 1)), id="usual"),
        pytest.param(data(values(2, 0), values(2, 1), curve={"train": [9.0], "val": [9.5]}, n_trees=1), id="one tree"),
        pytest.param(data(np.array([0.0, 100.0]), np.array([100.0, 0.0])), id="the ends of the range"),
        pytest.param(data(np.full(9, 5.0), np.full(9, 5.0)), id="constant"),
        pytest.param(data(values(50, 0), values(50, 1), n_features=1), id="one feature"),
    ],
)
def test_figures_are_pictures_with_something_in_them(shown: FigureData, tmp_path: Path):
    save_figures(tmp_path / "figures", shown)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == NAMES
    for path in (tmp_path / "figures").iterdir():
        pixels = picture(path)
        assert min(pixels.shape[:2]) > 300
        assert np.ptp(pixels[..., :3]) > 0.5


def test_figures_show_the_data(tmp_path: Path):
    curves = [CURVE, {part: errors[::-1] for part, errors in CURVE.items()}]
    for number, curve in enumerate(curves):
        shown = data(values(500, number), values(500, number + 2), n_features=20 + number, curve=curve)
        save_figures(tmp_path / str(number), shown)
    for name in NAMES:
        one, two = (picture(tmp_path / folder / name) for folder in "01")
        assert one.shape != two.shape or (one != two).any()


def test_another_process_draws_the_same_pictures(tmp_path: Path):
    shown = data(values(500, 0), values(500, 1))
    save_figures(tmp_path / "here", shown)
    with FigureProcess() as figures:
        figures.draw(tmp_path / "there", shown)
        figures.wait()
    for name in NAMES:
        np.testing.assert_array_equal(*(picture(tmp_path / folder / name) for folder in ("here", "there")))


def test_figures_that_cannot_be_written_are_one_clear_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with FigureProcess() as figures:
        figures.draw(tmp_path / "file" / "figures", data(values(9, 0), values(9, 1)))
        with pytest.raises(OutputError, match=r"file/figures cannot be drawn: .* cannot be written"):
            figures.wait()


def test_a_process_that_is_gone_says_so_when_waited_for(tmp_path: Path):
    with FigureProcess() as figures:
        figures._process.kill()
        figures._process.wait()
        figures.draw(tmp_path / "figures", data(values(500_000, 0), values(500_000, 1)))
        with pytest.raises(OutputError, match="cannot be drawn: exit code -9"):
            figures.wait()
    assert not (tmp_path / "figures").exists()


def test_a_run_that_ends_early_ends_the_process():
    with pytest.raises(RuntimeError, match="early"), FigureProcess() as figures:
        raise RuntimeError("early")
    assert figures._process.poll() is not None
