"""Tests of the figures: sound pictures, whatever the data."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from spotify_ml.evaluation.evaluate import Evaluation
from spotify_ml.evaluation.figures import save_figures

NAMES = {"learning_curve.png", "predicted_vs_actual.png", "feature_importance.png"}


def evaluation(actual: np.ndarray, predicted: np.ndarray, n_features: int = 30) -> Evaluation:
    share = np.arange(n_features, 0, -1, dtype=float)
    importance = pd.DataFrame(
        {"feature": [f"feature {number}" for number in range(n_features)], "importance": share / share.sum()}
    )
    return Evaluation({}, actual, predicted, importance)


def values(n_rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, n_rows)


def picture(path: Path) -> np.ndarray:
    """The pixels of a PNG, which `imread` refuses where the file is none or is cut."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return mpl.image.imread(path)


CURVE = {"train": [30.0, 25.0, 20.0, 18.0], "val": [31.0, 27.0, 26.0, 26.5]}


@pytest.mark.parametrize(
    ("curve", "n_trees", "judged"),
    [
        pytest.param(CURVE, 3, evaluation(values(500, 0), values(500, 1)), id="usual"),
        pytest.param({"train": [9.0], "val": [9.5]}, 1, evaluation(values(2, 0), values(2, 1)), id="one tree"),
        pytest.param(CURVE, 3, evaluation(np.array([0.0, 100.0]), np.array([100.0, 0.0])), id="the ends of the range"),
        pytest.param(CURVE, 3, evaluation(np.full(9, 5.0), np.full(9, 5.0)), id="constant"),
        pytest.param(CURVE, 3, evaluation(values(50, 0), values(50, 1), n_features=1), id="one feature"),
    ],
)
def test_figures_are_pictures_with_something_in_them(
    curve: dict[str, list[float]], n_trees: int, judged: Evaluation, tmp_path: Path
):
    save_figures(tmp_path, curve, n_trees, judged)
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    for path in tmp_path.iterdir():
        pixels = picture(path)
        assert min(pixels.shape[:2]) > 300
        assert np.ptp(pixels[..., :3]) > 0.5


def test_figures_show_the_data(tmp_path: Path):
    folders = [tmp_path / "one", tmp_path / "two"]
    curves = [CURVE, {part: errors[::-1] for part, errors in CURVE.items()}]
    for number, (folder, curve) in enumerate(zip(folders, curves, strict=True)):
        folder.mkdir()
        judged = evaluation(values(500, number), values(500, number + 2), n_features=20 + number)
        save_figures(folder, curve, 3, judged)
    for name in NAMES:
        one, two = (picture(folder / name) for folder in folders)
        assert one.shape != two.shape or (one != two).any()


def test_the_same_data_gives_the_same_pictures(tmp_path: Path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        save_figures(folder, CURVE, 3, evaluation(values(500, 0), values(500, 1)))
    for name in NAMES:
        np.testing.assert_array_equal(*(picture(folder / name) for folder in folders))
